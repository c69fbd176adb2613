#include "unit/model/plan_fixture.h"

#include "base/mem.h"

/* One graph and the plan made from it last. */
struct outcome {
    struct plan_graph graph;
    struct plan plan;
    struct err err;
    int rc;
    uint8_t applied[64];
    uint8_t no_schema[64];
};

static const struct plan_filter core = {.connection = "core"};

static void outcome_graph(struct outcome *o, const struct fixture *f,
                          const struct plan_filter *filter, bool ignore)
{
    *o = (struct outcome){0};
    assert_int_equal(plan_graph_build(&f->registry, filter, ignore, &o->graph, &o->err), 0);
}

static void outcome_apply(struct outcome *o, const char *names)
{
    char copy[256], *rest = copy;

    snprintf(copy, sizeof(copy), "%s", names);
    for (char *name = strtok_r(copy, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest))
        fixture_set(o->applied, fixture_node(&o->graph, name));
}

static const char *outcome_make(struct outcome *o, const char *applied)
{
    memset(o->applied, 0, sizeof(o->applied));
    outcome_apply(o, applied);
    plan_free(&o->plan);
    o->rc = plan_make(&o->graph, o->applied, o->no_schema, &o->plan, &o->err);
    return o->rc == 0 ? fixture_steps(&o->graph, &o->plan) : o->err.text;
}

static void outcome_free(struct outcome *o)
{
    plan_free(&o->plan);
    plan_graph_free(&o->graph);
}

static void test_order_is_version_then_id(void **state)
{
    struct fixture f;
    struct outcome o;

    (void)state;
    fixture_init(&f);
    fixture_add(&f, "2", "b", "core");
    fixture_add(&f, "2", "a", "core");
    fixture_add(&f, "1", "z", "core");
    fixture_add(&f, "1", "other", "guard");
    fixture_finish(&f);
    outcome_graph(&o, &f, &core, false);
    assert_int_equal(o.graph.count, 3);
    assert_int_equal(o.graph.selected_count, 3);
    assert_string_equal(outcome_make(&o, ""), "z,a,b");
    assert_string_equal(o.plan.steps[0].reason, "selected");
    assert_string_equal(outcome_make(&o, "a"), "z,(a),b");
    assert_string_equal(outcome_make(&o, "z,a,b"), "(z),(a),(b)");
    outcome_free(&o);
    fixture_free(&f);
}

static void test_dependency_wins_over_version(void **state)
{
    struct fixture f;
    struct outcome o;

    (void)state;
    fixture_init(&f);
    fixture_depend(&f, fixture_add(&f, "1", "a", "core"), fixture_simple("c"));
    fixture_add(&f, "2", "b", "core");
    fixture_add(&f, "3", "c", "core");
    fixture_add(&f, "4", "d", "core");
    fixture_finish(&f);
    outcome_graph(&o, &f, &core, false);
    assert_string_equal(outcome_make(&o, ""), "b,c,a,d");
    assert_string_equal(outcome_make(&o, "c"), "a,b,(c),d");
    assert_string_equal(outcome_make(&o, "a"), "(a),b,c,d");
    outcome_free(&o);
    outcome_graph(&o, &f, &core, true);
    assert_string_equal(outcome_make(&o, ""), "a,b,c,d");
    outcome_free(&o);
    fixture_free(&f);
}

