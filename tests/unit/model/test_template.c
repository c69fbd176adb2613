#include "unit/model/registry_fixture.h"

#include "base/buf.h"

/* Renders the script of a migration for a schema; the refusal's text if it is refused. */
static const char *render(const struct script *script, const char *schema)
{
    static char text[2048];
    struct template_values values = {.connection = "core",
                                     .schema = schema,
                                     .backend = "postgresql",
                                     .version = "20250101120000"};
    struct buf out;
    struct err err;

    buf_init(&out, sizeof(text) - 1);
    if (template_render(script, &values, &out, &err) == 0)
        snprintf(text, sizeof(text), "%s", buf_str(&out));
    else
        snprintf(text, sizeof(text), "!%u %s", err.line, err.text);
    buf_free(&out);
    return text;
}

static void assert_render(const char *sql, const char *schema, const char *expected)
{
    struct tree tree = {0};
    const struct migration *migration = tree_of_sql(&tree, sql);

    assert_runs(migration);
    assert_string_equal(render(&migration->up, schema), expected);
    tree_free(&tree);
}

#define REFUSED                                                                                       \
    " is part of a longer word or text here, where only lower-case letters, digits and _ can stand; " \
    "this value would need quotes"

static void test_names_and_blanks(void **state)
{
    (void)state;
    assert_render("x {{.Connection}} {{.Schema}} {{.Backend}} {{.Version}}", "s",
                  "x core s postgresql 20250101120000");
    assert_render("x {{ . schema }}.{{.SCHEMA\t}}.{{\t.sChEmA}}", "s", "x s.s.s");
    assert_render("x {{{.Schema}}}", "s", "x {s}");
}

static void test_other_braces_are_plain_text(void **state)
{
    (void)state;
    assert_render("x '{{1,2},{3,4}}' {{.Other}} {{Schema}} {{.Schema {{-.Schema-}} {{.Schem a}} "
                  "{{.Schema}",
                  "s",
                  "x '{{1,2},{3,4}}' {{.Other}} {{Schema}} {{.Schema {{-.Schema-}} {{.Schem a}} "
                  "{{.Schema}");
    assert_render("x {{.\nSchema}} {{", "s", "x {{.\nSchema}} {{");
}

static void test_alone(void **state)
{
    static const char sql[] = "CREATE TABLE {{.Schema}}.t (a int); GRANT x TO r_1,{{.Schema}}";

    (void)state;
    assert_render(sql, "tenant_a", "CREATE TABLE tenant_a.t (a int); GRANT x TO r_1,tenant_a");
    assert_render(sql, "_1", "CREATE TABLE _1.t (a int); GRANT x TO r_1,_1");
    assert_render(sql, "Tenant", "CREATE TABLE \"Tenant\".t (a int); GRANT x TO r_1,\"Tenant\"");
    assert_render(sql, "1a", "CREATE TABLE \"1a\".t (a int); GRANT x TO r_1,\"1a\"");
    assert_render(sql, "a-b", "CREATE TABLE \"a-b\".t (a int); GRANT x TO r_1,\"a-b\"");
    assert_render(sql, "user", "CREATE TABLE \"user\".t (a int); GRANT x TO r_1,\"user\"");
    assert_render(sql, "left", "CREATE TABLE \"left\".t (a int); GRANT x TO r_1,\"left\"");
    assert_render(sql, "public", "CREATE TABLE public.t (a int); GRANT x TO r_1,public");
    assert_render(sql, "a\"; DROP TABLE b; --",
                  "CREATE TABLE \"a\"\"; DROP TABLE b; --\".t (a int); GRANT x TO "
                  "r_1,\"a\"\"; DROP TABLE b; --\"");
    assert_render(sql, "\xc3\xa4",
                  "CREATE TABLE \"\xc3\xa4\".t (a int); GRANT x TO r_1,\"\xc3\xa4\"");
    assert_render("x {{.Schema}}, '{{.Schema}}'", "a$b", "x \"a$b\", 'a$b'");
    assert_render("x {{.Schema}}", "123", "x \"123\"");
    assert_render("x {{.Schema}}", "",
                  "!1 20250101120000_m.up.sql:1: {{.Schema}} has no value here");
}

