/* What a plan consists of, and in which order. */
#include "unit/model/plan_outcome.h"

#include "base/mem.h"

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
        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_selection),
        cmocka_unit_test(test_effective_schema),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
