/* Streams without an end of their own, and answers that break off. */
#include <sys/resource.h>

#include "harness.h"

enum {
    MANY = 1000,
    MAX_PENDING = 32 * 1024,
    PIECE = 4096,
};

enum event {
    EVENT_HELD,
    EVENT_GONE,
    EVENT_DRAINED,
};

static struct http_request *held[MANY];
static size_t held_count, ended_count;
static int gone_count, drain_count;
static bool end_when_gone;
static sem_t events[3];

static void wait_event(enum event event)
{
    struct timespec limit;

    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 60;
    while (sem_timedwait(&events[event], &limit) != 0)
        assert_int_equal(errno, EINTR);
}

static void on_gone(struct http_request *request)
{
    gone_count++;
    if (end_when_gone) {
        http_stream_end(request);
        ended_count++;
    }
    sem_post(&events[EVENT_GONE]);
}

static void on_drain(struct http_request *request)
{
    (void)request;
    drain_count++;
    sem_post(&events[EVENT_DRAINED]);
}

static void on_request(void *arg, struct http_request *request)
{
    const char *path = http_path(request);

    (void)arg;
    http_on_gone(request, on_gone);
    http_add_header(request, "Content-Type", "text/event-stream");
    if (strcmp(path, "/open") == 0)
        http_stream_open(request, 200, MAX_PENDING, on_drain);
    else if (strcmp(path, "/begin") == 0)
        http_stream_begin(request, 200, on_drain);
    held[held_count++] = request;
    sem_post(&events[EVENT_HELD]);
}

static struct client *client, *other;
static struct response *response;

static int set_up(void **state)
{
    (void)state;
    client = malloc(sizeof(*client));
    other = malloc(sizeof(*other));
    response = malloc(sizeof(*response));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(client);
    free(other);
    free(response);
    return 0;
}

static void start(struct harness *harness, const struct http_config *config)
{
    for (size_t i = 0; i < ARRAY_SIZE(events); i++)
        sem_init(&events[i], 0, 0);
    held_count = ended_count = 0;
    gone_count = drain_count = 0;
    end_when_gone = true;
    harness_start(harness, config, on_request, NULL);
}

/* Sends a request and waits until the handler has it. */
static void ask(struct client *which, const struct harness *harness, const char *text)
{
    client_open(which, harness->port);
    client_send(which, text);
    wait_event(EVENT_HELD);
}

struct order {
    struct http_request *request;
    const void *data;
    size_t len;
    int rc;
    size_t pending;
};

static void do_write(struct harness *harness, void *arg)
{
    struct order *order = arg;

    (void)harness;
    order->rc = http_stream_write(order->request, order->data, order->len);
    order->pending = http_stream_pending(order->request);
}

static void do_abort(struct harness *harness, void *arg)
{
    (void)harness;
    http_stream_abort(arg);
}

static void do_end(struct harness *harness, void *arg)
{
    (void)harness;
    http_stream_end(arg);
}

static int write_text(struct harness *harness, struct http_request *request, const char *text)
{
    struct order order = {.request = request, .data = text, .len = strlen(text)};

    harness_call(harness, do_write, &order);
    return order.rc;
}

/* --- answers that break off --- */