static void test_in_a_word(void **state)
{
    (void)state;
    assert_render("x\nidx_{{.Schema}} {{.Schema}}_idx a{{.Version}}", "s_1",
                  "x\nidx_s_1 s_1_idx a20250101120000");
    assert_render("x idx_{{.Schema}}", "1a", "x idx_1a");
    assert_render("x {{.Schema}}{{.Backend}}", "s", "x spostgresql");
    assert_render("x {{.Schema}}_{{.Schema}}", "select", "x select_select");
    assert_render("x\nidx_{{.Schema}}", "Tenant",
                  "!2 20250101120000_m.up.sql:2: {{.Schema}}" REFUSED);
    assert_render("x {{.Schema}}_idx", "a b", "!1 20250101120000_m.up.sql:1: {{.Schema}}" REFUSED);
    assert_render("x {{.Schema}}_idx", "1a", "!1 20250101120000_m.up.sql:1: {{.Schema}}" REFUSED);
    assert_render("x \xc3\xa4{{.Schema}}", "a\"b",
                  "!1 20250101120000_m.up.sql:1: {{.Schema}}" REFUSED);
    assert_render("x $a{{.Schema}}", "A", "!1 20250101120000_m.up.sql:1: {{.Schema}}" REFUSED);
    assert_render("x i_{{.Schema}}", "",
                  "!1 20250101120000_m.up.sql:1: {{.Schema}} has no value here");
}

static void test_in_strings(void **state)
{
    (void)state;
    assert_render("x 'a {{.Schema}} b'", "it's \\", "x 'a it''s \\ b'");
    assert_render("x 'a{{.Schema}}'", "", "x 'a'");
    assert_render("x E'{{.Schema}}'", "it's \\", "x E'it''s \\\\'");
    assert_render("x e'\\'{{.Schema}}'", "'", "x e'\\''''");
    assert_render("x 'a'\n 'b{{.Schema}}'", "'", "x 'a'\n 'b'''");
    assert_render("x U&'{{.Schema}}'", "a_b", "x U&'a_b'");
    assert_render("x U&'{{.Schema}}'", "\\0041",
                  "!1 20250101120000_m.up.sql:1: {{.Schema}}" REFUSED);
    assert_render("x U&\"{{.Schema}}\"", "a\"b",
                  "!1 20250101120000_m.up.sql:1: {{.Schema}}" REFUSED);
    assert_render("x \"{{.Schema}}\".\"idx_{{.Schema}}\"", "a\"b'c",
                  "x \"a\"\"b'c\".\"idx_a\"\"b'c\"");
}

static void test_in_comments(void **state)
{
    (void)state;
    assert_render("x -- {{.Schema}}\ny", "a\nb\r*/", "x -- a_b___\ny");
    assert_render("x /* {{.Schema}} */", "*/ DROP /*", "x /* __ DROP __ */");
    assert_render("x /* *{{.Schema}} */", "/", "x /* *_ */");
    assert_render("x -- {{.Schema}}\ny", "Plain \"text\"", "x -- Plain \"text\"\ny");
}

static void test_in_dollar_quotes(void **state)
{
    static const char body[] = "DO $fn$ BEGIN EXECUTE '{{.Schema}}'; -- {{.Schema}}\n"
                               "PERFORM {{.Schema}}.f(\"{{.Schema}}\"); x_{{.Schema}} END $fn$";

    (void)state;
    assert_render(body, "s", "DO $fn$ BEGIN EXECUTE 's'; -- s\nPERFORM s.f(\"s\"); x_s END $fn$");
    assert_render(
        "DO $$ BEGIN EXECUTE '{{.Schema}}'; PERFORM {{.Schema}}.f(\"{{.Schema}}\"); END $$",
        "a\"'b", "DO $$ BEGIN EXECUTE 'a\"''b'; PERFORM \"a\"\"'b\".f(\"a\"\"'b\"); END $$");
    assert_render(body, "$fn$ DROP",
                  "!1 20250101120000_m.up.sql:1: {{.Schema}} is inside of a dollar-quoted text, "
                  "where a value with a '$' in it cannot stand");
    assert_render(body, "A", "!2 20250101120000_m.up.sql:2: {{.Schema}}" REFUSED);
    /* bodies in bodies */
    assert_render("DO $a$ EXECUTE $b$ SELECT '{{.Schema}}', {{.Schema}} $b$; '{{.Schema}}' $a$",
                  "x'y", "DO $a$ EXECUTE $b$ SELECT 'x''y', \"x'y\" $b$; 'x''y' $a$");
    /* so deep that nobody looks any more */
    assert_render("DO $a$ $b$ $c$ $d$ '{{.Schema}}' $d$ $c$ $b$ $a$", "x'y",
                  "DO $a$ $b$ $c$ $d$ 'x''y' $d$ $c$ $b$ $a$");
    assert_render("DO $a$ $b$ $c$ $d$ $e$ '{{.Schema}}' $e$ $d$ $c$ $b$ $a$", "x'y",
                  "!1 20250101120000_m.up.sql:1: {{.Schema}}" REFUSED);
    /* text that is no SQL takes only what is safe everywhere */
    assert_render("COMMENT ON TABLE t IS $$it's {{.Schema}}$$", "s",
                  "COMMENT ON TABLE t IS $$it's s$$");
    assert_render("COMMENT ON TABLE t IS $$it's {{.Schema}}$$", "a'b",
                  "!1 20250101120000_m.up.sql:1: {{.Schema}}" REFUSED);
}

