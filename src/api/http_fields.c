#include "api/http_fields.h"

#include <string.h>

void fields_init(struct fields *fields, const cJSON *body, struct arena *arena, struct err *err)
{
    *fields = (struct fields){.object = body, .prefix = "", .arena = arena, .err = err};
    if (body != NULL && !cJSON_IsObject(body)) {
        fields->object = NULL;
        fields->rc = err_set(err, ERR_INVALID, "the request body must be a JSON object");
    }
}

/* NULL also after a failure, so that only the first one is told. */
static const cJSON *field_find(const struct fields *fields, const char *name)
{
    const cJSON *item;

    if (fields->rc != 0 || fields->object == NULL)
        return NULL;
    item = cJSON_GetObjectItemCaseSensitive(fields->object, name);
    return item != NULL && cJSON_IsNull(item) ? NULL : item;
}

static void field_refuse(struct fields *fields, const char *name, const char *rule)
{
    fields->rc = err_set(fields->err, ERR_INVALID, "field \"%s%s\" %s", fields->prefix, name, rule);
}

static const char *field_copy(struct fields *fields, const char *name, const char *text)
{
    char *copy;

    if (strlen(text) > FIELD_STRING_MAX) {
        field_refuse(fields, name, "holds a string of more than 65536 bytes");
        return "";
    }
    copy = arena_strdup(fields->arena, text);
    if (copy == NULL) {
        fields->rc = err_set(fields->err, ERR_NOMEM, "out of memory");
        return "";
    }
    return copy;
}

const char *fields_string(struct fields *fields, const char *name)
{
    const cJSON *item = field_find(fields, name);

    if (item == NULL)
        return "";
    if (!cJSON_IsString(item)) {
        field_refuse(fields, name, "must be a string");
        return "";
    }
    return field_copy(fields, name, item->valuestring);
}

bool fields_bool(struct fields *fields, const char *name)
{
    const cJSON *item = field_find(fields, name);

    if (item != NULL && !cJSON_IsBool(item))
        field_refuse(fields, name, "must be true or false");
    return item != NULL && cJSON_IsTrue(item);
}

bool fields_count(struct fields *fields, const char *name, size_t *out)
{
    const cJSON *item = field_find(fields, name);

    *out = 0;
    if (item == NULL)
        return false;
    if (!cJSON_IsNumber(item) ||
        !(item->valuedouble >= 0 && item->valuedouble <= FIELD_COUNT_MAX) ||
        item->valuedouble != (double)(size_t)item->valuedouble) {
        field_refuse(fields, name, "must be a whole number from 0 to 1000000000");
        return false;
    }
    *out = (size_t)item->valuedouble;
    return true;
}

static size_t array_count(const cJSON *array, bool *all_strings)
{
    size_t count = 0;

    *all_strings = true;
    for (const cJSON *item = array->child; item != NULL; item = item->next) {
        *all_strings = *all_strings && cJSON_IsString(item);
        count++;
    }
    return count;
}

const char *const *fields_strings(struct fields *fields, const char *name, size_t max,
                                  size_t *count)
{
    static const char *const none[] = {NULL};
    const cJSON *item = field_find(fields, name);
    const char **strings;
    bool all_strings = false;
    size_t wanted = 0;

    *count = 0;
    if (item == NULL)
        return none;
    if (cJSON_IsArray(item))
        wanted = array_count(item, &all_strings);
    if (!all_strings) {
        field_refuse(fields, name, "must be an array of strings");
        return none;
    }
    if (wanted > max) {
        fields->rc = err_set(fields->err, ERR_INVALID, "field \"%s%s\" has more than %zu entries",
                             fields->prefix, name, max);
        return none;
    }
    strings = arena_calloc(fields->arena, wanted + 1, sizeof(*strings));
    if (strings == NULL) {
        fields->rc = err_set(fields->err, ERR_NOMEM, "out of memory");
        return none;
    }
    for (item = item->child; item != NULL; item = item->next)
        strings[(*count)++] = field_copy(fields, name, item->valuestring);
    return strings;
}

bool fields_object(struct fields *fields, const char *name, const char *prefix,
                   struct fields *inner)
{
    const cJSON *item = field_find(fields, name);

    *inner = *fields;
    inner->object = NULL;
    inner->prefix = prefix;
    if (item == NULL)
        return false;
    if (!cJSON_IsObject(item)) {
        field_refuse(fields, name, "must be an object");
        inner->rc = fields->rc;
        return false;
    }
    inner->object = item;
    return true;
}

void fields_require(struct fields *fields, const char *name)
{
    if (fields->rc == 0 && field_find(fields, name) == NULL)
        field_refuse(fields, name, "is required");
}
