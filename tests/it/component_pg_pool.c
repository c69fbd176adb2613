#include <unistd.h>

#include "driver_fixture.h"

/* Connecting, and the driver's pool, against a real PostgreSQL. */

static int try_acquire(struct world *world, struct err *err)
{
    struct pg_conn *conn = NULL;
    struct waited waited;
    int rc;

    waited_init(&waited, world->loop);
    rc = wait_for(&waited, pg_acquire(world->pool, &waited.op, &conn));
    *err = waited.op.err;
    if (rc == 0)
        pg_release(conn);
    else
        assert_null(conn);
    return rc;
}

static void test_connection_refused(void **state)
{
    struct world *world = *state;
    struct err err;

    world->settings.port = "1";
    reopen(world);
    assert_int_equal(try_acquire(world, &err), ERR_UNREACHABLE);
    assert_string_equal(err.text, "cannot connect: connection refused");
    assert_int_equal(stats_of(world->pool).open, 0);
}

static void test_refused_fails_everyone_who_waits(void **state)
{
    struct world *world = *state;
    struct waited waited[100];
    struct pg_conn *conns[100];
    unsigned done = 0;

    world->settings.port = "1";
    reopen(world);
    for (size_t i = 0; i < ARRAY_SIZE(waited); i++) {
        waited_init(&waited[i], world->loop);
        waited[i].count = &done;
        assert_int_equal(pg_acquire(world->pool, &waited[i].op, &conns[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(waited); i++) {
        assert_int_equal(wait_for(&waited[i], 0), ERR_UNREACHABLE);
        assert_string_equal(waited[i].op.err.text, "cannot connect: connection refused");
    }
    assert_int_equal(done, 100);
}

static void test_wrong_password(void **state)
{
    struct world *world = *state;
    struct err err;

    world->settings.user = "bfm";
    world->settings.password = "canary-password";
    reopen(world);
    assert_int_equal(try_acquire(world, &err), ERR_UNREACHABLE);
    assert_string_equal(err.sqlstate, "28P01");
    assert_string_equal(
        err.text,
        "cannot connect: authentication failed (wrong user name or password) (SQLSTATE 28P01)");
}

static void test_unknown_database(void **state)
{
    struct world *world = *state;
    struct err err;

    world->settings.database = "canary_database";
    reopen(world);
    assert_int_equal(try_acquire(world, &err), ERR_UNREACHABLE);
    assert_string_equal(err.text, "cannot connect: the database does not exist (SQLSTATE 3D000)");
}

static void test_tls_required(void **state)
{
    struct world *world = *state;
    struct err err;

    world->settings.sslmode = "require";
    reopen(world);
    if (try_acquire(world, &err) == 0)
        return; /* this server offers TLS */
    assert_non_null(strstr(err.text, "TLS is required"));
}

static void test_unknown_host(void **state)
{
    struct world *world = *state;
    struct err err;

    world->settings.host = "canary-host.invalid";
    reopen(world);
    assert_int_equal(try_acquire(world, &err), ERR_UNREACHABLE);
    assert_null(strstr(err.text, "canary"));
}

static void test_name_is_resolved(void **state)
{
    struct world *world = *state;
    struct err err;

    world->settings.host = "localhost";
    reopen(world);
    assert_int_equal(try_acquire(world, &err), 0);
}

/* A server that accepts and then says nothing. */
static void test_connect_timeout(void **state)
{
    struct world *world = *state;
    char port[16];
    struct err err;
    int fd = listen_silently(port, sizeof(port));

    world->settings.port = port;
    world->settings.connect_timeout_ms = 50;
    reopen(world);
    assert_int_equal(try_acquire(world, &err), ERR_UNREACHABLE);
    assert_string_equal(err.text, "cannot connect: timed out");
    assert_int_equal(stats_of(world->pool).open, 0);
    close(fd);
}

/* --- the pool --- */

/* A client that takes a connection, asks something and gives it back. */
struct client {
    struct op op;
    struct world *world;
    struct pg_conn *conn;
    struct pg_results results;
    unsigned *left;
    unsigned *order; /* the next number to be served */
    unsigned number;
};

static void on_asked_release(struct op *op, int rc)
{
    struct client *client = container_of(op, struct client, op);

    assert_int_equal(rc, 0);
    pg_results_free(&client->results);
    pg_release(client->conn);
    if (--*client->left == 0)
        loop_stop(client->world->loop);
}

static void on_acquired_ask(struct op *op, int rc)
{
    struct client *client = container_of(op, struct client, op);

    assert_int_equal(rc, 0);
    if (client->order != NULL)
        assert_int_equal(client->number, (*client->order)++);
    assert_true(stats_of(client->world->pool).open <= client->world->settings.max_open);
    op_init(&client->op, on_asked_release);
    assert_int_equal(pg_query(client->conn, op, "SELECT 1", 0, &client->results), 0);
}

static void run_clients(struct world *world, bool ordered)
{
    struct client clients[100];
    unsigned left = ARRAY_SIZE(clients);
    unsigned order = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(clients); i++) {
        clients[i] = (struct client){.world = world, .left = &left, .number = i};
        clients[i].order = ordered ? &order : NULL;
        op_init(&clients[i].op, on_acquired_ask);
        assert_int_equal(pg_acquire(world->pool, &clients[i].op, &clients[i].conn), 0);
    }
    assert_int_equal(stats_of(world->pool).open, world->settings.max_open);
    while (left > 0)
        loop_run(world->loop);
}

static void test_pool_of_one(void **state)
{
    struct world *world = *state;

    world->settings.max_open = 1;
    reopen(world);
    run_clients(world, true);
    assert_int_equal(stats_of(world->pool).open, 1);
}

static void test_pool_of_four(void **state)
{
    struct world *world = *state;

    run_clients(world, true);
    assert_int_equal(stats_of(world->pool).open, 4);
}

static void test_surplus_idle_is_closed(void **state)
{
    struct world *world = *state;
    const uint64_t *now_ms = &loop_sched(world->loop)->now_ms;
    uint64_t began_ms = *now_ms;

    world->settings.max_idle = 1;
    reopen(world);
    run_clients(world, true); /* some of the four may still be connecting */
    while (stats_of(world->pool).open == 4)
        wait_ms(world->loop, 1);
    assert_true(*now_ms - began_ms >= 1000);
    while (stats_of(world->pool).open > 1)
        wait_ms(world->loop, 1);
    wait_ms(world->loop, 1100);
    assert_int_equal(stats_of(world->pool).open, 1);
    assert_int_equal(stats_of(world->pool).idle, 1);
}

static void test_lifetimes(void **state)
{
    struct world *world = *state;
    struct pg_conn *conn;
    const uint64_t *now_ms = &loop_sched(world->loop)->now_ms;
    uint64_t began_ms = *now_ms;
    struct err err;

    world->settings.max_lifetime_ms = 1000;
    reopen(world);
    assert_int_equal(try_acquire(world, &err), 0);
    if (*now_ms - began_ms < 1000)
        assert_int_equal(stats_of(world->pool).idle, 1);
    while (stats_of(world->pool).open > 0)
        wait_ms(world->loop, 1);
    assert_true(*now_ms - began_ms >= 1000);
    world->settings.max_lifetime_ms = 60;
    reopen(world);
    assert_int_equal(try_acquire(world, &err), 0);
    while (stats_of(world->pool).open > 0)
        wait_ms(world->loop, 1);
    conn = take(world->loop, world->pool);
    wait_ms(world->loop, 70);
    pg_release(conn); /* too old */
    assert_int_equal(stats_of(world->pool).open, 0);

    world->settings.max_lifetime_ms = 0;
    world->settings.max_idle_time_ms = 40;
    reopen(world);
    assert_int_equal(try_acquire(world, &err), 0);
    while (stats_of(world->pool).open > 0)
        wait_ms(world->loop, 1);
}

static void test_waiter_cancelled(void **state)
{
    struct world *world = *state;
    struct pg_conn *held, *none = NULL, *next = NULL;
    struct waited first, second;

    world->settings.max_open = 1;
    reopen(world);
    held = take(world->loop, world->pool);
    waited_init(&first, world->loop);
    waited_init(&second, world->loop);
    assert_int_equal(pg_acquire(world->pool, &first.op, &none), 0);
    assert_int_equal(pg_acquire(world->pool, &second.op, &next), 0);
    op_cancel(&first.op);
    assert_false(first.done);
    assert_int_equal(wait_for(&first, 0), ERR_CANCELED);
    assert_false(second.done);
    pg_release(held);
    assert_false(second.done);
    assert_int_equal(wait_for(&second, 0), 0);
    assert_ptr_equal(next, held);
    pg_release(next);
}

/* The server has room for fewer connections than the pool may open: those that wait get one of the
 * open ones. */
static void test_server_is_full(void **state)
{
    struct world *world = *state;
    char database[64];

    snprintf(database, sizeof(database), "bfm_full_%d", (int)getpid());
    side_ask(world, "CREATE DATABASE %s CONNECTION LIMIT 2", database);
    side_ask(world, "DROP ROLE IF EXISTS bfm_plain");
    side_ask(world, "CREATE ROLE bfm_plain LOGIN");
    world->settings.database = database;
    world->settings.user = "bfm_plain";
    world->settings.password = NULL;
    reopen(world);
    run_clients(world, false);
    while (stats_of(world->pool).open > 2) /* tries that are refused are open until then */
        wait_ms(world->loop, 1);
    assert_true(stats_of(world->pool).open > 0);
    close_pool(world->loop, world->pool);
    side_ask(world, "DROP DATABASE %s WITH (FORCE)", database);
    side_ask(world, "DROP ROLE bfm_plain");
    world->pool = pg_pool_create(world->loop, &world->settings);
}

static void test_close_waits_and_fails_waiters(void **state)
{
    struct world *world = *state;
    struct pg_conn *held, *none = NULL;
    struct waited waiting, closing;

    world->settings.max_open = 1;
    reopen(world);
    held = take(world->loop, world->pool);
    waited_init(&waiting, world->loop);
    waited_init(&closing, world->loop);
    assert_int_equal(pg_acquire(world->pool, &waiting.op, &none), 0);
    assert_int_equal(pg_pool_close(world->pool, &closing.op), 0);
    assert_false(waiting.done);
    assert_int_equal(wait_for(&waiting, 0), ERR_SHUTDOWN);
    wait_ms(world->loop, 5);
    assert_false(closing.done);
    assert_string_equal(ask_text(world->loop, held, "SELECT 1"), "1");
    pg_release(held);
    assert_int_equal(wait_for(&closing, 0), 0);
    world->pool = pg_pool_create(world->loop, &world->settings);
}

static void on_acquired_release(struct op *op, int rc)
{
    struct client *client = container_of(op, struct client, op);

    --*client->left;
    if (rc == 0)
        pg_release(client->conn);
    else
        assert_int_equal(rc, ERR_SHUTDOWN);
}

static void test_close_while_connecting(void **state)
{
    struct world *world = *state;

    for (unsigned turns = 0; turns < 6; turns++) {
        unsigned left = 1;
        struct client client = {.world = world, .left = &left};

        op_init(&client.op, on_acquired_release);
        assert_int_equal(pg_acquire(world->pool, &client.op, &client.conn), 0);
        for (unsigned i = 0; i < turns; i++)
            uv_run(loop_uv(world->loop), UV_RUN_NOWAIT);
        reopen(world);
        assert_int_equal(left, 0);
        assert_true(turns > 0 || client.op.err.code == ERR_SHUTDOWN);
    }
}

/* Every allocation fails once, from the first acquire to the result. */
static void test_out_of_memory(void **state)
{
    struct world *world = *state;
    bool hit = true;

    for (uint64_t nth = 1; hit; nth++) {
        struct pg_conn *conn = NULL;
        struct pg_results results = {.count = 0};
        struct waited waited;
        int rc;

        reopen(world);
        waited_init(&waited, world->loop);
        mem_fail_at(nth, 0);
        rc = wait_for(&waited, pg_acquire(world->pool, &waited.op, &conn));
        if (rc == 0) {
            waited_init(&waited, world->loop);
            rc = wait_for(&waited, pg_query(conn, &waited.op, "SELECT 1; SELECT 2", 0, &results));
            pg_results_free(&results);
            pg_release(conn);
        }
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        assert_int_equal(rc, hit ? ERR_NOMEM : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DRIVER_TEST(test_connection_refused),
        DRIVER_TEST(test_refused_fails_everyone_who_waits),
        DRIVER_TEST(test_wrong_password),
        DRIVER_TEST(test_unknown_database),
        DRIVER_TEST(test_tls_required),
        DRIVER_TEST(test_unknown_host),
        DRIVER_TEST(test_name_is_resolved),
        DRIVER_TEST(test_connect_timeout),
        DRIVER_TEST(test_pool_of_one),
        DRIVER_TEST(test_pool_of_four),
        DRIVER_TEST(test_surplus_idle_is_closed),
        DRIVER_TEST(test_lifetimes),
        DRIVER_TEST(test_waiter_cancelled),
        DRIVER_TEST(test_server_is_full),
        DRIVER_TEST(test_close_waits_and_fails_waiters),
        DRIVER_TEST(test_close_while_connecting),
        DRIVER_TEST(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