static void test_bodies_in_other_languages(void **state)
{
    static const char *const scripts[] = {
        "DO LANGUAGE plpython3u $$ x = '{{.Schema}}' $$",
        "CREATE FUNCTION f() RETURNS void AS $$ x = '{{.Schema}}' $$ LANGUAGE \"plperl\"; x",
        "x; CREATE FUNCTION f() RETURNS void LANGUAGE 'plv8' /* sql */ AS $$ '{{.Schema}}' $$",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(scripts); i++)
        assert_render(scripts[i], "a\\", "!1 20250101120000_m.up.sql:1: {{.Schema}}" REFUSED);
    assert_render("x LANGUAGE c; CREATE FUNCTION f() RETURNS void AS $$ '{{.Schema}}' $$ "
                  "language PLpgSQL; LANGUAGE c",
                  "a'",
                  "x LANGUAGE c; CREATE FUNCTION f() RETURNS void AS $$ 'a''' $$ "
                  "language PLpgSQL; LANGUAGE c");
}

static void test_dollar_tags_are_refused_at_load(void **state)
{
    static const char reason[] = "postgresql/core/20250101120000_m.up.sql:2: a variable cannot be "
                                 "part of a dollar quote's tag";
    struct tree tree = {0};

    (void)state;
    assert_reason(tree_of_sql(&tree, "x\n$a{{.Schema}}_b$ y"), reason);
    assert_reason(tree_of_sql(&tree, "x\n${{.Schema}}$ {{.Schema}} ${{.Schema}}$"), reason);
    assert_reason(tree_of_sql(&tree, "DO $fn$\n $f{{.Schema}} a $f{{.Schema}}n$ $fn$"), reason);
    assert_reason(tree_of_sql(&tree, "DO $fn$\n '$f{{.Schema}}{{.Version}}$' $fn$"), reason);
    assert_runs(tree_of_sql(&tree, "SELECT '$f{{.Schema}}$', \"${{.Schema}}$\""));
    assert_runs(tree_of_sql(&tree, "DO $$ {{.Schema}} $$; DO $${{.Schema}}$$; x '{{.Schema}}'"));
    tree_free(&tree);
}

static void test_quotes_beside_a_variable(void **state)
{
    static const char quote[] = "postgresql/core/20250101120000_m.up.sql:2: a variable cannot "
                                "stand directly in front of a quote";
    static const char slash[] = "postgresql/core/20250101120000_m.up.sql:2: a variable cannot "
                                "stand behind a backslash";
    struct tree tree = {0};

    (void)state;
    /* with the schema `e`, `u` or any other, these would be other quotes than they are */
    assert_reason(tree_of_sql(&tree, "x\n{{.Schema}}'a'; b"), quote);
    assert_reason(tree_of_sql(&tree, "x\n{{.Schema}}&'a'"), quote);
    assert_reason(tree_of_sql(&tree, "x\n{{.Schema}}&\"a\""), quote);
    assert_reason(tree_of_sql(&tree, "x\n{{.Schema}}$$ a; $$"), quote);
    assert_reason(tree_of_sql(&tree, "x $$\n{{.Schema}}'a' $$"), quote);
    assert_reason(tree_of_sql(&tree, "x\nE'\\{{.Schema}}'"), slash);
    assert_reason(tree_of_sql(&tree, "x\nE'\\\\\\{{.Schema}}'"), slash);
    assert_render("x E'\\\\{{.Schema}}'", "'", "x E'\\\\'''");
    assert_render("x '\\{{.Schema}}'", "'", "x '\\'''");
    assert_render("x \"a\"{{.Schema}}", "b", "x \"a\"b");
    assert_render("x \"a\"{{.Schema}}", "B", "!1 20250101120000_m.up.sql:1: {{.Schema}}" REFUSED);
    assert_render("x {{.Schema}}\"a\"", "B", "!1 20250101120000_m.up.sql:1: {{.Schema}}" REFUSED);
    assert_render("x u&{{.Schema}}", "B", "!1 20250101120000_m.up.sql:1: {{.Schema}}" REFUSED);
    assert_render("x /* *{{.Schema}}/ */", "", "x /* * / */");
    tree_free(&tree);
}

