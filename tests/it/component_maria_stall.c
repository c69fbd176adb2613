#include "io/work.h"
#include "maria_world.h"

/*
 * A server that offers TLS and says nothing more once a client begins the handshake, beside a real
 * one with TLS at BFM_TEST_MARIA_PORT.
 */

enum {
    STALL_CLIENTS_MAX = 20,
    STALL_AT_ONCE = 4,
    STALL_GREETING_SIZE = 96,
    STALL_TIMEOUT_MS = 30000, /* ends what should never last so long */
};

struct stall_client {
    struct stall *stall;
    uv_tcp_t tcp;
    bool in_handshake;
    bool closing;
};

struct stall {
    struct loop *loop;
    uv_tcp_t listener;
    char port[16];
    struct stall_client clients[STALL_CLIENTS_MAX];
    unsigned accepted;
    unsigned held; /* handshakes that stall now */
    unsigned peak;
    unsigned begun;
    unsigned open; /* handles */
    uv_write_t writes[STALL_CLIENTS_MAX];
};

static const char stall_greeting[] = "\x0a"
                                     "10.11.0-stall\0"
                                     "\1\0\0\0"
                                     "abcdefgh\0"
                                     "\x09\x8a" /* protocol 4.1, TLS, a database's name */
                                     "\x2d\2\0"
                                     "\x08\0" /* login by plugin */
                                     "\x15"
                                     "\0\0\0\0\0\0\0\0\0\0"
                                     "abcdefghijkl\0"
                                     "mysql_native_password";

static void on_stall_closed(uv_handle_t *handle)
{
    struct stall *stall = handle->data;

    stall->open--;
}

static void stall_drop(struct stall_client *client)
{
    struct stall *stall = client->stall;

    if (client->closing)
        return;
    client->closing = true;
    if (client->in_handshake)
        stall->held--;
    client->tcp.data = stall;
    uv_close((uv_handle_t *)&client->tcp, on_stall_closed);
}

static void on_stall_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    static char room[4096];

    (void)handle;
    (void)size;
    *buf = uv_buf_init(room, sizeof(room));
}

static void on_stall_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct stall_client *client = container_of((uv_tcp_t *)stream, struct stall_client, tcp);
    struct stall *stall = client->stall;

    (void)buf;
    if (len < 0) {
        stall_drop(client);
    } else if (!client->in_handshake) {
        client->in_handshake = true;
        stall->begun++;
        if (++stall->held > stall->peak)
            stall->peak = stall->held;
    }
    loop_stop(stall->loop);
}

static void on_stall_connection(uv_stream_t *listener, int status)
{
    static char packet[STALL_GREETING_SIZE] = {sizeof(stall_greeting)};
    struct stall *stall = listener->data;
    struct stall_client *client = &stall->clients[stall->accepted];
    uv_buf_t buf = uv_buf_init(packet, 4 + sizeof(stall_greeting));

    assert_int_equal(status, 0);
    assert_true(stall->accepted < STALL_CLIENTS_MAX);
    memcpy(packet + 4, stall_greeting, sizeof(stall_greeting));
    client->stall = stall;
    uv_tcp_init(loop_uv(stall->loop), &client->tcp);
    stall->open++;
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&client->tcp), 0);
    uv_write(&stall->writes[stall->accepted++], (uv_stream_t *)&client->tcp, &buf, 1, NULL);
    uv_read_start((uv_stream_t *)&client->tcp, on_stall_alloc, on_stall_read);
    loop_stop(stall->loop);
}

static struct stall *stall_start(struct loop *loop)
{
    struct stall *stall = calloc(1, sizeof(*stall));
    struct sockaddr_in addr;
    int len = sizeof(addr);

    stall->loop = loop;
    stall->open = 1;
    uv_ip4_addr("127.0.0.1", 0, &addr);
    uv_tcp_init(loop_uv(loop), &stall->listener);
    stall->listener.data = stall;
    assert_int_equal(uv_tcp_bind(&stall->listener, (struct sockaddr *)&addr, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&stall->listener, 64, on_stall_connection), 0);
    uv_tcp_getsockname(&stall->listener, (struct sockaddr *)&addr, &len);
    snprintf(stall->port, sizeof(stall->port), "%d", ntohs(addr.sin_port));
    return stall;
}

static void stall_stop(struct stall *stall)
{
    for (unsigned i = 0; i < stall->accepted; i++)
        stall_drop(&stall->clients[i]);
    uv_close((uv_handle_t *)&stall->listener, on_stall_closed);
    while (stall->open > 0)
        uv_run(loop_uv(stall->loop), UV_RUN_ONCE);
    free(stall);
}

static struct stall_client *stall_find_held(struct stall *stall)
{
    for (unsigned i = 0; i < stall->accepted; i++)
        if (stall->clients[i].in_handshake && !stall->clients[i].closing)
            return &stall->clients[i];
    fail_msg("nobody is in a handshake");
    return NULL;
}

