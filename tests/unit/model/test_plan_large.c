#include "unit/model/plan_fixture.h"

#include <time.h>

/*
 * Sizes at which anything quadratic would take minutes. The time limits are wide: they tell linear
 * from quadratic on a slow machine under sanitizers, not good from better.
 */
enum {
    LARGE = 100000,
    LIMIT_MS = 10000,
};

/* A registry of LARGE migrations of one connection, "m000000" and on, one a second. */
struct large {
    struct registry registry;
    struct migration *list;
    struct registry_group all;
    struct registry_group *groups; /* by name, one each */
};

static void large_init(struct large *l)
{
    struct registry *r = &l->registry;

    *l = (struct large){.registry.refs = 1};
    arena_init(&r->arena);
    l->list = arena_calloc(&r->arena, LARGE, sizeof(*l->list));
    l->groups = arena_calloc(&r->arena, LARGE, sizeof(*l->groups));
    r->migrations = arena_calloc(&r->arena, LARGE, sizeof(struct migration *));
    assert_true(l->list != NULL && l->groups != NULL && r->migrations != NULL);
    r->count = LARGE;
    for (size_t i = 0; i < LARGE; i++) {
        struct migration *m = &l->list[i];

        *m = (struct migration){.connection = "core", .schema = "", .table = "", .index = i};
        m->version = arena_printf(&r->arena, "20250101%06zu", i);
        m->name = arena_printf(&r->arena, "m%06zu", i);
        m->id = arena_printf(&r->arena, "%s_%s_postgresql_core", m->version, m->name);
        r->migrations[i] = m;
        l->groups[i] = (struct registry_group){.migrations = &r->migrations[i], .count = 1};
        assert_int_equal(map_put_str(&r->by_name, m->name, &l->groups[i]), 0);
    }
    l->all = (struct registry_group){.migrations = r->migrations, .count = LARGE};
    assert_int_equal(map_put_str(&r->by_connection, "core", &l->all), 0);
}

static void large_free(struct large *l)
{
    map_free(&l->registry.by_name);
    map_free(&l->registry.by_connection);
    arena_free(&l->registry.arena);
}

static void large_depend(struct large *l, size_t from, const char *target)
{
    struct dependency *d = arena_calloc(&l->registry.arena, 1, sizeof(*d));

    assert_non_null(d);
    *d = fixture_simple(target);
    l->list[from].dependencies = d;
    l->list[from].dependency_count = 1;
}

/* Of this process: what others do meanwhile does not count. */
static unsigned long cpu_ms(void)
{
    return (unsigned long)(clock() * 1000 / CLOCKS_PER_SEC);
}

/* Plans everything of "core" and returns the milliseconds it took. */
static unsigned long large_plan(struct large *l, int expected, size_t *first, size_t *last)
{
    const struct plan_filter filter = {.connection = "core"};
    unsigned long start = cpu_ms();
    uint8_t *applied = calloc(LARGE / 8 + 1, 1);
    struct plan_graph graph;
    struct plan plan;
    struct err err = {0};
    unsigned long graph_ms, ms;

    assert_non_null(applied);
    assert_int_equal(plan_graph_build(&l->registry, &filter, false, &graph, &err), 0);
    graph_ms = cpu_ms() - start;
    assert_int_equal(plan_make(&graph, applied, NULL, &plan, &err), expected);
    ms = cpu_ms() - start;
    print_message("graph %lu ms, plan %lu ms\n", graph_ms, ms - graph_ms);
    if (expected == 0) {
        assert_int_equal(plan.step_count, graph.count);
        *first = graph.nodes[plan.steps[0].node].migration->index;
        *last = graph.nodes[plan.steps[plan.step_count - 1].node].migration->index;
    }
    plan_free(&plan);
    plan_graph_free(&graph);
    free(applied);
    return ms;
}

/* The order of versions turned round: the deepest possible chain. */
static void test_chain(void **state)
{
    struct large l;
    size_t first = 0, last = 0;

    (void)state;
    large_init(&l);
    for (size_t i = 0; i + 1 < LARGE; i++)
        large_depend(&l, i, l.list[i + 1].name);
    assert_true(large_plan(&l, 0, &first, &last) < LIMIT_MS);
    assert_int_equal(first, LARGE - 1);
    assert_int_equal(last, 0);
    large_depend(&l, LARGE - 1, l.list[0].name);
    assert_true(large_plan(&l, ERR_DEPENDENCY, &first, &last) < LIMIT_MS);
    large_free(&l);
}

static void test_all_depend_on_the_last(void **state)
{
    struct large l;
    size_t first = 0, last = 0;

    (void)state;
    large_init(&l);
    for (size_t i = 0; i + 1 < LARGE; i++)
        large_depend(&l, i, l.list[LARGE - 1].name);
    assert_true(large_plan(&l, 0, &first, &last) < LIMIT_MS);
    assert_int_equal(first, LARGE - 1);
    assert_int_equal(last, LARGE - 2);
    large_free(&l);
}

/* Half of them depend on a name that the other half has elsewhere and one has at home. */
static void test_many_of_one_name(void **state)
{
    struct large l;
    struct registry_group same, core;
    size_t first = 0, last = 0;
    struct plan_graph graph;
    struct err err;

    (void)state;
    large_init(&l);
    same = (struct registry_group){.migrations = &l.registry.migrations[LARGE / 2],
                                   .count = LARGE / 2};
    core = (struct registry_group){.migrations = l.registry.migrations, .count = LARGE / 2};
    for (size_t i = LARGE / 2; i < LARGE; i++) {
        l.list[i].name = "same";
        l.list[i].connection = "guard";
    }
    l.list[LARGE - 1].connection = "core";
    for (size_t i = 0; i < LARGE / 2; i++)
        large_depend(&l, i, "same");
    assert_int_equal(map_put_str(&l.registry.by_name, "same", &same), 0);
    assert_true(large_plan(&l, 0, &first, &last) < LIMIT_MS);

    /* with none at home every pair would count, which is refused instead of tried */
    l.list[LARGE - 1].connection = "guard";
    assert_int_equal(map_put_str(&l.registry.by_connection, "core", &core), 0);
    assert_int_equal(plan_graph_build(&l.registry, &(struct plan_filter){.connection = "core"},
                                      false, &graph, &err),
                     ERR_LIMIT);
    assert_int_equal(graph.count, 0);
    assert_int_equal(plan_graph_build(&l.registry, &(struct plan_filter){.connection = "core"},
                                      true, &graph, &err),
                     0);
    plan_graph_free(&graph);
    large_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_all_depend_on_the_last),
        cmocka_unit_test(test_many_of_one_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