static void test_dependencies_are_added_across_connections(void **state)
{
    const struct plan_filter one = {.connection = "core", .version = "30000000000000"};
    struct fixture f;
    struct outcome o;

    (void)state;
    fixture_init(&f);
    fixture_depend(&f, fixture_add(&f, "3", "top", "core"), fixture_simple("middle"));
    fixture_depend(&f, fixture_add(&f, "5", "middle", "guard"),
                   fixture_structured("logs", "", "bottom"));
    fixture_add(&f, "9", "bottom", "logs");
    fixture_add(&f, "1", "unrelated", "guard");
    fixture_finish(&f);
    outcome_graph(&o, &f, &one, false);
    assert_int_equal(o.graph.count, 3);
    assert_int_equal(o.graph.selected_count, 1);
    assert_string_equal(outcome_make(&o, ""), "bottom,middle,top");
    assert_string_equal(o.plan.steps[0].reason,
                        "required by 50000000000000_middle_postgresql_guard");
    assert_string_equal(o.plan.steps[1].reason, "required by 30000000000000_top_postgresql_core");
    /* an applied one needs nothing, and is not shown unless it was selected */
    assert_string_equal(outcome_make(&o, "middle"), "top");
    assert_string_equal(outcome_make(&o, "bottom"), "middle,top");
    assert_string_equal(outcome_make(&o, "top"), "(top)");
    outcome_free(&o);
    outcome_graph(&o, &f, &one, true);
    assert_int_equal(o.graph.count, 1);
    assert_string_equal(outcome_make(&o, ""), "top");
    outcome_free(&o);
    fixture_free(&f);
}

static void test_simple_prefers_own_connection(void **state)
{
    struct fixture f;
    struct outcome o;

    (void)state;
    fixture_init(&f);
    fixture_depend(&f, fixture_add(&f, "9", "top", "core"), fixture_simple("users"));
    fixture_add(&f, "5", "users", "core")->schema = "x";
    fixture_add(&f, "1", "users", "guard");
    fixture_finish(&f);
    outcome_graph(&o, &f, &(struct plan_filter){.version = "90000000000000"}, false);
    assert_int_equal(o.graph.count, 2);
    assert_string_equal(o.graph.nodes[0].migration->connection, "core");
    outcome_free(&o);
    fixture_free(&f);
}

static void test_simple_is_satisfied_by_any(void **state)
{
    struct fixture f;
    struct outcome o;

    (void)state;
    fixture_init(&f);
    fixture_depend(&f, fixture_add(&f, "9", "top", "core"), fixture_simple("users"));
    fixture_add(&f, "1", "users", "guard");
    fixture_add(&f, "2", "users", "logs");
    fixture_finish(&f);
    outcome_graph(&o, &f, &core, false);
    assert_string_equal(outcome_make(&o, ""), "users,users,top");
    fixture_set(o.applied, 1);
    plan_free(&o.plan);
    assert_int_equal(plan_make(&o.graph, o.applied, NULL, &o.plan, &o.err), 0);
    assert_string_equal(fixture_steps(&o.graph, &o.plan), "top");
    outcome_free(&o);
    /* one of them selected: the others are not added */
    outcome_graph(&o, &f, &(struct plan_filter){0}, true);
    plan_graph_free(&o.graph);
    assert_int_equal(
        plan_graph_build_from(&f.registry,
                              (const struct migration *const[]){f.list[2], f.list[1], f.list[2]}, 3,
                              false, &o.graph, &o.err),
        0);
    assert_int_equal(o.graph.count, 3);
    assert_int_equal(o.graph.selected_count, 2);
    assert_string_equal(outcome_make(&o, ""), "users,top");
    assert_string_equal(o.graph.nodes[o.plan.steps[0].node].migration->connection, "logs");
    outcome_free(&o);
    fixture_free(&f);
}

static void test_structured_needs_all_matches(void **state)
{
    struct fixture f;
    struct outcome o;
    struct dependency *dependency;

    (void)state;
    fixture_init(&f);
    dependency = fixture_depend(&f, fixture_add(&f, "9", "top", "core"),
                                fixture_structured("", "s", "20000000000000"));
    dependency->by_version = true;
    fixture_add(&f, "2", "a", "guard")->schema = "s";
    fixture_add(&f, "2", "b", "logs")->schema = "s";
    fixture_add(&f, "2", "c", "logs")->schema = "t";
    fixture_add(&f, "2", "d", "logs");
    fixture_finish(&f);
    outcome_graph(&o, &f, &core, false);
    assert_string_equal(outcome_make(&o, ""), "a,b,top");
    assert_string_equal(outcome_make(&o, "a"), "b,top");
    assert_string_equal(outcome_make(&o, "a,b"), "top");
    outcome_free(&o);
    dependency->connection = "logs";
    outcome_graph(&o, &f, &core, false);
    assert_string_equal(outcome_make(&o, ""), "b,top");
    outcome_free(&o);
    fixture_free(&f);
}