static void test_statement_by_statement(void **state)
{
    struct template_values values = {.schema = "a\"b"};
    struct tree tree = {0};
    const struct script *script;
    struct buf out;
    struct err err;

    (void)state;
    script =
        &tree_of_sql(&tree, "-- {{.Schema}}\nA {{.Schema}};\nX {{.Schema}};\nB; C '{{.Schema}}'"
                            " d ;\nE x_{{.Schema}}")
             ->up;
    assert_int_equal(script->statement_count, 5);
    buf_init(&out, 1000);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(
            template_render_statement(script, &script->statements[i], &values, &out, &err), 0);
        buf_putc(&out, '|');
    }
    assert_string_equal(out.data, "A \"a\"\"b\"|X \"a\"\"b\"|B|C 'a\"b' d|");
    assert_int_equal(template_render_statement(script, &script->statements[4], &values, &out, &err),
                     ERR_INVALID);
    assert_int_equal(err.statement, 5);
    assert_int_equal(err.line, 5);
    buf_free(&out);
    tree_free(&tree);
}

static void test_without_variables(void **state)
{
    struct tree tree = {0};
    const struct script *script = &tree_of_sql(&tree, "SELECT 1;\n SELECT 2")->up;

    (void)state;
    assert_false(script->has_variables);
    assert_string_equal(render(script, "s"), "SELECT 1;\n SELECT 2");
    tree_free(&tree);
}

static void test_greptimedb(void **state)
{
    struct tree tree = {0};
    const struct script *script;

    (void)state;
    script = &tree_of_greptimedb(&tree, "CREATE TABLE `a_{{.Schema}}`.\"{{.Schema}}\" "
                                        "('{{.Schema}}'); DROP DATABASE {{.Schema}}")
                  ->up;
    assert_string_equal(
        render(script, "m`\"'\\"),
        "CREATE TABLE `a_m``\"'\\`.\"m`\"\"'\\\" ('m`\"''\\'); DROP DATABASE \"m`\"\"'\\\"");
    tree_free(&tree);
}

static void test_etcd(void **state)
{
    struct tree tree = {0};
    const struct script *script;

    (void)state;
    script = &tree_of_json(&tree, "[{\"key\":\"{{.Schema}}/k\",\"value\":\"{{.Version}}\"}]")->up;
    assert_string_equal(render(script, "a\"\\/\n"),
                        "[{\"key\":\"a\\\"\\\\/\\n/k\",\"value\":\"20250101120000\"}]");
    script = &tree_of_json(&tree, "{{.Schema}}/k=a \"{{.Schema}}\"")->up;
    assert_string_equal(render(script, "x\"y"), "x\"y/k=a \"x\"y\"");
    tree_free(&tree);
}

static void test_failures_of_the_buffer(void **state)
{
    struct template_values values = {.schema = "abcdefgh"};
    struct tree tree = {0};
    const struct script *script = &tree_of_sql(&tree, "SELECT '{{.Schema}}'")->up;
    struct buf out;
    struct err err;

    (void)state;
    buf_init(&out, 12);
    assert_int_equal(template_render(script, &values, &out, &err), ERR_LIMIT);
    assert_int_equal(err.code, ERR_LIMIT);
    buf_free(&out);
    buf_init(&out, 100);
    mem_fail_at(1, 0);
    assert_int_equal(template_render(script, &values, &out, &err), ERR_NOMEM);
    mem_fail_at(0, 0);
    buf_free(&out);
    tree_free(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_blanks),
        cmocka_unit_test(test_other_braces_are_plain_text),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_in_a_word),
        cmocka_unit_test(test_in_strings),
        cmocka_unit_test(test_in_comments),
        cmocka_unit_test(test_in_dollar_quotes),
        cmocka_unit_test(test_bodies_in_other_languages),
        cmocka_unit_test(test_dollar_tags_are_refused_at_load),
        cmocka_unit_test(test_quotes_beside_a_variable),
        cmocka_unit_test(test_statement_by_statement),
        cmocka_unit_test(test_without_variables),
        cmocka_unit_test(test_greptimedb),
        cmocka_unit_test(test_etcd),
        cmocka_unit_test(test_failures_of_the_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
