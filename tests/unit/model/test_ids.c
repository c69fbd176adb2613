#include "unit/model/registry_fixture.h"

/* What `id` resolves to, one word a match: "[base id]@schema" and the first letter of its form,
 * then `?` if unproven and `n` if normalized; several separated by blanks. */
static const char *resolve(const struct tree *tree, const char *id)
{
    static const char forms[] = {
        [IDS_BASE] = 'b', [IDS_SCHEMA_SPECIFIC] = 's', [IDS_BRIEF] = 'B', [IDS_LEGACY] = 'l'};
    static char text[2048];
    struct ids_matches matches;
    struct arena arena;
    size_t len = 0;

    arena_init(&arena);
    assert_int_equal(ids_resolve(tree->registry, id, &arena, &matches), 0);
    text[0] = '\0';
    for (size_t i = 0; i < matches.count; i++) {
        const struct ids_match *match = &matches.items[i];

        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s@%s:%c%s%s", i > 0 ? " " : "",
                                match->migration->id, match->schema != NULL ? match->schema : "-",
                                forms[match->form], match->unproven ? "?" : "",
                                match->normalized ? "n" : "");
    }
    arena_free(&arena);
    return text;
}

#define V "20250101120000"

static void test_generated_ids(void **state)
{
    struct tree tree = {0};
    const struct migration *migration;
    struct arena arena;

    (void)state;
    arena_init(&arena);
    tree_add(&tree, "postgresql/core/core_users_" V "_create_users.sql", "SELECT 1");
    tree_add(&tree, "postgresql/core/" V "_grow.up.sql", "-- bfm-schema: core\nSELECT 1");
    tree_build(&tree);
    migration = tree_get(&tree, V "_create_users_postgresql_core");
    assert_string_equal(ids_schema_specific(&arena, migration, "tenant_a"),
                        "tenant_a_" V "_create_users_postgresql_core");
    assert_string_equal(ids_brief(&arena, migration), "core_users_" V "_create_users");
    assert_null(ids_brief(&arena, tree_get(&tree, V "_grow_postgresql_core")));
    arena_free(&arena);
    tree_free(&tree);
}

static void test_each_form(void **state)
{
    struct tree tree = {0};

    (void)state;
    tree_add(&tree, "postgresql/core/app_users_" V "_fixed.sql", "SELECT 1");
    tree_add(&tree, "postgresql/core/" V "_dynamic.up.sql", "SELECT 1");
    tree_build(&tree);
    assert_string_equal(resolve(&tree, V "_fixed_postgresql_core"), V "_fixed_postgresql_core@-:b");
    assert_string_equal(resolve(&tree, "app_" V "_fixed_postgresql_core"),
                        V "_fixed_postgresql_core@app:s");
    assert_string_equal(resolve(&tree, "other_" V "_fixed_postgresql_core"),
                        V "_fixed_postgresql_core@other:s?");
    assert_string_equal(resolve(&tree, "app_users_" V "_fixed"), V "_fixed_postgresql_core@app:B");
    assert_string_equal(resolve(&tree, V "_fixed"), V "_fixed_postgresql_core@-:l");
    assert_string_equal(resolve(&tree, "core_" V "_fixed"), V "_fixed_postgresql_core@-:l");
    assert_string_equal(resolve(&tree, "app_core_" V "_fixed"), V "_fixed_postgresql_core@app:l");
    assert_string_equal(resolve(&tree, "x_core_" V "_dynamic"), V "_dynamic_postgresql_core@x:l?n");
    assert_string_equal(resolve(&tree, "_core_" V "_dynamic"), "");
    assert_string_equal(resolve(&tree, "xcore_" V "_dynamic"), "");
    assert_string_equal(resolve(&tree, "xycore_" V "_dynamic"), "");
    assert_string_equal(resolve(&tree, "_" V "_dynamic_postgresql_core"), "");
    assert_string_equal(resolve(&tree, "nothing"), "");
    assert_string_equal(resolve(&tree, ""), "");
    assert_string_equal(resolve(&tree, V), "");
    assert_string_equal(resolve(&tree, V "_dynamic_postgresql"), "");
    tree_free(&tree);
}

/* Row 1: a schema may hold underscores, and one schema's name may begin another's. */
static void test_schema_with_underscores(void **state)
{
    struct tree tree = {0};

    (void)state;
    tree_add(&tree, "postgresql/core/" V "_m.up.sql", "SELECT 1");
    tree_build(&tree);
    assert_string_equal(resolve(&tree, "tenant_a_" V "_m_postgresql_core"),
                        V "_m_postgresql_core@tenant_a:s?");
    assert_string_equal(resolve(&tree, "tenant_" V "_m_postgresql_core"),
                        V "_m_postgresql_core@tenant:s?");
    assert_string_equal(resolve(&tree, "tenant__" V "_m_postgresql_core"),
                        V "_m_postgresql_core@tenant_:s?");
    tree_free(&tree);
}

