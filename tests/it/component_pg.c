#include "cut_proxy.h"
#include "driver_fixture.h"

/* Queries of the driver against a real PostgreSQL: answers, errors, cancels, lost connections. */

static void test_many_statements(void **state)
{
    struct world *world = *state;
    struct pg_conn *conn = take(world->loop, world->pool);
    struct pg_results results;
    struct buf sql;

    buf_init(&sql, 1 << 20);
    for (int i = 0; i < 500; i++)
        buf_printf(&sql, "SELECT %d;", i);
    assert_int_equal(ask(world->loop, conn, buf_str(&sql), &results, NULL), 0);
    assert_int_equal(results.count, 500);
    assert_string_equal(PQgetvalue(results.results[499], 0, 0), "499");
    pg_results_free(&results);
    buf_free(&sql);
    pg_release(conn);
}

static void test_large_query_and_answer(void **state)
{
    struct world *world = *state;
    struct pg_conn *conn = take(world->loop, world->pool);
    size_t size = 20u << 20;
    struct buf sql;

    buf_init(&sql, size + 100);
    buf_puts(&sql, "SELECT length('");
    for (size_t i = 0; i < size / 16; i++)
        buf_puts(&sql, "0123456789abcdef");
    buf_puts(&sql, "')");
    assert_string_equal(ask_text(world->loop, conn, buf_str(&sql)), "20971520");
    ask_text(world->loop, conn, "SELECT repeat('x', 20000000)");
    buf_free(&sql);
    pg_release(conn);
}

/* Many rows in two statements, and an error behind them: no row is kept. */
static void test_rows_are_dropped(void **state)
{
    struct world *world = *state;
    struct pg_conn *conn = take(world->loop, world->pool);
    struct pg_results results;
    struct waited waited;

    waited_init(&waited, world->loop);
    assert_int_equal(
        wait_for(&waited,
                 pg_query_drop_rows(conn, &waited.op,
                                    "SELECT repeat('x', 1000) FROM generate_series(1, 50000);"
                                    "SELECT repeat('x', 1000) FROM generate_series(1, 50000);"
                                    "SELECT 1; SELECT nothing",
                                    0, &results)),
        ERR_DB);
    assert_int_equal(results.count, 4);
    assert_int_equal(PQntuples(results.results[0]), 0);
    assert_int_equal(PQntuples(results.results[1]), 0);
    pg_results_free(&results);
    assert_string_equal(ask_text(world->loop, conn, "SELECT 7"), "7");
    pg_release(conn);
}

static void test_error(void **state)
{
    struct world *world = *state;
    struct pg_conn *conn = take(world->loop, world->pool);
    struct pg_results results;
    struct err err;

    assert_int_equal(ask(world->loop, conn,
                         "SELECT 1; SELECT 2; SELECT nothing FROM nowhere; SELECT 3", &results,
                         &err),
                     ERR_DB);
    assert_int_equal(results.count, 3);
    assert_string_equal(err.sqlstate, "42P01");
    assert_non_null(strstr(err.text, "relation \"nowhere\" does not exist (SQLSTATE 42P01)"));
    pg_results_free(&results);
    assert_int_equal(
        ask(world->loop, conn,
            "DO $$ BEGIN RAISE EXCEPTION 'no' USING DETAIL = 'why', HINT = 'then'; END $$",
            &results, &err),
        ERR_DB);
    assert_non_null(strstr(err.text, "ERROR: no (SQLSTATE P0001) DETAIL: why HINT: then"));
    pg_results_free(&results);
    assert_string_equal(ask_text(world->loop, conn, "SELECT 7"), "7");
    pg_release(conn);
    assert_int_equal(stats_of(world->pool).idle, 1);
}

static void test_notices(void **state)
{
    struct world *world = *state;
    struct pg_conn *conn = take(world->loop, world->pool);
    struct pg_results results;

    assert_int_equal(ask(world->loop, conn,
                         "DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$", &results,
                         NULL),
                     0);
    assert_string_equal(buf_str(&results.notices), "NOTICE: one\nWARNING: two\n");
    pg_results_free(&results);
    assert_int_equal(
        ask(world->loop, conn,
            "DO $$ BEGIN FOR i IN 1..100 LOOP RAISE NOTICE '%', repeat('x', 1000); END LOOP; END $$",
            &results, NULL),
        0);
    assert_in_range(results.notices.len, 60000, 65536);
    pg_results_free(&results);
    pg_release(conn);
}

static void test_params(void **state)
{
    struct world *world = *state;
    struct pg_conn *conn = take(world->loop, world->pool);
    const char *const values[] = {"it's \"x\"; --", NULL};
    struct pg_results results;
    struct waited waited;

    waited_init(&waited, world->loop);
    assert_int_equal(
        wait_for(&waited, pg_query_params(conn, &waited.op, "SELECT $1::text, $2::text", 2, values,
                                          0, &results)),
        0);
    assert_string_equal(PQgetvalue(results.results[0], 0, 0), values[0]);
    assert_true(PQgetisnull(results.results[0], 0, 1));
    pg_results_free(&results);
    pg_release(conn);
}