/* More migrations of one name than are filtered anew for each question. */
static int plan_large_group(const struct fixture *f, struct outcome *o)
{
    int rc;

    *o = (struct outcome){0};
    rc = plan_graph_build(&f->registry, &(struct plan_filter){.version = "90000000000000"}, false,
                          &o->graph, &o->err);
    return rc == 0 ? plan_make(&o->graph, o->applied, NULL, &o->plan, &o->err) : rc;
}

static void test_large_group(void **state)
{
    enum {
        SAME = 40,
    };
    struct fixture f;
    struct outcome o;
    char version[8];
    int rc, hit = 1;

    (void)state;
    fixture_init(&f);
    for (int i = 0; i < SAME; i++) {
        snprintf(version, sizeof(version), "1%02d", i);
        fixture_add(&f, version, "same", i < 2 ? "core" : "guard")->schema = i % 2 ? "x" : "";
    }
    fixture_depend(&f, fixture_add(&f, "9", "a", "core"), fixture_simple("same"));
    fixture_depend(&f, fixture_add(&f, "9", "b", "core"), fixture_simple("same"));
    fixture_depend(&f, fixture_add(&f, "9", "c", "guard"), fixture_simple("same"));
    fixture_depend(&f, fixture_add(&f, "9", "d", "core"), fixture_structured("", "", "same"));
    fixture_depend(&f, fixture_add(&f, "9", "e", "core"), fixture_structured("guard", "x", "same"));
    fixture_depend(&f, fixture_add(&f, "9", "f", "logs"), fixture_simple("same"));
    fixture_finish(&f);
    assert_int_equal(plan_large_group(&f, &o), 0);
    assert_int_equal(o.graph.count, SAME + 6);
    assert_int_equal(o.graph.nodes[SAME].edge_count, 2);
    assert_int_equal(o.graph.nodes[SAME + 1].edge_count, 2);
    assert_int_equal(o.graph.nodes[SAME + 2].edge_count, SAME - 2);
    assert_int_equal(o.graph.nodes[SAME + 3].edge_count, SAME);
    assert_int_equal(o.graph.nodes[SAME + 4].edge_count, SAME / 2 - 1);
    assert_int_equal(o.graph.nodes[SAME + 5].edge_count, SAME);
    outcome_free(&o);
    for (uint64_t nth = 1; hit; nth++) {
        mem_fail_at(nth, 0);
        rc = plan_large_group(&f, &o);
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        assert_int_equal(rc, hit ? ERR_NOMEM : 0);
        outcome_free(&o);
    }
    fixture_free(&f);
}

static void test_missing_target(void **state)
{
    struct fixture f;
    struct outcome o;
    struct migration *top;

    (void)state;
    fixture_init(&f);
    fixture_add(&f, "1", "bottom", "core");
    top = fixture_add(&f, "2", "top", "core");
    fixture_depend(&f, top, fixture_structured("core", "sales", "nothing"));
    fixture_finish(&f);
    outcome_graph(&o, &f, &core, false);
    assert_string_equal(
        outcome_make(&o, ""),
        "dependency resolution: 20000000000000_top_postgresql_core requires nothing "
        "of connection core with schema sales which does not exist");
    assert_int_equal(o.rc, ERR_DEPENDENCY);
    assert_int_equal(o.plan.step_count, 0);
    assert_string_equal(outcome_make(&o, "top"), "bottom,(top)");
    outcome_free(&o);
    outcome_graph(&o, &f, &core, true);
    assert_string_equal(outcome_make(&o, ""), "bottom,top");
    outcome_free(&o);
    top->dependency_count = 0;
    fixture_depend(&f, top, fixture_simple("nothing"));
    outcome_graph(&o, &f, &core, false);
    assert_string_equal(outcome_make(&o, ""), "dependency resolution: "
                                              "20000000000000_top_postgresql_core requires nothing "
                                              "which does not exist");
    outcome_free(&o);
    top->dependency_count = 0;
    fixture_depend(&f, top, fixture_structured("", "", "3"))->by_version = true;
    outcome_graph(&o, &f, &core, false);
    assert_string_equal(outcome_make(&o, ""), "dependency resolution: "
                                              "20000000000000_top_postgresql_core requires version "
                                              "3 which does not exist");
    outcome_free(&o);
    fixture_free(&f);
}

