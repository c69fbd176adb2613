/* What cannot be planned: missing targets, circles, steps that are refused. */
#include "unit/model/plan_outcome.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing_target),  cmocka_unit_test(test_cycle_is_named),
        cmocka_unit_test(test_self_dependency), cmocka_unit_test(test_long_cycle_is_cut),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
