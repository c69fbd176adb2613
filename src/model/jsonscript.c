#include "model/jsonscript.h"

#include <string.h>

#include "base/json.h"
#include "model/jsontext.h"
#include "model/sqlscan.h"

enum {
    JSON_SCRIPT_RENDERED_MAX = 4 * SQL_TEXT_MAX,
};

static struct slice json_slice(const char *text)
{
    return (struct slice){.at = text, .len = strlen(text)};
}

static int json_read_strings(struct metadata *metadata, struct arena *arena, const cJSON *list,
                             bool tags, struct err *err)
{
    struct metadata_strings *strings = tags ? &metadata->tags : &metadata->depends;
    size_t index = 0;

    if (!cJSON_IsArray(list))
        return err_set(err, ERR_INVALID, "%s is not an array of strings", list->string);
    strings->given = true;
    for (const cJSON *item = list->child; item != NULL; item = item->next, index++) {
        struct slice text;

        if (!cJSON_IsString(item))
            return err_set(err, ERR_INVALID, "%s[%zu] is not a string", list->string, index);
        text = metadata_trim(json_slice(item->valuestring));
        if (text.len == 0 || (tags && !metadata_is_tag(text)))
            return err_set(err, ERR_INVALID, "%s[%zu] is not %s", list->string, index,
                           tags ? "key=value" : "the name of a migration");
        if (metadata_add_string(strings, arena, text) != 0)
            return err_set(err, ERR_NOMEM, "out of memory");
    }
    return 0;
}

static int json_read_require(struct metadata *metadata, struct arena *arena, const cJSON *object,
                             struct err *err)
{
    struct dependency dependency = {0};

    if (!cJSON_IsObject(object))
        return err_set(err, ERR_INVALID, "not an object");
    for (const cJSON *item = object->child; item != NULL; item = item->next) {
        int rc;

        if (!cJSON_IsString(item))
            return err_set(err, ERR_INVALID, "\"%s\" is not a string", item->string);
        rc = metadata_set_require(&dependency, arena, json_slice(item->string),
                                  json_slice(item->valuestring), err);
        if (rc != 0)
            return rc;
    }
    return metadata_add_require(metadata, arena, &dependency, err);
}

static int json_read_requires(struct metadata *metadata, struct arena *arena, const cJSON *list,
                              struct err *err)
{
    size_t index = 0;

