#include "unit/model/plan_fixture.h"

#include "base/mem.h"

/*
 * Random registries, selections and applied sets. Each plan is compared with one made by the plain
 * words of the rules, in a way that is slow and has no data structure in common with the code under
 * test. A failure prints the seed; PLAN_SEED=n runs that one alone.
 */
enum {
    NODES = 14,
    ROUNDS = 6000,
};

struct random {
    uint64_t state;
};

static unsigned random_below(struct random *r, unsigned limit)
{
    r->state = r->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(r->state >> 33) % limit;
}

static bool random_chance(struct random *r, unsigned percent)
{
    return random_below(r, 100) < percent;
}

/* What is known of one case. Arrays are by registry index. */
struct scene {
    struct fixture f;
    bool selected[NODES];
    bool applied[NODES];
    bool no_schema[NODES];
    bool in_lane[NODES];            /* by the plain rules */
    bool needs[NODES][NODES];       /* [a][b]: b must come before a */
    size_t order[NODES], order_len; /* by the plain rules */
    bool missing;                   /* a step that is to run needs what does not exist */
    const struct migration *chosen[NODES];
    size_t chosen_len;
};

static void scene_add_dependency(struct scene *s, struct random *r, struct migration *from)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "nothing"};
    static const char *const connections[] = {"", "core", "guard"};
    static const char *const schemas[] = {"", "", "", "x"};
    static const char *const versions[] = {"10000000000000", "20000000000000", "30000000000000",
                                           "40000000000000"};
    const char *name = names[random_below(r, random_chance(r, 10) ? 9 : 8)];
    struct dependency *dependency;

    if (random_chance(r, 40)) {
        fixture_depend(&s->f, from, fixture_simple(name));
        return;
    }
    dependency = fixture_depend(
        &s->f, from,
        fixture_structured(connections[random_below(r, 3)], schemas[random_below(r, 4)], name));
    if (random_chance(r, 20)) {
        dependency->by_version = true;
        dependency->target = versions[random_below(r, 4)];
    }
}

static void scene_fill(struct scene *s, struct random *r)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    static const char *const connections[] = {"core", "guard", "logs"};
    static const char *const versions[] = {"1", "2", "3", "4", "5"};
    unsigned nodes = 1 + random_below(r, NODES), density = random_below(r, 60);

    fixture_init(&s->f);
    for (unsigned i = 0; i < nodes; i++) {
        struct migration *m =
            fixture_add(&s->f, versions[random_below(r, 5)], names[random_below(r, 8)],
                        connections[random_below(r, 3)]);

        for (size_t k = 0; k + 1 < s->f.count; k++)
            if (strcmp(s->f.list[k]->id, m->id) == 0) {
                s->f.count--; /* drawn before */
                break;
            }
    }
    for (size_t i = 0; i < s->f.count; i++) {
        if (random_chance(r, 20))
            s->f.list[i]->schema = "x";
        if (random_chance(r, 5))
            s->f.list[i]->invalid = "broken";
        while (random_chance(r, density))
            scene_add_dependency(s, r, s->f.list[i]);
    }
    fixture_finish(&s->f);
    for (size_t i = 0; i < s->f.count; i++) {
        s->selected[i] = random_chance(r, 50);
        s->applied[i] = random_chance(r, 30);
        s->no_schema[i] = random_chance(r, 5);
        if (s->selected[i])
            s->chosen[s->chosen_len++] = s->f.list[i];
    }
}

/* --- the plain rules --- */

static bool plain_names(const struct dependency *d, const struct migration *m)
{
    if (d->simple)
        return strcmp(d->target, m->name) == 0;
    return (d->connection[0] == '\0' || strcmp(d->connection, m->connection) == 0) &&
           (d->schema[0] == '\0' || strcmp(d->schema, m->schema) == 0) &&
           strcmp(d->target, d->by_version ? m->version : m->name) == 0;
}

/* Strikes out everything that `keep` says no to, if something is left then. */
static void plain_narrow(const struct scene *s, bool *set, const bool *keep)
{
    bool any = false;

    for (size_t i = 0; i < s->f.count; i++)
        any = any || (set[i] && keep[i]);
    for (size_t i = 0; any && i < s->f.count; i++)
        set[i] = set[i] && keep[i];
}

static bool plain_any(const struct scene *s, const bool *set, const bool *with)
{
    for (size_t i = 0; i < s->f.count; i++)
        if (set[i] && (with == NULL || with[i]))
            return true;
    return false;
}

