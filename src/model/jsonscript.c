#include "model/jsonscript.h"

#include <string.h>

#include "base/json.h"
#include "model/sqlscan.h"

static struct slice json_slice(const char *text)
{
    return (struct slice){.at = text, .len = strlen(text)};
}

/* Line of element `index` of the operations; 0 if it has none. Strings are well-formed here. */
static unsigned json_line_of(const char *text, size_t len, size_t index)
{
    size_t depth = 0, list = 0, seen = 0;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (list > 0 && depth == list && seen == index && strchr(" \t\r\n,[", c) == NULL)
            return sql_line_at(text, i);
        if (c == '"') {
            for (i++; text[i] != '"'; i++)
                if (text[i] == '\\')
                    i++;
        } else if (c == '[' || c == '{') {
            depth++;
            if (c == '[' && list == 0 && depth <= 2)
                list = depth;
        } else if (c == ']' || c == '}') {
            depth--;
        } else if (c == ',' && list > 0 && depth == list) {
            seen++;
        }
    }
    return 0;
}

static int json_check_operation(const cJSON *item, size_t index, struct err *err)
{
    const cJSON *operation, *key, *value;
    bool is_delete;

    if (!cJSON_IsObject(item))
        return err_set(err, ERR_INVALID, "operation %zu: not an object", index);
    operation = cJSON_GetObjectItemCaseSensitive(item, "operation");
    key = cJSON_GetObjectItemCaseSensitive(item, "key");
    value = cJSON_GetObjectItemCaseSensitive(item, "value");
    is_delete = cJSON_IsString(operation) && strcmp(operation->valuestring, "delete") == 0;
    if (operation != NULL && !is_delete &&
        !(cJSON_IsString(operation) && strcmp(operation->valuestring, "put") == 0))
        return err_set(err, ERR_INVALID, "operation %zu: \"operation\" is neither put nor delete",
                       index);
    if (!cJSON_IsString(key) || key->valuestring[0] == '\0')
        return err_set(err, ERR_INVALID, "operation %zu: \"key\" is not a string with text in it",
                       index);
    if (!is_delete && !cJSON_IsString(value) && !cJSON_IsObject(value))
        return err_set(err, ERR_INVALID,
                       "operation %zu: \"value\" is neither a string nor an "
                       "object",
                       index);
    return 0;
}

static int json_check_operations(const cJSON *list, const char *text, size_t len, size_t *count,
                                 struct err *err)
{
    size_t index = 0;

    if (list == NULL)
        return err_set(err, ERR_INVALID, "\"operations\" is missing");
    if (!cJSON_IsArray(list))
        return err_set(err, ERR_INVALID, "\"operations\" is not an array");
    for (const cJSON *item = list->child; item != NULL; item = item->next, index++) {
        int rc = json_check_operation(item, index, err);

        if (rc != 0) {
            if (err != NULL)
                err->line = json_line_of(text, len, index);
            return rc;
        }
    }
    *count = index;
    return 0;
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

static int json_print(const cJSON *list, struct buf *canonical, struct err *err)
{
    char *printed = cJSON_PrintUnformatted(list);
    int rc = printed != NULL ? buf_puts(canonical, printed) : ERR_NOMEM;

    cJSON_free(printed);
    return rc == 0 ? 0 : err_set(err, rc, "%s", err_code_text(rc));
}

static int json_read_json(const char *text, size_t len, struct arena *arena,
                          struct metadata *metadata, size_t *operations, struct buf *canonical,
                          struct err *err)
{
    const cJSON *list;
    cJSON *root;
    int rc = json_parse(text, len, &root, err);

    if (rc != 0)
        return rc;
    list = root;
    if (cJSON_IsObject(root))
        rc = json_read_object(root, arena, metadata, &list, err);
    if (rc == 0)
        rc = json_check_operations(list, text, len, operations, err);
    if (rc == 0)
        rc = json_print(list, canonical, err);
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

int json_script_read(const char *text, size_t len, struct arena *arena, struct metadata *metadata,
                     enum json_script_form *form, size_t *operations, struct buf *canonical,
                     struct err *err)
{
    struct slice trimmed = metadata_trim((struct slice){.at = text, .len = len});
    const char *equals;

    *operations = 0;
    if (json_script_is_json(trimmed)) {
        *form = JSON_SCRIPT_OPERATIONS;
        return json_read_json(text, len, arena, metadata, operations, canonical, err);
    }
    *form = JSON_SCRIPT_TEXT;
    equals = trimmed.len > 0 ? memchr(trimmed.at, '=', trimmed.len) : NULL;
    if (trimmed.len == 0)
        return 0;
    if (equals == NULL ||
        metadata_trim((struct slice){.at = trimmed.at, .len = (size_t)(equals - trimmed.at)}).len ==
            0)
        return err_set(err, ERR_INVALID,
                       "neither JSON (an array of operations, or an object with \"operations\") "
                       "nor key=value");
    *operations = 1;
    if (buf_append(canonical, trimmed.at, trimmed.len) != 0)
        return err_set(err, canonical->rc, "%s", err_code_text(canonical->rc));
    return 0;
}
