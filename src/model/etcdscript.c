#include "model/etcdscript.h"

#include <string.h>

#include "base/mem.h"
#include "model/jsontext.h"

/* Where an array of operations is read. */
struct etcd_reading {
    const char *text;
    size_t len;
    size_t at;       /* behind what was read */
    size_t lined_at; /* up to where lines were counted */
    unsigned line;
    struct arena *arena;
    struct buf value; /* scratch */
    struct err *err;
};

/* The members of one operation. */
struct etcd_members {
    const cJSON *operation, *key, *value;
    size_t value_start, value_end;
};

static struct slice etcd_slice(const char *text)
{
    return (struct slice){.at = text, .len = strlen(text)};
}

static unsigned etcd_line_at(struct etcd_reading *reading, size_t at)
{
    for (; reading->lined_at < at; reading->lined_at++)
        if (reading->text[reading->lined_at] == '\n')
            reading->line++;
    return reading->line;
}

static int etcd_take_member(struct etcd_reading *reading, struct etcd_members *members,
                            const cJSON *item, size_t start)
{
    if (strcmp(item->string, "operation") == 0) {
        members->operation = item;
    } else if (strcmp(item->string, "key") == 0) {
        members->key = item;
    } else if (strcmp(item->string, "value") == 0) {
        members->value = item;
        members->value_start = start;
        members->value_end = reading->at;
    } else {
        return err_set(reading->err, ERR_INVALID,
                       "\"%.80s\" is unknown; known are operation, key and value", item->string);
    }
    return 0;
}

/* The parsed members come in the order of the text, which tells where each of them stands. */
static int etcd_read_members(struct etcd_reading *reading, const cJSON *object,
                             struct etcd_members *members)
{
    *members = (struct etcd_members){.operation = NULL};
    reading->at++; /* the brace */
    for (const cJSON *item = object->child; item != NULL; item = item->next) {
        size_t start;
        int rc;

        reading->at = json_text_skip_value(reading->text, reading->len, reading->at); /* its name */
        reading->at = json_text_skip_blanks(reading->text, reading->len, reading->at) + 1;
        start = json_text_skip_blanks(reading->text, reading->len, reading->at);
        reading->at = json_text_skip_value(reading->text, reading->len, start);
        rc = etcd_take_member(reading, members, item, start);
        if (rc != 0)
            return rc;
        reading->at = json_text_skip_blanks(reading->text, reading->len, reading->at) + 1;
    }
    return 0;
}

static bool etcd_is_text(const cJSON *item, const char *text)
{
    return cJSON_IsString(item) && strcmp(item->valuestring, text) == 0;
}

static int etcd_read_kind(struct etcd_reading *reading, const struct etcd_members *members,
                          enum etcd_operation_kind *kind)
{
    if (members->operation == NULL || etcd_is_text(members->operation, "put"))
        *kind = ETCD_PUT;
    else if (etcd_is_text(members->operation, "delete"))
        *kind = ETCD_DELETE;
    else if (etcd_is_text(members->operation, "delete_prefix"))
        *kind = ETCD_DELETE_RANGE;
    else
        return err_set(reading->err, ERR_INVALID,
                       "\"operation\" is neither put nor delete nor delete_prefix");
    return 0;
}

/* A string is stored as what it says, everything else as compact JSON with the digits it was
 * written with. */
static int etcd_read_value(struct etcd_reading *reading, const struct etcd_members *members,
                           struct slice *out)
{
    const char *copy;
    int rc;

    if (cJSON_IsString(members->value)) {
        out->len = strlen(members->value->valuestring);
        copy = members->value->valuestring;
    } else {
        rc = json_text_check_numbers(reading->text, members->value_start, members->value_end,
                                     reading->err);
        if (rc != 0)
            return rc;
        buf_truncate(&reading->value, 0);
        rc = json_text_put_compact(&reading->value, reading->text, members->value_start,
                                   members->value_end);
        if (rc != 0)
            return err_set(reading->err, rc, "%s", err_code_text(rc));
        out->len = reading->value.len;
        copy = buf_str(&reading->value);
    }
    out->at = arena_strndup(reading->arena, copy, out->len);
    return out->at != NULL ? 0 : err_set(reading->err, ERR_NOMEM, "out of memory");
}