    if (!cJSON_IsArray(list))
        return err_set(err, ERR_INVALID, "requires is not an array of objects");
    metadata->requires.given = true;
    for (const cJSON *item = list->child; item != NULL; item = item->next, index++) {
        int rc = json_read_require(metadata, arena, item, err);

        if (rc == ERR_INVALID && err != NULL)
            err_prefix(err, "requires[%zu]", index);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int json_read_member(struct metadata *metadata, struct arena *arena, const cJSON *item,
                            struct err *err)
{
    if (strcmp(item->string, "tags") == 0)
        return json_read_strings(metadata, arena, item, true, err);
    if (strcmp(item->string, "depends") == 0)
        return json_read_strings(metadata, arena, item, false, err);
    if (strcmp(item->string, "requires") == 0)
        return json_read_requires(metadata, arena, item, err);
    if (!cJSON_IsString(item))
        return err_set(err, ERR_INVALID, "%s is not a string", item->string);
    if (strcmp(item->string, "schema") == 0 && item->valuestring[0] == '\0') {
        metadata->schema = "";
        return 0;
    }
    return metadata_set(metadata, arena, json_slice(item->string), json_slice(item->valuestring),
                        err);
}

static int json_read_metadata(struct metadata *metadata, struct arena *arena, const cJSON *object,
                              struct err *err)
{
    if (!cJSON_IsObject(object))
        return err_set(err, ERR_INVALID, "\"bfm\" is not an object");
    for (const cJSON *item = object->child; item != NULL && metadata != NULL; item = item->next) {
        int rc = json_read_member(metadata, arena, item, err);

        if (rc == ERR_INVALID && err != NULL)
            err_prefix(err, "bfm");
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* The list of operations of a script that is an object. */
static int json_read_object(const cJSON *root, struct arena *arena, struct metadata *metadata,
                            const cJSON **list, struct err *err)
{
    *list = NULL;
    for (const cJSON *item = root->child; item != NULL; item = item->next) {
        int rc = 0;

        if (strcmp(item->string, "operations") == 0)
            *list = item;
        else if (strcmp(item->string, "bfm") == 0)
            rc = json_read_metadata(metadata, arena, item, err);
        else
            rc = err_set(err, ERR_INVALID, "\"%.80s\" is unknown; known are bfm and operations",
                         item->string);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Where the value of the member "operations" begins; of an array: where it does itself. */
static size_t json_find_operations(const cJSON *root, const char *text, size_t len)
{
    size_t at = json_text_skip_blanks(text, len, 0);

    if (cJSON_IsArray(root))
        return at;
    at++; /* the brace */
    for (const cJSON *item = root->child; item != NULL; item = item->next) {
        at = json_text_skip_value(text, len, at); /* its name */
        at = json_text_skip_blanks(text, len, at) + 1;
        if (strcmp(item->string, "operations") == 0)
            break;
        at = json_text_skip_value(text, len, at);
        at = json_text_skip_blanks(text, len, at) + 1;
    }
    return at;
}

static int json_read_operations(const cJSON *root, const cJSON *list, const char *text, size_t len,
                                struct arena *arena, struct etcd_operations *operations,
                                struct buf *canonical, struct err *err)
{
    size_t at;
    int rc;

    if (list == NULL)
        return err_set(err, ERR_INVALID, "\"operations\" is missing");
    if (!cJSON_IsArray(list))
        return err_set(err, ERR_INVALID, "\"operations\" is not an array");
    at = json_find_operations(root, text, len);
    rc = etcd_operations_read(list, text, len, at, arena, operations, err);
    if (rc != 0 || canonical == NULL)
        return rc;
    rc = json_text_put_compact(canonical, text, at, json_text_skip_value(text, len, at));
    return rc == 0 ? 0 : err_set(err, rc, "%s", err_code_text(rc));
}

static int json_read_json(const char *text, size_t len, struct arena *arena,
                          struct metadata *metadata, struct etcd_operations *operations,
                          struct buf *canonical, struct err *err)
{
    const cJSON *list;
    cJSON *root;
    size_t at;
    int rc = json_parse_at(text, len, &root, &at, err);

    if (rc != 0 && at != JSON_NOWHERE && err != NULL)
        err->line = sql_line_at(text, at);
    if (rc != 0)
        return rc;
    list = root;
    if (cJSON_IsObject(root))
        rc = json_read_object(root, arena, metadata, &list, err);
    if (rc == 0)
        rc = json_read_operations(root, list, text, len, arena, operations, canonical, err);
    cJSON_Delete(root);
    return rc;
}

/* A text may begin with a variable, which no JSON does. */
static bool json_script_is_json(struct slice text)
{
    if (text.len == 0)
        return false;
    return text.at[0] == '[' || (text.at[0] == '{' && !(text.len > 1 && text.at[1] == '{'));
}

/* "key=value", blanks around both left out; false: it is something else. */
static bool json_split_text(struct slice text, struct slice *key, struct slice *value)
{
    const char *equals = text.len > 0 ? memchr(text.at, '=', text.len) : NULL;
    const char *end = text.at + text.len;

    if (equals == NULL)
        return false;
    *key = metadata_trim((struct slice){.at = text.at, .len = (size_t)(equals - text.at)});
    *value = metadata_trim((struct slice){.at = equals + 1, .len = (size_t)(end - equals - 1)});
    return key->len > 0;
}

static int json_read_text(struct slice text, struct arena *arena,
                          struct etcd_operations *operations, struct buf *canonical,
                          struct err *err)
{
    struct slice key, value;
    int rc;

    if (text.len == 0)
        return 0;
    if (!json_split_text(text, &key, &value))
        return err_set(err, ERR_INVALID,
                       "neither JSON (an array of operations, or an object with \"operations\") "
                       "nor key=value");
    rc = etcd_operations_put_one(key, value, arena, operations);
    if (rc == 0)
        rc = buf_append(canonical, text.at, text.len);
    return rc == 0 ? 0 : err_set(err, rc, "%s", err_code_text(rc));
}

int json_script_read(const char *text, size_t len, struct arena *arena, struct metadata *metadata,
                     enum json_script_form *form, struct etcd_operations *operations,
                     struct buf *canonical, struct err *err)
{
    struct slice trimmed = metadata_trim((struct slice){.at = text, .len = len});

    *operations = (struct etcd_operations){.count = 0};
    if (json_script_is_json(trimmed)) {
        *form = JSON_SCRIPT_OPERATIONS;
        return json_read_json(text, len, arena, metadata, operations, canonical, err);
    }
    *form = JSON_SCRIPT_TEXT;
    return json_read_text(trimmed, arena, operations, canonical, err);
}

/* --- with values in the place of variables --- */

/* A piece of the script, rendered into the arena. */
static int json_render_piece(const struct script *script, struct slice piece,
                             const struct template_values *values, struct arena *arena,
                             struct slice *out, struct err *err)
{
    size_t start = (size_t)(piece.at - script->text);
    struct buf rendered;
    int rc;

    buf_init(&rendered, JSON_SCRIPT_RENDERED_MAX);
    rc = template_render_span(script, start, start + piece.len, values, &rendered, err);
    if (rc == 0) {
        *out = (struct slice){.at = arena_strndup(arena, buf_str(&rendered), rendered.len),
                              .len = rendered.len};
        if (out->at == NULL)
            rc = err_set(err, ERR_NOMEM, "out of memory");
    }
    buf_free(&rendered);
    return rc;
}

/* Divided where the script has its first "=", whatever the values have. */
static int json_render_text(const struct script *script, struct slice text,
                            const struct template_values *values, struct arena *arena,
                            struct etcd_operations *out, struct err *err)
{
    struct slice key, value;
    int rc;

    if (!json_split_text(text, &key, &value))
        return 0; /* an empty one */
    rc = json_render_piece(script, key, values, arena, &key, err);
    if (rc == 0)
        rc = json_render_piece(script, value, values, arena, &value, err);
    if (rc == 0 && etcd_operations_put_one(key, value, arena, out) != 0)
        rc = err_set(err, ERR_NOMEM, "out of memory");
    return rc;
}

int json_script_render(const struct script *script, const struct template_values *values,
                       struct arena *arena, struct etcd_operations *out, struct err *err)
{
    struct slice text = metadata_trim((struct slice){.at = script->text, .len = script->len});
    const struct slice whole = {.at = script->text, .len = script->len};
    struct slice rendered;
    int rc;

    *out = (struct etcd_operations){.count = 0};
    if (!script->has_variables) {
        *out = *script->operations;
        return 0;
    }
    if (!json_script_is_json(text))
        return json_render_text(script, text, values, arena, out, err);
    rc = json_render_piece(script, whole, values, arena, &rendered, err);
    if (rc == 0)
        rc = json_read_json(rendered.at, rendered.len, arena, NULL, out, NULL, err);
    return rc;
}
