/* From BFM_API_TOKEN and the text of a file to a set of tokens. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "api/tokens_private.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"

enum {
    TOKEN_SHORT = 16, /* bytes below which a token can be guessed */
};

/* One entry being read; `path` stands before everything that is said about it. */
struct token_reader {
    struct token_set *set;
    token_note_fn *note;
    void *arg;
    struct map names;
    size_t at; /* place in the file */
    const cJSON *entry;
    bool failed;
    int rc; /* ERR_NOMEM */
};

PRINTF_LIKE(3, 0)
static void token_vnote(struct token_reader *reader, bool is_error, const char *format,
                        va_list args)
{
    struct err text;

    err_vset(&text, ERR_INVALID, format, args);
    if (reader->entry != NULL)
        err_prefix(&text, "[%zu]", reader->at);
    reader->note(reader->arg, is_error, err_text(&text));
    reader->failed = reader->failed || is_error;
}

PRINTF_LIKE(2, 3)
static void token_error(struct token_reader *reader, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    token_vnote(reader, true, format, args);
    va_end(args);
}

PRINTF_LIKE(2, 3)
static void token_warn(struct token_reader *reader, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    token_vnote(reader, false, format, args);
    va_end(args);
}

static const cJSON *token_field(const struct token_reader *reader, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(reader->entry, key);
}

/* NULL if it is not there; something else than a string is an error and NULL. */
static const char *token_string(struct token_reader *reader, const char *key)
{
    const cJSON *field = token_field(reader, key);

    if (field != NULL && !cJSON_IsString(field))
        token_error(reader, "%s: expected a string", key);
    return cJSON_GetStringValue(field);
}

static const char *token_keep(struct token_reader *reader, const char *text)
{
    const char *copy = arena_strdup(&reader->set->arena, text);

    if (copy == NULL)
        reader->rc = ERR_NOMEM;
    return copy;
}

static bool text_has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

/* --- the fields --- */

