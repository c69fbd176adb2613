#include <unistd.h>

#include "maria_world.h"

/* Queries of the driver that are ended, by us or by the server. */

static int ask_for(struct world *world, struct maria_conn *conn, const char *sql,
                   uint64_t timeout_ms, uint64_t cancel_ms, struct err *err)
{
    struct maria_results results;
    struct waited waited;
    int rc;

    waited_init(&waited, world->loop);
    assert_int_equal(maria_query(conn, &waited.op, sql, strlen(sql), timeout_ms, &results), 0);
    if (cancel_ms > 0) {
        wait_ms(world->loop, cancel_ms);
        op_cancel(&waited.op);
    }
    rc = wait_for(&waited, 0);
    maria_results_free(&results);
    *err = waited.op.err;
    return rc;
}

static void test_cancel(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct err err;

    assert_int_equal(ask_for(world, conn, "SELECT 1; SELECT SLEEP(60); SELECT 2", 0, 20, &err),
                     ERR_CANCELED);
    assert_string_equal(err.sqlstate, "70100");
    assert_string_equal(maria_ask_text(world->loop, conn, "SELECT 1"), "1");
    maria_release(conn);
    assert_int_equal(stats_of(world->pool).idle, 0); /* a late one must not hit anybody else */
}

/* Asked for before the query can have reached the server, and when it is over. */
static void test_cancel_at_once_and_late(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct maria_results results;
    struct waited waited;

    waited_init(&waited, world->loop);
    assert_int_equal(maria_query(conn, &waited.op, "SELECT SLEEP(30)", 16, 0, &results), 0);
    op_cancel(&waited.op);
    op_cancel(&waited.op);
    assert_false(waited.done);
    assert_int_equal(wait_for(&waited, 0), ERR_CANCELED);
    maria_results_free(&results);
    maria_release(conn);
    conn = maria_take(world->loop, world->pool);
    waited_init(&waited, world->loop);
    assert_int_equal(maria_query(conn, &waited.op, "SELECT 1", 8, 0, &results), 0);
    op_cancel(&waited.op);
    assert_int_equal(wait_for(&waited, 0), 0);
    assert_int_equal(results.count, 1);
    maria_results_free(&results);
    op_cancel(&waited.op);
    maria_release(conn);
}

/* Between statements the server forgets the request, and a DO that it ends is none the worse. */
static void test_cancel_of_many_statements(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct buf sql;
    struct err err;

    buf_init(&sql, 1 << 20);
    for (int i = 0; i < 20; i++)
        buf_puts(&sql, "DO SLEEP(0.05);");
    for (int i = 0; i < 5000; i++)
        buf_puts(&sql, "SELECT 1;");
    buf_puts(&sql, "SELECT SLEEP(30)");
    assert_int_equal(ask_for(world, conn, buf_str(&sql), 0, 20, &err), ERR_CANCELED);
    buf_free(&sql);
    maria_release(conn);
}

static void test_cancel_while_rows_come(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct maria_results results;
    struct waited waited;
    static const char sql[] = "SELECT seq, REPEAT('x', 1000) FROM seq_1_to_100000000";

    waited_init(&waited, world->loop);
    assert_int_equal(maria_query_drop_rows(conn, &waited.op, sql, strlen(sql), 0, &results), 0);
    wait_ms(world->loop, 50);
    op_cancel(&waited.op);
    assert_int_equal(wait_for(&waited, 0), ERR_CANCELED);
    assert_int_equal(results.count, 0);
    maria_results_free(&results);
    maria_release(conn);
}

/* More than may be under way at once. */
static void test_many_cancels(void **state)
{
    struct world *world = *state;
    struct maria_conn *conns[12];
    struct maria_results results[12];
    struct waited waited[12];

    world->settings.max_open = ARRAY_SIZE(conns);
    reopen(world);
    for (size_t i = 0; i < ARRAY_SIZE(conns); i++)
        conns[i] = maria_take(world->loop, world->pool);
    for (size_t i = 0; i < ARRAY_SIZE(conns); i++) {
        waited_init(&waited[i], world->loop);
        assert_int_equal(
            maria_query(conns[i], &waited[i].op, "SELECT SLEEP(60)", 16, 0, &results[i]), 0);
        op_cancel(&waited[i].op);
    }
    for (size_t i = 0; i < ARRAY_SIZE(conns); i++) {
        assert_int_equal(wait_for(&waited[i], 0), ERR_CANCELED);
        maria_results_free(&results[i]);
        maria_release(conns[i]);
    }
}

