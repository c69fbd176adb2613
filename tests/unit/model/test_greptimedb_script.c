#include "unit/model/registry_fixture.h"

/* Scripts for GreptimeDB as they are loaded: how they are divided, and what is refused. */

#define AT "greptimedb/metrics/20250101120000_m.up.sql:"

static void assert_statements(const char *text, const char *const *statements, size_t count)
{
    struct tree tree = {0};
    const struct migration *migration = tree_of_greptimedb(&tree, text);

    assert_runs(migration);
    assert_int_equal(migration->up.statement_count, count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(statement_text(&migration->up, i), statements[i]);
    tree_free(&tree);
}

#define ASSERT_STATEMENTS(text, ...)                                   \
    do {                                                               \
        static const char *const statements_[] = {__VA_ARGS__};        \
        assert_statements(text, statements_, ARRAY_SIZE(statements_)); \
    } while (0)

static void test_statements(void **state)
{
    (void)state;
    ASSERT_STATEMENTS("INSERT INTO t VALUES ('a\\'); DELETE FROM t", "INSERT INTO t VALUES ('a\\')",
                      "DELETE FROM t");
    ASSERT_STATEMENTS("INSERT INTO t VALUES ('it''s;'); SELECT 1",
                      "INSERT INTO t VALUES ('it''s;')", "SELECT 1");
    ASSERT_STATEMENTS("SELECT 1 --x;\n; SELECT 2", "SELECT 1", "SELECT 2");
    ASSERT_STATEMENTS("SELECT 1 /* a /* ; */; SELECT 2 /* b */", "SELECT 1", "SELECT 2");
    ASSERT_STATEMENTS("SELECT $$;'$$; SELECT 2", "SELECT $$;'$$", "SELECT 2");
    ASSERT_STATEMENTS("SELECT a # b; SELECT c", "SELECT a # b", "SELECT c");
    ASSERT_STATEMENTS("CREATE TABLE `a;b` (\"c;\"\"d\" INT); SELECT 2;;",
                      "CREATE TABLE `a;b` (\"c;\"\"d\" INT)", "SELECT 2");
    ASSERT_STATEMENTS("SELECT 'BEGIN;USE x'; SELECT `use`", "SELECT 'BEGIN;USE x'", "SELECT `use`");
}

static void assert_refused(const char *text, const char *reason)
{
    struct tree tree = {0};

    assert_reason(tree_of_greptimedb(&tree, text), reason);
    tree_free(&tree);
}

static void test_refused(void **state)
{
    (void)state;
    assert_refused("SELECT 1;\n-- x\nUse metrics;",
                   AT "3: Use: USE does not last until the next statement, as each is a request of "
                      "its own; declare the database as the schema, or write it in front of names");
    assert_refused("SET time_zone = '+8:00'; INSERT INTO t VALUES (1)",
                   AT "1: SET: SET does not last until the next statement, as each is a request of "
                      "its own; write what it would say into the statements, such as an offset "
                      "behind a time");
    assert_refused("BEGIN; SELECT 1; COMMIT",
                   AT "1: BEGIN: GreptimeDB has no transactions: each statement of a script takes "
                      "effect by itself");
    assert_refused("SELECT 1;\n/* x */ START TRANSACTION",
                   AT "2: START: GreptimeDB has no transactions: each statement of a script takes "
                      "effect by itself");
    assert_refused("SELECT 'a\\';\nSELECT 'b", AT "2: unterminated quoted string");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statements),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
