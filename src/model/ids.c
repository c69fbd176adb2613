#include "model/ids.h"

#include <assert.h>
#include <string.h>

enum {
    IDS_INPUT_MAX = 1024, /* longer than any ID with any schema */
};

#define IDS_SPECIFIC_FORM "%s_%s"
#define IDS_BRIEF_FORM    "%s_%s_%s_%s"

char *ids_schema_specific(struct arena *arena, const struct migration *migration,
                          const char *schema)
{
    return arena_printf(arena, IDS_SPECIFIC_FORM, schema, migration->id);
}

void ids_put_schema_specific(struct buf *out, const struct migration *migration, const char *schema)
{
    buf_printf(out, IDS_SPECIFIC_FORM, schema, migration->id);
}

char *ids_brief(struct arena *arena, const struct migration *migration)
{
    if (migration->schema[0] == '\0' || migration->table[0] == '\0')
        return NULL;
    return arena_printf(arena, IDS_BRIEF_FORM, migration->schema, migration->table,
                        migration->version, migration->name);
}

void ids_put_brief(struct buf *out, const struct migration *migration)
{
    buf_printf(out, IDS_BRIEF_FORM, migration->schema, migration->table, migration->version,
               migration->name);
}

char *ids_normalize_schema(struct arena *arena, const char *schema)
{
    char *copy = arena_strdup(arena, schema);
    size_t len = 0;

    if (copy == NULL)
        return NULL;
    for (const char *p = schema; *p != '\0'; p++) {
        bool blank = *p == '/' || *p == '_';

        if (!blank)
            copy[len++] = *p;
        else if (len > 0 && copy[len - 1] != '_')
            copy[len++] = '_';
    }
    if (len > 0 && copy[len - 1] == '_')
        len--;
    copy[len] = '\0';
    return copy;
}

/* Matches as they are found. */
struct resolving {
    const struct registry *registry;
    const char *id;
    struct arena *arena;
    struct ids_matches *out;
    size_t cap;
};

/* For a fixed migration, no schema means its declared one. */
static const char *ids_meant_schema(const struct ids_match *match)
{
    if (match->schema == NULL && migration_is_fixed(match->migration))
        return match->migration->schema;
    return match->schema;
}

static bool ids_is_same(const struct ids_match *a, const struct ids_match *b)
{
    const char *left = ids_meant_schema(a), *right = ids_meant_schema(b);

    if (a->migration != b->migration)
        return false;
    return left == NULL || right == NULL ? left == right : strcmp(left, right) == 0;
}

/* Adds a match unless another form found the same. One that is proven replaces one that is not. */
static int ids_add(struct resolving *resolving, struct ids_match match)
{
    struct ids_matches *out = resolving->out;
    size_t cap = resolving->cap > 0 ? resolving->cap * 2 : 4;
    struct ids_match *items;

    for (size_t i = 0; i < out->count; i++) {
        if (!ids_is_same(&out->items[i], &match))
            continue;
        if (out->items[i].unproven && !match.unproven)
            out->items[i] = match;
        return 0;
    }
    if (out->count == resolving->cap) {
        items = arena_alloc(resolving->arena, cap * sizeof(*items));
        if (items == NULL)
            return ERR_NOMEM;
        if (out->count > 0)
            memcpy(items, out->items, out->count * sizeof(*items));
        out->items = items;
        resolving->cap = cap;
    }
    out->items[out->count++] = match;
    return 0;
}

static int ids_add_brief(struct resolving *resolving)
{
    const struct registry_group *group =
        registry_group(&resolving->registry->by_brief_id, resolving->id);
    int rc = 0;

    for (size_t i = 0; group != NULL && i < group->count && rc == 0; i++) {
        const struct migration *migration = group->migrations[i];

        assert(migration_is_fixed(migration)); /* or it would have no brief ID */
        rc = ids_add(resolving, (struct ids_match){.migration = migration,
                                                   .schema = migration->schema,
                                                   .form = IDS_BRIEF});
    }
    return rc;
}