static int etcd_read_operation(struct etcd_reading *reading, const cJSON *item,
                               struct etcd_operation *out)
{
    struct etcd_members members;
    const char *key;
    int rc;

    if (!cJSON_IsObject(item))
        return err_set(reading->err, ERR_INVALID, "not an object");
    rc = etcd_read_members(reading, item, &members);
    if (rc == 0)
        rc = etcd_read_kind(reading, &members, &out->kind);
    if (rc != 0)
        return rc;
    if (!cJSON_IsString(members.key) || members.key->valuestring[0] == '\0')
        return err_set(reading->err, ERR_INVALID, "\"key\" is not a string with text in it");
    if (out->kind == ETCD_PUT && members.value == NULL)
        return err_set(reading->err, ERR_INVALID, "\"value\" is missing");
    if (out->kind != ETCD_PUT && members.value != NULL && !cJSON_IsNull(members.value))
        return err_set(reading->err, ERR_INVALID, "a %s has no \"value\"",
                       members.operation->valuestring);
    key = arena_strdup(reading->arena, members.key->valuestring);
    if (key == NULL)
        return err_set(reading->err, ERR_NOMEM, "out of memory");
    out->key = etcd_slice(key);
    return out->kind == ETCD_PUT ? etcd_read_value(reading, &members, &out->value) : 0;
}

static int etcd_read_items(struct etcd_reading *reading, const cJSON *list,
                           struct etcd_operation *given)
{
    size_t i = 0;

    reading->at = json_text_skip_blanks(reading->text, reading->len, reading->at) + 1;
    for (const cJSON *item = list->child; item != NULL; item = item->next, i++) {
        size_t start = json_text_skip_blanks(reading->text, reading->len, reading->at);
        int rc;

        reading->at = start;
        given[i].number = (unsigned)i + 1;
        given[i].line = etcd_line_at(reading, start);
        rc = etcd_read_operation(reading, item, &given[i]);
        if (rc == ERR_INVALID && reading->err != NULL) {
            err_prefix(reading->err, "operation %zu", i + 1);
            reading->err->line = given[i].line;
        }
        if (rc != 0)
            return rc;
        reading->at = json_text_skip_value(reading->text, reading->len, start);
        reading->at = json_text_skip_blanks(reading->text, reading->len, reading->at) + 1;
    }
    return 0;
}

int etcd_operations_read(const cJSON *list, const char *text, size_t len, size_t at,
                         struct arena *arena, struct etcd_operations *out, struct err *err)
{
    struct etcd_reading reading = {
        .text = text, .len = len, .at = at, .line = 1, .arena = arena, .err = err};
    struct etcd_operation *given;
    size_t count = 0;
    int rc;

    for (const cJSON *item = list->child; item != NULL; item = item->next)
        count++;
    given = mem_calloc(count + 1, sizeof(*given));
    if (given == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    buf_init(&reading.value, len);
    rc = etcd_read_items(&reading, list, given);
    if (rc == 0 && etcd_operations_fold(given, count, arena, out) != 0)
        rc = err_set(err, ERR_NOMEM, "out of memory");
    buf_free(&reading.value);
    mem_free(given);
    return rc;
}

int etcd_operations_put_one(struct slice key, struct slice value, struct arena *arena,
                            struct etcd_operations *out)
{
    struct etcd_operation *one = arena_calloc(arena, 1, sizeof(*one));

    if (one == NULL)
        return ERR_NOMEM;
    *one = (struct etcd_operation){
        .kind = ETCD_PUT, .number = 1, .line = 1, .key = key, .value = value};
    *out = (struct etcd_operations){.items = one, .count = 1, .given = 1};
    return 0;
}
