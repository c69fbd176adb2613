#include "unit/model/registry_fixture.h"

#include "model/sqlscan.h"

#define AT "postgresql/core/20250101120000_m.up.sql:"

static void test_transaction_control(void **state)
{
    static const char *const refused[] = {"BEGIN",
                                          "Begin Work",
                                          "START TRANSACTION",
                                          "COMMIT",
                                          "END",
                                          "ROLLBACK TO a",
                                          "ABORT",
                                          "SAVEPOINT a",
                                          "RELEASE a",
                                          "PREPARE TRANSACTION 'a'",
                                          "COMMIT PREPARED 'a'",
                                          "ROLLBACK PREPARED 'a'",
                                          "commit and chain",
                                          "START/**/TRANSACTION"};
    static const char *const allowed[] = {"PREPARE p AS SELECT 1",  "START x",
                                          "CREATE TABLE begin (a)", "DO $$ BEGIN COMMIT; END $$",
                                          "SELECT 'COMMIT'",        "\"commit\""};
    struct tree tree = {0};
    char text[200], reason[300];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        snprintf(text, sizeof(text), "SELECT 1;\n /* x */ %s; SELECT 2", refused[i]);
        snprintf(reason, sizeof(reason),
                 AT "2: %.*s: transaction control is not allowed in a script: each migration is "
                    "one transaction already, or none with bfm-transaction: off",
                 (int)strcspn(refused[i], " /"), refused[i]);
        assert_reason(tree_of_sql(&tree, text), reason);
        snprintf(text, sizeof(text), "-- bfm-transaction: off\n%s", refused[i]);
        assert_reason(tree_of_sql(&tree, text), reason);
        assert_non_null(tree_of_greptimedb(&tree, refused[i])->invalid);
    }
    for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
        assert_runs(tree_of_sql(&tree, allowed[i]));
    tree_free(&tree);
}

#define OUTSIDE_REASON                                                                             \
    "settings, temporary tables, prepared statements, cursors and locks do not last from one "     \
    "statement to the next with bfm-transaction: off; use the headers bfm-lock-timeout and "       \
    "bfm-statement-timeout, write schemas in front of names, or put it into a function or into a " \
    "migration with a transaction"