static void test_cycle_is_named(void **state)
{
    struct fixture f;
    struct outcome o;

    (void)state;
    fixture_init(&f);
    fixture_depend(&f, fixture_add(&f, "1", "first", "core"), fixture_simple("b"));
    fixture_depend(&f, fixture_add(&f, "2", "a", "core"), fixture_simple("c"));
    fixture_depend(&f, fixture_add(&f, "3", "b", "core"), fixture_simple("a"));
    fixture_depend(&f, fixture_add(&f, "4", "c", "core"), fixture_simple("b"));
    fixture_finish(&f);
    outcome_graph(&o, &f, &core, false);
    assert_string_equal(outcome_make(&o, ""),
                        "dependency resolution: circular dependency: "
                        "20000000000000_a_postgresql_core -> 40000000000000_c_postgresql_core -> "
                        "30000000000000_b_postgresql_core -> 20000000000000_a_postgresql_core");
    assert_int_equal(o.rc, ERR_DEPENDENCY);
    /* no cycle any more once one of them is applied */
    assert_string_equal(outcome_make(&o, "b"), "first,(b),c,a");
    assert_string_equal(outcome_make(&o, "a,b,c"), "first,(a),(b),(c)");
    outcome_free(&o);
    fixture_free(&f);
}

static void test_self_dependency(void **state)
{
    struct fixture f;
    struct outcome o;

    (void)state;
    fixture_init(&f);
    fixture_depend(&f, fixture_add(&f, "1", "init", "core"), fixture_simple("init"));
    fixture_finish(&f);
    outcome_graph(&o, &f, &core, false);
    assert_string_equal(outcome_make(&o, ""), "dependency resolution: circular dependency: "
                                              "10000000000000_init_postgresql_core -> "
                                              "10000000000000_init_postgresql_core");
    assert_string_equal(outcome_make(&o, "init"), "(init)");
    outcome_free(&o);
    fixture_free(&f);
    /* the same name elsewhere is what is meant */
    fixture_init(&f);
    fixture_depend(&f, fixture_add(&f, "1", "init", "core"), fixture_simple("init"));
    fixture_depend(&f, fixture_add(&f, "3", "init", "logs"), fixture_structured("", "", "init"));
    fixture_add(&f, "2", "init", "guard")->dependency_count = 0;
    fixture_finish(&f);
    outcome_graph(&o, &f, &(struct plan_filter){.connection = "guard"}, false);
    assert_string_equal(outcome_make(&o, ""), "init");
    outcome_free(&o);
    outcome_graph(&o, &f, &core, false);
    assert_int_equal(o.graph.nodes[0].edge_count, 2);
    assert_int_equal(o.graph.nodes[2].edge_count, 2);
    outcome_free(&o);
    fixture_free(&f);
}

