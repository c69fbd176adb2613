#include "unit/model/registry_fixture.h"

#include "model/filename.h"

static void assert_slice(struct slice slice, const char *text)
{
    assert_int_equal(slice.len, strlen(text));
    assert_memory_equal(slice.at, text, slice.len);
}

static void assert_other(const char *path)
{
    struct filename name;

    filename_parse(path, &name);
    if (name.role != FILENAME_OTHER)
        fail_msg("%s is taken for a file of a migration", path);
    assert_non_null(name.why_other);
}

static void assert_why(const char *path, const char *why)
{
    struct filename name;

    filename_parse(path, &name);
    assert_string_equal(name.why_other, why);
}

static void test_the_extension_that_is_expected_is_named(void **state)
{
    (void)state;
    assert_why("etcd/conf/20250101120000_x.up.sql",
               "the extension is not .json, the one of scripts for etcd");
    assert_why("postgresql/c/20250101120000_x.up.json",
               "the extension is not .sql, the one of scripts for this backend");
    assert_why("greptimedb/c/20250101120000_x.up.json",
               "the extension is not .sql, the one of scripts for this backend");
}

static void test_brief_naming(void **state)
{
    struct filename name;

    (void)state;
    filename_parse("postgresql/core/core_users_20250101120000_create_users.sql", &name);
    assert_int_equal(name.role, FILENAME_UP);
    assert_true(name.is_brief);
    assert_slice(name.schema, "core");
    assert_slice(name.table, "users");
    assert_slice(name.version, "20250101120000");
    assert_slice(name.name, "create_users");
    assert_slice(name.connection, "core");

    filename_parse("etcd/conf/app_feature_flags_20250101120000_x_20250101120001_y.json", &name);
    assert_int_equal(name.backend, BACKEND_ETCD);
    assert_slice(name.table, "feature_flags");
    assert_slice(name.version, "20250101120000");
    assert_slice(name.name, "x_20250101120001_y");
}

static void test_current_naming(void **state)
{
    struct filename name;

    (void)state;
    filename_parse("postgresql/core_eu/20250101120000_create_users.up.sql", &name);
    assert_int_equal(name.role, FILENAME_UP);
    assert_false(name.is_brief);
    assert_slice(name.version, "20250101120000");
    assert_slice(name.name, "create_users");
    assert_slice(name.connection, "core_eu");
    assert_slice(name.stem, "20250101120000_create_users");

    filename_parse("etcd/conf/20250101120000_x.down.json", &name);
    assert_int_equal(name.role, FILENAME_DOWN);
    assert_slice(name.name, "x");

    /* dots and versions in a name stay */
    filename_parse("postgresql/c/20250101120000_v1.2_20260101120000.up.sql", &name);
    assert_slice(name.name, "v1.2_20260101120000");
}

static void test_companions(void **state)
{
    struct filename name;

    (void)state;
    filename_parse("postgresql/core/20250101120000_x.go", &name);
    assert_int_equal(name.role, FILENAME_COMPANION);
    assert_slice(name.stem, "20250101120000_x");
    assert_other("postgresql/core/20250101120000_x_test.go");
}

static void test_passed_over(void **state)
{
    (void)state;
    assert_other("README.md");
    assert_other("postgresql/README.md");
    assert_other("postgres/core/20250101120000_x.up.sql");
    assert_other("Postgresql/core/20250101120000_x.up.sql");
    assert_other("postgresql/Core/20250101120000_x.up.sql");
    assert_other("postgresql/.git/20250101120000_x.up.sql");
    assert_other("postgresql//20250101120000_x.up.sql");
    assert_other("postgresql/core/deep/20250101120000_x.up.sql");
    assert_other("postgresql/core/.20250101120000_x.up.sql");
    assert_other("postgresql/core/");
    assert_other("postgresql/core/.sql");
    assert_other("postgresql/core/20250101120000_x.up.json");
    assert_other("etcd/core/20250101120000_x.up.sql");
    assert_other("postgresql/core/20250101120000_x.sql");
    assert_other("postgresql/core/20250101120000_.up.sql");
    assert_other("postgresql/core/2025010112000_x.up.sql");
    assert_other("postgresql/core/202501011200000_x.up.sql");
    assert_other("postgresql/core/core_20250101120000_x.sql");
    assert_other("postgresql/core/_users_20250101120000_x.sql");
    assert_other("postgresql/core/core__20250101120000_x.sql");
    assert_other("postgresql/core/core_users_20250101120000_.sql");
    assert_other("postgresql/core/core_users_20250101120000.sql");
    assert_other("postgresql/core/core_users_2025010112000x_y.sql");
    assert_other("postgresql/core/core_users_20250101120000_x.up.sql");
    assert_other("postgresql/core/core_users_20250101120000_x.down.sql");
    assert_other("postgresql/core/seed.sql");
}