/* Marks in `out` what migration `from` has to wait for because of one dependency. */
static void plain_require(struct scene *s, size_t from, const struct dependency *d)
{
    bool set[NODES] = {false}, others[NODES], own[NODES];

    for (size_t i = 0; i < s->f.count; i++) {
        set[i] = plain_names(d, s->f.list[i]);
        others[i] = i != from;
        own[i] = i != from && strcmp(s->f.list[i]->connection, s->f.list[from]->connection) == 0;
    }
    if (!plain_any(s, set, NULL)) {
        s->missing = true;
        return;
    }
    plain_narrow(s, set, others);
    if (d->simple) {
        plain_narrow(s, set, own);
        if (plain_any(s, set, s->applied))
            return;
        plain_narrow(s, set, s->selected);
    }
    for (size_t i = 0; i < s->f.count; i++) {
        if (set[i] && !s->applied[i]) {
            s->needs[from][i] = true;
            s->in_lane[i] = true;
        }
    }
}

static bool plain_runs(const struct scene *s, size_t i)
{
    return s->in_lane[i] && !s->applied[i] && !s->no_schema[i] && s->f.list[i]->invalid == NULL;
}

static void plain_expand(struct scene *s)
{
    memcpy(s->in_lane, s->selected, sizeof(s->in_lane));
    for (size_t round = 0; round <= s->f.count; round++)
        for (size_t i = 0; i < s->f.count; i++)
            for (size_t d = 0; plain_runs(s, i) && d < s->f.list[i]->dependency_count; d++)
                plain_require(s, i, &s->f.list[i]->dependencies[d]);
}

static bool plain_is_ready(const struct scene *s, const bool *done, size_t i)
{
    for (size_t k = 0; k < s->f.count; k++)
        if (s->needs[i][k] && !done[k])
            return false;
    return s->in_lane[i] && !done[i];
}

/* Always the smallest that is ready; the registry's order is that of (version, id). False: a cycle
 * is left. */
static bool plain_order(struct scene *s)
{
    bool done[NODES] = {false};
    size_t lane = 0;

    for (size_t i = 0; i < s->f.count; i++)
        lane += s->in_lane[i];
    while (s->order_len < lane) {
        size_t i = 0;

        while (i < s->f.count && !plain_is_ready(s, done, i))
            i++;
        if (i == s->f.count)
            return false;
        done[i] = true;
        s->order[s->order_len++] = i;
    }
    return true;
}

/* --- comparing --- */

static void scene_bits(const struct scene *s, const struct plan_graph *graph, uint8_t *applied,
                       uint8_t *no_schema)
{
    for (size_t i = 0; i < graph->count; i++) {
        if (s->applied[graph->nodes[i].migration->index])
            fixture_set(applied, i);
        if (s->no_schema[graph->nodes[i].migration->index])
            fixture_set(no_schema, i);
    }
}

/* Every arrow of the text is a real need, and it ends where it began. */
static void scene_check_cycle(const struct scene *s, const char *text)
{
    const char *start = strstr(text, "circular dependency: ");
    size_t first = SIZE_MAX, last = SIZE_MAX;
    size_t arrows = 0;

    assert_non_null(start);
    start += strlen("circular dependency: ");
    while (start != NULL) {
        const char *end = strstr(start, " -> ");
        size_t len = end != NULL ? (size_t)(end - start) : strlen(start), i = 0;

        while (i < s->f.count &&
               (strlen(s->f.list[i]->id) != len || strncmp(s->f.list[i]->id, start, len) != 0))
            i++;
        assert_true(i < s->f.count);
        if (first == SIZE_MAX)
            first = i;
        else
            assert_true(s->needs[last][i]);
        last = i;
        arrows += end != NULL;
        start = end != NULL ? end + 4 : NULL;
    }
    assert_true(arrows > 0);
    assert_int_equal(first, last);
}

static void scene_check_plan(const struct scene *s, const struct plan_graph *graph,
                             const struct plan *plan)
{
    assert_int_equal(plan->step_count, s->order_len);
    for (size_t i = 0; i < plan->step_count; i++) {
        size_t index = graph->nodes[plan->steps[i].node].migration->index;
        enum plan_action action = s->applied[index]      ? PLAN_SKIP
                                  : plain_runs(s, index) ? PLAN_RUN
                                                         : PLAN_REFUSE;

        assert_int_equal(index, s->order[i]);
        assert_int_equal(plan->steps[i].action, action);
        assert_non_null(plan->steps[i].reason);
    }
}

enum kind {
    KIND_MISSING,
    KIND_CYCLE,
    KIND_PLAN,
    KINDS,
};

static enum kind scene_check(struct scene *s)
{
    uint8_t applied[NODES] = {0}, no_schema[NODES] = {0};
    struct plan_graph graph;
    struct plan plan;
    struct err err = {0};
    bool ordered;
    int rc;

