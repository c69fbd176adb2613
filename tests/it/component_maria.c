#include "maria_world.h"

/* Queries of the driver against a real MariaDB: answers, errors, quoting. */

static void test_many_statements(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct maria_results results;
    struct buf sql;

    buf_init(&sql, 1 << 20);
    for (int i = 0; i < 500; i++)
        buf_printf(&sql, "SELECT %d;", i);
    assert_int_equal(maria_ask(world->loop, conn, buf_str(&sql), &results, NULL), 0);
    assert_int_equal(results.count, 500);
    assert_string_equal(maria_value(&results.results[499], 0, 0, NULL), "499");
    maria_results_free(&results);
    buf_free(&sql);
    maria_release(conn);
    assert_int_equal(stats_of(world->pool).idle, 1);
}

static void test_kinds_of_results(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct maria_results results;
    const char *value;
    size_t len;

    assert_int_equal(
        maria_ask(world->loop, conn,
                  "CREATE TEMPORARY TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a VARBINARY(9));"
                  "INSERT INTO t (a) VALUES (NULL), (''), (0x610062);"
                  "UPDATE t SET id = id;"
                  "SELECT id, a AS bytes FROM t ORDER BY id;"
                  "SELECT 1 FROM t WHERE FALSE;"
                  "DELETE FROM t WHERE id > 1;"
                  "DROP TABLE IF EXISTS missing",
                  &results, NULL),
        0);
    assert_int_equal(results.count, 7);
    assert_int_equal(results.results[1].affected, 3);
    assert_int_equal(results.results[1].insert_id, 1);
    assert_int_equal(results.results[2].affected, 3); /* rows found, changed or not */
    assert_int_equal(results.results[3].columns, 2);
    assert_int_equal(results.results[3].rows, 3);
    assert_string_equal(maria_column(&results.results[3], 1), "bytes");
    assert_string_equal(maria_value(&results.results[3], 2, 0, NULL), "3");
    assert_null(maria_value(&results.results[3], 0, 1, &len));
    value = maria_value(&results.results[3], 1, 1, &len);
    assert_string_equal(value, "");
    assert_int_equal(len, 0);
    value = maria_value(&results.results[3], 2, 1, &len);
    assert_int_equal(len, 3);
    assert_memory_equal(value, "a\0b", 4);
    assert_int_equal(results.results[4].columns, 1);
    assert_int_equal(results.results[4].rows, 0);
    assert_int_equal(results.results[5].columns, 0);
    assert_int_equal(results.results[5].affected, 2);
    assert_int_equal(results.results[6].warnings, 1);
    maria_results_free(&results);
    maria_release(conn);
}

static void test_error_in_the_middle(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct maria_results results;
    struct err err;

    assert_int_equal(maria_ask(world->loop, conn,
                               "SELECT 1; SELECT 2; SELECT nothing FROM nowhere; SELECT 3",
                               &results, &err),
                     ERR_DB);
    assert_int_equal(results.count, 2);
    assert_int_equal(results.error, 1146);
    assert_string_equal(err.sqlstate, "42S02");
    assert_non_null(strstr(err.text, "nowhere' doesn't exist (error 1146, SQLSTATE 42S02)"));
    maria_results_free(&results);
    assert_string_equal(maria_ask_text(world->loop, conn, "SELECT 7"), "7");
    maria_release(conn);
    assert_int_equal(stats_of(world->pool).idle, 1);
}

/* The server finds out what is wrong when it has sent rows already. */
static void test_error_behind_rows(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct maria_results results;
    struct err err;

    assert_int_equal(maria_ask(world->loop, conn,
                               "SELECT 1; SELECT IF(seq < 900, seq, (SELECT 1 UNION SELECT 2)) "
                               "FROM seq_1_to_1000; SELECT 3",
                               &results, &err),
                     ERR_DB);
    assert_int_equal(results.error, 1242);
    assert_int_equal(results.count, 1);
    maria_results_free(&results);
    assert_string_equal(maria_ask_text(world->loop, conn, "SELECT 7"), "7");
    maria_release(conn);
}

static void test_large_query_and_answer(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    size_t size = 12u << 20;
    struct maria_results results;
    struct buf sql;
    size_t len;

    buf_init(&sql, 64u << 20);
    buf_puts(&sql, "SELECT '");
    for (size_t i = 0; i < size / 16; i++)
        buf_puts(&sql, "0123456789abcdef");
    buf_puts(&sql, "'");
    assert_int_equal(maria_ask(world->loop, conn, buf_str(&sql), &results, NULL), 0);
    maria_value(&results.results[0], 0, 0, &len);
    assert_int_equal(len, size);
    maria_results_free(&results);
    buf_free(&sql);
    maria_release(conn);
}