static void test_brief_down_needs_its_up_file(void **state)
{
    struct tree tree = {0};
    const struct migration *migration;

    (void)state;
    tree_add(&tree, "postgresql/c/s_t_20250101120000_drop_it_down.sql", "SELECT 1");
    tree_add(&tree, "postgresql/c/s_t_20250101120001_a.sql", "SELECT 1");
    tree_add(&tree, "postgresql/c/s_t_20250101120001_a_down.sql", "SELECT 2");
    tree_build(&tree);
    assert_int_equal(tree.registry->count, 2);
    assert_int_equal(tree.registry->problem_count, 0);
    migration = tree_get(&tree, "20250101120000_drop_it_down_postgresql_c");
    assert_null(migration->down.file);
    assert_string_equal(migration->name, "drop_it_down");
    migration = tree_get(&tree, "20250101120001_a_postgresql_c");
    assert_string_equal(migration->down.file, "s_t_20250101120001_a_down.sql");
    assert_string_equal(statement_text(&migration->down, 0), "SELECT 2");
    tree_free(&tree);
}

static void test_brief_down_of_a_down(void **state)
{
    struct tree tree = {0};

    (void)state;
    tree_add(&tree, "postgresql/c/s_t_20250101120001_a_down_down_down.sql", "SELECT 4");
    tree_add(&tree, "postgresql/c/s_t_20250101120001_a_down_down.sql", "SELECT 3");
    tree_add(&tree, "postgresql/c/s_t_20250101120001_a_down.sql", "SELECT 2");
    tree_add(&tree, "postgresql/c/s_t_20250101120001_a.sql", "SELECT 1");
    tree_build(&tree);
    /* a_down is a's; so a_down_down has no up file and is one, whose down file is the last */
    assert_int_equal(tree.registry->count, 2);
    assert_string_equal(tree_get(&tree, "20250101120001_a_postgresql_c")->down.file,
                        "s_t_20250101120001_a_down.sql");
    assert_string_equal(tree_get(&tree, "20250101120001_a_down_down_postgresql_c")->down.file,
                        "s_t_20250101120001_a_down_down_down.sql");
    tree_free(&tree);
}

static void test_brief_named_down_alone(void **state)
{
    struct tree tree = {0};

    (void)state;
    /* without it nothing of a name is left, so `down` is the name */
    tree_add(&tree, "postgresql/c/s_t_20250101120001_down.sql", "SELECT 1");
    tree_build(&tree);
    assert_string_equal(tree_get(&tree, "20250101120001_down_postgresql_c")->name, "down");
    tree_free(&tree);
}

static void test_down_without_up_is_a_problem(void **state)
{
    struct tree tree = {0};

    (void)state;
    tree_add(&tree, "postgresql/c/20250101120001_a.down.sql", "SELECT 1");
    tree_build(&tree);
    assert_int_equal(tree.registry->count, 0);
    assert_int_equal(tree.registry->problem_count, 1);
    assert_string_equal(tree.registry->problems[0].path, "postgresql/c/20250101120001_a.down.sql");
    assert_string_equal(tree.registry->problems[0].text, "there is no up file to this down file");
    tree_free(&tree);
}

static void test_names_must_be_readable(void **state)
{
    struct tree tree = {0};

    (void)state;
    tree_add(&tree, "postgresql/c/20250101120001_a\xff.up.sql", "SELECT 1");
    tree_add(&tree, "postgresql/c/20250101120001_a\n.up.sql", "SELECT 1");
    tree_add(&tree, "postgresql/c/20250101120001_\xc3\xa4.up.sql", "SELECT 1");
    tree_build(&tree);
    assert_int_equal(tree.registry->count, 1);
    assert_int_equal(tree.registry->problem_count, 2);
    tree_free(&tree);
}

static void test_backend_names(void **state)
{
    enum backend_kind kind;

    (void)state;
    for (int i = 0; i < BACKEND_KINDS; i++) {
        assert_true(backend_kind_parse(backend_kind_name((enum backend_kind)i), &kind));
        assert_int_equal(kind, i);
    }
    assert_true(backend_kind_parse(" \tPostgres\n", &kind));
    assert_int_equal(kind, BACKEND_POSTGRESQL);
    assert_true(backend_kind_parse("GreptimeDB", &kind));
    assert_int_equal(kind, BACKEND_GREPTIMEDB);
    assert_false(backend_kind_parse("", &kind));
    assert_false(backend_kind_parse("postgre", &kind));
    assert_false(backend_kind_parse("x11", &kind));
    assert_false(backend_kind_parse("post gres", &kind));
    assert_true(backend_kind_guess("POSTGRES", &kind));
    assert_int_equal(kind, BACKEND_POSTGRESQL);
    assert_true(backend_kind_guess("maria-db", &kind));
    assert_int_equal(kind, BACKEND_MYSQL);
    assert_true(backend_kind_guess("etcdv3", &kind));
    assert_int_equal(kind, BACKEND_ETCD);
    assert_false(backend_kind_guess("docs", &kind));
    assert_false(backend_kind_guess("", &kind));
    assert_false(backend_kind_guess("postgresql-postgresql-postgresql-postgresql", &kind));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_extension_that_is_expected_is_named),
        cmocka_unit_test(test_brief_naming),
        cmocka_unit_test(test_current_naming),
        cmocka_unit_test(test_companions),
        cmocka_unit_test(test_passed_over),
        cmocka_unit_test(test_brief_down_needs_its_up_file),
        cmocka_unit_test(test_brief_down_of_a_down),
        cmocka_unit_test(test_brief_named_down_alone),
        cmocka_unit_test(test_down_without_up_is_a_problem),
        cmocka_unit_test(test_names_must_be_readable),
        cmocka_unit_test(test_backend_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
