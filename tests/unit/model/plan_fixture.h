#ifndef BFM_TESTS_PLAN_FIXTURE_H
#define BFM_TESTS_PLAN_FIXTURE_H

#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/base.h"
#include "model/plan.h"

/* A registry made by hand, without files: fixture_add() and fixture_depend(), then
 * fixture_finish(). */
struct fixture {
    struct registry registry;
    struct migration *list[512];
    size_t count;
};

static const struct script fixture_script = {.file = "x.sql", .text = "SELECT 1"};

static inline void fixture_init(struct fixture *f)
{
    *f = (struct fixture){.registry.refs = 1};
    arena_init(&f->registry.arena);
}

static inline void fixture_free(struct fixture *f)
{
    struct registry *r = &f->registry;

    map_free(&r->by_id);
    map_free(&r->by_name);
    map_free(&r->by_version);
    map_free(&r->by_connection);
    arena_free(&r->arena);
}

/* The version is padded with zeros to its full length. */
static inline struct migration *fixture_make(struct arena *arena, const char *version,
                                             const char *name, const char *connection)
{
    struct migration *m = arena_calloc(arena, 1, sizeof(*m));

    assert_non_null(m);
    m->version = arena_printf(arena, "%s%.*s", version, (int)(VERSION_LEN - strlen(version)),
                              "00000000000000");
    m->name = arena_strdup(arena, name);
    m->connection = arena_strdup(arena, connection);
    m->id = arena_printf(arena, "%s_%s_postgresql_%s", m->version, name, connection);
    m->schema = "";
    m->table = "";
    m->up = fixture_script;
    return m;
}

static inline struct migration *fixture_add(struct fixture *f, const char *version,
                                            const char *name, const char *connection)
{
    struct migration *m = fixture_make(&f->registry.arena, version, name, connection);

    assert_true(f->count < ARRAY_SIZE(f->list));
    f->list[f->count++] = m;
    return m;
}

static inline struct dependency *fixture_depend(struct fixture *f, struct migration *from,
                                                struct dependency dependency)
{
    struct arena *arena = &f->registry.arena;
    struct dependency *all =
        arena_calloc(arena, from->dependency_count + 1, sizeof(struct dependency));

    assert_non_null(all);
    for (size_t i = 0; i < from->dependency_count; i++)
        all[i] = from->dependencies[i];
    all[from->dependency_count] = dependency;
    from->dependencies = all;
    return &all[from->dependency_count++];
}

static inline struct dependency fixture_simple(const char *target)
{
    return (struct dependency){.connection = "",
                               .schema = "",
                               .target = target,
                               .simple = true,
                               .requires_table = "",
                               .requires_schema = ""};
}

static inline struct dependency fixture_structured(const char *connection, const char *schema,
                                                   const char *target)
{
    return (struct dependency){.connection = connection,
                               .schema = schema,
                               .target = target,
                               .requires_table = "",
                               .requires_schema = ""};
}

static inline int fixture_compare(const void *a, const void *b)
{
    const struct migration *const *x = a, *const *y = b;
    int by_version = strcmp((*x)->version, (*y)->version);

    return by_version != 0 ? by_version : strcmp((*x)->id, (*y)->id);
}

static inline void fixture_put(struct fixture *f, struct map *map, const char *key,
                               const struct migration *migration)
{
    struct arena *arena = &f->registry.arena;
    struct registry_group *group = map_get_str(map, key);
    const struct migration **list;

    if (group == NULL) {
        group = arena_calloc(arena, 1, sizeof(*group));
        assert_non_null(group);
        assert_int_equal(map_put_str(map, key, group), 0);
    }
    list = arena_calloc(arena, group->count + 1, sizeof(struct migration *));
    assert_non_null(list);
    if (group->count > 0)
        memcpy(list, group->migrations, group->count * sizeof(struct migration *));
    list[group->count++] = migration;
    group->migrations = list;
}

static inline void fixture_finish(struct fixture *f)
{
    struct registry *r = &f->registry;

    qsort(f->list, f->count, sizeof(f->list[0]), fixture_compare);
    r->count = f->count;
    r->migrations = arena_calloc(&r->arena, f->count, sizeof(struct migration *));
    for (size_t i = 0; i < f->count; i++) {
        f->list[i]->index = i;
        r->migrations[i] = f->list[i];
        assert_int_equal(map_put_str(&r->by_id, f->list[i]->id, f->list[i]), 0);
        fixture_put(f, &r->by_name, f->list[i]->name, f->list[i]);
        fixture_put(f, &r->by_version, f->list[i]->version, f->list[i]);
        fixture_put(f, &r->by_connection, f->list[i]->connection, f->list[i]);
    }
}

/* The steps as "name,(name),!name": runs, skips and refusals. */
static inline const char *fixture_steps(const struct plan_graph *graph, const struct plan *plan)
{
    static char text[4096];
    size_t len = 0;

    text[0] = '\0';
    for (size_t i = 0; i < plan->step_count; i++) {
        const struct plan_step *step = &plan->steps[i];
        const char *name = graph->nodes[step->node].migration->name;
        const char *mark = step->action == PLAN_SKIP ? "(" : step->action == PLAN_REFUSE ? "!" : "";

        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s%s%s", i > 0 ? "," : "", mark,
                                name, step->action == PLAN_SKIP ? ")" : "");
        assert_true(len < sizeof(text));
    }
    return text;
}

static inline size_t fixture_node(const struct plan_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->count; i++)
        if (strcmp(graph->nodes[i].migration->name, name) == 0)
            return i;
    fail_msg("no node %s", name);
    return 0;
}

static inline void fixture_set(uint8_t *bits, size_t n)
{
    bits[n / 8] = (uint8_t)(bits[n / 8] | 1u << (n % 8));
}

#endif
