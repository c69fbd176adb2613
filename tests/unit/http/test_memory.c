/* Every allocation of a server serving requests fails once, and from there on: the client gets its
 * answer, 503, or a closed connection; nothing crashes, nothing leaks, the next client is served.
 */
#include "base/mem.h"
#include "harness.h"

static const char *const requests[] = {
    "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    "5\r\nhello\r\n0\r\n\r\n",
    "GET /stream HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    "GET /big HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    "GET /later HTTP/1.1\r\nHost: h\r\n\r\n"
    "GET /later HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    "nonsense\r\n\r\n",
};

enum {
    BIG = 16 * 1024 * 1024,
};

static char *big;

struct later {
    struct timer timer;
    struct http_request *request;
};

static void on_later(struct timer *timer)
{
    http_respond(container_of(timer, struct later, timer)->request, 200, "later", 5);
}

static void on_drain(struct http_request *request)
{
    http_stream_end(request);
}

static void answer_later(struct harness *harness, struct http_request *request)
{
    struct later *later = arena_calloc(http_arena(request), 1, sizeof(*later));

    if (later == NULL) {
        http_respond(request, 503, NULL, 0);
        return;
    }
    later->timer.fire = on_later;
    later->request = request;
    sched_start_timer(loop_sched(harness->loop), &later->timer, 1);
}

static void on_request(void *arg, struct http_request *request)
{
    const char *path = http_path(request);
    struct buf body;
    size_t len;

    if (strcmp(path, "/later") == 0) {
        answer_later(arg, request);
    } else if (strcmp(path, "/big") == 0) {
        http_add_header(request, "X-Size", "big");
        http_respond(request, 200, big, BIG);
    } else if (strcmp(path, "/stream") == 0) {
        http_stream_begin(request, 200, on_drain);
        if (http_stream_write(request, big, BIG / 4) != 1) /* a failure: no drain will come */
            http_stream_end(request);
    } else {
        buf_init(&body, 1000);
        buf_puts(&body, "echo ");
        buf_puts(&body, http_body(request, &len));
        http_add_header(request, "X-Echo", "yes");
        http_respond_buf(request, 200, &body);
    }
}

/* Sends the request and reads to the end, whichever way it comes. The first status line's number,
 * 0 without an answer. */
static int try_request(unsigned port, const char *text)
{
    static char data[65536];
    struct client client;
    size_t kept = 0;
    int status = 0;
    ssize_t rc;

    client_open(&client, port);
    send(client.fd, text, strlen(text), MSG_NOSIGNAL);
    while ((rc = recv(client.fd, data + kept, sizeof(data) - 1 - kept, 0)) > 0) {
        if (kept < 1024)
            kept += (size_t)rc < 1024 ? (size_t)rc : 1024;
    }
    assert_true(rc == 0 || errno == ECONNRESET);
    data[kept] = '\0';
    client_close(&client);
    if (kept > 0)
        assert_int_equal(sscanf(data, "HTTP/1.1 %d ", &status), 1);
    return status;
}

static void sweep(unsigned port, const char *text, int sticky)
{
    int expected = text[0] == 'n' ? 400 : 200;
    uint64_t nth = 0;
    int hit, status;

    do {
        mem_fail_at(++nth, sticky);
        status = try_request(port, text);
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        assert_true(status == expected || (hit && (status == 0 || status == 503)));
        assert_true(nth < 1000);
    } while (hit);
    assert_true(nth > 4); /* there was something to fail */
    assert_int_equal(try_request(port, text), expected);
}

static void test_sweep(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;

    (void)state;
    big = calloc(1, BIG);
    harness_start(&harness, &config, on_request, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
        sweep(harness.port, requests[i], 0);
        sweep(harness.port, requests[i], 1);
    }
    harness_stop(&harness);
    free(big);
}

static void on_stopped(struct op *op, int rc)
{
    (void)op;
    assert_int_equal(rc, 0);
}

static void test_start(void **state)
{
    struct loop *loop = loop_create();
    struct http_config config = harness_config();
    struct http_server *server, *second;
    struct op stop;
    struct err err;
    uint64_t nth;
    int rc;

    (void)state;
    for (nth = 1;; nth++) {
        mem_fail_at(nth, 0);
        rc = http_server_start(loop, &config, on_request, NULL, NULL, &server, &err);
        mem_fail_at(0, 0);
        if (rc == 0)
            break;
        assert_int_equal(rc, ERR_NOMEM);
        assert_int_equal(err.code, ERR_NOMEM);
    }
    assert_true(nth > 3);
    config.port = http_server_port(server);
    rc = http_server_start(loop, &config, on_request, NULL, NULL, &second, &err);
    assert_int_equal(rc, ERR_IO);
    assert_string_equal(err.text, "address already in use");
    op_init(&stop, on_stopped);
    http_server_stop(server, &stop);
    loop_run(loop);
    assert_false(stop.active);
    loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_sweep),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