static void test_long_cycle_is_cut(void **state)
{
    enum {
        LONG = 100,
    };
    struct fixture f;
    struct outcome o;
    char version[8], name[32], next[32];
    const char *text;

    (void)state;
    fixture_init(&f);
    for (int i = 0; i < LONG; i++) {
        snprintf(version, sizeof(version), "%03d", i);
        snprintf(name, sizeof(name), "m%d", i);
        snprintf(next, sizeof(next), "m%d", (i + 1) % LONG);
        fixture_depend(&f, fixture_add(&f, version, name, "core"),
                       fixture_simple(arena_strdup(&f.registry.arena, next)));
    }
    fixture_finish(&f);
    outcome_graph(&o, &f, &core, false);
    text = outcome_make(&o, "");
    assert_int_equal(o.rc, ERR_DEPENDENCY);
    assert_non_null(strstr(text, "circular dependency: 00000000000000_m0_postgresql_core -> "
                                 "00100000000000_m1_postgresql_core -> "));
    assert_non_null(strstr(text, " more) -> 00000000000000_m0_postgresql_core"));
    assert_int_equal(strcmp(strrchr(text, '>'), "> 00000000000000_m0_postgresql_core"), 0);
    outcome_free(&o);
    fixture_free(&f);
}

static void test_refusals(void **state)
{
    struct fixture f;
    struct outcome o;
    struct migration *broken;

    (void)state;
    fixture_init(&f);
    fixture_add(&f, "1", "good", "core");
    broken = fixture_add(&f, "2", "broken", "core");
    broken->invalid = "core/x.sql:3: bad header";
    fixture_depend(&f, broken, fixture_simple("good"));
    fixture_depend(&f, broken, fixture_simple("nothing"));
    fixture_depend(&f, broken, fixture_simple("elsewhere"));
    fixture_depend(&f, fixture_add(&f, "3", "after", "core"), fixture_simple("broken"));
    fixture_add(&f, "4", "dynamic", "core");
    fixture_add(&f, "5", "elsewhere", "guard");
    fixture_finish(&f);
    outcome_graph(&o, &f, &core, false);
    fixture_set(o.no_schema, fixture_node(&o.graph, "dynamic"));
    assert_string_equal(outcome_make(&o, ""), "good,!broken,after,!dynamic");
    assert_string_equal(o.plan.steps[1].reason, "core/x.sql:3: bad header");
    assert_string_equal(o.plan.steps[3].reason, "migration 40000000000000_dynamic has dynamic "
                                                "schema but no schema provided in request");
    assert_string_equal(outcome_make(&o, "broken"), "good,(broken),after,!dynamic");
    outcome_free(&o);
    /* the same as a dependency */
    outcome_graph(&o, &f, &(struct plan_filter){.version = "30000000000000"}, false);
    assert_string_equal(outcome_make(&o, ""), "!broken,after");
    outcome_free(&o);
    fixture_free(&f);
}

static void test_checks(void **state)
{
    struct fixture f;
    struct outcome o;
    struct dependency *dependency;
    struct migration *top;

    (void)state;
    fixture_init(&f);
    fixture_add(&f, "1", "base", "guard")->schema = "g";
    top = fixture_add(&f, "2", "top", "core");
    dependency = fixture_depend(&f, top, fixture_structured("", "", "base"));
    dependency->requires_table = "users";
    fixture_finish(&f);
    outcome_graph(&o, &f, &core, false);
    assert_string_equal(outcome_make(&o, ""), "base,top");
    assert_int_equal(o.plan.check_count, 0); /* base is about to make it */
    assert_string_equal(outcome_make(&o, "base"), "top");
    assert_int_equal(o.plan.check_count, 1);
    assert_string_equal(o.plan.checks[0].connection, "guard");
    assert_string_equal(o.plan.checks[0].schema, "");
    assert_string_equal(o.plan.checks[0].table, "users");
    assert_int_equal(o.plan.checks[0].node, fixture_node(&o.graph, "top"));
    outcome_make(&o, "base,top");
    assert_int_equal(o.plan.check_count, 0); /* top does not run */
    outcome_free(&o);

    *dependency = fixture_structured("guard", "g", "base");
    dependency->requires_table = "users";
    outcome_graph(&o, &f, &core, false);
    outcome_make(&o, "base");
    assert_string_equal(o.plan.checks[0].schema, "g");
    dependency->requires_schema = "h";
    outcome_make(&o, "base");
    assert_int_equal(o.plan.check_count, 1);
    assert_string_equal(o.plan.checks[0].schema, "h");
    dependency->requires_table = "";
    outcome_make(&o, "base");
    assert_int_equal(o.plan.check_count, 1);
    assert_string_equal(o.plan.checks[0].table, "");
    outcome_free(&o);
    outcome_graph(&o, &f, &core, true);
    outcome_make(&o, "");
    assert_int_equal(o.plan.check_count, 0);
    outcome_free(&o);
    fixture_free(&f);
}

