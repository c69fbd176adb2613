/* Who depends on a migration: the edges of a graph, walked against their direction. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "model/plan.h"
#include "model/plan_match.h"

struct plan_collector {
    struct plan_matcher matcher;
    const struct registry *registry;
    const struct migration *migration;
    struct arena *arena;
    const struct migration *const *asked; /* the matches that were copied last, and the copy */
    const struct migration *const *copied;
    struct plan_dependent *found; /* room for the whole registry */
    size_t count;
};

/* The matches in the arena. Large answers stay where they are, so a copy serves many dependents. */
static int collector_keep(struct plan_collector *c, const struct plan_matches *matches,
                          struct plan_dependent *found)
{
    bool is_small = matches->count <= PLAN_MATCH_SMALL;
    size_t size = matches->count * sizeof(struct migration *);
    const struct migration **copy;

    if (is_small || matches->items != c->asked) {
        copy = arena_alloc(c->arena, size);
        if (copy == NULL)
            return ERR_NOMEM;
        memcpy(copy, matches->items, size);
        c->asked = is_small ? NULL : matches->items;
        c->copied = copy;
    }
    found->others = c->copied;
    found->other_count = matches->count;
    return 0;
}

static bool matches_hold(const struct plan_matches *matches, const struct migration *migration)
{
    for (size_t i = 0; i < matches->count; i++)
        if (matches->items[i] == migration)
            return true;
    return false;
}

/* Adds `dependent` if one of its dependencies needs the migration or could be satisfied by it. */
static int collector_visit(struct plan_collector *c, const struct migration *dependent)
{
    struct plan_dependent found = {.migration = dependent};
    struct plan_matches matches;
    bool depends = false;

    for (size_t d = 0; d < dependent->dependency_count; d++) {
        const struct dependency *dependency = &dependent->dependencies[d];

        if (!plan_dependency_matches(dependency, c->migration))
            continue;
        if (plan_matcher_find(&c->matcher, c->registry, dependent, dependency, &matches) != 0)
            return ERR_NOMEM;
        if (!matches_hold(&matches, c->migration))
            continue;
        depends = true;
        if (!dependency->simple) { /* needs them all */
            found.others = NULL;
            found.other_count = 0;
            break;
        }
        if (found.others == NULL && collector_keep(c, &matches, &found) != 0)
            return ERR_NOMEM;
    }
    if (depends)
        c->found[c->count++] = found;
    return 0;
}

int plan_dependents(const struct registry *registry, const struct migration *migration,
                    struct arena *arena, const struct plan_dependent **out, size_t *count)
{
    struct plan_collector c = {.registry = registry, .migration = migration, .arena = arena};
    struct plan_dependent *kept = NULL;
    int rc = 0;

    *out = NULL;
    *count = 0;
    c.found = mem_calloc(registry->count, sizeof(*c.found));
    if (c.found == NULL)
        return ERR_NOMEM;
    plan_matcher_init(&c.matcher);
    for (size_t i = 0; rc == 0 && i < registry->count; i++)
        if (registry->migrations[i] != migration)
            rc = collector_visit(&c, registry->migrations[i]);
    plan_matcher_free(&c.matcher);
    if (rc == 0)
        kept = arena_calloc(arena, c.count, sizeof(*kept));
    if (kept != NULL) {
        if (c.count > 0)
            memcpy(kept, c.found, c.count * sizeof(*kept));
        *out = kept;
        *count = c.count;
    }
    mem_free(c.found);
    return kept != NULL ? 0 : ERR_NOMEM;
}