/* A query that the server would not take is not sent to it. */
static void test_query_too_large(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct maria_results results;
    struct waited waited;
    struct buf sql;

    buf_init(&sql, 64u << 20);
    buf_puts(&sql, "SELECT 1 -- ");
    while (sql.len < 20u << 20)
        buf_puts(&sql, "0123456789abcdef0123456789abcdef");
    waited_init(&waited, world->loop);
    assert_int_equal(maria_query(conn, &waited.op, sql.data, sql.len, 0, &results), ERR_LIMIT);
    assert_non_null(strstr(waited.op.err.text, "max_allowed_packet is 16777216"));
    maria_results_free(&results);
    buf_free(&sql);
    assert_string_equal(maria_ask_text(world->loop, conn, "SELECT 7"), "7");
    maria_release(conn);
}

/* Many rows in two statements, and an error behind them: no row is kept. */
static void test_rows_are_dropped(void **state)
{
    static const char sql[] = "SELECT REPEAT('x', 1000) FROM seq_1_to_100000;"
                              "SELECT REPEAT('x', 1000) FROM seq_1_to_100000;"
                              "SELECT 1; SELECT nothing";
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct maria_results results;
    struct waited waited;

    waited_init(&waited, world->loop);
    assert_int_equal(
        wait_for(&waited, maria_query_drop_rows(conn, &waited.op, sql, strlen(sql), 0, &results)),
        ERR_DB);
    assert_int_equal(results.count, 3);
    assert_int_equal(results.results[0].columns, 1);
    assert_int_equal(results.results[0].rows, 0);
    maria_results_free(&results);
    assert_string_equal(maria_ask_text(world->loop, conn, "SELECT 7"), "7");
    maria_release(conn);
}

static void test_rows_beyond_the_bound(void **state)
{
    static const char *const queries[] = {
        "SELECT 1; SELECT REPEAT('x', 1000) FROM seq_1_to_100000",
        "SELECT NULL, NULL, NULL FROM seq_1_to_5000000",
        "SELECT REPEAT('x', 16000000) FROM seq_1_to_5",
    };
    struct world *world = *state;
    struct maria_results results;
    struct err err;

    for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
        struct maria_conn *conn = maria_take(world->loop, world->pool);

        assert_int_equal(maria_ask(world->loop, conn, queries[i], &results, &err), ERR_LIMIT);
        assert_string_equal(err.text, "the rows are more than 64 MiB");
        maria_results_free(&results);
        assert_true(maria_is_broken(conn));
        maria_release(conn);
        assert_int_equal(stats_of(world->pool).open, 0);
    }
}

static void check_quoting(struct world *world, struct maria_conn *conn, const char *text,
                          size_t len)
{
    struct maria_results results;
    struct buf sql;
    size_t got;

    buf_init(&sql, 4096);
    buf_puts(&sql, "SELECT ");
    assert_int_equal(maria_put_literal_n(&sql, text, len), 0);
    assert_int_equal(maria_ask(world->loop, conn, buf_str(&sql), &results, NULL), 0);
    assert_int_equal(results.count, 1);
    assert_memory_equal(maria_value(&results.results[0], 0, 0, &got), text, len);
    assert_int_equal(got, len);
    maria_results_free(&results);
    buf_free(&sql);
}

static void test_literals(void **state)
{
    static const char *const texts[] = {"",
                                        "a\"b'c",
                                        "back\\slash",
                                        "\\",
                                        "'",
                                        "''",
                                        "\\'",
                                        "' OR 1 -- ",
                                        "l\nf\r\x1a",
                                        "\xc3\xa4\xe2\x82\xac",
                                        "%_`;\t",
                                        "\xf0\x9f\x90\xac",
                                        "\xe8\xa1\xa8\\"};
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct buf sql;

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        check_quoting(world, conn, texts[i], strlen(texts[i]));
    check_quoting(world, conn, "nul\0in it", 9);
    buf_init(&sql, 4096);
    assert_int_equal(maria_put_literal(&sql, "bad \xff"), ERR_INVALID);
    assert_int_equal(maria_put_literal(&sql, "\xbf'"), ERR_INVALID);
    assert_int_equal(maria_put_literal(&sql, "\xbf\x5c"), ERR_INVALID); /* one character in GBK */
    assert_int_equal(sql.len, 0);
    assert_int_equal(maria_put_literal(&sql, NULL), 0);
    assert_string_equal(buf_str(&sql), "NULL");
    buf_free(&sql);
    maria_release(conn);
}

#define DIGITS_60 "012345678901234567890123456789012345678901234567890123456789"

static void test_identifiers(void **state)
{
    static const char *const good[] = {
        "a", "select", "a`b", "``", "a b", "a'b\"c\\", "\xc3\xa4", "$1", DIGITS_60 "0123"};
    static const char *const bad[] = {"", "a ", "\xff", "\xf0\x9f\x90\xac", DIGITS_60 "01234"};
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct maria_results results;
    struct buf sql;

    buf_init(&sql, 4096);
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        buf_truncate(&sql, 0);
        buf_puts(&sql, "CREATE TEMPORARY TABLE ");
        assert_int_equal(maria_put_identifier(&sql, good[i]), 0);
        buf_puts(&sql, " (a INT); SELECT 1 AS ");
        assert_int_equal(maria_put_identifier(&sql, good[i]), 0);
        assert_int_equal(maria_ask(world->loop, conn, buf_str(&sql), &results, NULL), 0);
        assert_string_equal(maria_column(&results.results[1], 0), good[i]);
        maria_results_free(&results);
    }
    buf_truncate(&sql, 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(maria_put_identifier(&sql, bad[i]), ERR_INVALID);
    assert_int_equal(sql.len, 0);
    buf_free(&sql);
    maria_release(conn);
}