static void test_quoting(void **state)
{
    static const char *const texts[] = {"a\"b'c", "back\\slash", "sp ace", "\xc3\xa4\xe2\x82\xac"};
    struct world *world = *state;
    struct pg_conn *conn = take(world->loop, world->pool);
    struct buf sql;

    buf_init(&sql, 4096);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        buf_truncate(&sql, 0);
        buf_puts(&sql, "SELECT ");
        assert_int_equal(pg_put_literal(&sql, conn, texts[i]), 0);
        buf_puts(&sql, " AS ");
        assert_int_equal(pg_put_identifier(&sql, conn, texts[i]), 0);
        assert_string_equal(ask_text(world->loop, conn, buf_str(&sql)), texts[i]);
    }
    assert_int_equal(pg_put_literal(&sql, conn, "bad \xff"), ERR_INVALID);
    buf_free(&sql);
    pg_release(conn);
}

static void test_copy_has_no_peer(void **state)
{
    struct world *world = *state;
    struct pg_conn *conn = take(world->loop, world->pool);
    struct pg_results results;
    struct err err;

    assert_int_equal(ask(world->loop, conn,
                         "COPY (SELECT generate_series(1, 100000)) TO STDOUT; SELECT 5", &results,
                         &err),
                     0);
    assert_string_equal(PQgetvalue(results.results[results.count - 1], 0, 0), "5");
    pg_results_free(&results);
    assert_int_equal(
        ask(world->loop, conn, "CREATE TEMP TABLE t (a int); COPY t FROM STDIN", &results, &err),
        ERR_DB);
    assert_non_null(strstr(err.text, "has no data here"));
    pg_results_free(&results);
    pg_release(conn);
}

static void test_cancel(void **state)
{
    struct world *world = *state;
    struct pg_conn *conn = take(world->loop, world->pool);
    struct pg_results results;
    struct waited waited;

    waited_init(&waited, world->loop);
    assert_int_equal(pg_query(conn, &waited.op, "SELECT pg_sleep(60)", 0, &results), 0);
    wait_ms(world->loop, 20);
    op_cancel(&waited.op);
    assert_int_equal(wait_for(&waited, 0), ERR_CANCELED);
    assert_string_equal(waited.op.err.sqlstate, "57014");
    pg_results_free(&results);
    assert_string_equal(ask_text(world->loop, conn, "SELECT 1"), "1");
    pg_release(conn);
    assert_int_equal(stats_of(world->pool).idle, 0); /* a late cancel must not hit anybody else */
}

/* Requests to cancel that nobody answers: they take two threads at most, the queries end without
 * them, and their connections are used for nothing else. */
static void test_cancels_that_hang(void **state)
{
    struct world *world = *state;
    struct pg_settings settings = world->settings;
    struct pg_conn *conns[6];
    struct pg_results results[6];
    struct waited waited[6];
    struct cut_proxy proxy;
    struct pg_pool *pool;

    cut_proxy_start(&proxy, loop_uv(world->loop), settings.host, settings.port, "-");
    proxy.hold_cancels = true;
    settings.host = "127.0.0.1";
    settings.port = proxy.port;
    settings.max_open = ARRAY_SIZE(conns);
    settings.max_idle = ARRAY_SIZE(conns);
    pool = pg_pool_create(world->loop, &settings);
    for (size_t i = 0; i < ARRAY_SIZE(conns); i++)
        conns[i] = take(world->loop, pool);
    for (size_t i = 0; i < ARRAY_SIZE(conns); i++) {
        waited_init(&waited[i], world->loop);
        assert_int_equal(pg_query(conns[i], &waited[i].op, "SELECT pg_sleep(1)", 0, &results[i]),
                         0);
        op_cancel(&waited[i].op);
    }
    while (proxy.cancels < 2)
        wait_ms(world->loop, 5);
    wait_ms(world->loop, 1500);
    for (size_t i = 0; i < ARRAY_SIZE(conns); i++) {
        assert_int_equal(wait_for(&waited[i], 0), 0);
        pg_results_free(&results[i]);
        pg_release(conns[i]);
    }
    assert_int_equal(proxy.cancels, 2);
    assert_int_equal(proxy.held_count, 2);
    assert_int_equal(stats_of(pool).idle, ARRAY_SIZE(conns) - 2);
    assert_int_equal(stats_of(pool).open, ARRAY_SIZE(conns) - 2);
    /* Freed, they make place for the next one. */
    cut_proxy_drop_held(&proxy);
    proxy.hold_cancels = false;
    conns[0] = take(world->loop, pool);
    waited_init(&waited[0], world->loop);
    assert_int_equal(pg_query(conns[0], &waited[0].op, "SELECT pg_sleep(60)", 0, &results[0]), 0);
    op_cancel(&waited[0].op);
    assert_int_equal(wait_for(&waited[0], 0), ERR_CANCELED);
    pg_results_free(&results[0]);
    pg_release(conns[0]);
    close_pool(world->loop, pool);
    cut_proxy_stop(&proxy);
}