static void test_abort(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;
    char line[64];

    (void)state;
    start(&harness, &config);
    ask(client, &harness, "GET /begin HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(write_text(&harness, held[0], "half"), 0);
    harness_call(&harness, do_abort, held[0]);
    client_read_head(client, response);
    client_take_until(client, "half\r\n", line, sizeof(line));
    client_expect_end(client); /* and no last chunk before it */
    client_close(client);
    harness_stop(&harness);
    assert_int_equal(gone_count, 0);
}

/* Without chunks only a reset can tell. */
static void test_abort_http10(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;
    ssize_t rc;

    (void)state;
    start(&harness, &config);
    ask(client, &harness, "GET /begin HTTP/1.0\r\n\r\n");
    client_read_head(client, response);
    harness_call(&harness, do_abort, held[0]);
    rc = recv(client->fd, client->data, sizeof(client->data), 0);
    assert_int_equal(rc, -1);
    assert_int_equal(errno, ECONNRESET);
    client_close(client);
    harness_stop(&harness);
    assert_int_equal(gone_count, 0);
}

static void test_abort_before_head(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;

    (void)state;
    start(&harness, &config);
    ask(client, &harness, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    harness_call(&harness, do_abort, held[0]);
    client_read(client, response);
    assert_int_equal(response->status, 500);
    assert_string_equal(response_header(response, "Content-Type"),
                        "application/json; charset=utf-8");
    assert_string_equal(response->body, "{\"error\":\"the answer could not be made\"}");
    client_send(client, "GET /begin HTTP/1.1\r\nHost: h\r\n\r\n"); /* the connection is good */
    wait_event(EVENT_HELD);
    end_when_gone = false;
    client_close(client);
    while (write_text(&harness, held[1], "more") != ERR_IO)
        continue;
    harness_call(&harness, do_abort, held[1]); /* of a peer that is gone */
    harness_stop(&harness);
}

/* --- open streams --- */

static const char open_request[] = "GET /open HTTP/1.1\r\nHost: h\r\n\r\n";

/* It outlives every time limit, however quiet it is. */
static void test_no_time_limit(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;
    char line[64];

    (void)state;
    config.idle_timeout_ms = config.request_timeout_ms = config.write_timeout_ms = 700;
    start(&harness, &config);
    ask(client, &harness, open_request);
    client_read_head(client, response);
    assert_string_equal(response_header(response, "Content-Type"), "text/event-stream");
    assert_string_equal(response_header(response, "Transfer-Encoding"), "chunked");
    assert_string_equal(response_header(response, "Connection"), "close");
    for (int i = 0; i < 3; i++) {
        client_open(other, harness.port);
        client_expect_end(other); /* the limit of those that are idle */
        client_close(other);
        assert_int_equal(write_text(&harness, held[0], "data: x\n\n"), 0);
        client_take_until(client, "data: x\n\n\r\n", line, sizeof(line));
        assert_string_equal(line, "9\r\ndata: x\n\n\r\n");
    }
    harness_call(&harness, do_end, held[0]);
    client_take_until(client, "0\r\n\r\n", line, sizeof(line));
    client_expect_end(client);
    client_close(client);
    harness_stop(&harness);
    assert_int_equal(gone_count, 0);
}

/* Whether it leaves by closing or by ending its side, with or without having sent on. */
static void test_peer_leaves(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;

    (void)state;
    start(&harness, &config);
    for (int way = 0; way < 3; way++) {
        ask(client, &harness, open_request);
        client_read_head(client, response);
        if (way == 1)
            client_send(client, open_request); /* thrown away */
        if (way == 2)
            shutdown(client->fd, SHUT_WR);
        else
            client_close(client);
        wait_event(EVENT_GONE);
        if (way == 2)
            client_close(client);
    }
    assert_int_equal(held_count, 3);
    assert_int_equal(ended_count, 3);
    harness_stop(&harness);
    assert_int_equal(gone_count, 3);
}

static void test_http10(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;

    (void)state;
    start(&harness, &config);
    ask(client, &harness, "GET /open HTTP/1.0\r\n\r\n");
    client_read_head(client, response);
    assert_null(response_header(response, "Transfer-Encoding"));
    assert_int_equal(write_text(&harness, held[0], "data: x\n\n"), 0);
    client_take(client, response->body, 9);
    assert_memory_equal(response->body, "data: x\n\n", 9);
    harness_call(&harness, do_end, held[0]);
    client_expect_end(client);
    client_close(client);
    harness_stop(&harness);
}

/* What waits for a slow peer is bounded, can be asked for, and its end is told once. */
static void test_slow_peer(void **state)
{
    static const char piece[PIECE];
    struct http_config config = harness_config();
    struct harness harness;
    struct order order = {.data = piece, .len = PIECE};
    size_t total = 0;

    (void)state;
    start(&harness, &config);
    ask(client, &harness, "GET /open HTTP/1.0\r\n\r\n");
    order.request = held[0];
    client_read_head(client, response);
    do {
        assert_true(order.pending <= MAX_PENDING);
        harness_call(&harness, do_write, &order);
        total += PIECE;
    } while (order.rc == 0);
    assert_int_equal(order.rc, 1);
    assert_true(order.pending > MAX_PENDING && order.pending <= MAX_PENDING + PIECE);
    while (total > 0) {
        size_t step = total < 65536 ? total : 65536;

        client_take(client, NULL, step);
        total -= step;
    }
    wait_event(EVENT_DRAINED);
    assert_int_equal(write_text(&harness, held[0], "x"), 0);
    harness_call(&harness, do_end, held[0]);
    client_take(client, NULL, 1);
    client_expect_end(client);
    client_close(client);
    harness_stop(&harness);
    assert_int_equal(drain_count, 1);
    assert_int_equal(gone_count, 0);
}

/* A stopping server asks for the end; a handler may take its time, and be cut off. */
static void test_stop(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;
    char line[64];

    (void)state;
    start(&harness, &config);
    ask(client, &harness, open_request);
    end_when_gone = false;
    harness_call(&harness, harness_do_stop, NULL);
    wait_event(EVENT_GONE);
    assert_int_equal(write_text(&harness, held[0], "bye"), 0);
    harness_call(&harness, do_end, held[0]);
    client_read_head(client, response);
    client_take_until(client, "3\r\nbye\r\n0\r\n\r\n", line, sizeof(line));
    client_expect_end(client);
    client_close(client);
    harness_join(&harness);
    assert_int_equal(gone_count, 1);

    start(&harness, &config);
    ask(client, &harness, open_request);
    end_when_gone = false;
    harness_call(&harness, harness_do_stop, NULL);
    wait_event(EVENT_GONE);
    harness_call(&harness, harness_do_abort, NULL);
    harness_join(&harness);
    assert_int_equal(gone_count, 1);
    http_stream_end(held[0]);
    client_close(client);
}

static void do_broadcast(struct harness *harness, void *arg)
{
    (void)harness;
    for (size_t i = 0; i < held_count; i++)
        if (http_stream_write(held[i], arg, strlen(arg)) != 0)
            abort();
}

static int connect_one(const struct harness *harness)
{
    ask(client, harness, open_request);
    client_read_head(client, response);
    return client->fd;
}

static void test_many(void **state)
{
    struct http_config config = harness_config();
    struct rlimit files;
    struct harness harness;
    char event[] = "data: x\n\n";
    int fds[MANY];

    (void)state;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < 4 * MANY ? files.rlim_max : 4 * MANY;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    start(&harness, &config);
    for (size_t i = 0; i < MANY; i++)
        fds[i] = connect_one(&harness);
    harness_call(&harness, do_broadcast, event);
    harness_call(&harness, harness_do_stop, NULL);
    for (size_t i = 0; i < MANY; i++) {
        client->fd = fds[i];
        client_take(client, response->body, 14 + 5);
        assert_memory_equal(response->body, "9\r\ndata: x\n\n\r\n0\r\n\r\n", 14 + 5);
        client_expect_end(client);
        client_close(client);
    }
    harness_join(&harness);
    assert_int_equal(ended_count, MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_abort_http10),
        cmocka_unit_test(test_abort_before_head),
        cmocka_unit_test(test_no_time_limit),
        cmocka_unit_test(test_peer_leaves),
        cmocka_unit_test(test_http10),
        cmocka_unit_test(test_slow_peer),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