static void test_selection(void **state)
{
    const char *const tables[] = {"users", "orders"};
    struct fixture f;
    struct outcome o;
    struct plan_filter filter = {.connection = "core", .tables = tables, .table_count = 2};

    (void)state;
    fixture_init(&f);
    fixture_add(&f, "1", "a", "core")->table = "users";
    fixture_add(&f, "2", "b", "core")->table = "lines";
    fixture_add(&f, "2", "c", "guard")->table = "orders";
    fixture_add(&f, "3", "d", "core")->table = "orders";
    fixture_finish(&f);
    outcome_graph(&o, &f, &filter, false);
    assert_string_equal(outcome_make(&o, ""), "a,d");
    outcome_free(&o);
    filter = (struct plan_filter){.version = "20000000000000"};
    outcome_graph(&o, &f, &filter, false);
    assert_string_equal(outcome_make(&o, ""), "b,c");
    outcome_free(&o);
    filter.connection = "guard";
    outcome_graph(&o, &f, &filter, false);
    assert_string_equal(outcome_make(&o, ""), "c");
    outcome_free(&o);
    filter.connection = "nobody";
    outcome_graph(&o, &f, &filter, false);
    assert_int_equal(o.graph.count, 0);
    assert_string_equal(outcome_make(&o, ""), "");
    outcome_free(&o);
    outcome_graph(&o, &f, &(struct plan_filter){0}, false);
    assert_string_equal(outcome_make(&o, ""), "a,b,c,d");
    outcome_free(&o);
    fixture_free(&f);
}

static const char *core_only(void *arg, const char *connection)
{
    return strcmp(connection, "core") == 0 ? arg : NULL;
}

static void test_effective_schema(void **state)
{
    char fallback[] = "fallback";
    struct migration fixed = {.schema = "declared", .connection = "core"};
    struct migration dynamic = {.schema = "", .connection = "core"};
    struct migration lost = {.schema = "", .connection = "guard"};
    struct plan_node node = {.migration = &fixed, .selected = true};

    (void)state;
    assert_string_equal(plan_effective_schema(&node, "asked", core_only, fallback), "asked");
    assert_string_equal(plan_effective_schema(&node, "", core_only, fallback), "declared");
    assert_string_equal(plan_effective_schema(&node, NULL, core_only, fallback), "declared");
    node.selected = false;
    assert_string_equal(plan_effective_schema(&node, "asked", core_only, fallback), "declared");
    node.migration = &dynamic;
    assert_string_equal(plan_effective_schema(&node, "asked", core_only, fallback), "asked");
    assert_string_equal(plan_effective_schema(&node, NULL, core_only, fallback), "fallback");
    node.migration = &lost;
    assert_null(plan_effective_schema(&node, "", core_only, fallback));
}

static void test_dependents(void **state)
{
    struct fixture f;
    struct arena arena;
    const struct plan_dependent *found;
    struct migration *users;
    size_t count;

    (void)state;
    fixture_init(&f);
    arena_init(&arena);
    users = fixture_add(&f, "1", "users", "core");
    fixture_depend(&f, users, fixture_structured("", "", "users"));
    fixture_depend(&f, fixture_add(&f, "2", "b", "core"), fixture_simple("users"));
    fixture_depend(&f, fixture_add(&f, "2", "a", "logs"),
                   fixture_structured("core", "", "10000000000000"))
        ->by_version = true;
    fixture_add(&f, "3", "users", "guard");
    fixture_depend(&f, fixture_add(&f, "4", "c", "guard"), fixture_simple("users")); /* guard's */
    fixture_depend(&f, fixture_add(&f, "5", "d", "logs"), fixture_simple("b"));
    fixture_finish(&f);
    assert_int_equal(plan_dependents(&f.registry, users, &arena, &found, &count), 0);
    assert_int_equal(count, 2);
    assert_string_equal(found[0].migration->name, "a");
    assert_string_equal(found[1].migration->name, "b");
    assert_int_equal(plan_dependents(&f.registry, found[0].migration, &arena, &found, &count), 0);
    assert_int_equal(count, 0);
    arena_free(&arena);
    fixture_free(&f);
}