static void test_statement_timeout_is_no_cancel(void **state)
{
    struct world *world = *state;
    struct pg_conn *conn = take(world->loop, world->pool);
    struct pg_results results;
    struct err err;

    assert_int_equal(ask(world->loop, conn,
                         "BEGIN; SET LOCAL statement_timeout = '20ms'; SELECT pg_sleep(60)",
                         &results, &err),
                     ERR_DB);
    assert_string_equal(err.sqlstate, "57014");
    pg_results_free(&results);
    pg_release(conn); /* in a failed transaction */
    assert_int_equal(stats_of(world->pool).open, 0);
}

static void test_query_timeout(void **state)
{
    struct world *world = *state;
    struct pg_conn *conn = take(world->loop, world->pool);
    struct pg_results results;
    struct waited waited;

    waited_init(&waited, world->loop);
    assert_int_equal(
        wait_for(&waited, pg_query(conn, &waited.op, "SELECT pg_sleep(5)", 30, &results)),
        ERR_TIMEOUT);
    assert_true(pg_is_broken(conn));
    pg_results_free(&results);
    assert_int_equal(pg_query(conn, &waited.op, "SELECT 1", 0, &results), ERR_UNREACHABLE);
    pg_results_free(&results);
    pg_release(conn);
    assert_int_equal(stats_of(world->pool).open, 0);
}

static void test_backend_terminated_in_a_query(void **state)
{
    struct world *world = *state;
    struct pg_conn *conn = take(world->loop, world->pool);
    struct pg_results results;
    struct waited waited;
    char pid[32];

    snprintf(pid, sizeof(pid), "%s", ask_text(world->loop, conn, "SELECT pg_backend_pid()"));
    waited_init(&waited, world->loop);
    assert_int_equal(pg_query(conn, &waited.op, "SELECT pg_sleep(60)", 0, &results), 0);
    side_ask(world, "SELECT pg_terminate_backend(%s)", pid);
    assert_int_equal(wait_for(&waited, 0), ERR_UNREACHABLE);
    assert_string_equal(waited.op.err.sqlstate, "57P01");
    assert_true(pg_is_broken(conn));
    pg_results_free(&results);
    pg_release(conn);
    assert_int_equal(stats_of(world->pool).open, 0);
}

static void test_idle_connection_terminated(void **state)
{
    struct world *world = *state;
    struct pg_conn *conn = take(world->loop, world->pool);
    char pid[32];

    snprintf(pid, sizeof(pid), "%s", ask_text(world->loop, conn, "SELECT pg_backend_pid()"));
    pg_release(conn);
    assert_int_equal(stats_of(world->pool).idle, 1);
    side_ask(world, "SELECT pg_terminate_backend(%s, 5000)", pid);
    while (stats_of(world->pool).open > 0)
        wait_ms(world->loop, 1);
    conn = take(world->loop, world->pool);
    assert_string_not_equal(ask_text(world->loop, conn, "SELECT pg_backend_pid()"), pid);
    pg_release(conn);
}

/* A lent connection that dies is no reason to spin, and its next query says so. */
static void test_lent_connection_terminated(void **state)
{
    struct world *world = *state;
    struct pg_conn *conn = take(world->loop, world->pool);
    struct pg_results results;
    char pid[32];
    struct err err;

    snprintf(pid, sizeof(pid), "%s", ask_text(world->loop, conn, "SELECT pg_backend_pid()"));
    side_ask(world, "SELECT pg_terminate_backend(%s, 5000)", pid);
    assert_int_equal(ask(world->loop, conn, "SELECT 1", &results, &err), ERR_UNREACHABLE);
    pg_results_free(&results);
    pg_release(conn);
    assert_int_equal(stats_of(world->pool).open, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DRIVER_TEST(test_many_statements),
        DRIVER_TEST(test_large_query_and_answer),
        DRIVER_TEST(test_rows_are_dropped),
        DRIVER_TEST(test_error),
        DRIVER_TEST(test_notices),
        DRIVER_TEST(test_params),
        DRIVER_TEST(test_quoting),
        DRIVER_TEST(test_copy_has_no_peer),
        DRIVER_TEST(test_cancel),
        DRIVER_TEST(test_cancels_that_hang),
        DRIVER_TEST(test_statement_timeout_is_no_cancel),
        DRIVER_TEST(test_query_timeout),
        DRIVER_TEST(test_backend_terminated_in_a_query),
        DRIVER_TEST(test_idle_connection_terminated),
        DRIVER_TEST(test_lent_connection_terminated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
