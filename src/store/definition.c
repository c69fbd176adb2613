#include "store/definition.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "model/plan.h"

const char *definition_target_type(const struct dependency *dependency)
{
    return dependency->by_version ? "version" : "name";
}

const char *definition_link_schema(const struct definition_link *link)
{
    return link->dependency->schema[0] != '\0' ? link->dependency->schema : link->target->schema;
}

int definition_put_simple(struct buf *json, const struct migration *migration)
{
    const char *comma = "";

    buf_putc(json, '[');
    for (size_t i = 0; i < migration->dependency_count; i++) {
        if (!migration->dependencies[i].simple)
            continue;
        buf_puts(json, comma);
        json_put_string(json, migration->dependencies[i].target);
        comma = ",";
    }
    return buf_putc(json, ']');
}

static void definition_put_object(struct buf *json, const struct dependency *dependency)
{
    buf_putc(json, '{');
    json_put_member(json, "Connection", dependency->connection);
    json_put_member(json, "Schema", dependency->schema);
    json_put_member(json, "Target", dependency->target);
    json_put_member(json, "TargetType", definition_target_type(dependency));
    json_put_member(json, "RequiresTable", dependency->requires_table);
    json_put_member(json, "RequiresSchema", dependency->requires_schema);
    buf_putc(json, '}');
}

int definition_put_structured(struct buf *json, const struct migration *migration)
{
    const char *before = "[";
    bool any = false;

    for (size_t i = 0; i < migration->dependency_count; i++) {
        if (migration->dependencies[i].simple)
            continue;
        buf_puts(json, before);
        definition_put_object(json, &migration->dependencies[i]);
        before = ",";
        any = true;
    }
    return buf_puts(json, any ? "]" : "null");
}

/* --- fingerprints --- */

static uint64_t definition_hash_text(uint64_t hash, const char *text)
{
    if (text == NULL)
        return hash_fnv1a(hash, "\1", 1);
    return hash_fnv1a(hash, text, strlen(text) + 1);
}

static uint64_t definition_hash_dependency(uint64_t hash, const struct dependency *dependency)
{
    const char flags[] = {dependency->by_version ? 'v' : 'n', dependency->simple ? 's' : 'x'};

    hash = hash_fnv1a(hash, flags, sizeof(flags));
    hash = definition_hash_text(hash, dependency->connection);
    hash = definition_hash_text(hash, dependency->schema);
    hash = definition_hash_text(hash, dependency->target);
    hash = definition_hash_text(hash, dependency->requires_table);
    return definition_hash_text(hash, dependency->requires_schema);
}

static void definition_fingerprint(struct definition *definition)
{
    const struct migration *migration = definition->migration;
    uint64_t hash = HASH_FNV_START;

    hash = definition_hash_text(hash, migration->schema);
    hash = definition_hash_text(hash, migration->version);
    hash = definition_hash_text(hash, migration->name);
    hash = definition_hash_text(hash, migration->connection);
    hash = definition_hash_text(hash, backend_kind_name(migration->backend));
    hash = definition_hash_text(hash, migration->up.file);
    hash = definition_hash_text(hash, migration->down.file);
    for (size_t i = 0; i < migration->dependency_count; i++)
        hash = definition_hash_dependency(hash, &migration->dependencies[i]);
    for (size_t i = 0; i < definition->link_count; i++) {
        hash = definition_hash_text(hash, definition->links[i].target->id);
        hash = definition_hash_text(hash, definition_link_schema(&definition->links[i]));
    }
    snprintf(definition->fingerprint, sizeof(definition->fingerprint), "1:%016" PRIx64, hash);
}

/* --- links --- */

static const struct registry_group *definition_candidates(const struct registry *registry,
                                                          const struct dependency *dependency)
{
    const struct map *map = dependency->by_version ? &registry->by_version : &registry->by_name;

    return registry_group(map, dependency->target);
}

/* Counts the links, and stores them unless `links` is NULL. */
static size_t definition_find_links(const struct registry *registry,
                                    const struct migration *migration,
                                    struct definition_link *links)
{
    size_t count = 0;

    for (size_t i = 0; i < migration->dependency_count; i++) {
        const struct dependency *dependency = &migration->dependencies[i];
        const struct registry_group *group = definition_candidates(registry, dependency);

        for (size_t at = 0; group != NULL && at < group->count; at++) {
            const struct migration *target = group->migrations[at];

            if (target == migration || !plan_dependency_matches(dependency, target))
                continue;
            if (links != NULL)
                links[count] = (struct definition_link){.dependency = dependency, .target = target};
            count++;
        }
    }
    return count;
}

static int definition_make(const struct registry *registry, const struct migration *migration,
                           struct arena *arena, struct definition *definition)
{
    struct definition_link *links = NULL;
    size_t count = definition_find_links(registry, migration, NULL);

    if (count > 0) {
        links = arena_calloc(arena, count, sizeof(*links));
        if (links == NULL)
            return ERR_NOMEM;
        definition_find_links(registry, migration, links);
    }
    definition->migration = migration;
    definition->links = links;
    definition->link_count = count;
    definition_fingerprint(definition);
    return 0;
}

/* --- difference --- */

void definition_diff_init(struct definition_diff *diff)
{
    *diff = (struct definition_diff){.count = 0};
    arena_init(&diff->arena);
    map_init(&diff->known);
}

void definition_diff_free(struct definition_diff *diff)
{
    map_free(&diff->known);
    arena_free(&diff->arena);
    definition_diff_init(diff);
}

int definition_diff_add(struct definition_diff *diff, const char *migration_id,
                        const char *fingerprint)
{
    const char *id = arena_strdup(&diff->arena, migration_id);
    char *value = arena_strdup(&diff->arena, fingerprint != NULL ? fingerprint : "");

    if (id == NULL || value == NULL)
        return ERR_NOMEM;
    return map_put_str(&diff->known, id, value);
}

int definition_diff_make(struct definition_diff *diff, const struct registry *registry)
{
    diff->changed = arena_calloc(&diff->arena, registry->count, sizeof(*diff->changed));
    if (diff->changed == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < registry->count; i++) {
        const struct migration *migration = registry->migrations[i];
        struct definition *next = &diff->changed[diff->count];
        const char *known = map_get_str(&diff->known, migration->id);

        if (definition_make(registry, migration, &diff->arena, next) != 0)
            return ERR_NOMEM;
        if (known == NULL || strcmp(known, next->fingerprint) != 0)
            diff->count++;
    }
    return 0;
}
