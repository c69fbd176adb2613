#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cut_proxy.h"
#include "pg_fixture.h"

/* The driver against a real PostgreSQL. */

struct world {
    struct loop *loop;
    struct pg_settings settings;
    struct pg_pool *pool; /* 4 connections */
    struct pg_pool *side; /* what an administrator does meanwhile */
};

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    world->loop = loop_create();
    world->settings = fixture_settings();
    world->pool = pg_pool_create(world->loop, &world->settings);
    world->side = pg_pool_create(world->loop, &world->settings);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    close_pool(world->loop, world->pool);
    close_pool(world->loop, world->side);
    loop_destroy(world->loop);
    free(world);
    return 0;
}

static void reopen(struct world *world)
{
    close_pool(world->loop, world->pool);
    world->pool = pg_pool_create(world->loop, &world->settings);
}

static struct pg_pool_stats stats_of(const struct pg_pool *pool)
{
    struct pg_pool_stats stats;

    pg_pool_get_stats(pool, &stats);
    return stats;
}

static void side_ask(struct world *world, const char *format, ...) PRINTF_LIKE(2, 3);

static void side_ask(struct world *world, const char *format, ...)
{
    struct pg_conn *conn = take(world->loop, world->side);
    char sql[512];
    va_list args;

    va_start(args, format);
    vsnprintf(sql, sizeof(sql), format, args);
    va_end(args);
    ask_text(world->loop, conn, sql);
    pg_release(conn);
}

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
    assert_int_equal(pg_error_position(&results),
                     strlen("SELECT 1; SELECT 2; SELECT nothing FROM ") + 1);
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
        assert_int_equal(pg_query(conns[i], &waited[i].op, "SELECT pg_sleep(0.4)", 0, &results[i]),
                         0);
        op_cancel(&waited[i].op);
    }
    while (proxy.cancels < 2)
        wait_ms(world->loop, 5);
    wait_ms(world->loop, 1500);
    for (size_t i = 0; i < ARRAY_SIZE(conns); i++) {
        assert_true(waited[i].done);
        assert_int_equal(waited[i].rc, 0);
        pg_results_free(&results[i]);
        pg_release(conns[i]);
    }
    assert_int_equal(proxy.cancels, 2);
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
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char port[16];
    struct err err;

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    snprintf(port, sizeof(port), "%d", ntohs(addr.sin_port));
    world->settings.port = port;
    world->settings.connect_timeout_ms = 50;
    reopen(world);
    assert_int_equal(try_acquire(world, &err), ERR_UNREACHABLE);
    assert_string_equal(err.text, "cannot connect: timed out");
    assert_int_equal(stats_of(world->pool).open, 0);
    close(fd);
}

static void on_acquired_ask(struct op *op, int rc);
static void on_asked_release(struct op *op, int rc);

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

    world->settings.max_idle = 1;
    reopen(world);
    run_clients(world, true);
    assert_int_equal(stats_of(world->pool).idle, 4);
    while (stats_of(world->pool).idle > 1)
        wait_ms(world->loop, 10);
    wait_ms(world->loop, 1100);
    assert_int_equal(stats_of(world->pool).idle, 1);
}

static void test_lifetimes(void **state)
{
    struct world *world = *state;
    struct pg_conn *conn;
    struct err err;

    world->settings.max_lifetime_ms = 60;
    reopen(world);
    assert_int_equal(try_acquire(world, &err), 0);
    assert_int_equal(stats_of(world->pool).idle, 1);
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
    assert_in_range(stats_of(world->pool).open, 1, 2);
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

static void test_close_while_connecting(void **state)
{
    struct world *world = *state;
    struct pg_conn *none = NULL;

    for (unsigned turns = 0; turns < 6; turns++) {
        struct waited waited;

        waited_init(&waited, world->loop);
        assert_int_equal(pg_acquire(world->pool, &waited.op, &none), 0);
        for (unsigned i = 0; i < turns; i++)
            uv_run(loop_uv(world->loop), UV_RUN_NOWAIT);
        reopen(world);
        assert_int_equal(wait_for(&waited, 0), waited.rc);
        if (waited.rc == 0)
            fail_msg("connected within %u turns", turns);
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
        cmocka_unit_test_setup_teardown(test_rows_are_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_statements, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_query_and_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_error, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notices, setup, teardown),
        cmocka_unit_test_setup_teardown(test_params, setup, teardown),
        cmocka_unit_test_setup_teardown(test_quoting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copy_has_no_peer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancels_that_hang, setup, teardown),
        cmocka_unit_test_setup_teardown(test_statement_timeout_is_no_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_query_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backend_terminated_in_a_query, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle_connection_terminated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lent_connection_terminated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connection_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_fails_everyone_who_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_password, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_database, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tls_required, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_host, setup, teardown),
        cmocka_unit_test_setup_teardown(test_name_is_resolved, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connect_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pool_of_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pool_of_four, setup, teardown),
        cmocka_unit_test_setup_teardown(test_surplus_idle_is_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lifetimes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waiter_cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_is_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_waits_and_fails_waiters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_while_connecting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