static void test_outside_of_transactions(void **state)
{
    static const char *const refused[] = {"SET search_path = x",
                                          "set local work_mem = '1MB'",
                                          "SET ROLE x",
                                          "SET SESSION AUTHORIZATION x",
                                          "RESET ALL",
                                          "DISCARD ALL",
                                          "PREPARE p AS SELECT 1",
                                          "EXECUTE p",
                                          "DEALLOCATE p",
                                          "LISTEN x",
                                          "UNLISTEN x",
                                          "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
                                          "FETCH c",
                                          "CLOSE c",
                                          "LOCK TABLE t",
                                          "LOAD 'x'",
                                          "CREATE TEMP TABLE t (a int)",
                                          "CREATE /* x */ TEMPORARY SEQUENCE s",
                                          "CREATE OR REPLACE TEMP VIEW v AS SELECT 1",
                                          "CREATE LOCAL TEMPORARY TABLE t (a int)",
                                          "SELECT 1 INTO TEMP t",
                                          "WITH a AS (SELECT 1) SELECT * INTO TEMPORARY t FROM a"};
    static const struct {
        const char *text, *name;
    } calls[] = {
        {"SELECT set_config('work_mem', '1MB', false)", "set_config"},
        {"SELECT 1, (SELECT pg_catalog.SET_CONFIG('a', b, c)) FROM t", "SET_CONFIG"},
        {"SELECT pg_advisory_lock(1)", "pg_advisory_lock"},
        {"SELECT \"pg_advisory_lock_shared\"(1, 2)", "\"pg_advisory_lock_shared\""},
        {"SELECT U&\"pg\\005fadvisory_lock\"(1)", "U&\"pg\\005fadvisory_lock\""},
        {"INSERT INTO t SELECT a FROM u WHERE pg_try_advisory_lock(a)", "pg_try_advisory_lock"},
        {"UPDATE t SET a = 1 RETURNING pg_advisory_unlock(a)", "pg_advisory_unlock"},
        {"CREATE TABLE t AS SELECT set_config('a', 'b', false)", "set_config"},
        {"CALL p(set_config('a', 'b', false))", "set_config"},
        {"SELECT {{.Schema}}.f(set_config /* x */ ('a', 'b', false))",
         "set_config"}, /* no parser */
    };
    static const char *const allowed[] = {"ALTER TABLE t SET (fillfactor = 50)",
                                          "ALTER ROLE x SET work_mem = '1MB'",
                                          "UPDATE t SET a = 1",
                                          "CREATE TABLE temp (temporary int, a int)",
                                          "SELECT temp FROM temporary",
                                          ("CREATE FUNCTION f() RETURNS int LANGUAGE sql "
                                           "SET search_path = x AS $$ SELECT 1 $$"),
                                          "DO $$ BEGIN SET LOCAL work_mem = '1MB'; END $$",
                                          "CREATE INDEX CONCURRENTLY i ON t (a)",
                                          "VACUUM t",
                                          "SELECT 1 FROM set",
                                          "SELECT set_config('work_mem', '1MB', true)",
                                          "SELECT pg_advisory_xact_lock(1)",
                                          "SELECT set_config FROM pg_advisory_lock",
                                          "SELECT 'set_config(a)' -- set_config(b)",
                                          "GRANT ALL ON FUNCTION set_config(text, text, bool) TO x",
                                          "DROP FUNCTION {{.Schema}}.pg_advisory_lock(int)",
                                          "CREATE VIEW v AS SELECT pg_advisory_lock(1)",
                                          ("CREATE FUNCTION f() RETURNS bool LANGUAGE sql BEGIN "
                                           "ATOMIC SELECT pg_try_advisory_lock(1); END")};
    struct tree tree = {0};
    char text[300], reason[600];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        snprintf(text, sizeof(text), "-- bfm-transaction: off\nSELECT 1;\n%s; SELECT 2",
                 refused[i]);
        snprintf(reason, sizeof(reason), AT "3: %.*s: " OUTSIDE_REASON,
                 (int)strcspn(refused[i], " "), refused[i]);
        assert_reason(tree_of_sql(&tree, text), reason);
        assert_int_equal(tree.registry->migrations[0]->up.statement_count, 0);
        assert_runs(tree_of_sql(&tree, refused[i]));
    }
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        snprintf(text, sizeof(text), "-- bfm-transaction: off\nVACUUM t;\n%s", calls[i].text);
        snprintf(reason, sizeof(reason), AT "3: %s: " OUTSIDE_REASON, calls[i].name);
        assert_reason(tree_of_sql(&tree, text), reason);
        assert_runs(tree_of_sql(&tree, calls[i].text));
    }
    for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
        snprintf(text, sizeof(text), "-- bfm-transaction: off\n%s", allowed[i]);
        assert_runs(tree_of_sql(&tree, text));
    }
    tree_free(&tree);
}

/* What makes it one without a transaction stands in another file than the statement. */
static void test_outside_of_transactions_down(void **state)
{
    struct tree tree = {0};

    (void)state;
    tree_add(&tree, "postgresql/core/20250101120000_m.up.sql", "-- bfm-transaction: off\nVACUUM t");
    tree_add(&tree, "postgresql/core/20250101120000_m.down.sql", "SELECT 1;\nSET ROLE x");
    tree_build(&tree);
    assert_reason(tree_get(&tree, "20250101120000_m_postgresql_core"),
                  "postgresql/core/20250101120000_m.down.sql:2: SET: " OUTSIDE_REASON);
    tree_free(&tree);
}

static void test_meta_commands(void **state)
{
    struct tree tree = {0};

    (void)state;
    assert_reason(tree_of_sql(&tree, "SELECT 1;\n\\d users\n"),
                  AT "2: \\: meta-commands of psql are not possible in a script");
    assert_reason(tree_of_sql(&tree, "SELECT 1 \\gset"),
                  AT "1: \\: meta-commands of psql are not possible in a script");
    assert_runs(tree_of_sql(&tree, "SELECT '\n\\d', $$\n\\d$$ -- \\d\n"));
    tree_free(&tree);
}

