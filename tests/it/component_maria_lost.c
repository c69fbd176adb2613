#include <arpa/inet.h>
#include <unistd.h>

#include "maria_world.h"

/*
 * Servers that stop answering, end, or are none. The process of the server of BFM_TEST_MARIA_PORT
 * is BFM_TEST_MARIA_PID: the test's own, and the last test kills it.
 */

static int try_acquire(struct world *world, struct err *err)
{
    struct maria_conn *conn = NULL;
    struct waited waited;
    int rc;

    waited_init(&waited, world->loop);
    rc = wait_for(&waited, maria_acquire(world->pool, &waited.op, &conn));
    *err = waited.op.err;
    if (rc == 0)
        maria_release(conn);
    return rc;
}

static void test_paused_while_connecting(void **state)
{
    struct world *world = *state;
    struct err err;

    world->settings.connect_timeout_ms = 500;
    reopen(world);
    signal_server(SIGSTOP);
    assert_int_equal(try_acquire(world, &err), ERR_UNREACHABLE);
    assert_string_equal(err.text, "cannot connect: timed out");
    assert_int_equal(stats_of(world->pool).open, 0);
    signal_server(SIGCONT);
    while (try_acquire(world, &err) != 0) { /* as long as it is known to be away, or slow */
        assert_string_equal(err.text, "cannot connect: timed out");
        wait_ms(world->loop, 5);
    }
}

static void test_paused_in_a_query(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct maria_results results;
    struct waited waited;

    waited_init(&waited, world->loop);
    signal_server(SIGSTOP);
    assert_int_equal(maria_query(conn, &waited.op, "SELECT SLEEP(0.2)", 17, 700, &results), 0);
    assert_int_equal(wait_for(&waited, 0), ERR_TIMEOUT);
    maria_results_free(&results);
    maria_release(conn);
    assert_int_equal(stats_of(world->pool).open, 0);
    signal_server(SIGCONT);
}

/* A cancel of a query whose server does not answer waits no longer than the query's own limit. */
static void test_paused_while_cancelling(void **state)
{
    struct world *world = *state;
    struct maria_conn *conn = maria_take(world->loop, world->pool);
    struct maria_results results;
    struct waited waited;

    waited_init(&waited, world->loop);
    assert_int_equal(maria_query(conn, &waited.op, "SELECT SLEEP(60)", 16, 300, &results), 0);
    signal_server(SIGSTOP);
    op_cancel(&waited.op);
    assert_int_equal(wait_for(&waited, 0), ERR_TIMEOUT);
    maria_results_free(&results);
    maria_release(conn);
    signal_server(SIGCONT);
}

/* Goodbyes that nobody reads do not hold up the end. */
static void test_paused_while_closing(void **state)
{
    struct world *world = *state;
    struct maria_conn *conns[4];

    for (size_t i = 0; i < ARRAY_SIZE(conns); i++)
        conns[i] = maria_take(world->loop, world->pool);
    for (size_t i = 0; i < ARRAY_SIZE(conns); i++)
        maria_release(conns[i]);
    signal_server(SIGSTOP);
    reopen(world);
    signal_server(SIGCONT);
}

static void test_closed_in_each_turn_of_connecting(void **state)
{
    struct world *world = *state;
    bool connected = false;

    for (unsigned turns = 0; !connected && turns < 1000; turns++) {
        struct maria_conn *conn = NULL;
        struct waited waited;

        waited_init(&waited, world->loop);
        assert_int_equal(maria_acquire(world->pool, &waited.op, &conn), 0);
        for (unsigned i = 0; i < turns && conn == NULL && !waited.done; i++)
            uv_run(loop_uv(world->loop), UV_RUN_ONCE);
        connected = conn != NULL;
        if (connected) {
            assert_int_equal(wait_for(&waited, 0), 0);
            maria_release(conn);
        }
        reopen(world);
        assert_int_equal(wait_for(&waited, 0), connected ? 0 : ERR_SHUTDOWN);
    }
    assert_true(connected);
}

/* What a server says first, without an offer of TLS; and what it is told then. */
static ssize_t greet_and_listen(struct world *world, const char *sslmode, char *heard, size_t size)
{
    static const unsigned char greeting[] = "\x4e\x00\x00\x00\x0a"
                                            "5.7.1-fake\x00"
                                            "\x01\x00\x00\x00"
                                            "abcdefgh\x00"
                                            "\x05\xf3\x21\x02\x00\x08\x00\x15"
                                            "\0\0\0\0\0\0\0\0\0\0"
                                            "ijklmnopqrst\x00"
                                            "mysql_native_password";
    struct maria_conn *conn = NULL;
    struct waited waited;
    char port[16];
    int listener = listen_silently(port, sizeof(port));
    int fd;
    ssize_t len;

    world->settings.host = "127.0.0.1";
    world->settings.port = port;
    world->settings.sslmode = sslmode;
    world->settings.user = "canary-user";
    reopen(world);
    waited_init(&waited, world->loop);
    assert_int_equal(maria_acquire(world->pool, &waited.op, &conn), 0);
    wait_readable(world->loop, listener);
    fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, greeting, sizeof(greeting)), sizeof(greeting));
    if (strcmp(sslmode, "disable") == 0)
        wait_readable(world->loop, fd);
    else
        assert_int_equal(wait_for(&waited, 0), ERR_UNREACHABLE);
    len = recv(fd, heard, size, MSG_DONTWAIT);
    close(fd);
    assert_int_equal(wait_for(&waited, 0), ERR_UNREACHABLE);
    close(listener);
    return len;
}

/* Whoever takes TLS away is not told who we are. */
static void test_nothing_is_said_without_tls(void **state)
{
    char heard[1024];
    ssize_t len;

    len = greet_and_listen(*state, "disable", heard, sizeof(heard));
    assert_true(len > 0);
    assert_non_null(memmem(heard, (size_t)len, "canary-user", 11));
    len = greet_and_listen(*state, "require", heard, sizeof(heard));
    assert_true(len <= 0 || memmem(heard, (size_t)len, "canary-user", 11) == NULL);
}

/* The last one. */
static void test_server_killed(void **state)
{
    struct world *world = *state;
    struct maria_conn *busy = maria_take(world->loop, world->pool);
    struct maria_conn *lent = maria_take(world->loop, world->pool);
    struct maria_conn *idle = maria_take(world->loop, world->pool);
    struct maria_results results;
    struct waited waited;
    struct err err;

    maria_release(idle);
    waited_init(&waited, world->loop);
    assert_int_equal(maria_query(busy, &waited.op, "SELECT SLEEP(60)", 16, 0, &results), 0);
    signal_server(SIGKILL);
    assert_int_equal(wait_for(&waited, 0), ERR_UNREACHABLE);
    maria_results_free(&results);
    assert_int_equal(maria_ask(world->loop, lent, "SELECT 1", &results, &err), ERR_UNREACHABLE);
    assert_string_equal(err.text, "the connection to the database was lost");
    maria_results_free(&results);
    maria_release(busy);
    maria_release(lent);
    while (stats_of(world->pool).open > 0)
        wait_ms(world->loop, 1);
    assert_int_equal(try_acquire(world, &err), ERR_UNREACHABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DRIVER_TEST(test_paused_while_connecting),
        DRIVER_TEST(test_paused_in_a_query),
        DRIVER_TEST(test_paused_while_cancelling),
        DRIVER_TEST(test_paused_while_closing),
        DRIVER_TEST(test_closed_in_each_turn_of_connecting),
        DRIVER_TEST(test_nothing_is_said_without_tls),
        DRIVER_TEST(test_server_killed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
