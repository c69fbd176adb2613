/* What is wrong with the dependencies of a whole tree. */
#include "model/plan_lint.h"
#include "registry_fixture.h"

static void tree_add_sql(struct tree *tree, const char *version, const char *name,
                         const char *headers)
{
    static struct arena arena; /* the paths and texts of all trees, until the program ends */
    char *path = arena_printf(&arena, "postgresql/core/%s_%s.up.sql", version, name);
    char *text = arena_printf(&arena, "-- a script\n%s\nSELECT 1;\n", headers);

    assert_non_null(path);
    assert_non_null(text);
    tree_add(tree, path, text);
}

static void lint(struct tree *tree, struct plan_lint *found)
{
    struct err err = {0};

    tree_build(tree);
    assert_int_equal(plan_lint(tree->registry, found, &err), 0);
}

static void test_sound_tree(void **state)
{
    struct tree tree = {0};
    struct plan_lint found;

    (void)state;
    tree_add_sql(&tree, "20250101000000", "a", "");
    tree_add_sql(&tree, "20250102000000", "b", "-- bfm-depends: a");
    lint(&tree, &found);
    assert_int_equal(found.count, 0);
    plan_lint_free(&found);
    tree_free(&tree);
}

static void test_missing_targets(void **state)
{
    struct tree tree = {0};
    struct plan_lint found;

    (void)state;
    tree_add_sql(&tree, "20250101000000", "a", "\n-- bfm-depends: nobody");
    tree_add_sql(&tree, "20250102000000", "b",
                 "-- bfm-requires: connection=eu target=20240101000000 type=version");
    lint(&tree, &found);
    assert_int_equal(found.count, 2);
    assert_string_equal(found.problems[0].path, "postgresql/core/20250101000000_a.up.sql");
    assert_int_equal(found.problems[0].line, 3);
    assert_string_equal(found.problems[0].text,
                        "depends on migration \"nobody\", which no script is");
    assert_int_equal(found.problems[1].line, 2);
    assert_string_equal(
        found.problems[1].text,
        "depends on version \"20240101000000\" of connection eu, which no script is");
    plan_lint_free(&found);
    tree_free(&tree);
}

/* Two circles that share nothing, and one that only leads into the first. */
static void tree_add_circles(struct tree *tree)
{
    tree_add_sql(tree, "20250101000000", "a", "-- bfm-depends: c");
    tree_add_sql(tree, "20250102000000", "b", "-- bfm-depends: a");
    tree_add_sql(tree, "20250103000000", "c", "-- bfm-depends: b");
    tree_add_sql(tree, "20250104000000", "d", "-- bfm-depends: a");
    tree_add_sql(tree, "20250105000000", "e", "-- bfm-depends: f");
    tree_add_sql(tree, "20250106000000", "f", "-- bfm-depends: e");
    tree_add_sql(tree, "20250107000000", "g", "-- bfm-depends: g");
}

static void test_every_circle(void **state)
{
    struct tree tree = {0};
    struct plan_lint found;

    (void)state;
    tree_add_circles(&tree);
    lint(&tree, &found);
    assert_int_equal(found.count, 3);
    assert_string_equal(found.problems[0].path, "postgresql/core/20250101000000_a.up.sql");
    for (char name = 'a'; name <= 'c'; name++) {
        char id[64];

        snprintf(id, sizeof(id), "_%c_postgresql_core", name);
        assert_non_null(strstr(found.problems[0].text, id));
    }
    assert_null(strstr(found.problems[0].text, "_d_postgresql_core"));
    assert_string_equal(found.problems[1].path, "postgresql/core/20250105000000_e.up.sql");
    assert_string_equal(found.problems[2].text,
                        "depends on itself in a circle of 20250107000000_g_postgresql_core");
    plan_lint_free(&found);
    tree_free(&tree);
}

static void test_out_of_memory(void **state)
{
    struct tree tree = {0};
    bool hit = true;

    (void)state;
    tree_add_circles(&tree);
    tree_add_sql(&tree, "20250108000000", "h", "-- bfm-depends: nobody");
    tree_build(&tree);
    for (unsigned long nth = 1; hit; nth++) {
        struct plan_lint found;
        struct err err = {0};
        int rc;

        mem_fail_at(nth, 0);
        rc = plan_lint(tree.registry, &found, &err);
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        assert_int_equal(rc, hit ? ERR_NOMEM : 0);
        assert_int_equal(err.code, rc);
        assert_int_equal(found.count, hit ? 0 : 4);
        plan_lint_free(&found);
    }
    tree_free(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound_tree),
        cmocka_unit_test(test_missing_targets),
        cmocka_unit_test(test_every_circle),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