/* Rows 2 and 3: connection core_eu is neither a name that ends in _core nor connection core. */
static void test_connections_with_underscores(void **state)
{
    struct tree tree = {0};

    (void)state;
    tree_add(&tree, "postgresql/core_eu/" V "_m.up.sql", "SELECT 1");
    tree_add(&tree, "postgresql/core/" V "_m.up.sql", "SELECT 1");
    tree_add(&tree, "postgresql/eu/" V "_m_postgresql_core.up.sql", "SELECT 1");
    tree_build(&tree);
    assert_string_equal(resolve(&tree, V "_m_postgresql_core_eu"), V "_m_postgresql_core_eu@-:b");
    assert_string_equal(resolve(&tree, V "_m_postgresql_core"), V "_m_postgresql_core@-:b");
    assert_string_equal(resolve(&tree, V "_m_postgresql_core_postgresql_eu"),
                        V "_m_postgresql_core_postgresql_eu@-:b");
    /* ambiguous: {version}_{name} of two connections */
    assert_string_equal(resolve(&tree, V "_m"),
                        V "_m_postgresql_core@-:l " V "_m_postgresql_core_eu@-:l");
    assert_string_equal(resolve(&tree, "core_eu_" V "_m"), V "_m_postgresql_core_eu@-:l");
    /* schema core_eu of connection core, or schema x of core_eu: both are kept */
    assert_string_equal(resolve(&tree, "x_core_eu_core_" V "_m"),
                        V "_m_postgresql_core@x_core_eu:l?n");
    assert_string_equal(resolve(&tree, "x_core_eu_" V "_m"), V "_m_postgresql_core_eu@x:l?n");
    assert_string_equal(resolve(&tree, "eu_" V "_m_postgresql_core"),
                        V "_m_postgresql_core@eu:s? " V "_m_postgresql_core_postgresql_eu@-:l");
    tree_free(&tree);
}

/* Row 4: 14 digits in a schema or a tenant are not the version. */
static void test_schema_with_a_version(void **state)
{
    struct tree tree = {0};

    (void)state;
    tree_add(&tree, "postgresql/core/" V "_m.up.sql", "SELECT 1");
    tree_build(&tree);
    assert_string_equal(resolve(&tree, "t_20240101000000_" V "_m_postgresql_core"),
                        V "_m_postgresql_core@t_20240101000000:s?");
    assert_string_equal(resolve(&tree, "20240101000000_" V "_m_postgresql_core"),
                        V "_m_postgresql_core@20240101000000:s?");
    assert_string_equal(resolve(&tree, "20240101000000_core_" V "_m"),
                        V "_m_postgresql_core@20240101000000:l?n");
    tree_free(&tree);
}

/* Row 5: a suffix of the name is a part of the name. */
static void test_rollback_in_a_name(void **state)
{
    struct tree tree = {0};

    (void)state;
    tree_add(&tree, "postgresql/core/" V "_m.up.sql", "SELECT 1");
    tree_add(&tree, "postgresql/core/" V "_m_rollback.up.sql", "SELECT 1");
    tree_add(&tree, "postgresql/core/s_t_" V "_n_down.sql", "SELECT 1");
    tree_build(&tree);
    assert_int_equal(tree.registry->count, 3);
    assert_string_equal(resolve(&tree, V "_m_rollback_postgresql_core"),
                        V "_m_rollback_postgresql_core@-:b");
    assert_string_equal(resolve(&tree, V "_m_rollback"), V "_m_rollback_postgresql_core@-:l");
    assert_string_equal(resolve(&tree, "s_t_" V "_n_down"), V "_n_down_postgresql_core@s:B");
    /* the suffixes that undo runs were recorded with are no IDs */
    assert_string_equal(resolve(&tree, V "_m_postgresql_core_rollback"), "");
    tree_free(&tree);
}