static void test_copy(void **state)
{
    static const char reason[] = "1: COPY: COPY FROM STDIN and TO STDOUT are not possible in a "
                                 "script; use INSERT";
    struct tree tree = {0};
    char full[300];

    (void)state;
    snprintf(full, sizeof(full), AT "%s", reason);
    assert_reason(tree_of_sql(&tree, "COPY t (a, b) FROM STDIN WITH CSV"), full);
    assert_reason(tree_of_sql(&tree, "COPY (SELECT a FROM b) TO /* x */ stdout"), full);
    assert_runs(tree_of_sql(&tree, "COPY t FROM '/x.csv'"));
    assert_runs(tree_of_sql(&tree, "COPY (SELECT 1 FROM stdin) TO PROGRAM 'x'"));
    assert_runs(tree_of_sql(&tree, "INSERT INTO t SELECT a FROM stdin"));
    tree_free(&tree);
}

static void test_first_words_are_fixed(void **state)
{
    struct tree tree = {0};

    (void)state;
    /* a schema may be called commit */
    assert_reason(tree_of_sql(&tree, "x;\n{{.Schema}};"),
                  AT "2: {: a statement cannot begin with a variable");
    assert_reason(tree_of_sql(&tree, "x;\ncom{{.Schema}}"),
                  AT "2: com: a statement cannot begin with a variable");
    assert_runs(tree_of_sql(&tree, "x {{.Schema}}"));
    assert_runs(tree_of_sql(&tree, "{{.Other}}"));
    tree_free(&tree);
}

static void test_scanner_errors(void **state)
{
    struct tree tree = {0};

    (void)state;
    assert_reason(tree_of_sql(&tree, "SELECT 1;\nSELECT 'a"), AT "2: unterminated quoted string");
    assert_reason(tree_of_sql(&tree, "/* a"), AT "1: unterminated /* comment");
    assert_reason(tree_of_sql(&tree, "\n\n$x$ a $$"), AT "3: unterminated dollar-quoted string");
    tree_free(&tree);
}

static void test_no_statement(void **state)
{
    struct tree tree = {0};
    const struct migration *migration;

    (void)state;
    assert_reason(tree_of_sql(&tree, ""), AT "1: the script has no statement");
    assert_reason(tree_of_sql(&tree, "-- nothing\n;;/* */;"), AT "1: the script has no statement");
    assert_reason(tree_of_json(&tree, " "),
                  "etcd/conf/20250101120000_m.up.json:1: the script has no operation");
    assert_reason(tree_of_json(&tree, "[]"),
                  "etcd/conf/20250101120000_m.up.json:1: the script has no operation");
    tree_free(&tree);
    tree_add(&tree, "postgresql/core/20250101120000_m.up.sql", "SELECT 1");
    tree_add(&tree, "postgresql/core/20250101120000_m.down.sql", "-- cannot be undone");
    tree_build(&tree);
    migration = tree_get(&tree, "20250101120000_m_postgresql_core");
    assert_runs(migration);
    assert_int_equal(migration->down.statement_count, 0);
    tree_free(&tree);
}

static void test_bad_bytes(void **state)
{
    struct tree tree = {0};

    (void)state;
    assert_reason(tree_of_sql(&tree, "SELECT\n\n'\xff'"), AT "3: the script is not valid UTF-8");
    assert_reason(tree_of_sql(&tree, "SELECT '\xc3\n'"), AT "1: the script is not valid UTF-8");
    assert_reason(tree_of_sql(&tree, "SELECT\n'\xc3"), AT "2: the script is not valid UTF-8");
    tree_free(&tree);
    tree_add(&tree, "postgresql/core/20250101120000_m.up.sql", "SELECT\n'a\0b'");
    tree.files[0].len += 3;
    tree_build(&tree);
    assert_reason(tree.registry->migrations[0], AT "2: the script holds a NUL byte");
    assert_int_equal(tree.registry->migrations[0]->up.statement_count, 0);
    tree_free(&tree);
}

