#include "maria_world.h"

/* A session that ran somebody's statements is as a new one for whoever gets it next. The server's
 * process id is in BFM_TEST_MARIA_PID. */

static const char dirt[] =
    "SET @x = 1, SESSION time_zone = '+05:00', SESSION sql_mode = 'ANSI_QUOTES', "
    "SESSION lock_wait_timeout = 3, NAMES latin1; SELECT GET_LOCK('reset', 0);"
    "CREATE TEMPORARY TABLE seq_1_to_1 SELECT 7 AS seq; PREPARE p FROM 'SELECT 1'";

static const char look[] =
    "SELECT CONCAT_WS(' ', IFNULL(@x, '-'), @@time_zone, FIND_IN_SET('ANSI_QUOTES', @@sql_mode), "
    "FIND_IN_SET('STRICT_ALL_TABLES', @@sql_mode) > 0, @@lock_wait_timeout = 3, "
    "@@character_set_client, IFNULL(IS_USED_LOCK('reset'), '-'), seq) FROM seq_1_to_1";

static const char clean[] = "- +00:00 0 1 0 utf8mb4 - 1";

static void pool_of_one(struct world *world)
{
    world->settings.max_open = 1;
    reopen(world);
}

static struct maria_conn *take_dirty(struct world *world)
{
    struct maria_conn *conn = maria_take(world->loop, world->pool);

    maria_ask_text(world->loop, conn, dirt);
    assert_string_not_equal(maria_ask_text(world->loop, conn, look), clean);
    return conn;
}

static void test_nothing_is_left(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn;
    unsigned long session_id;

    pool_of_one(world);
    conn = take_dirty(world);
    session_id = maria_session_id(conn);
    maria_release(conn);
    conn = maria_take(world->loop, world->pool);
    assert_string_not_equal(maria_ask_text(world->loop, conn, look),
                            clean); /* so there is a need */
    maria_release_clean(conn);
    assert_int_equal(stats_of(world->pool).idle, 0);
    assert_int_equal(stats_of(world->pool).lent, 1);
    conn = maria_take(world->loop, world->pool);
    assert_string_equal(maria_ask_text(world->loop, conn, look), clean);
    assert_int_equal(maria_session_id(conn), session_id);
    maria_release(conn);
    assert_int_equal(stats_of(world->pool).idle, 1);
}

/* --- many in turn --- */

struct client {
    struct op op;
    struct world *world;
    struct maria_conn *conn;
    struct maria_results results;
    unsigned number;
    unsigned *served;
};

static void on_asked(struct op *op, int rc)
{
    struct client *client = container_of(op, struct client, op);

    assert_int_equal(rc, 0);
    assert_null(maria_value(&client->results.results[0], 0, 0, NULL));
    maria_results_free(&client->results);
    maria_release_clean(client->conn);
    if (++*client->served == 50)
        loop_stop(client->world->loop);
}

static void on_acquired(struct op *op, int rc)
{
    static const char sql[] = "SELECT @mine; SET @mine = 1";
    struct client *client = container_of(op, struct client, op);

    assert_int_equal(rc, 0);
    if (client->world->settings.max_open == 1)
        assert_int_equal(client->number, *client->served);
    op_init(&client->op, on_asked);
    assert_int_equal(maria_query(client->conn, op, sql, strlen(sql), 0, &client->results), 0);
}

static void run_clients(struct world *world)
{
    struct client clients[50];
    unsigned served = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(clients); i++) {
        clients[i] = (struct client){.world = world, .number = i, .served = &served};
        op_init(&clients[i].op, on_acquired);
        assert_int_equal(maria_acquire(world->pool, &clients[i].op, &clients[i].conn), 0);
    }
    while (served < ARRAY_SIZE(clients))
        loop_run(world->loop);
}

static void test_turns(void **state)
{
    struct world *world = *state;

    run_clients(world);
    assert_int_equal(stats_of(world->pool).open, 4);
    pool_of_one(world);
    run_clients(world);
    assert_int_equal(stats_of(world->pool).open, 1);
}

