/* Streamed answers, back-pressure, and peers that read slowly or vanish. */
#include "harness.h"

enum {
    PIECE = 10000,
};

enum event {
    EVENT_HELD,   /* a request waits in `held` */
    EVENT_GONE,   /* its peer is gone */
    EVENT_BEHIND, /* a stream has to wait for its peer, for the first time */
    EVENT_ENDED,  /* a stream was ended by its handler */
};

static char late[] = "late";

/* A stream of `left` pieces; the requests of a test that are held until it answers them. */
struct feed {
    struct http_request *request;
    size_t left;
    bool ended;
};

static struct http_request *held;
static sem_t events[4]; /* what a test can wait for */
static int gone_count, drain_count, behind_count, access_count, access_status;
static size_t written;
static int write_rc;

static void on_access(void *arg, const struct http_request *request)
{
    (void)arg;
    access_count++;
    access_status = http_status(request);
}

static void feed_go(struct http_request *request)
{
    struct feed *feed = http_data(request);
    char piece[PIECE];
    int rc = 0;

    while (feed->left > 0 && rc == 0) {
        memset(piece, 'a' + (int)(feed->left % 26), sizeof(piece));
        rc = http_stream_write(request, piece, sizeof(piece));
        written += sizeof(piece);
        feed->left--;
        if (rc == 1 && behind_count++ == 0)
            sem_post(&events[EVENT_BEHIND]);
    }
    if (rc == 1 || feed->ended)
        return;
    feed->ended = true;
    write_rc = rc;
    http_stream_end(request);
    sem_post(&events[EVENT_ENDED]);
}

static void on_drain(struct http_request *request)
{
    drain_count++;
    feed_go(request);
}

static void on_gone(struct http_request *request)
{
    (void)request;
    gone_count++;
    sem_post(&events[EVENT_GONE]);
}

static void start_feed(struct http_request *request, size_t pieces)
{
    struct feed *feed = arena_calloc(http_arena(request), 1, sizeof(*feed));

    feed->left = pieces;
    http_set_data(request, feed);
    if (http_stream_begin(request, 200, on_drain) < 0)
        feed->left = 0;
    feed_go(request);
}

static void on_request(void *arg, struct http_request *request)
{
    const char *path = http_path(request);

    (void)arg;
    if (strncmp(path, "/feed/", 6) == 0) {
        http_on_gone(request, on_gone);
        start_feed(request, strtoul(path + 6, NULL, 10));
    } else if (strcmp(path, "/big") == 0) {
        struct buf body;
        char *piece = arena_alloc(http_arena(request), 8 * 1024 * 1024);

        memset(piece, 'b', 8 * 1024 * 1024);
        buf_init(&body, 8 * 1024 * 1024);
        buf_append(&body, piece, 8 * 1024 * 1024);
        http_respond_buf(request, 200, &body);
    } else if (strcmp(path, "/hold") == 0) {
        http_on_gone(request, on_gone);
        held = request;
        sem_post(&events[EVENT_HELD]);
    } else {
        http_respond(request, 200, "ok", 2);
    }
}

static void wait_event(enum event event)
{
    struct timespec limit;

    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 60;
    while (sem_timedwait(&events[event], &limit) != 0)
        assert_int_equal(errno, EINTR);
}

static struct client *client;
static struct response *response;

static void start(struct harness *harness, const struct http_config *config)
{
    for (size_t i = 0; i < ARRAY_SIZE(events); i++)
        sem_init(&events[i], 0, 0);
    gone_count = drain_count = behind_count = access_count = access_status = write_rc = 0;
    written = 0;
    held = NULL;
    harness_start(harness, config, on_request, on_access);
}

static int set_up(void **state)
{
    (void)state;
    client = malloc(sizeof(*client));
    response = malloc(sizeof(*response));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(client);
    free(response);
    return 0;
}

