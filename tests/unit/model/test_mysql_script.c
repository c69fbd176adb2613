/* Scripts of MySQL from end to end: headers, variables, what makes one invalid, and schema names.
 */
#include "unit/model/registry_fixture.h"

#include "base/buf.h"
#include "model/ids.h"
#include "model/template.h"

static const struct migration *tree_of_mysql(struct tree *tree, const char *text)
{
    tree_free(tree);
    tree_add(tree, "mysql/shop/20250101120000_m.up.sql", text);
    tree_build(tree);
    assert_int_equal(tree->registry->count, 1);
    return tree->registry->migrations[0];
}

static void assert_render(const char *sql, const char *schema, const char *expected)
{
    struct template_values values = {
        .connection = "shop", .schema = schema, .backend = "mysql", .version = "20250101120000"};
    struct tree tree = {0};
    const struct migration *migration = tree_of_mysql(&tree, sql);
    struct err err = {0};
    struct buf out;

    assert_runs(migration);
    buf_init(&out, 2048);
    if (template_render(&migration->up, &values, &out, &err) != 0) {
        buf_truncate(&out, 0);
        buf_printf(&out, "!%u", err.line);
    }
    assert_string_equal(buf_str(&out), expected);
    buf_free(&out);
    tree_free(&tree);
}

static void test_headers(void **state)
{
    struct tree tree = {0};
    const struct migration *migration =
        tree_of_mysql(&tree, "#\n# bfm-schema: shop\n#bfm-tags: a=b, c=d\n-- bfm-transaction: off\n"
                             "/* bfm-lock-timeout: 3s\n * bfm-table: t */\nSELECT 1; #");

    (void)state;
    assert_runs(migration);
    assert_string_equal(migration->id, "20250101120000_m_mysql_shop");
    assert_string_equal(migration->schema, "shop");
    assert_string_equal(migration->table, "t");
    assert_int_equal(migration->tag_count, 2);
    assert_true(migration->no_transaction);
    assert_int_equal(migration->lock_timeout_ms, 3000);
    tree_free(&tree);
}

static void test_variables(void **state)
{
    (void)state;
    assert_render("SELECT {{.Schema}}.t, {{.Version}}", "s", "SELECT `s`.t, 20250101120000");
    assert_render("SELECT {{.Schema}}.t", "a`b", "SELECT `a``b`.t");
    assert_render("SELECT '{{.Schema}}', \"{{.Schema}}\", `{{.Schema}}`", "'\"`\\",
                  "SELECT '''\"`\\\\', \"'\"\"`\\\\\", `'\"``\\`");
    assert_render("CREATE TABLE t_{{.Schema}} (a INT)", "s", "CREATE TABLE t_s (a INT)");
    assert_render("CREATE TABLE t_{{.Schema}} (a INT)", "S", "!1");
    assert_render("SET\n@{{.Schema}} = 1", "a-b", "!2");
    assert_render("SELECT 1 /* {{.Schema}} */ # {{.Schema}}", "*/\n", "SELECT 1 /* ___ */ # ___");
    assert_render("SELECT 1 /*! + {{.Schema}}.a */", "x", "SELECT 1 /*! + `x`.a */");
    assert_render("SELECT 1\n/*!80000 + {{.Schema}}.a */", "x*/; DROP TABLE y; -- ", "!2");
    assert_render("SELECT 1 /*!80000 /* x */ '{{.Schema}}' */", "/*", "!1");
    assert_render("SELECT 1 /*! */ + {{.Schema}}.a /* */", "a*/b",
                  "SELECT 1 /*! */ + `a*/b`.a /* */");
    assert_render("CREATE PROCEDURE p() BEGIN SELECT '{{.Schema}}' FROM {{.Schema}}.t; END", "a'b",
                  "CREATE PROCEDURE p() BEGIN SELECT 'a''b' FROM `a'b`.t; END");
}

static void test_invalid(void **state)
{
    static const struct {
        unsigned line;
        const char *text, *why;
    } cases[] = {
        {2, "SELECT\n{{.Schema}}'x'", "in front of a quote"},
        {1, "SELECT {{.Schema}}\"x\"", "in front of a quote"},
        {1, "SELECT 'a\\{{.Schema}}'", "behind a backslash"},
        {1, "SELECT \"a\\{{.Schema}}\"", "behind a backslash"},
        {2, "SELECT 1;\nDELIMITER $$", "BfM finds the end"},
        {2, "-- bfm-transaction: off\nCREATE TEMPORARY TABLE t (a INT)", "temporary table"},
        {3, "SELECT 1;\n\n'x", "unterminated"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct tree tree = {0};
        const struct migration *migration = tree_of_mysql(&tree, cases[i].text);

        if (migration->invalid == NULL || strstr(migration->invalid, cases[i].why) == NULL ||
            migration->invalid_line != cases[i].line)
            fail_msg("%s: %s", cases[i].text,
                     migration->invalid != NULL ? migration->invalid : "accepted");
        tree_free(&tree);
    }
}

static void test_schema_names(void **state)
{
    static const struct {
        int rc;
        const char *schema;
    } cases[] = {
        {0, "shop"},
        {0, "a b`c'd\"e\\f/g.h"},
        {0, "\xc3\xa4\xe2\x82\xac"},
        {0, "pg_x"},
        {0, "mysqlx"},
        {ERR_INVALID, ""},
        {ERR_INVALID, "shop "},
        {ERR_INVALID, "mysql"},
        {ERR_INVALID, "MySQL"},
        {ERR_INVALID, "Information_Schema"},
        {ERR_INVALID, "performance_schema"},
        {ERR_INVALID, "sys"},
        {ERR_INVALID, "\xf0\x9f\x98\x80"},
        {ERR_INVALID, "a\xff"},
        {ERR_INVALID, "0123456789012345678901234567890123456789012345678901234567890123"},
        {0, "012345678901234567890123456789012345678901234567890123456789012"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = {0};

        if (ids_check_schema(cases[i].schema, BACKEND_MYSQL, &err) != cases[i].rc)
            fail_msg("schema '%s': expected %d", cases[i].schema, cases[i].rc);
        assert_true((err.text[0] != '\0') == (cases[i].rc != 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_variables),
        cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_schema_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