/* Row 6: two files with one ID; the second by path is left out. */
static void test_two_files_with_one_id(void **state)
{
    struct tree tree = {0};

    (void)state;
    tree_add(&tree, "postgresql/core/core_users_" V "_m.sql", "SELECT 2");
    tree_add(&tree, "postgresql/core/core_roles_" V "_m.sql", "SELECT 1");
    tree_add(&tree, "postgresql/core/" V "_m.up.sql", "SELECT 0");
    tree_build(&tree);
    assert_int_equal(tree.registry->count, 1);
    assert_string_equal(tree.registry->migrations[0]->path, "postgresql/core/" V "_m.up.sql");
    assert_int_equal(tree.registry->problem_count, 2);
    assert_string_equal(tree.registry->problems[0].path, "postgresql/core/core_roles_" V "_m.sql");
    assert_string_equal(tree.registry->problems[0].text,
                        "the ID " V "_m_postgresql_core is taken by postgresql/core/" V
                        "_m.up.sql already: postgresql/core/core_roles_" V "_m.sql is left out");
    assert_string_equal(tree.registry->problems[1].path, "postgresql/core/core_users_" V "_m.sql");
    tree_free(&tree);
}

/* Row 8. */
static void test_id_too_long(void **state)
{
    struct tree tree = {0};
    char fits[400], longer[400], name[300];
    size_t most = 255 - strlen(V "__postgresql_core");

    (void)state;
    memset(name, 'n', sizeof(name));
    snprintf(fits, sizeof(fits), "postgresql/core/" V "_%.*s.up.sql", (int)most, name);
    snprintf(longer, sizeof(longer), "postgresql/core/" V "_%.*s.up.sql", (int)most + 1, name);
    tree_add(&tree, fits, "SELECT 1");
    tree_add(&tree, longer, "SELECT 1");
    tree_build(&tree);
    assert_int_equal(tree.registry->count, 1);
    assert_int_equal(strlen(tree.registry->migrations[0]->id), 255);
    assert_int_equal(tree.registry->problem_count, 1);
    assert_string_equal(tree.registry->problems[0].path, longer);
    assert_non_null(strstr(tree.registry->problems[0].text,
                           " would be 256 bytes long; at most 255 are possible"));
    tree_free(&tree);
}

/* Rows 7 and 9: dynamic migrations, and schemas with slashes. */
static void test_schema_with_slashes(void **state)
{
    struct tree tree = {0};

    (void)state;
    tree_add(&tree, "etcd/conf/" V "_m.up.json", "a=b");
    tree_add(&tree, "etcd/conf/" V "_f.up.json",
             "{\"bfm\":{\"schema\":\"/a//b/\"},\"operations\":[{\"key\":\"a\",\"value\":\"b\"}]}");
    tree_build(&tree);
    assert_string_equal(resolve(&tree, "/app/eu_" V "_m_etcd_conf"), V "_m_etcd_conf@/app/eu:s?");
    assert_string_equal(resolve(&tree, "/app/eu_conf_" V "_m"), V "_m_etcd_conf@/app/eu:l?");
    assert_string_equal(resolve(&tree, "app_eu_conf_" V "_m"), V "_m_etcd_conf@app_eu:l?n");
    assert_string_equal(resolve(&tree, "app__eu_conf_" V "_m"), V "_m_etcd_conf@app__eu:l?");
    assert_string_equal(resolve(&tree, "a_b_conf_" V "_f"), V "_f_etcd_conf@/a//b/:l");
    assert_string_equal(resolve(&tree, "/a//b/_conf_" V "_f"), V "_f_etcd_conf@/a//b/:l");
    tree_free(&tree);
}

static void test_base_id_wins(void **state)
{
    struct tree tree = {0};

    (void)state;
    /* the base ID of one is the brief ID and the schema-specific ID of others */
    tree_add(&tree, "postgresql/core/" V "_a_postgresql_core_20260101000000_b.up.sql", "SELECT 1");
    tree_add(&tree, "postgresql/core/20260101000000_b_postgresql_core.up.sql", "SELECT 1");
    tree_add(&tree, "postgresql/core/20260101000000_b.up.sql", "SELECT 1");
    tree_build(&tree);
    assert_string_equal(resolve(&tree, V "_a_postgresql_core_20260101000000_b_postgresql_core"),
                        V "_a_postgresql_core_20260101000000_b_postgresql_core@-:b");
    tree_free(&tree);
}