    plain_expand(s);
    ordered = plain_order(s);
    assert_int_equal(
        plan_graph_build_from(&s->f.registry, s->chosen, s->chosen_len, false, &graph, &err), 0);
    scene_bits(s, &graph, applied, no_schema);
    rc = plan_make(&graph, applied, no_schema, &plan, &err);
    if (s->missing) {
        assert_int_equal(rc, ERR_DEPENDENCY);
        assert_non_null(strstr(err.text, "which does not exist"));
    } else if (!ordered) {
        assert_int_equal(rc, ERR_DEPENDENCY);
        scene_check_cycle(s, err.text);
    } else {
        assert_int_equal(rc, 0);
        scene_check_plan(s, &graph, &plan);
    }
    plan_free(&plan);
    plan_graph_free(&graph);
    return s->missing ? KIND_MISSING : ordered ? KIND_PLAN : KIND_CYCLE;
}

static void scene_run(uint64_t seed, unsigned *outcomes)
{
    struct random r = {.state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1};
    struct scene s = {.chosen_len = 0};

    scene_fill(&s, &r);
    outcomes[scene_check(&s)]++;
    fixture_free(&s.f);
}

static uint64_t current_seed;

static int report_seed(void **state)
{
    (void)state;
    print_message("last seed: PLAN_SEED=%llu\n", (unsigned long long)current_seed);
    return 0;
}

static void test_random_plans(void **state)
{
    const char *only = getenv("PLAN_SEED");
    unsigned outcomes[KINDS] = {0};

    (void)state;
    if (only != NULL) {
        current_seed = strtoull(only, NULL, 10);
        scene_run(current_seed, outcomes);
        return;
    }
    for (current_seed = 1; current_seed <= ROUNDS; current_seed++)
        scene_run(current_seed, outcomes);
    for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++)
        assert_true(outcomes[i] > ROUNDS / 100); /* every kind was met */
}

/* The same question in another order of asking gives the same plan. */
static void test_order_of_selection_does_not_matter(void **state)
{
    struct plan_graph a, b;
    struct plan x, y;
    struct err err;

    (void)state;
    for (current_seed = 1; current_seed <= 500; current_seed++) {
        struct random r = {.state = current_seed};
        struct scene s = {.chosen_len = 0};
        const struct migration *turned[NODES];
        uint8_t none[NODES] = {0};
        int rc;

        scene_fill(&s, &r);
        for (size_t i = 0; i < s.chosen_len; i++)
            turned[i] = s.chosen[s.chosen_len - 1 - i];
        assert_int_equal(
            plan_graph_build_from(&s.f.registry, s.chosen, s.chosen_len, false, &a, &err), 0);
        assert_int_equal(
            plan_graph_build_from(&s.f.registry, turned, s.chosen_len, false, &b, &err), 0);
        assert_int_equal(a.count, b.count);
        rc = plan_make(&a, none, NULL, &x, &err);
        assert_int_equal(plan_make(&b, none, NULL, &y, &err), rc);
        assert_int_equal(x.step_count, y.step_count);
        for (size_t i = 0; i < x.step_count; i++) {
            assert_int_equal(x.steps[i].node, y.steps[i].node);
            assert_string_equal(x.steps[i].reason, y.steps[i].reason);
        }
        plan_free(&x);
        plan_free(&y);
        plan_graph_free(&a);
        plan_graph_free(&b);
        fixture_free(&s.f);
    }
}

static int build_and_make(const struct scene *s, const struct plan_filter *filter)
{
    uint8_t applied[NODES] = {0}, no_schema[NODES] = {0};
    struct plan_graph graph;
    struct plan plan;
    struct err err = {0};
    int rc = plan_graph_build(&s->f.registry, filter, false, &graph, &err);

    if (rc == 0) {
        scene_bits(s, &graph, applied, no_schema);
        rc = plan_make(&graph, applied, no_schema, &plan, &err);
        plan_free(&plan);
    }
    if (rc != 0)
        assert_int_equal(err.code, rc);
    plan_graph_free(&graph);
    return rc;
}

static void test_every_allocation_fails(void **state)
{
    const char *const tables[] = {"", "t"};
    const struct plan_filter filter = {.tables = tables, .table_count = 2};
    unsigned failures = 0;

    (void)state;
    for (current_seed = 1; current_seed <= 60; current_seed++) {
        struct random r = {.state = current_seed};
        struct scene s = {.chosen_len = 0};
        int expected;

        scene_fill(&s, &r);
        expected = build_and_make(&s, &filter);
        for (uint64_t nth = 1;; nth++) {
            int rc, hit;

            mem_fail_at(nth, 0);
            rc = build_and_make(&s, &filter);
            hit = mem_fail_hit();
            mem_fail_at(0, 0);
            if (!hit) {
                assert_int_equal(rc, expected);
                break;
            }
            /* only the ornaments of an error text may be left out */
            assert_true(rc == ERR_NOMEM || rc == expected);
            failures += rc == ERR_NOMEM;
        }
        fixture_free(&s.f);
    }
    assert_true(failures > 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_random_plans, report_seed),
        cmocka_unit_test_teardown(test_order_of_selection_does_not_matter, report_seed),
        cmocka_unit_test_teardown(test_every_allocation_fails, report_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
