#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "server/catalog_internal.h"

enum {
    REPORTED_MAX = 100, /* lines about single migrations; the counts say the rest */
};

static void catalog_report_problems(const struct registry *registry)
{
    size_t reported = 0;

    for (size_t i = 0; i < registry->problem_count && reported < REPORTED_MAX; i++, reported++)
        log_write(LOG_WARN, "file is no migration", LOG_STR("file", registry->problems[i].path),
                  LOG_INT("line", registry->problems[i].line),
                  LOG_STR("error", registry->problems[i].text));
    for (size_t i = 0; i < registry->count && reported < REPORTED_MAX; i++) {
        if (registry->migrations[i]->invalid == NULL)
            continue;
        reported++;
        log_write(LOG_WARN, "migration is invalid",
                  LOG_STR("migration", registry->migrations[i]->id),
                  LOG_STR("error", registry->migrations[i]->invalid));
    }
}

void catalog_report_names(const struct registry *registry)
{
    for (size_t i = 0; i < registry->doubt_count && i < REPORTED_MAX; i++)
        log_write(LOG_WARN, "file may be misnamed", LOG_STR("file", registry->doubts[i].path),
                  LOG_STR("warning", registry->doubts[i].text));
    if (registry->stray_count > 0)
        log_write(LOG_WARN, "files are not named like migrations and are passed over",
                  LOG_INT("count", registry->stray_count),
                  LOG_STR("first", registry->strays[0].path),
                  LOG_STR("reason", registry->strays[0].text));
}

static bool catalog_has_told(const struct catalog *catalog, uint64_t path)
{
    for (size_t i = 0; i < catalog->told_count; i++)
        if (catalog->told[i] == path)
            return true;
    return false;
}

void catalog_report_misplaced(struct catalog *catalog, const struct registry *registry)
{
    for (size_t i = 0; i < registry->misplaced_count && i < REGISTRY_STRAYS_MAX; i++) {
        const struct registry_problem *misplaced = &registry->misplaced[i];
        uint64_t path = hash_fnv1a(HASH_FNV_START, misplaced->path, strlen(misplaced->path));

        if (catalog_has_told(catalog, path))
            continue;
        if (catalog->told_count == CATALOG_TOLD_MAX)
            return;
        catalog->told[catalog->told_count++] = path;
        log_write(LOG_WARN, "nothing is read here", LOG_STR("path", misplaced->path),
                  LOG_STR("warning", misplaced->text));
        if (catalog->told_count == CATALOG_TOLD_MAX)
            log_write(LOG_WARN,
                      "no more paths are named where nothing is read; "
                      "bfm validate shows them",
                      LOG_INT("count", registry->misplaced_count));
    }
}

void catalog_report_change(const struct registry_diff *diff, const struct registry *registry)
{
    log_write(LOG_INFO, "migrations loaded", LOG_INT("total", registry->count),
              LOG_INT("added", diff->added_count), LOG_INT("removed", diff->removed_count),
              LOG_INT("updated", diff->updated_count),
              LOG_INT("problems", registry->problem_count));
    catalog_report_problems(registry);
    catalog_report_names(registry);
}

/* The strings belong to registries that may go before the answer is written. */
static int catalog_copy_ids(struct arena *arena, const char *const *ids, size_t count,
                            const char *const **out)
{
    const char **copy = arena_calloc(arena, count > 0 ? count : 1, sizeof(*copy));

    if (copy == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        copy[i] = arena_strdup(arena, ids[i]);
        if (copy[i] == NULL)
            return ERR_NOMEM;
    }
    *out = copy;
    return 0;
}

int catalog_copy_diff(const struct registry_diff *diff, struct api_reindex_result *out)
{
    int rc = catalog_copy_ids(&out->arena, diff->added, diff->added_count, &out->added);

    if (rc == 0)
        rc = catalog_copy_ids(&out->arena, diff->removed, diff->removed_count, &out->removed);
    if (rc == 0)
        rc = catalog_copy_ids(&out->arena, diff->updated, diff->updated_count, &out->updated);
    if (rc != 0) {
        arena_free(&out->arena);
        *out = (struct api_reindex_result){0};
        arena_init(&out->arena);
        return rc;
    }
    out->added_count = diff->added_count;
    out->removed_count = diff->removed_count;
    out->updated_count = diff->updated_count;
    return 0;
}