static void token_read_name(struct token_reader *reader, struct grant *grant)
{
    static const char *const reserved[] = {TOKENS_MAIN_NAME, "frontend_user", "grpc_client",
                                           "bfm-server"};
    const char *name = token_string(reader, "name");
    size_t len = name != NULL ? strlen(name) : 0;

    grant->name = "";
    if (len == 0 || len > TOKENS_NAME_MAX || text_has_control(name)) {
        token_error(reader, "name: expected 1 to %d bytes without control characters",
                    TOKENS_NAME_MAX);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
        if (strcmp(name, reserved[i]) == 0)
            token_error(reader, "name: expected another one than %s, which the server uses itself",
                        reserved[i]);
    grant->name = token_keep(reader, name);
    if (grant->name == NULL)
        return;
    if (map_get_str(&reader->names, grant->name) != NULL)
        token_error(reader, "name: expected one that no entry before it has");
    else if (map_put_str(&reader->names, grant->name, grant) != 0)
        reader->rc = ERR_NOMEM;
}

/* What a client can send in a header as it is. */
static bool token_is_sendable(const char *token)
{
    size_t len = strlen(token);

    for (size_t i = 0; i < len; i++)
        if (token[i] <= ' ' || token[i] > '~')
            return false;
    return len > 0 && len <= TOKENS_TOKEN_MAX;
}

static bool token_read_digest(struct token_reader *reader, struct hash_sha256 *out)
{
    const char *token = token_string(reader, "token");
    const char *hex = token_string(reader, "token_sha256");

    if ((token == NULL) == (hex == NULL)) {
        token_error(reader, "expected either token or token_sha256");
        return false;
    }
    if (hex != NULL) {
        if (!hash_sha256_parse(hex, out))
            token_error(reader, "token_sha256: expected 64 hex digits");
        return hash_sha256_parse(hex, out);
    }
    if (!token_is_sendable(token)) {
        token_error(reader, "token: expected 1 to %d visible ASCII characters", TOKENS_TOKEN_MAX);
        return false;
    }
    if (strlen(token) < TOKEN_SHORT)
        token_warn(reader, "token: shorter than %d characters, which can be guessed", TOKEN_SHORT);
    if (hash_sha256(token, strlen(token), out) != 0)
        reader->rc = ERR_NOMEM;
    return true;
}

static void token_read_secret(struct token_reader *reader, struct hash_sha256 *out)
{
    const struct token_set *set = reader->set;

    if (token_read_digest(reader, out) &&
        hash_find_const_time(set->digests, set->count, out) < set->count)
        token_error(reader,
                    "expected a token that neither BFM_API_TOKEN nor an entry before it is");
}

static void token_read_expiry(struct token_reader *reader, struct grant *grant)
{
    const char *expires = token_string(reader, "expires");

    if (expires == NULL)
        return;
    if (!clock_parse_rfc3339(expires, &grant->expires_us))
        token_error(reader, "expires: expected a time such as 2030-01-31T12:00:00Z");
    else if (grant->expires_us <= clock_wall_us())
        token_warn(reader, "expires: the token has expired");
    if (grant->expires_us == 0)
        grant->expires_us = 1; /* 0 means never */
}

static void token_read_scopes(struct token_reader *reader, struct grant *grant)
{
    const cJSON *list = token_field(reader, "scopes");
    const cJSON *item;
    bool known = cJSON_GetArraySize(list) > 0;

    cJSON_ArrayForEach(item, list)
    {
        unsigned scope = cJSON_IsString(item) ? grant_scope_parse(item->valuestring) : 0;

        grant->scopes |= scope;
        known = known && scope != 0;
    }
    if (!cJSON_IsArray(list) || !known)
        token_error(reader, "scopes: expected an array of at least one of read, migrate, rollback, "
                            "admin");
}

static bool token_pattern_is_good(const cJSON *item)
{
    return cJSON_IsString(item) && item->valuestring[0] != '\0' &&
           strlen(item->valuestring) <= TOKENS_PATTERN_MAX;
}

static void token_read_patterns(struct token_reader *reader, const char *key,
                                struct grant_patterns *out)
{
    const cJSON *list = token_field(reader, key);
    int count = cJSON_GetArraySize(list);
    const char **items;
    const cJSON *item;

    if (list == NULL)
        return;
    if (!cJSON_IsArray(list) || count == 0 || count > TOKENS_PATTERNS_MAX) {
        token_error(reader, "%s: expected an array of 1 to %d patterns; leave it out for all", key,
                    TOKENS_PATTERNS_MAX);
        return;
    }
    items = arena_calloc(&reader->set->arena, (size_t)count, sizeof(*items));
    if (items == NULL) {
        reader->rc = ERR_NOMEM;
        return;
    }
    cJSON_ArrayForEach(item, list)
    {
        if (token_pattern_is_good(item))
            items[out->count] = token_keep(reader, item->valuestring);
        else
            token_error(reader, "%s[%zu]: expected a string of 1 to %d bytes", key, out->count,
                        TOKENS_PATTERN_MAX);
        out->count++;
    }
    out->items = items;
}

static void token_check_keys(struct token_reader *reader)
{
    static const char *const known[] = {"name",   "token",       "token_sha256", "expires",
                                        "scopes", "connections", "schemas"};
    const cJSON *field;

    cJSON_ArrayForEach(field, reader->entry)
    {
        bool is_known = false;

        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
            is_known = is_known || strcmp(field->string, known[i]) == 0;
        if (!is_known)
            token_error(reader, "expected no other keys than name, token, token_sha256, expires, "
                                "scopes, connections, schemas");
    }
}

/* --- entries --- */

static int token_note_text(const cJSON *entry, struct hash_sha256 *out)
{
    char *text = cJSON_PrintUnformatted(entry);
    int rc = text != NULL ? hash_sha256(text, strlen(text), out) : ERR_NOMEM;

    cJSON_free(text);
    return rc;
}

static void token_read_entry(struct token_reader *reader)
{
    struct token_set *set = reader->set;
    struct grant *grant = &set->grants[set->count];

    if (!cJSON_IsObject(reader->entry)) {
        token_error(reader, "expected an object");
        return;
    }
    grant->owner = set;
    token_check_keys(reader);
    token_read_name(reader, grant);
    token_read_secret(reader, &set->digests[set->count]);
    token_read_expiry(reader, grant);
    token_read_scopes(reader, grant);
    token_read_patterns(reader, "connections", &grant->connections);
    token_read_patterns(reader, "schemas", &grant->schemas);
    if (token_note_text(reader->entry, &set->texts[set->count]) != 0)
        reader->rc = ERR_NOMEM;
    set->count++;
}

static void token_read_main(struct token_reader *reader, const char *token)
{
    struct token_set *set = reader->set;

    set->grants[0] = (struct grant){
        .name = TOKENS_MAIN_NAME, .is_main = true, .scopes = GRANT_ALL, .owner = set};
    if (hash_sha256(token, strlen(token), &set->digests[0]) != 0)
        reader->rc = ERR_NOMEM;
    set->count = 1;
}

static void token_read_all(struct token_reader *reader, const cJSON *list)
{
    const cJSON *entry;

    cJSON_ArrayForEach(entry, list)
    {
        reader->entry = entry;
        token_read_entry(reader);
        reader->at++;
    }
}

static int token_reserve(struct token_set *set, size_t count)
{
    set->grants = arena_calloc(&set->arena, count, sizeof(*set->grants));
    set->digests = arena_calloc(&set->arena, count, sizeof(*set->digests));
    set->texts = arena_calloc(&set->arena, count, sizeof(*set->texts));
    return set->grants != NULL && set->digests != NULL && set->texts != NULL ? 0 : ERR_NOMEM;
}

static int token_read_file(struct token_reader *reader, const char *json, size_t len, cJSON **out)
{
    struct err err = {0};
    int rc = json_parse(json, len, out, &err);

    if (rc == ERR_NOMEM)
        return rc;
    if (rc != 0)
        token_error(reader, "%s", err_text(&err));
    else if (!cJSON_IsArray(*out) || cJSON_GetArraySize(*out) > TOKENS_MAX)
        token_error(reader, "expected a JSON array of at most %d objects", TOKENS_MAX);
    return reader->failed ? ERR_INVALID : 0;
}

static int token_set_fill(struct token_reader *reader, const char *main_token, const char *json,
                          size_t len)
{
    cJSON *list = NULL;
    int rc = json != NULL ? token_read_file(reader, json, len, &list) : 0;

    if (rc == 0)
        rc = token_reserve(reader->set, 1 + (size_t)cJSON_GetArraySize(list));
    if (rc == 0) {
        token_read_main(reader, main_token);
        token_read_all(reader, list);
        rc = reader->rc != 0 ? reader->rc : reader->failed ? ERR_INVALID : 0;
    }
    cJSON_Delete(list);
    return rc;
}

int token_set_make(const char *main_token, const char *json, size_t len, token_note_fn *note,
                   void *arg, struct token_set **out)
{
    struct token_reader reader = {.note = note, .arg = arg};
    int rc;

    *out = NULL;
    reader.set = mem_calloc(1, sizeof(*reader.set));
    if (reader.set == NULL)
        return ERR_NOMEM;
    reader.set->refs = 1;
    arena_init(&reader.set->arena);
    map_init(&reader.names);
    rc = token_set_fill(&reader, main_token, json, len);
    map_free(&reader.names);
    if (rc == 0)
        *out = reader.set;
    else
        token_set_unref(reader.set);
    return rc;
}