/* Somebody who wants a connection to it. */
struct caller {
    struct maria_pool *pool;
    struct maria_conn *conn;
    struct waited waited;
};

static void caller_start(struct caller *caller, struct world *world, const struct stall *stall,
                         uint64_t timeout_ms)
{
    struct maria_settings settings = world->settings;

    settings.port = stall->port;
    settings.sslmode = "require";
    settings.connect_timeout_ms = timeout_ms;
    caller->pool = maria_pool_create(world->loop, &settings);
    waited_init(&caller->waited, world->loop);
    assert_int_equal(maria_acquire(caller->pool, &caller->waited.op, &caller->conn), 0);
}

static int nothing_on_thread(void *arg, struct err *err)
{
    (void)arg;
    (void)err;
    return 0;
}

static void check_thread_is_free(struct loop *loop)
{
    struct waited waited;

    waited_init(&waited, loop);
    assert_int_equal(wait_for(&waited, work_start(loop, &waited.op, nothing_on_thread, NULL)), 0);
}

/* Servers that stall leave threads to others, and everybody has a turn. */
static void test_in_turn(void **state)
{
    struct world *world = *state;
    struct stall *stall = stall_start(world->loop);
    struct caller callers[STALL_CLIENTS_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(callers); i++)
        caller_start(&callers[i], world, stall, STALL_TIMEOUT_MS);
    while (stall->accepted < STALL_CLIENTS_MAX || stall->held < STALL_AT_ONCE)
        loop_run(world->loop);
    check_thread_is_free(world->loop);
    for (unsigned ended = 1; ended <= STALL_CLIENTS_MAX; ended++) {
        unsigned begun = STALL_AT_ONCE + ended;

        stall_drop(stall_find_held(stall));
        while (stall->begun < (begun < STALL_CLIENTS_MAX ? begun : STALL_CLIENTS_MAX))
            loop_run(world->loop);
    }
    for (size_t i = 0; i < ARRAY_SIZE(callers); i++) {
        assert_int_equal(wait_for(&callers[i].waited, 0), ERR_UNREACHABLE);
        maria_close(world->loop, callers[i].pool);
    }
    assert_int_equal(stall->peak, STALL_AT_ONCE);
    stall_stop(stall);
}

/* However many connections are wanted of it, a server that stalls takes one place. */
static void test_one_of_a_pool(void **state)
{
    struct world *world = *state;
    struct stall *stall = stall_start(world->loop);
    struct maria_conn *conns[STALL_AT_ONCE];
    struct waited waited[STALL_AT_ONCE];
    const char *port = world->settings.port;

    world->settings.sslmode = "require";
    world->settings.port = stall->port;
    reopen(world);
    for (size_t i = 0; i < ARRAY_SIZE(waited); i++) {
        waited_init(&waited[i], world->loop);
        assert_int_equal(maria_acquire(world->pool, &waited[i].op, &conns[i]), 0);
    }
    while (stall->accepted < STALL_AT_ONCE || stall->held == 0)
        loop_run(world->loop);
    maria_close(world->loop, world->side);
    world->settings.port = port;
    world->side = maria_pool_create(world->loop, &world->settings);
    side_ask(world, "SELECT 1");
    assert_int_equal(stall->peak, 1);
    reopen(world);
    for (size_t i = 0; i < ARRAY_SIZE(waited); i++)
        assert_int_equal(wait_for(&waited[i], 0), ERR_SHUTDOWN);
    stall_stop(stall);
}

static void test_given_up_while_waiting(void **state)
{
    struct world *world = *state;
    struct stall *stall = stall_start(world->loop);
    struct caller callers[STALL_AT_ONCE + 2];
    struct caller *hasty = &callers[STALL_AT_ONCE + 1];

    for (size_t i = 0; i < STALL_AT_ONCE; i++)
        caller_start(&callers[i], world, stall, STALL_TIMEOUT_MS);
    while (stall->held < STALL_AT_ONCE)
        loop_run(world->loop);
    caller_start(&callers[STALL_AT_ONCE], world, stall, STALL_TIMEOUT_MS);
    caller_start(hasty, world, stall, 2000);
    assert_int_equal(wait_for(&hasty->waited, 0), ERR_UNREACHABLE);
    assert_string_equal(hasty->waited.op.err.text,
                        "cannot connect: timed out waiting for other TLS handshakes to end");
    assert_int_equal(stall->accepted, ARRAY_SIZE(callers));
    assert_int_equal(stall->peak, STALL_AT_ONCE);
    for (size_t i = ARRAY_SIZE(callers); i-- > 0;) {
        maria_close(world->loop, callers[i].pool);
        assert_int_equal(callers[i].waited.rc,
                         &callers[i] == hasty ? ERR_UNREACHABLE : ERR_SHUTDOWN);
    }
    stall_stop(stall);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DRIVER_TEST(test_in_turn),
        DRIVER_TEST(test_one_of_a_pool),
        DRIVER_TEST(test_given_up_while_waiting),
    };

    setenv("UV_THREADPOOL_SIZE", "16", 1); /* as the server has */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