static void test_chunked(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;

    (void)state;
    start(&harness, &config);
    client_open(client, harness.port);
    client_send(client,
                "GET /feed/3 HTTP/1.1\r\nHost: h\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read(client, response);
    assert_string_equal(response_header(response, "Transfer-Encoding"), "chunked");
    assert_null(response_header(response, "Content-Length"));
    assert_int_equal(response->body_len, 3 * PIECE);
    assert_int_equal(response->body[0], 'a' + 3);
    assert_int_equal(response->body[3 * PIECE - 1], 'a' + 1);
    client_read(client, response);
    assert_string_equal(response->body, "ok");
    client_send(client,
                "HEAD /feed/3 HTTP/1.1\r\nHost: h\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read_head(client, response);
    assert_string_equal(response_header(response, "Transfer-Encoding"), "chunked");
    client_read(client, response);
    assert_string_equal(response->body, "ok");
    client_close(client);
    harness_stop(&harness);
    assert_int_equal(gone_count, 0);
    assert_int_equal(access_count, 4);
}

static void test_http10(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;

    (void)state;
    start(&harness, &config);
    client_open(client, harness.port);
    client_send(client, "GET /feed/3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    client_read_head(client, response);
    assert_null(response_header(response, "Transfer-Encoding"));
    assert_string_equal(response_header(response, "Connection"), "close");
    client_take(client, NULL, 3 * PIECE);
    client_expect_end(client);
    client_close(client);
    harness_stop(&harness);
}

/* A reader that starts late gets everything, and little of it waited in memory. */
static void test_slow_reader(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;
    size_t total;

    (void)state;
    start(&harness, &config);
    client_open(client, harness.port);
    client_send(client, "GET /feed/2000 HTTP/1.0\r\n\r\n");
    wait_event(EVENT_BEHIND);
    client_read_head(client, response);
    for (total = 0; client->len > 0 || client_receive(client); client->len = 0)
        total += client->len;
    assert_int_equal(total, 2000u * PIECE);
    client_close(client);
    harness_stop(&harness);
    assert_int_equal(drain_count, behind_count);
    assert_int_equal(write_rc, 0);
}

static void test_big_buffer(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;
    size_t total = 0;

    (void)state;
    start(&harness, &config);
    client_open(client, harness.port);
    client_send(client, "GET /big HTTP/1.1\r\nHost: h\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read_head(client, response);
    while (total < 8 * 1024 * 1024) {
        size_t step = 8 * 1024 * 1024 - total < 65536 ? 8 * 1024 * 1024 - total : 65536;

        client_take(client, NULL, step);
        total += step;
    }
    client_read(client, response);
    assert_string_equal(response->body, "ok");
    client_close(client);
    harness_stop(&harness);
}

/* Takes nothing: the stream stays bounded, and is cut off in the end. */
static void test_stuck_reader(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;

    (void)state;
    config.write_timeout_ms = 1000;
    start(&harness, &config);
    client_open(client, harness.port);
    client_send(client, "GET /feed/1000000 HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_event(EVENT_GONE);
    wait_event(EVENT_ENDED); /* as the last drain brought ERR_IO */
    assert_int_equal(gone_count, 1);
    assert_int_equal(write_rc, ERR_IO);
    assert_true(behind_count >= 1);
    assert_int_equal(drain_count, behind_count);
    assert_true(written < 64u * 1024 * 1024); /* what the kernel's buffers hold, not 10 GB */
    client_close(client);
    client_open(client, harness.port);
    client_send(client, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n"); /* the same for a plain answer */
    client_read_head(client, response);
    harness_stop(&harness);
    client_close(client);
    assert_int_equal(access_count, 2);
}

static void write_more(struct harness *harness, void *arg)
{
    (void)harness;
    *(int *)arg = http_stream_write(held, "more", 4);
}

static void begin_held(struct harness *harness, void *arg)
{
    char *piece = arena_calloc(http_arena(held), 1, 32 * 1024 * 1024);
    int *rc = arg;

    (void)harness;
    rc[0] = http_stream_begin(held, 200, on_drain);
    rc[1] = http_stream_write(held, piece, 32 * 1024 * 1024);
}

static void end_held(struct harness *harness, void *arg)
{
    (void)harness;
    (void)arg;
    http_stream_end(held);
}

/* A handler that does not stop when it is told to is cut off rather than buffered for. */
static void test_pushy_handler(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;
    int rc[2];

    (void)state;
    start(&harness, &config);
    client_open(client, harness.port);
    client_send(client, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_event(EVENT_HELD);
    harness_call(&harness, begin_held, rc);
    assert_int_equal(rc[0], 0);
    assert_int_equal(rc[1], 1);
    http_set_data(held, &(struct feed){.ended = true}); /* drain has nothing to do */
    harness_call(&harness, write_more, rc);
    assert_int_equal(rc[0], ERR_IO);
    wait_event(EVENT_GONE);
    assert_int_equal(gone_count, 1);
    harness_call(&harness, write_more, rc);
    assert_int_equal(rc[0], ERR_IO);
    harness_call(&harness, end_held, NULL);
    client_close(client);
    harness_stop(&harness);
}

static void respond_held(struct harness *harness, void *arg)
{
    (void)harness;
    http_respond(held, 200, arg, strlen(arg));
}

static void stream_held(struct harness *harness, void *arg)
{
    (void)harness;
    *(int *)arg = http_stream_begin(held, 200, on_drain);
    if (http_stream_write(held, "x", 1) != ERR_IO)
        abort();
    http_stream_end(held);
}

static void reset(void)
{
    struct linger linger = {.l_onoff = 1};

    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    client_close(client);
}

/* The peer resets while the handler works: the handler hears of it, its answer goes nowhere. */
static void test_vanish_before_answer(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;
    int rc = 0;

    (void)state;
    start(&harness, &config);
    for (int streamed = 0; streamed < 2; streamed++) {
        client_open(client, harness.port);
        client_send(client, "POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx");
        wait_event(EVENT_HELD);
        reset();
        wait_event(EVENT_GONE);
        assert_int_equal(gone_count, streamed + 1);
        assert_int_equal(access_count, streamed + 1);
        assert_int_equal(access_status, 0);
        assert_string_equal(http_path(held), "/hold"); /* still valid */
        if (streamed)
            harness_call(&harness, stream_held, &rc);
        else
            harness_call(&harness, respond_held, late);
    }
    assert_int_equal(rc, ERR_IO);
    assert_int_equal(access_count, 2);
    harness_stop(&harness);
}

static void test_vanish_in_stream(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;

    (void)state;
    start(&harness, &config);
    client_open(client, harness.port);
    client_send(client, "GET /feed/1000000 HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read_head(client, response);
    client_close(client); /* with bytes unread: a reset */
    wait_event(EVENT_ENDED);
    assert_int_equal(write_rc, ERR_IO);
    harness_stop(&harness);
}

/* The client closed its sending side only: it still wants its answer. */
static void test_half_closed_waits(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;

    (void)state;
    start(&harness, &config);
    client_open(client, harness.port);
    client_send(client, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    shutdown(client->fd, SHUT_WR);
    wait_event(EVENT_HELD);
    harness_call(&harness, respond_held, late);
    client_read(client, response);
    assert_string_equal(response->body, "late");
    client_expect_end(client);
    client_close(client);
    harness_stop(&harness);
    assert_int_equal(gone_count, 0);
}

/* While a request is handled, what the client sends on waits in the kernel, not in memory. */
static void test_bounded_read_ahead(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;
    struct timeval limit = {.tv_usec = 300 * 1000};
    char *block = calloc(1, 1024 * 1024);
    size_t sent = 0;
    ssize_t rc;

    (void)state;
    start(&harness, &config);
    client_open(client, harness.port);
    client_send(client, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_event(EVENT_HELD);
    setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    while ((rc = send(client->fd, block, 1024 * 1024, MSG_NOSIGNAL)) > 0) {
        sent += (size_t)rc;
        assert_true(sent < 256u * 1024 * 1024);
    }
    harness_call(&harness, respond_held, late);
    client_read(client, response);
    assert_string_equal(response->body, "late");
    client_read(client, response); /* the rest is no HTTP */
    assert_int_equal(response->status, 400);
    client_close(client);
    harness_stop(&harness);
    free(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunked),
        cmocka_unit_test(test_http10),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_big_buffer),
        cmocka_unit_test(test_stuck_reader),
        cmocka_unit_test(test_pushy_handler),
        cmocka_unit_test(test_vanish_before_answer),
        cmocka_unit_test(test_vanish_in_stream),
        cmocka_unit_test(test_half_closed_waits),
        cmocka_unit_test(test_bounded_read_ahead),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
