#include <string.h>
#include <strings.h>

#include "model/plan.h"

/* A tag taken apart: text around the first '=', without blanks. */
struct tag {
    const char *key;
    size_t key_len;
    const char *value;
    size_t value_len;
};

static bool tag_is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void tag_trim(const char **text, size_t *len)
{
    while (*len > 0 && tag_is_blank((*text)[0])) {
        (*text)++;
        (*len)--;
    }
    while (*len > 0 && tag_is_blank((*text)[*len - 1]))
        (*len)--;
}

static bool tag_parse(const char *text, struct tag *out)
{
    const char *equals = strchr(text, '=');

    if (equals == NULL)
        return false;
    out->key = text;
    out->key_len = (size_t)(equals - text);
    out->value = equals + 1;
    out->value_len = strlen(out->value);
    tag_trim(&out->key, &out->key_len);
    tag_trim(&out->value, &out->value_len);
    return out->key_len > 0;
}

static bool tag_has_same_key(const struct tag *a, const struct tag *b)
{
    return a->key_len == b->key_len && strncasecmp(a->key, b->key, a->key_len) == 0;
}

static bool tag_is_equal(const struct tag *a, const struct tag *b)
{
    return a->value_len == b->value_len && memcmp(a->value, b->value, a->value_len) == 0 &&
           tag_has_same_key(a, b);
}

int plan_check_filter(const struct plan_filter *filter, struct err *err)
{
    struct tag tag;

    if (filter->tag_count > PLAN_TAGS_MAX)
        return err_set(err, ERR_LIMIT, "too many tags: %zu were given, at most %d are allowed",
                       filter->tag_count, PLAN_TAGS_MAX);
    for (size_t i = 0; i < filter->tag_count; i++)
        if (!tag_parse(filter->tags[i], &tag))
            return err_set(err, ERR_INVALID, "malformed tag \"%.200s\": expected key=value",
                           filter->tags[i]);
    return 0;
}

/* Whether a later tag of the filter has the key of tag number `at` and so replaces it. */
static bool filter_overrides_tag(const struct plan_filter *filter, size_t at, const struct tag *tag)
{
    struct tag other;

    for (size_t i = at + 1; i < filter->tag_count; i++)
        if (tag_parse(filter->tags[i], &other) && tag_has_same_key(tag, &other))
            return true;
    return false;
}

static bool migration_has_tag(const struct migration *migration, const struct tag *wanted)
{
    struct tag tag;

    for (size_t i = 0; i < migration->tag_count; i++)
        if (tag_parse(migration->tags[i], &tag) && tag_is_equal(&tag, wanted))
            return true;
    return false;
}

static bool filter_matches_tags(const struct plan_filter *filter, const struct migration *migration)
{
    struct tag wanted;

    for (size_t i = 0; i < filter->tag_count; i++) {
        if (!tag_parse(filter->tags[i], &wanted))
            return false;
        if (!filter_overrides_tag(filter, i, &wanted) && !migration_has_tag(migration, &wanted))
            return false;
    }
    return true;
}

static bool filter_matches_tables(const struct plan_filter *filter, const char *table)
{
    if (filter->table_count == 0)
        return true;
    for (size_t i = 0; i < filter->table_count; i++)
        if (strcmp(filter->tables[i], table) == 0)
            return true;
    return false;
}

static bool filter_matches_text(const char *wanted, const char *actual)
{
    return wanted == NULL || wanted[0] == '\0' || strcmp(wanted, actual) == 0;
}

static bool filter_matches_backend(const char *wanted, enum backend_kind actual)
{
    enum backend_kind kind;

    if (wanted == NULL || wanted[0] == '\0')
        return true;
    return backend_kind_parse(wanted, &kind) && kind == actual;
}

bool plan_filter_matches(const struct plan_filter *filter, const struct migration *migration)
{
    return (!filter->fixed_only || migration_is_fixed(migration)) &&
           filter_matches_text(filter->connection, migration->connection) &&
           filter_matches_text(filter->version, migration->version) &&
           filter_matches_text(filter->schema, migration->schema) &&
           filter_matches_backend(filter->backend, migration->backend) &&
           filter_matches_tables(filter, migration->table) &&
           filter_matches_tags(filter, migration);
}
