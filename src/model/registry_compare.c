#include <string.h>

#include "model/registry.h"

static bool compare_dependency(const struct dependency *a, const struct dependency *b)
{
    return strcmp(a->connection, b->connection) == 0 && strcmp(a->schema, b->schema) == 0 &&
           strcmp(a->target, b->target) == 0 && a->by_version == b->by_version &&
           a->simple == b->simple && strcmp(a->requires_table, b->requires_table) == 0 &&
           strcmp(a->requires_schema, b->requires_schema) == 0;
}

static bool compare_lists(const struct migration *a, const struct migration *b)
{
    if (a->tag_count != b->tag_count || a->dependency_count != b->dependency_count)
        return false;
    for (size_t i = 0; i < a->tag_count; i++)
        if (strcmp(a->tags[i], b->tags[i]) != 0)
            return false;
    for (size_t i = 0; i < a->dependency_count; i++)
        if (!compare_dependency(&a->dependencies[i], &b->dependencies[i]))
            return false;
    return true;
}

static bool compare_invalid(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool compare_migration(const struct migration *a, const struct migration *b)
{
    /* the checksum of a script that is not there is empty */
    return strcmp(a->up.checksum, b->up.checksum) == 0 &&
           strcmp(a->down.checksum, b->down.checksum) == 0 && strcmp(a->schema, b->schema) == 0 &&
           strcmp(a->table, b->table) == 0 && a->no_transaction == b->no_transaction &&
           a->lock_timeout_ms == b->lock_timeout_ms &&
           a->statement_timeout_ms == b->statement_timeout_ms &&
           compare_invalid(a->invalid, b->invalid) && compare_lists(a, b);
}

/* Registry order: (version, id). */
static int compare_order(const struct migration *a, const struct migration *b)
{
    int order = strcmp(a->version, b->version);

    return order != 0 ? order : strcmp(a->id, b->id);
}

int registry_compare(const struct registry *before, const struct registry *after,
                     struct arena *arena, struct registry_diff *out)
{
    size_t old = 0, new = 0;

    *out = (struct registry_diff){0};
    out->added = arena_alloc(arena, after->count * sizeof(*out->added));
    out->removed = arena_alloc(arena, before->count * sizeof(*out->removed));
    out->updated = arena_alloc(arena, after->count * sizeof(*out->updated));
    if (out->added == NULL || out->removed == NULL || out->updated == NULL)
        return ERR_NOMEM;
    while (old < before->count || new < after->count) {
        int order;

        if (old == before->count)
            order = 1;
        else if (new == after->count)
            order = -1;
        else
            order = compare_order(before->migrations[old], after->migrations[new]);
        if (order < 0) {
            out->removed[out->removed_count++] = before->migrations[old++]->id;
        } else if (order > 0) {
            out->added[out->added_count++] = after->migrations[new ++]->id;
        } else {
            if (!compare_migration(before->migrations[old], after->migrations[new]))
                out->updated[out->updated_count++] = after->migrations[new]->id;
            old++;
            new ++;
        }
    }
    return 0;
}
