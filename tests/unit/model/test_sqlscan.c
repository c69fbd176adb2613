#include "unit/model/registry_fixture.h"

#include "model/sqlcheck.h"
#include "model/sqlscan.h"
#include "model/sqlsplit.h"

/* A statement that is expected; line 0 ends a list of them. */
struct piece {
    unsigned line;
    const char *text;
};

static void assert_split_as(enum sql_dialect dialect, const char *text, const struct piece *pieces)
{
    const struct sql_statement *found;
    struct sql_scan scan;
    struct arena arena;
    struct err err;
    size_t n, i;

    sql_scan_init(&scan);
    arena_init(&arena);
    if (sql_scan_text(&scan, text, strlen(text), dialect, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    assert_int_equal(sql_split(&scan, text, strlen(text), &arena, &found, &n), 0);
    for (i = 0; i < n && pieces[i].line > 0; i++) {
        assert_int_equal(found[i].end - found[i].start, strlen(pieces[i].text));
        assert_memory_equal(text + found[i].start, pieces[i].text, strlen(pieces[i].text));
        assert_int_equal(found[i].line, pieces[i].line);
    }
    assert_int_equal(i, n);
    assert_int_equal(pieces[i].line, 0);
    arena_free(&arena);
    sql_scan_free(&scan);
}

static void assert_split(const char *text, const struct piece *pieces)
{
    assert_split_as(SQL_POSTGRESQL, text, pieces);
}

static void assert_one(const char *text)
{
    assert_split(text, (const struct piece[]){{1, text}, {0, NULL}});
}

static void test_split_plain(void **state)
{
    (void)state;
    assert_split("SELECT 1", (const struct piece[]){{1, "SELECT 1"}, {0, NULL}});
    assert_split("a; b;", (const struct piece[]){{1, "a"}, {1, "b"}, {0, NULL}});
    assert_split("\n\n a b\n ;\r\n\n-- c\nd /* x */;;;\n;",
                 (const struct piece[]){{3, "a b"}, {7, "d"}, {0, NULL}});
    assert_split("/* a; */ b -- c;\n; -- d;\ne /* f */",
                 (const struct piece[]){{1, "b"}, {3, "e"}, {0, NULL}});
    assert_split("a /* in */ b; c",
                 (const struct piece[]){{1, "a /* in */ b"}, {1, "c"}, {0, NULL}});
}

static void test_split_nested_comments(void **state)
{
    (void)state;
    assert_split("/* 1 /* 2; */ 3; */ a; /**/b/*;*/;",
                 (const struct piece[]){{1, "a"}, {1, "b"}, {0, NULL}});
}

static void test_split_strings(void **state)
{
    (void)state;
    assert_one("SELECT 'a;b', ';', 'it''s; x'");
    assert_one("SELECT E'a\\';b', B'0;1', \"c;\"\";d\"");
    assert_one("SELECT U&'d\\0061;', U&\"d;\" , N';'");
    assert_one("SELECT 'a;'\n  ';b'");
    /* a backslash is an ordinary character in '...' */
    assert_split("SELECT 'a\\'; b",
                 (const struct piece[]){{1, "SELECT 'a\\'"}, {1, "b"}, {0, NULL}});
    assert_split("SELECT U&'x' ; SELECT U&\"y\";",
                 (const struct piece[]){{1, "SELECT U&'x'"}, {1, "SELECT U&\"y\""}, {0, NULL}});
    assert_split("SELECT U&'x' -- c\n; SELECT U&'y''z' /* ' */",
                 (const struct piece[]){{1, "SELECT U&'x'"}, {2, "SELECT U&'y''z'"}, {0, NULL}});
}

static void test_split_dollar_quotes(void **state)
{
    (void)state;
    assert_split(
        "CREATE FUNCTION f() RETURNS void AS $$ BEGIN a; b; END; $$ LANGUAGE plpgsql;\n"
        "SELECT $x$ $$ ; $y$ $x$; $1;",
        (const struct piece[]){
            {1, "CREATE FUNCTION f() RETURNS void AS $$ BEGIN a; b; END; $$ LANGUAGE plpgsql"},
            {2, "SELECT $x$ $$ ; $y$ $x$"},
            {2, "$1"},
            {0, NULL}});
    assert_split("DO $$\nBEGIN\n;\nEND $$;\nx",
                 (const struct piece[]){{1, "DO $$\nBEGIN\n;\nEND $$"}, {5, "x"}, {0, NULL}});
}

static void test_split_rule(void **state)
{
    (void)state;
    assert_split(
        "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3",
        (const struct piece[]){{1, "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)"},
                               {1, "SELECT 3"},
                               {0, NULL}});
}

static void test_split_atomic(void **state)
{
    static const char function[] = "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC "
                                   "SELECT CASE WHEN a > 1 THEN 2 ELSE 3 END; SELECT 1 AS end; "
                                   "SELECT 4; END";
    static const char bare[] = "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC "
                               "SELECT 1 end; SELECT 2; END";
    static const char newer[] = "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC "
                                "SELECT CASE x WHEN 1 THEN 2 END AS end, t.end, t.case; "
                                "SOMETHING NEW; END";
    static const char variable[] = "CREATE FUNCTION {{.Schema}}.f() RETURNS int LANGUAGE sql "
                                   "BEGIN ATOMIC SELECT 1 end; SELECT 2; END";
    char text[600];

    (void)state;
    snprintf(text, sizeof(text), "%s;\nSELECT 5", function);
    assert_split(text, (const struct piece[]){{1, function}, {2, "SELECT 5"}, {0, NULL}});
    snprintf(text, sizeof(text), ";;%s;;\n;SELECT 5;", bare); /* only the parser knows this one */
    assert_split(text, (const struct piece[]){{1, bare}, {2, "SELECT 5"}, {0, NULL}});
    snprintf(text, sizeof(text), "%s;\nSELECT 5", variable);
    assert_split(text, (const struct piece[]){{1, variable}, {2, "SELECT 5"}, {0, NULL}});
    snprintf(text, sizeof(text), "%s; SELECT 5", newer); /* unknown to the parser */
    assert_split(text, (const struct piece[]){{1, newer}, {1, "SELECT 5"}, {0, NULL}});
    assert_one("SELECT begin atomic");
}

static void test_split_variables(void **state)
{
    (void)state;
    assert_split(
        "CREATE TABLE {{.Schema}}.t (a int[] DEFAULT '{{1,2},{3,4}}');\n"
        "DROP TABLE t_{{.Version}}",
        (const struct piece[]){{1, "CREATE TABLE {{.Schema}}.t (a int[] DEFAULT '{{1,2},{3,4}}')"},
                               {2, "DROP TABLE t_{{.Version}}"},
                               {0, NULL}});
}

static void test_newer_syntax_is_left_to_the_server(void **state)
{
    (void)state;
    assert_one("SELECT 0x1F, 0b101, 0o17, 1_000_000, 1_5.2_5e1_0, '0x1F'");
    assert_one("MERGE INTO t USING s ON a = b WHEN NOT MATCHED BY SOURCE THEN DELETE RETURNING *");
    assert_one("CREATE TABLE t (a int GENERATED ALWAYS AS (b) VIRTUAL, FROB NIX ->>> 1)");
}

static void assert_refused_text(enum sql_dialect dialect, const char *text, unsigned line,
                                const char *why)
{
    struct sql_scan scan;
    struct err err;

    sql_scan_init(&scan);
    err_clear(&err);
    assert_int_equal(sql_scan_text(&scan, text, strlen(text), dialect, &err), ERR_INVALID);
    assert_string_equal(err.text, why);
    assert_int_equal(err.line, line);
    sql_scan_free(&scan);
}

static void test_scanner_errors(void **state)
{
    (void)state;
    assert_refused_text(SQL_POSTGRESQL, "a;\n'b", 2, "unterminated quoted string");
    assert_refused_text(SQL_POSTGRESQL, "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4;\n'b\n\n\n", 2,
                        "unterminated quoted string");
    assert_refused_text(SQL_POSTGRESQL, "a;\n\n/* b /* */", 3, "unterminated /* comment");
    assert_refused_text(SQL_POSTGRESQL, "$a$ x $$ $b$", 1, "unterminated dollar-quoted string");
    assert_refused_text(SQL_POSTGRESQL, "\n\"x", 2, "unterminated quoted identifier");
    assert_refused_text(SQL_POSTGRESQL, "\n\nSELECT 12abc", 3,
                        "trailing junk after numeric literal");
    assert_refused_text(SQL_GREPTIMEDB, "a 'x\ny';\n b `c", 3, "unterminated quoted identifier");
    assert_refused_text(SQL_GREPTIMEDB, "a `\xc3\xa4\xc3\xa4` \"\xc3\xa4\";\n'b", 2,
                        "unterminated quoted string");
}

static void test_greptimedb_quotes_have_no_escapes(void **state)
{
    (void)state;
    assert_refused_text(SQL_GREPTIMEDB, "x\n e'\\''y", 2, "unterminated quoted string");
    assert_refused_text(SQL_GREPTIMEDB, "x \"y", 1, "unterminated quoted identifier");
}

static void assert_greptimedb(const char *text, const char *first, const char *second)
{
    assert_split_as(SQL_GREPTIMEDB, text,
                    (const struct piece[]){{1, first}, {second != NULL, second}, {0, NULL}});
}

static void test_greptimedb(void **state)
{
    (void)state;
    assert_greptimedb("CREATE TABLE `a;b` (`c``;` INT); x", "CREATE TABLE `a;b` (`c``;` INT)", "x");
    assert_greptimedb("SELECT 'a\\'; x", "SELECT 'a\\'", "x");
    assert_greptimedb("SELECT E'a\\'; x", "SELECT E'a\\'", "x");
    assert_greptimedb("SELECT \"\", \"a;\"\"b\", ``; x", "SELECT \"\", \"a;\"\"b\", ``", "x");
    assert_greptimedb("/* a /* b */ SELECT $$ ' ; $$; x", "SELECT $$ ' ; $$", "x");
    assert_greptimedb("TQL EVAL (0, 1, '5s') rate(m{a=\"b;\"}[5m]); x",
                      "TQL EVAL (0, 1, '5s') rate(m{a=\"b;\"}[5m])", "x");
    assert_greptimedb("SELECT 1 --`\n", "SELECT 1", NULL);
    assert_greptimedb("SELECT a$b$c, `x'y`", "SELECT a$b$c, `x'y`", NULL);
}

static bool dirties(const char *text)
{
    const struct sql_statement *statements;
    struct sql_scan scan;
    struct arena arena;
    size_t n;
    bool result;

    sql_scan_init(&scan);
    arena_init(&arena);
    assert_int_equal(sql_scan_text(&scan, text, strlen(text), SQL_POSTGRESQL, NULL), 0);
    assert_int_equal(sql_split(&scan, text, strlen(text), &arena, &statements, &n), 0);
    result = sql_dirties_session(&scan, text);
    arena_free(&arena);
    sql_scan_free(&scan);
    return result;
}

static void test_dirties_session(void **state)
{
    static const char *const clean[] = {
        "CREATE TABLE t (a int)",
        "create unlogged table t (a int); -- SET x\nINSERT INTO t VALUES (1)",
        "ALTER TABLE t ADD b int; ALTER ROLE r SET x = 1; DROP TABLE t; TRUNCATE t",
        "UPDATE t SET a = 'temp'; DELETE FROM t; COMMENT ON TABLE t IS 'temporary'",
        "GRANT ALL ON t TO r; REVOKE ALL ON t FROM r; REINDEX TABLE t",
        "SET LOCAL search_path = a; SET CONSTRAINTS ALL DEFERRED; LOCK TABLE t",
        "INSERT INTO t SELECT pg_advisory_xact_lock(1)",
        "CREATE FUNCTION f() RETURNS void AS $$ SELECT set_config('a', 'b', false) $$ LANGUAGE sql",
        "CREATE INDEX CONCURRENTLY i ON t (a)",
        "/* SELECT */ CREATE TABLE temperature (a int)",
        "",
    };
    static const char *const dirty[] = {
        "SELECT 1",
        "CREATE TABLE t (a int); SELECT set_config('search_path', '', false)",
        "SET search_path = a",
        "SET SESSION x = 1",
        "RESET ALL",
        "DO $$ BEGIN END $$",
        "CALL p()",
        "LISTEN x",
        "PREPARE p AS SELECT 1",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "LOAD 'x'",
        "CREATE TEMP TABLE t (a int)",
        "CREATE LOCAL TEMPORARY TABLE t (a int)",
        "CREATE OR REPLACE TEMP VIEW v AS SELECT 1",
        "CREATE TABLE pg_temp.t (a int)",
        "CREATE TABLE \"pg_temp_3\".t (a int)",
        "ALTER SYSTEM SET x = 1",
        "INSERT INTO t SELECT pg_advisory_lock(1)",
        "INSERT INTO t SELECT \"pg_advisory_lock_shared\"(1)",
        "UPDATE t SET a = pg_try_advisory_lock(1)",
        "DELETE FROM t WHERE PG_CATALOG.SET_CONFIG('a', 'b', false) = ''",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "UPDATE t SET a = U&\"pg\\005fadvisory_lock\"(1)",
        "{{.Schema}} x",
        "FROB",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(clean); i++)
        if (dirties(clean[i]))
            fail_msg("not clean: %s", clean[i]);
    for (size_t i = 0; i < ARRAY_SIZE(dirty); i++)
        if (!dirties(dirty[i]))
            fail_msg("clean: %s", dirty[i]);
}

static void test_keywords(void **state)
{
    (void)state;
    assert_true(sql_is_keyword("select"));
    assert_true(sql_is_keyword("user"));
    assert_true(sql_is_keyword("values")); /* of column names */
    assert_true(sql_is_keyword("left"));   /* of types and functions */
    assert_false(sql_is_keyword("public"));
    assert_false(sql_is_keyword("schema")); /* unreserved */
    assert_false(sql_is_keyword("tenant_a"));
}

static void test_lines(void **state)
{
    (void)state;
    assert_int_equal(sql_line_at("a\nb\n\nc", 0), 1);
    assert_int_equal(sql_line_at("a\nb\n\nc", 1), 1);
    assert_int_equal(sql_line_at("a\nb\n\nc", 2), 2);
    assert_int_equal(sql_line_at("a\nb\n\nc", 5), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_plain),
        cmocka_unit_test(test_split_nested_comments),
        cmocka_unit_test(test_split_strings),
        cmocka_unit_test(test_split_dollar_quotes),
        cmocka_unit_test(test_split_rule),
        cmocka_unit_test(test_split_atomic),
        cmocka_unit_test(test_split_variables),
        cmocka_unit_test(test_newer_syntax_is_left_to_the_server),
        cmocka_unit_test(test_scanner_errors),
        cmocka_unit_test(test_greptimedb),
        cmocka_unit_test(test_greptimedb_quotes_have_no_escapes),
        cmocka_unit_test(test_dirties_session),
        cmocka_unit_test(test_keywords),
        cmocka_unit_test(test_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