static void test_too_large(void **state)
{
    size_t len = SQL_TEXT_MAX + 1;
    char *text = mem_alloc(len + 1);
    struct tree tree = {0};

    (void)state;
    assert_non_null(text);
    memset(text, ' ', len);
    memcpy(text, "SELECT 1;", 9);
    text[len] = '\0';
    assert_reason(tree_of_sql(&tree, text), AT "1: the script is larger than 16 MiB");
    assert_string_equal(tree.registry->migrations[0]->up.text, "");
    text[len - 1] = '\0';
    assert_runs(tree_of_sql(&tree, text));
    mem_free(text);
    tree_free(&tree);
}

static void test_byte_order_mark(void **state)
{
    struct tree tree = {0};
    const struct migration *migration;

    (void)state;
    migration = tree_of_sql(&tree, "\xef\xbb\xbf-- bfm-table: t\nSELECT 1");
    assert_runs(migration);
    assert_string_equal(migration->table, "t");
    assert_string_equal(migration->up.text, "-- bfm-table: t\nSELECT 1");
    assert_string_equal(statement_text(&migration->up, 0), "SELECT 1");
    assert_runs(tree_of_json(&tree, "\xef\xbb\xbf[{\"key\":\"a\",\"value\":\"b\"}]"));
    tree_free(&tree);
}

static void test_static_text_is_not_copied(void **state)
{
    static const char text[] = "SELECT {{.Schema}}";
    struct tree tree = {0};

    (void)state;
    tree_add(&tree, "postgresql/core/20250101120000_a.up.sql", text);
    tree_add(&tree, "postgresql/core/20250101120000_b.up.sql", text);
    tree.files[0].is_static = true;
    tree_build(&tree);
    assert_ptr_equal(tree.registry->migrations[0]->up.text, text);
    assert_ptr_not_equal(tree.registry->migrations[1]->up.text, text);
    tree_free(&tree);
}

static void test_a_bad_down_script(void **state)
{
    struct tree tree = {0};

    (void)state;
    /* of two reasons the first is kept */
    tree_add(&tree, "postgresql/core/20250101120001_n.up.sql", "'");
    tree_add(&tree, "postgresql/core/20250101120001_n.down.sql", "ROLLBACK");
    tree_add(&tree, "postgresql/core/20250101120000_m.up.sql", "SELECT 1");
    tree_add(&tree, "postgresql/core/20250101120000_m.down.sql", "x;\nROLLBACK");
    tree_build(&tree);
    assert_reason(tree_get(&tree, "20250101120000_m_postgresql_core"),
                  "postgresql/core/20250101120000_m.down.sql:2: ROLLBACK: transaction control is "
                  "not allowed in a script: each migration is one transaction already, or none "
                  "with bfm-transaction: off");
    assert_reason(tree_get(&tree, "20250101120001_n_postgresql_core"),
                  "postgresql/core/20250101120001_n.up.sql:1: unterminated quoted string");
    tree_free(&tree);
}

static void test_script_fields(void **state)
{
    struct tree tree = {0};
    const struct migration *migration;

    (void)state;
    migration = tree_of_sql(&tree, "CREATE TABLE a (b int); DROP TABLE a");
    assert_string_equal(migration->up.file, "20250101120000_m.up.sql");
    assert_int_equal(migration->up.statement_count, 2);
    assert_int_equal(migration->up.part_count, 1);
    assert_false(migration->up.dirties_session);
    assert_null(migration->down.file);
    assert_true(tree_of_sql(&tree, "SELECT 1")->up.dirties_session);
    assert_false(tree_of_greptimedb(&tree, "SELECT 1")->up.dirties_session);
    assert_null(tree_of_json(&tree, "a=b")->up.statements);
    tree_free(&tree);
}

/* The checksum of a script of the current naming. */
static const char *checksum(const struct migration *migration)
{
    static char sums[4][HASH_SHA256_HEX];
    static unsigned turn;

    turn = (turn + 1) % 4;
    assert_runs(migration);
    memcpy(sums[turn], migration->up.checksum, HASH_SHA256_HEX);
    return sums[turn];
}