/* Any match is enough for a simple dependency; a structured one needs each. */
static void test_dependents_know_what_else_would_do(void **state)
{
    struct fixture f;
    struct arena arena;
    const struct plan_dependent *found;
    struct migration *first, *both;
    size_t count;

    (void)state;
    fixture_init(&f);
    arena_init(&arena);
    first = fixture_add(&f, "1", "users", "core");
    fixture_add(&f, "2", "users", "core");
    fixture_depend(&f, fixture_add(&f, "3", "a", "core"), fixture_simple("users"));
    fixture_depend(&f, fixture_add(&f, "4", "b", "core"), fixture_structured("", "", "users"));
    both = fixture_add(&f, "5", "c", "core");
    fixture_depend(&f, both, fixture_simple("users"));
    fixture_depend(&f, both, fixture_structured("core", "", "users"));
    fixture_finish(&f);
    assert_int_equal(plan_dependents(&f.registry, first, &arena, &found, &count), 0);
    assert_int_equal(count, 3);
    assert_int_equal(found[0].other_count, 2);
    assert_ptr_equal(found[0].others[0], first);
    assert_string_equal(found[0].others[1]->version, "20000000000000");
    assert_int_equal(found[1].other_count, 0);
    assert_int_equal(found[2].other_count, 0);
    arena_free(&arena);
    fixture_free(&f);
}

/* More dependents of more matches than are compared one by one. */
static void test_many_dependents_share_what_else_would_do(void **state)
{
    enum {
        COUNT = 40,
    };
    struct fixture f;
    struct arena arena;
    const struct plan_dependent *found;
    struct migration *users = NULL;
    char version[8], name[8];
    size_t count;

    (void)state;
    fixture_init(&f);
    arena_init(&arena);
    for (int i = 0; i < COUNT; i++) {
        snprintf(version, sizeof(version), "%d", 10 + i);
        users = fixture_add(&f, version, "users", "core");
    }
    for (int i = 0; i < COUNT; i++) {
        snprintf(version, sizeof(version), "%d", 60 + i);
        snprintf(name, sizeof(name), "d%d", i);
        fixture_depend(&f, fixture_add(&f, version, name, "core"), fixture_simple("users"));
    }
    fixture_finish(&f);
    assert_int_equal(plan_dependents(&f.registry, users, &arena, &found, &count), 0);
    assert_int_equal(count, COUNT);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(found[i].other_count, COUNT);
        assert_ptr_equal(found[i].others, found[0].others);
        assert_ptr_equal(found[i].others[COUNT - 1], users);
    }
    arena_free(&arena);
    fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_is_version_then_id),
        cmocka_unit_test(test_dependency_wins_over_version),
        cmocka_unit_test(test_dependencies_are_added_across_connections),
        cmocka_unit_test(test_simple_prefers_own_connection),
        cmocka_unit_test(test_simple_is_satisfied_by_any),
        cmocka_unit_test(test_structured_needs_all_matches),
        cmocka_unit_test(test_large_group),
        cmocka_unit_test(test_missing_target),
        cmocka_unit_test(test_cycle_is_named),
        cmocka_unit_test(test_self_dependency),
        cmocka_unit_test(test_long_cycle_is_cut),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_selection),
        cmocka_unit_test(test_effective_schema),
        cmocka_unit_test(test_dependents),
        cmocka_unit_test(test_dependents_know_what_else_would_do),
        cmocka_unit_test(test_many_dependents_share_what_else_would_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