static void test_one_match_by_two_forms(void **state)
{
    struct tree tree = {0};

    (void)state;
    /* {schema}_{table} is the connection: the brief and the legacy form are one thing */
    tree_add(&tree, "postgresql/a_b/a_b_" V "_m.sql", "SELECT 1");
    tree_build(&tree);
    assert_string_equal(resolve(&tree, "a_b_" V "_m"), V "_m_postgresql_a_b@a:B");
    tree_free(&tree);
    /* two tables of two connections */
    tree_add(&tree, "postgresql/c1/a_b_" V "_m.sql", "SELECT 1");
    tree_add(&tree, "postgresql/c2/a_b_" V "_m.sql", "SELECT 1");
    tree_build(&tree);
    assert_string_equal(resolve(&tree, "a_b_" V "_m"),
                        V "_m_postgresql_c1@a:B " V "_m_postgresql_c2@a:B");
    tree_free(&tree);
}

static void test_long_input(void **state)
{
    struct tree tree = {0};
    char id[5000];

    (void)state;
    tree_add(&tree, "postgresql/core/" V "_m.up.sql", "SELECT 1");
    tree_build(&tree);
    memset(id, '_', sizeof(id));
    id[sizeof(id) - 1] = '\0';
    assert_string_equal(resolve(&tree, id), "");
    snprintf(id + 900, 60, "_" V "_m_postgresql_core");
    assert_true(strlen(resolve(&tree, id)) > 900);
    memset(id, '_', sizeof(id));
    snprintf(id + 1100, 60, "_" V "_m_postgresql_core");
    assert_string_equal(resolve(&tree, id), "");
    tree_free(&tree);
}

static void assert_normalized(const char *schema, const char *expected)
{
    struct arena arena;

    arena_init(&arena);
    assert_string_equal(ids_normalize_schema(&arena, schema), expected);
    arena_free(&arena);
}

static void test_normalize(void **state)
{
    (void)state;
    assert_normalized("", "");
    assert_normalized("core", "core");
    assert_normalized("/app//eu/", "app_eu");
    assert_normalized("__a_/_b__", "a_b");
    assert_normalized("///", "");
}

static void assert_schema(const char *schema, enum backend_kind backend, int rc)
{
    struct err err;

    err_clear(&err);
    if (ids_check_schema(schema, backend, &err) != rc)
        fail_msg("schema '%s': expected %d", schema, rc);
    assert_true((err.text[0] != '\0') == (rc != 0));
}

static void test_schema_names(void **state)
{
    char text[300];

    (void)state;
    assert_schema("core", BACKEND_POSTGRESQL, 0);
    assert_schema("a\"b'c; ../\n", BACKEND_POSTGRESQL, 0);
    assert_schema("\xc3\xa4", BACKEND_POSTGRESQL, 0);
    assert_schema("PG_x", BACKEND_POSTGRESQL, 0);
    assert_schema("", BACKEND_POSTGRESQL, ERR_INVALID);
    assert_schema("pg_catalog", BACKEND_POSTGRESQL, ERR_INVALID);
    assert_schema("information_schema", BACKEND_POSTGRESQL, ERR_INVALID);
    assert_schema("a\xff", BACKEND_POSTGRESQL, ERR_INVALID);
    memset(text, 'a', sizeof(text));
    text[64] = '\0';
    assert_schema(text, BACKEND_POSTGRESQL, ERR_INVALID);
    assert_schema(text, BACKEND_ETCD, 0);
    text[63] = '\0';
    assert_schema(text, BACKEND_POSTGRESQL, 0);
    text[63] = 'a';
    text[64] = 'a';
    text[256] = '\0';
    assert_schema(text, BACKEND_ETCD, ERR_INVALID);
    text[255] = '\0';
    assert_schema(text, BACKEND_ETCD, 0);
    assert_schema("/a/b", BACKEND_ETCD, 0);
    assert_schema("pg_x", BACKEND_ETCD, 0);
    assert_schema("a-b.c@d#e:9", BACKEND_GREPTIMEDB, 0);
    assert_schema("1a", BACKEND_GREPTIMEDB, ERR_INVALID);
    assert_schema("a b", BACKEND_GREPTIMEDB, ERR_INVALID);
    assert_schema("a\"b", BACKEND_GREPTIMEDB, ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generated_ids),
        cmocka_unit_test(test_each_form),
        cmocka_unit_test(test_schema_with_underscores),
        cmocka_unit_test(test_connections_with_underscores),
        cmocka_unit_test(test_schema_with_a_version),
        cmocka_unit_test(test_rollback_in_a_name),
        cmocka_unit_test(test_two_files_with_one_id),
        cmocka_unit_test(test_id_too_long),
        cmocka_unit_test(test_schema_with_slashes),
        cmocka_unit_test(test_base_id_wins),
        cmocka_unit_test(test_one_match_by_two_forms),
        cmocka_unit_test(test_long_input),
        cmocka_unit_test(test_normalize),
        cmocka_unit_test(test_schema_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