/* Whatever the server's defaults are. */
static void test_session(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    char before[1024];

    snprintf(before, sizeof(before), "%s",
             maria_ask_text(world->loop, conn, "SELECT @@GLOBAL.sql_mode"));
    side_ask(world, "SET GLOBAL sql_mode = "
                    "'ORACLE,NO_BACKSLASH_ESCAPES,EMPTY_STRING_IS_NULL,IGNORE_SPACE'");
    side_ask(world, "SET GLOBAL time_zone = '+05:00', GLOBAL autocommit = 0, "
                    "GLOBAL character_set_client = latin1");
    maria_discard(conn);
    conn = maria_take(world->loop, world->pool);
    side_ask(world, "SET GLOBAL time_zone = 'SYSTEM', GLOBAL autocommit = 1, "
                    "GLOBAL character_set_client = utf8mb4");
    side_ask(world, "SET GLOBAL sql_mode = '%s'", before);
    assert_string_equal(maria_ask_text(world->loop, conn,
                                       "SELECT CONCAT_WS(' ', @@autocommit + 0, @@time_zone, "
                                       "@@character_set_client, @@character_set_connection, "
                                       "@@character_set_results)"),
                        "1 +00:00 utf8mb4 utf8mb4 utf8mb4");
    assert_string_equal(
        maria_ask_text(world->loop, conn,
                       "SELECT CONCAT_WS(' ', FIND_IN_SET('ANSI_QUOTES', @@sql_mode), "
                       "FIND_IN_SET('NO_BACKSLASH_ESCAPES', @@sql_mode), '' IS NULL, "
                       "FIND_IN_SET('STRICT_ALL_TABLES', @@sql_mode) > 0, "
                       "FIND_IN_SET('IGNORE_SPACE', @@sql_mode) > 0)"),
        "0 0 0 1 1");
    check_quoting(world, conn, "\\'\"", 3);
    assert_true(maria_is_mariadb(conn));
    assert_true(maria_version(conn) >= 100000);
    assert_int_equal(strtoul(maria_ask_text(world->loop, conn, "SELECT CONNECTION_ID()"), NULL, 10),
                     maria_session_id(conn));
    maria_release(conn);
}

static void test_no_file_of_ours_is_sent(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct maria_results results;
    struct err err;

    assert_int_equal(maria_ask(world->loop, conn,
                               "CREATE TEMPORARY TABLE t (a TEXT); "
                               "LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE t",
                               &results, &err),
                     ERR_DB);
    assert_int_equal(results.count, 1);
    maria_results_free(&results);
    maria_release(conn);
}

/* Whoever may not do something is not named. */
static void test_accounts_are_not_named(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn;
    struct maria_results results;
    struct err err;

    side_ask(world, "CREATE OR REPLACE USER canary_user IDENTIFIED BY 'x'");
    world->settings.user = "canary_user";
    world->settings.password = "x";
    world->settings.database = NULL;
    reopen(world);
    conn = maria_take(world->loop, world->pool);
    assert_int_equal(maria_ask(world->loop, conn, "SELECT * FROM mysql.user", &results, &err),
                     ERR_DB);
    assert_int_equal(results.error, 1142);
    assert_null(strstr(err.text, "canary"));
    assert_null(strstr(err.text, "127.0.0.1"));
    assert_non_null(strstr(err.text, "SELECT command denied to this user for table"));
    maria_results_free(&results);
    assert_int_equal(maria_ask(world->loop, conn, "USE mysql", &results, &err), ERR_DB);
    assert_null(strstr(err.text, "canary"));
    maria_results_free(&results);
    maria_release(conn);
    side_ask(world, "DROP USER canary_user");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DRIVER_TEST(test_many_statements),
        DRIVER_TEST(test_kinds_of_results),
        DRIVER_TEST(test_error_in_the_middle),
        DRIVER_TEST(test_error_behind_rows),
        DRIVER_TEST(test_large_query_and_answer),
        DRIVER_TEST(test_query_too_large),
        DRIVER_TEST(test_rows_are_dropped),
        DRIVER_TEST(test_rows_beyond_the_bound),
        DRIVER_TEST(test_literals),
        DRIVER_TEST(test_identifiers),
        DRIVER_TEST(test_session),
        DRIVER_TEST(test_no_file_of_ours_is_sent),
        DRIVER_TEST(test_accounts_are_not_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
