#include "model/registry.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/ids.h"
#include "model/registry_parts.h"

static int registry_compare_order(const void *a, const void *b)
{
    const struct migration *const *left = a;
    const struct migration *const *right = b;
    int order = strcmp((*left)->version, (*right)->version);

    return order != 0 ? order : strcmp((*left)->id, (*right)->id);
}

/* Adds to the group of a key that lives as long as the registry. A group's array holds the next
 * power of two: most groups have one member. */
static int registry_group_add(struct registry *registry, struct map *map, const char *key,
                              size_t len, const struct migration *migration)
{
    struct registry_group *group = map_get(map, key, len);
    const struct migration **bigger;

    if (group == NULL) {
        group = arena_calloc(&registry->arena, 1, sizeof(*group));
        if (group == NULL || map_put(map, key, len, group) != 0)
            return ERR_NOMEM;
    }
    if ((group->count & (group->count - 1)) == 0) {
        bigger = arena_alloc(&registry->arena, (group->count > 0 ? group->count * 2 : 1) *
                                                   sizeof(const struct migration *));
        if (bigger == NULL)
            return ERR_NOMEM;
        if (group->count > 0)
            memcpy(bigger, group->migrations, group->count * sizeof(const struct migration *));
        group->migrations = bigger;
    }
    group->migrations[group->count++] = migration;
    return 0;
}

static int registry_index_brief(struct registry *registry, const struct migration *migration)
{
    const char *key;

    if (migration->schema[0] == '\0' || migration->table[0] == '\0')
        return 0;
    key = ids_brief(&registry->arena, migration);
    if (key == NULL)
        return ERR_NOMEM;
    return registry_group_add(registry, &registry->by_brief_id, key, strlen(key), migration);
}

/* In registry order, so that groups are too. */
static int registry_index(struct registry *registry, const struct migration *migration)
{
    size_t version = strlen(migration->version), name = strlen(migration->name);
    int rc = registry_group_add(registry, &registry->by_version_name, migration->id,
                                version + 1 + name, migration);

    if (rc == 0)
        rc = registry_group_add(registry, &registry->by_name, migration->name, name, migration);
    if (rc == 0)
        rc = registry_group_add(registry, &registry->by_version, migration->version, version,
                                migration);
    if (rc == 0)
        rc = registry_group_add(registry, &registry->by_connection, migration->connection,
                                strlen(migration->connection), migration);
    return rc == 0 ? registry_index_brief(registry, migration) : rc;
}

/* Lists the migration, unless one of the same ID came before: that one stays. */
static int registry_list(struct registry *registry, struct problems *problems,
                         struct migration *migration)
{
    const struct migration *other = map_get_str(&registry->by_id, migration->id);

    if (other != NULL)
        return problems_add(problems, &registry->arena, migration->path,
                            arena_printf(&registry->arena,
                                         "the ID %s is taken by %s already: %s is left out",
                                         migration->id, other->path, migration->path));
    if (map_put_str(&registry->by_id, migration->id, migration) != 0)
        return ERR_NOMEM;
    registry->migrations[registry->count++] = migration;
    registry->invalid_count += migration->invalid != NULL;
    return 0;
}

static int registry_take_problems(struct registry *registry, struct problems *to,
                                  const struct problems *from)
{
    for (size_t i = 0; i < from->count; i++) {
        char *text = arena_strdup(&registry->arena, from->items[i].text);

        if (problems_add(to, &registry->arena, from->items[i].path, text) != 0)
            return ERR_NOMEM;
    }
    return 0;
}

/* All migrations of all chunks that have an ID of their own, in the order of their paths. */
static int registry_fill(struct registry *registry, const struct registry_sources *sources,
                         struct registry_chunk *const *chunks, size_t count)
{
    struct problems problems = {0}, doubts = {0};
    size_t migrations = 0;
    int rc = registry_take_problems(registry, &problems, &sources->problems);

    if (rc == 0)
        rc = registry_take_problems(registry, &doubts, &sources->doubts);
    registry->doubts = doubts.items;
    registry->doubt_count = doubts.count;
    for (size_t i = 0; i < count; i++)
        migrations += chunks[i]->count;
    registry->migrations =
        arena_alloc(&registry->arena, migrations * sizeof(const struct migration *));
    if (registry->migrations == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = registry_take_problems(registry, &problems, &chunks[i]->problems);
        for (size_t n = 0; n < chunks[i]->count && rc == 0; n++)
            rc = registry_list(registry, &problems, chunks[i]->migrations[n]);
    }
    registry->problems = problems.items;
    registry->problem_count = problems.count;
    return rc;
}

static int registry_order(struct registry *registry)
{
    int rc = 0;

    qsort((void *)registry->migrations, registry->count, sizeof(const struct migration *),
          registry_compare_order);
    for (size_t i = 0; i < registry->count && rc == 0; i++) {
        struct migration *migration = map_get_str(&registry->by_id, registry->migrations[i]->id);

        migration->index = i;
        rc = registry_index(registry, migration);
    }
    return rc;
}

static void registry_destroy(struct registry *registry)
{
    map_free(&registry->by_id);
    map_free(&registry->by_version_name);
    map_free(&registry->by_name);
    map_free(&registry->by_version);
    map_free(&registry->by_connection);
    map_free(&registry->by_brief_id);
    arena_free(&registry->arena);
    mem_free(registry);
}

int registry_assemble(const struct registry_sources *sources, struct registry_chunk *const *chunks,
                      size_t count, struct registry **out, struct err *err)
{
    struct registry *registry = mem_calloc(1, sizeof(*registry));
    int rc;

    *out = NULL;
    if (registry == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    registry->refs = 1;
    rc = registry_fill(registry, sources, chunks, count);
    if (rc == 0)
        rc = registry_order(registry);
    if (rc != 0) {
        registry_destroy(registry);
        return err_set(err, rc, "%s", err_code_text(rc));
    }
    for (size_t i = 0; i < count; i++) {
        arena_adopt(&registry->arena, &chunks[i]->arena);
        chunks[i]->migrations = NULL;
        chunks[i]->count = 0;
        chunks[i]->problems = (struct problems){0};
    }
    *out = registry;
    return 0;
}

int registry_build(const struct registry_file *files, size_t count, struct registry **out,
                   struct err *err)
{
    struct registry_sources *sources = NULL;
    struct registry_chunk *chunk = NULL;
    int rc = registry_sort(files, count, &sources, err);

    *out = NULL;
    if (rc == 0)
        rc = registry_parse(sources, 0, sources->count, &chunk, err);
    if (rc == 0)
        rc = registry_assemble(sources, &chunk, 1, out, err);
    registry_chunk_free(chunk);
    registry_sources_free(sources);
    return rc;
}

struct registry *registry_ref(struct registry *registry)
{
    registry->refs++;
    return registry;
}

void registry_unref(struct registry *registry)
{
    if (registry == NULL || --registry->refs > 0)
        return;
    registry_destroy(registry);
}

const struct migration *registry_find(const struct registry *registry, const char *id)
{
    return map_get_str(&registry->by_id, id);
}

const struct registry_group *registry_group(const struct map *map, const char *key)
{
    return map_get_str(map, key);
}