/* {schema}_{base id}, with the text in front as schema. */
static int ids_add_schema_specific(struct resolving *resolving, size_t prefix)
{
    const struct migration *migration =
        registry_find(resolving->registry, resolving->id + prefix + 1);
    struct ids_match match = {.migration = migration, .form = IDS_SCHEMA_SPECIFIC};

    if (migration == NULL)
        return 0;
    match.schema = arena_strndup(resolving->arena, resolving->id, prefix);
    if (match.schema == NULL)
        return ERR_NOMEM;
    match.unproven = strcmp(match.schema, migration->schema) != 0;
    return ids_add(resolving, match);
}

/* The schema of {schema}_{connection}_..., as it is or in its legacy spelling. */
static int ids_add_legacy_schema(struct resolving *resolving, const struct migration *migration,
                                 size_t len)
{
    char *schema = arena_strndup(resolving->arena, resolving->id, len);
    char *plain = schema != NULL ? ids_normalize_schema(resolving->arena, schema) : NULL;
    char *declared = ids_normalize_schema(resolving->arena, migration->schema);
    struct ids_match match = {.migration = migration, .form = IDS_LEGACY, .schema = schema};

    if (plain == NULL || declared == NULL)
        return ERR_NOMEM;
    if (strcmp(schema, migration->schema) == 0 ||
        (migration_is_fixed(migration) && strcmp(schema, declared) == 0)) {
        match.schema = migration->schema;
        return ids_add(resolving, match);
    }
    match.unproven = true;
    match.normalized = strcmp(schema, plain) == 0;
    return ids_add(resolving, match);
}

/* {version}_{name} behind `prefix` bytes, which must be {connection} or {schema}_{connection}. */
static int ids_add_legacy(struct resolving *resolving, size_t prefix)
{
    const struct registry_group *group =
        registry_group(&resolving->registry->by_version_name, resolving->id + prefix + 1);
    int rc = 0;

    for (size_t i = 0; group != NULL && i < group->count && rc == 0; i++) {
        const struct migration *migration = group->migrations[i];
        size_t len = strlen(migration->connection);

        if (prefix < len || memcmp(resolving->id + prefix - len, migration->connection, len) != 0)
            continue;
        if (prefix == len)
            rc = ids_add(resolving, (struct ids_match){.migration = migration, .form = IDS_LEGACY});
        else if (prefix > len + 1 && resolving->id[prefix - len - 1] == '_')
            rc = ids_add_legacy_schema(resolving, migration, prefix - len - 1);
    }
    return rc;
}

static int ids_add_version_name(struct resolving *resolving)
{
    const struct registry_group *group =
        registry_group(&resolving->registry->by_version_name, resolving->id);
    int rc = 0;

    for (size_t i = 0; group != NULL && i < group->count && rc == 0; i++)
        rc = ids_add(resolving,
                     (struct ids_match){.migration = group->migrations[i], .form = IDS_LEGACY});
    return rc;
}

int ids_resolve(const struct registry *registry, const char *id, struct arena *arena,
                struct ids_matches *out)
{
    struct resolving resolving = {.registry = registry, .id = id, .arena = arena, .out = out};
    const struct migration *base = registry_find(registry, id);
    size_t len = strlen(id);
    int rc;

    *out = (struct ids_matches){0};
    if (len > IDS_INPUT_MAX)
        return 0;
    if (base != NULL)
        return ids_add(&resolving, (struct ids_match){.migration = base, .form = IDS_BASE});
    rc = ids_add_brief(&resolving);
    if (rc == 0)
        rc = ids_add_version_name(&resolving);
    for (size_t i = 1; i < len && rc == 0; i++) {
        if (id[i] != '_')
            continue;
        rc = ids_add_schema_specific(&resolving, i);
        if (rc == 0)
            rc = ids_add_legacy(&resolving, i);
    }
    return rc;
}