static void test_killed_by_somebody_else(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct maria_results results;
    struct waited waited;

    waited_init(&waited, world->loop);
    assert_int_equal(maria_query(conn, &waited.op, "SELECT SLEEP(60)", 16, 0, &results), 0);
    while (!waited.done) { /* one that comes before the query has begun has no effect */
        side_ask(world, "KILL QUERY %lu", maria_session_id(conn));
        wait_ms(world->loop, 20);
    }
    assert_int_equal(waited.rc, ERR_DB);
    assert_int_equal(results.error, 1317);
    maria_results_free(&results);
    maria_release(conn);
    assert_int_equal(stats_of(world->pool).idle, 1);
}

static void test_timeout(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct maria_results results;
    struct waited waited;
    struct err err;

    assert_int_equal(ask_for(world, conn, "SELECT SLEEP(5)", 30, 0, &err), ERR_TIMEOUT);
    assert_true(maria_is_broken(conn));
    waited_init(&waited, world->loop);
    assert_int_equal(maria_query(conn, &waited.op, "SELECT 1", 8, 0, &results), ERR_UNREACHABLE);
    maria_results_free(&results);
    maria_release(conn);
    assert_int_equal(stats_of(world->pool).open, 0);
}

static void test_session_killed_in_a_query(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct maria_results results;
    struct waited waited;

    waited_init(&waited, world->loop);
    assert_int_equal(maria_query(conn, &waited.op, "SELECT SLEEP(60)", 16, 0, &results), 0);
    side_ask(world, "KILL CONNECTION %lu", maria_session_id(conn));
    assert_int_equal(wait_for(&waited, 0), ERR_UNREACHABLE);
    assert_true(maria_is_broken(conn));
    maria_results_free(&results);
    maria_release(conn);
    assert_int_equal(stats_of(world->pool).open, 0);
}

static void test_idle_session_killed(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    unsigned long id = maria_session_id(conn);

    maria_release(conn);
    assert_int_equal(stats_of(world->pool).idle, 1);
    side_ask(world, "KILL CONNECTION %lu", id);
    while (stats_of(world->pool).open > 0)
        wait_ms(world->loop, 1);
    conn = maria_take(world->loop, world->pool);
    assert_int_not_equal(maria_session_id(conn), id);
    maria_release(conn);
}

/* A lent connection that dies is no reason to spin, and its next query says so. */
static void test_lent_session_killed(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct err err;

    side_ask(world, "KILL CONNECTION %lu", maria_session_id(conn));
    assert_int_equal(ask_for(world, conn, "SELECT 1", 0, 0, &err), ERR_UNREACHABLE);
    maria_release(conn);
    assert_int_equal(stats_of(world->pool).open, 0);
}

static void test_transactions(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);

    assert_false(maria_in_transaction(conn));
    maria_ask_text(world->loop, conn, "BEGIN; SELECT 1");
    assert_true(maria_in_transaction(conn));
    maria_ask_text(world->loop, conn, "ROLLBACK");
    assert_false(maria_in_transaction(conn));
    maria_ask_text(world->loop, conn, "BEGIN");
    maria_release(conn);
    assert_int_equal(stats_of(world->pool).open, 0);
    conn = maria_take(world->loop, world->pool);
    maria_ask_text(world->loop, conn, "SET autocommit = 0");
    maria_release(conn);
    assert_int_equal(stats_of(world->pool).open, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DRIVER_TEST(test_cancel),
        DRIVER_TEST(test_cancel_at_once_and_late),
        DRIVER_TEST(test_cancel_of_many_statements),
        DRIVER_TEST(test_cancel_while_rows_come),
        DRIVER_TEST(test_many_cancels),
        DRIVER_TEST(test_killed_by_somebody_else),
        DRIVER_TEST(test_timeout),
        DRIVER_TEST(test_session_killed_in_a_query),
        DRIVER_TEST(test_idle_session_killed),
        DRIVER_TEST(test_lent_session_killed),
        DRIVER_TEST(test_transactions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