/* --- what comes in between --- */

static void test_waiter_leaves(void **state)
{
    struct world *world = *state;
    struct maria_conn *none = NULL;
    struct waited waited;

    pool_of_one(world);
    maria_release_clean(take_dirty(world));
    waited_init(&waited, world->loop);
    assert_int_equal(maria_acquire(world->pool, &waited.op, &none), 0);
    op_cancel(&waited.op);
    assert_int_equal(wait_for(&waited, 0), ERR_CANCELED);
    assert_null(none);
    while (stats_of(world->pool).idle == 0)
        wait_ms(world->loop, 1);
}

static void test_canceled_query(void **state)
{
    static const char sql[] = "SELECT SLEEP(60)";
    struct world *world = *state;
    struct maria_results results;
    struct maria_conn *conn;
    struct waited waited;

    pool_of_one(world);
    conn = take_dirty(world);
    waited_init(&waited, world->loop);
    assert_int_equal(maria_query(conn, &waited.op, sql, strlen(sql), 0, &results), 0);
    op_cancel(&waited.op);
    wait_for(&waited, 0);
    maria_results_free(&results);
    maria_release_clean(conn); /* a KILL may still come */
    assert_int_equal(stats_of(world->pool).open, 0);
    conn = maria_take(world->loop, world->pool);
    maria_release(conn);
}

static void test_session_ended(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn;
    unsigned long session_id;

    pool_of_one(world);
    conn = take_dirty(world);
    session_id = maria_session_id(conn);
    side_ask(world, "KILL %lu", session_id);
    maria_release_clean(conn);
    conn = maria_take(world->loop, world->pool);
    assert_int_not_equal(maria_session_id(conn), session_id);
    maria_release(conn);
}

/* Neither round trip holds up the loop, and the pool does not wait for them. */
static void test_close_meanwhile(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn;
    uint64_t since;

    pool_of_one(world);
    maria_release_clean(take_dirty(world));
    reopen(world);

    maria_release_clean(take_dirty(world));
    wait_ms(world->loop, 0);
    reopen(world);

    conn = take_dirty(world);
    signal_server(SIGSTOP);
    since = uv_hrtime();
    maria_release_clean(conn);
    wait_ms(world->loop, 10);
    assert_int_equal(stats_of(world->pool).lent, 1);
    reopen(world);
    signal_server(SIGCONT);
    assert_true(uv_hrtime() - since < 4900000000u); /* waited for, it would have been 5 s */
}

static void test_no_answer(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn;
    uint64_t since;

    pool_of_one(world);
    conn = take_dirty(world);
    signal_server(SIGSTOP);
    since = uv_hrtime();
    maria_release_clean(conn);
    while (stats_of(world->pool).open > 0)
        wait_ms(world->loop, 5);
    signal_server(SIGCONT);
    assert_true(uv_hrtime() - since > 4000000000u);
    assert_true(uv_hrtime() - since < 30000000000u);
    conn = maria_take(world->loop, world->pool);
    assert_string_equal(maria_ask_text(world->loop, conn, look), clean);
    maria_release(conn);
}

/* Whichever allocation fails, the session is clean or gone. */
static void test_out_of_memory(void **state)
{
    struct world *world = *state;
    bool hit = true;

    pool_of_one(world);
    for (uint64_t nth = 1; hit; nth++) {
        struct maria_conn *conn = take_dirty(world);

        mem_fail_at(nth, 0);
        maria_release_clean(conn);
        while (stats_of(world->pool).lent > 0)
            wait_ms(world->loop, 1);
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        assert_int_equal(stats_of(world->pool).open, hit ? 0 : 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DRIVER_TEST(test_nothing_is_left), DRIVER_TEST(test_turns),
        DRIVER_TEST(test_waiter_leaves),   DRIVER_TEST(test_canceled_query),
        DRIVER_TEST(test_session_ended),   DRIVER_TEST(test_close_meanwhile),
        DRIVER_TEST(test_no_answer),       DRIVER_TEST(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