static void assert_sql_sums(const char *a, const char *b, bool same)
{
    struct tree tree = {0};
    const char *left = checksum(tree_of_sql(&tree, a));
    const char *right = checksum(tree_of_sql(&tree, b));

    assert_int_equal(strlen(left), 64);
    if ((strcmp(left, right) == 0) != same)
        fail_msg("checksums of '%s' and '%s' are %s", a, b, same ? "different" : "equal");
    tree_free(&tree);
}

static void test_checksum_of_sql(void **state)
{
    (void)state;
    assert_sql_sums("SELECT 1;\nSELECT 'a\nb';\n", "SELECT 1;\r\nSELECT 'a\r\nb';\r\n\r\n", true);
    assert_sql_sums("SELECT 1", "-- x\n/* y */ SELECT -- z\n   1   \n", true);
    assert_sql_sums("SELECT 1", "-- bfm-tags: a=b\nSELECT 1", true);
    assert_sql_sums("SELECT U&'a' ;", "SELECT U&'a' -- x\n ;", true);
    assert_sql_sums("SELECT 1", "\xef\xbb\xbfSELECT 1", true);
    assert_sql_sums("SELECT 1", "SELECT 2", false);
    assert_sql_sums("SELECT 1", "select 1", false);
    assert_sql_sums("SELECT '1 '", "SELECT '1'", false);
    assert_sql_sums("SELECT '-- x'", "SELECT '-- y'", false);
    assert_sql_sums("SELECT U&'a'", "SELECT U&'b'", false);
    assert_sql_sums("SELECT idx_{{.Schema}}", "SELECT idx_ {{.Schema}}", false);
    assert_sql_sums("SELECT $$ a\r\n $$", "SELECT $$ a\n $$", true);
    assert_sql_sums("SELECT $$ a $$", "SELECT $$ a$$", false);
}

static void test_checksum_of_an_invalid_script(void **state)
{
    struct tree tree = {0};
    char first[HASH_SHA256_HEX];

    (void)state;
    memcpy(first, tree_of_sql(&tree, "COMMIT")->up.checksum, sizeof(first));
    assert_int_equal(strlen(first), 64);
    assert_string_not_equal(tree_of_sql(&tree, "COMMIT;")->up.checksum, first);
    tree_free(&tree);
}

static void test_checksum_of_json(void **state)
{
    struct tree tree = {0};
    const char *a = checksum(tree_of_json(&tree, "[{\"key\":\"a\",\"value\":{\"x\":1}}]"));
    const char *b = checksum(tree_of_json(
        &tree, "{\"bfm\": {\"tags\": [\"a=b\"]},\r\n \"operations\": [ {\"key\": \"a\", "
               "\"value\": {\"x\": 1}} ]}"));

    (void)state;
    assert_string_equal(a, b);
    b = checksum(tree_of_json(&tree, "[{\"key\":\"a\",\"value\":{\"x\":2}}]"));
    assert_string_not_equal(a, b);
    a = checksum(tree_of_json(&tree, "a=b\r\nc\n"));
    b = checksum(tree_of_json(&tree, " a=b\nc"));
    assert_string_equal(a, b);
    tree_free(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transaction_control),
        cmocka_unit_test(test_outside_of_transactions),
        cmocka_unit_test(test_outside_of_transactions_down),
        cmocka_unit_test(test_meta_commands),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_first_words_are_fixed),
        cmocka_unit_test(test_scanner_errors),
        cmocka_unit_test(test_no_statement),
        cmocka_unit_test(test_bad_bytes),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_byte_order_mark),
        cmocka_unit_test(test_static_text_is_not_copied),
        cmocka_unit_test(test_a_bad_down_script),
        cmocka_unit_test(test_script_fields),
        cmocka_unit_test(test_checksum_of_sql),
        cmocka_unit_test(test_checksum_of_an_invalid_script),
        cmocka_unit_test(test_checksum_of_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
