/* Requests and answers over real sockets: keep-alive, pipelining, bodies, limits and their
 * statuses. */
#include <poll.h>

#include "harness.h"

static int last_status;
static uint64_t last_body_sent;
static int access_count;

static void on_access(void *arg, const struct http_request *request)
{
    (void)arg;
    access_count++;
    last_status = http_status(request);
    last_body_sent = http_body_sent(request);
    if (http_elapsed_us(request) > 60u * 1000 * 1000)
        abort();
}

static void answer_echo(struct http_request *request)
{
    struct buf text;
    size_t len;
    const char *body = http_body(request, &len);

    buf_init(&text, 200 * 1024);
    buf_printf(&text, "%s %s ?%s host=%s ", http_method(request), http_path(request),
               http_query(request), http_header(request, "hOST"));
    buf_append(&text, body, len);
    http_add_header(request, "X-Echo", "yes");
    http_respond_buf(request, 200, &text);
}

/* Answers in a later turn, from a timer of the request's own. */
struct later {
    struct timer timer;
    struct http_request *request;
};

static void on_later(struct timer *timer)
{
    answer_echo(container_of(timer, struct later, timer)->request);
}

static void on_request(void *arg, struct http_request *request)
{
    struct harness *harness = arg;
    const char *path = http_path(request);

    if (strncmp(path, "/echo", 5) == 0) {
        answer_echo(request);
    } else if (strncmp(path, "/later", 6) == 0) {
        struct later *later = arena_calloc(http_arena(request), 1, sizeof(*later));

        later->timer.fire = on_later;
        later->request = request;
        sched_start_timer(loop_sched(harness->loop), &later->timer, 1);
    } else if (strcmp(path, "/none") == 0) {
        http_respond(request, 204, NULL, 0);
    } else if (strcmp(path, "/same") == 0) {
        http_respond(request, 304, NULL, 0);
    } else {
        http_respond(request, 404, "no\n", 3);
    }
}

static struct client *client;
static struct response *response;

static int set_up(void **state)
{
    struct harness *harness = malloc(sizeof(*harness));
    struct http_config config = harness_config();

    harness_start(harness, &config, on_request, on_access);
    client = malloc(sizeof(*client));
    response = malloc(sizeof(*response));
    *state = harness;
    return 0;
}

static int tear_down(void **state)
{
    struct harness *harness = *state;

    harness_stop(harness);
    free(harness);
    free(client);
    free(response);
    return 0;
}

static void exchange(const char *request, int status, const char *body)
{
    client_send(client, request);
    client_read(client, response);
    assert_int_equal(response->status, status);
    if (body != NULL)
        assert_string_equal(response->body, body);
}

static void test_keep_alive(void **state)
{
    struct harness *harness = *state;

    client_open(client, harness->port);
    exchange("GET /echo?a=b HTTP/1.1\r\nHost: h\r\n\r\n", 200, "GET /echo ?a=b host=h ");
    assert_string_equal(response_header(response, "X-Echo"), "yes");
    assert_null(response_header(response, "Connection"));
    assert_int_equal(strlen(response_header(response, "Date")), 29);
    exchange("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 200,
             "POST /echo ? host=h abc");
    exchange("PUT http://other/echo/x HTTP/1.1\r\nHost: h\r\n\r\n", 200, "PUT /echo/x ? host=h ");
    exchange("GET /x HTTP/1.1\r\nHost: h\r\n\r\n", 404, "no\n");
    exchange("GET /none HTTP/1.1\r\nHost: h\r\n\r\n", 204, "");
    assert_null(response_header(response, "Content-Length"));
    exchange("GET /same HTTP/1.1\r\nHost: h\r\n\r\n", 304, "");
    exchange("DELETE /later HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 200,
             "DELETE /later ? host=h ");
    assert_string_equal(response_header(response, "Connection"), "close");
    client_expect_end(client);
    client_close(client);
}

static void test_http10(void **state)
{
    struct harness *harness = *state;

    client_open(client, harness->port);
    exchange("GET /echo HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", 200, NULL);
    assert_string_equal(response_header(response, "Connection"), "keep-alive");
    exchange("GET /echo HTTP/1.0\r\n\r\n", 200, "GET /echo ? host=(null) ");
    assert_string_equal(response_header(response, "Connection"), "close");
    client_expect_end(client);
    client_close(client);
}

static void test_head(void **state)
{
    struct harness *harness = *state;

    client_open(client, harness->port);
    client_send(client, "HEAD /echo HTTP/1.1\r\nHost: h\r\n\r\n"
                        "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read_head(client, response);
    assert_int_equal(response->status, 200);
    assert_string_equal(response_header(response, "Content-Length"), "20");
    client_read(client, response); /* comes right behind the head */
    assert_int_equal(response->status, 404);
    client_close(client);
}

/* Sync and async answers leave in order; more than one turn's worth is asked for at once. */
static void pipeline(struct harness *harness, const char *path)
{
    struct buf text;
    char expected[64];

    buf_init(&text, 64 * 1024);
    for (int i = 0; i < 100; i++)
        buf_printf(&text, "GET %s/%d HTTP/1.1\r\nHost: h\r\n\r\n", path, i);
    client_open(client, harness->port);
    client_send(client, text.data);
    buf_free(&text);
    for (int i = 0; i < 100; i++) {
        client_read(client, response);
        snprintf(expected, sizeof(expected), "GET %s/%d ? host=h ", path, i);
        assert_string_equal(response->body, expected);
    }
    client_close(client);
}

static void test_pipeline(void **state)
{
    pipeline(*state, "/echo");
    pipeline(*state, "/later");
}

/* All requests, then the end of the client's side: everything is answered, then closed. */
static void half_close(struct harness *harness, const char *path)
{
    struct buf text;

    buf_init(&text, 64 * 1024);
    for (int i = 0; i < 70; i++)
        buf_printf(&text, "GET %s/%d HTTP/1.1\r\nHost: h\r\n\r\n", path, i);
    client_open(client, harness->port);
    client_send(client, text.data);
    buf_free(&text);
    shutdown(client->fd, SHUT_WR);
    for (int i = 0; i < 70; i++) {
        client_read(client, response);
        assert_int_equal(response->status, 200);
    }
    client_expect_end(client);
    client_close(client);
}

static void test_half_close(void **state)
{
    half_close(*state, "/echo");
    half_close(*state, "/later");
}

static void test_cut_short(void **state)
{
    struct harness *harness = *state;

    client_open(client, harness->port);
    client_send(client, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab");
    shutdown(client->fd, SHUT_WR);
    client_read(client, response);
    assert_int_equal(response->status, 400);
    client_expect_end(client);
    client_close(client);
}

static void test_dribble(void **state)
{
    struct harness *harness = *state;
    const char *text = "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: t\r\n\r\n";
    int on = 1;

    client_open(client, harness->port);
    setsockopt(client->fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof(on));
    for (; *text != '\0'; text++)
        client_send_bytes(client, text, 1);
    client_read(client, response);
    assert_string_equal(response->body, "POST /echo ? host=h hello!");
    exchange("GET /x HTTP/1.1\r\nHost: h\r\n\r\n", 404, NULL);
    client_close(client);
}

static void test_large_body(void **state)
{
    struct harness *harness = *state;
    size_t size = harness_config().max_body;
    char *body = malloc(size);
    char head[128];

    memset(body, 'b', size);
    client_open(client, harness->port);
    snprintf(head, sizeof(head), "POST /later HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n",
             size);
    client_send(client, head);
    client_send_bytes(client, body, size);
    client_read(client, response);
    assert_int_equal(response->status, 200);
    assert_int_equal(response->body_len, strlen("POST /later ? host=h ") + size);
    assert_memory_equal(response->body + response->body_len - size, body, size);
    client_close(client);
    free(body);
}

static void test_continue(void **state)
{
    struct harness *harness = *state;

    client_open(client, harness->port);
    client_send(client, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
                        "Expect: 100-continue\r\n\r\n");
    client_read_head(client, response);
    assert_int_equal(response->status, 100);
    exchange("ok", 200, "POST /echo ? host=h ok");
    client_close(client);
    client_open(client, harness->port); /* too much is refused instead of asked for */
    exchange("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 999999\r\n"
             "Expect: 100-continue\r\n\r\n",
             413, "{\"error\":\"request body is too large\"}");
    client_expect_end(client);
    client_close(client);
    client_open(client, harness->port);
    exchange("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: tea\r\n\r\n", 417,
             NULL);
    client_expect_end(client);
    client_close(client);
}

static void test_errors(void **state)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"nonsense\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
        {"GET / HTTP/3.0\r\nHost: h\r\n\r\n", 505},
    };
    struct harness *harness = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        client_open(client, harness->port);
        exchange(cases[i].text, cases[i].status, NULL);
        assert_string_equal(response_header(response, "Content-Type"),
                            "application/json; charset=utf-8");
        assert_string_equal(response_header(response, "Connection"), "close");
        assert_memory_equal(response->body, "{\"error\":\"", 10);
        client_expect_end(client);
        client_close(client);
    }
}

/* What is behind a refused request is not served, even if it came in the same packet. */
static void test_nothing_after_error(void **state)
{
    struct harness *harness = *state;

    client_open(client, harness->port);
    exchange("GET /echo HTTP/1.1\r\n\r\nGET /echo HTTP/1.1\r\nHost: h\r\n\r\n", 400, NULL);
    client_expect_end(client);
    client_close(client);
    client_open(client, harness->port);
    exchange("GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
             "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n",
             200, NULL);
    client_expect_end(client);
    client_close(client);
}

static void test_headers_too_large(void **state)
{
    struct harness *harness = *state;
    char text[8192];

    memset(text, 'x', sizeof(text) - 1);
    memcpy(text, "GET / HTTP/1.1\r\nHost: h\r\nX: ", 28);
    text[sizeof(text) - 1] = '\0';
    client_open(client, harness->port);
    exchange(text, 431, "{\"error\":\"request headers are too large\"}");
    client_expect_end(client);
    client_close(client);
}

/* The answer arrives although the client only reads after it has sent far more than is taken. */
static void test_body_too_large(void **state)
{
    struct harness *harness = *state;
    static char block[1024 * 1024];

    client_open(client, harness->port);
    client_send(client, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 16777216\r\n\r\n");
    for (int i = 0; i < 16; i++)
        client_send_bytes(client, block, sizeof(block));
    client_read(client, response);
    assert_int_equal(response->status, 413);
    client_expect_end(client);
    client_close(client);
    client_open(client, harness->port);
    client_send(client, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 16; i++) {
        client_send(client, "100000\r\n");
        client_send_bytes(client, block, sizeof(block));
        client_send(client, "\r\n");
    }
    client_read(client, response);
    assert_int_equal(response->status, 413);
    client_expect_end(client);
    client_close(client);
}

static void test_access(void **state)
{
    struct harness *harness = *state;
    int before = access_count;

    client_open(client, harness->port);
    exchange("GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 404, NULL);
    client_expect_end(client);
    client_close(client);
    assert_int_equal(access_count, before + 1);
    assert_int_equal(last_status, 404);
    assert_int_equal(last_body_sent, 3);
}

static void test_timeouts(void **state)
{
    struct http_config config = harness_config();
    struct harness harness;

    (void)state;
    config.request_timeout_ms = 1000;
    config.idle_timeout_ms = 1500;
    harness_start(&harness, &config, on_request, NULL);
    client_open(client, harness.port); /* slowloris: a byte now and then does not help */
    client_send(client, "GET / HTTP/1.1\r\nX: ");
    for (;;) {
        struct pollfd poller = {.fd = client->fd, .events = POLLIN};

        if (poll(&poller, 1, 20) == 1)
            break;
        client_send(client, "y");
    }
    client_read(client, response);
    assert_int_equal(response->status, 408);
    assert_string_equal(response->body, "{\"error\":\"the request took too long\"}");
    assert_string_equal(response_header(response, "Connection"), "close");
    client_expect_end(client);
    client_close(client);
    client_open(client, harness.port); /* idle from the start */
    client_expect_end(client);
    client_close(client);
    client_open(client, harness.port); /* idle after a request */
    exchange("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n", 200, NULL);
    client_expect_end(client);
    client_close(client);
    harness_stop(&harness);
}

static void count_connections(struct harness *harness, void *arg)
{
    *(size_t *)arg = http_server_connections(harness->server);
}

static void test_too_many(void **state)
{
    struct http_config config = harness_config();
    struct client *first = malloc(sizeof(*first));
    struct harness harness;
    size_t count;

    (void)state;
    config.max_connections = 1;
    harness_start(&harness, &config, on_request, NULL);
    client_open(first, harness.port);
    client_send(first, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read(first, response);
    assert_int_equal(response->status, 200);
    for (int quiet = 0; quiet < 2; quiet++) { /* told so even if it asks for nothing */
        client_open(client, harness.port);
        exchange(quiet ? "" : "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n", 503,
                 "{\"error\":\"too many connections\"}");
        assert_string_equal(response_header(response, "Retry-After"), "1");
        assert_string_equal(response_header(response, "Connection"), "close");
        client_expect_end(client);
        client_close(client);
    }
    harness_call(&harness, count_connections, &count);
    assert_int_equal(count, 1);
    client_send(first, "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    client_read(first, response); /* the one that is in goes on */
    assert_int_equal(response->status, 200);
    client_expect_end(first);
    client_close(first);
    do { /* and makes room when it goes */
        client_open(client, harness.port);
        client_send(client, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
        client_read(client, response);
        client_close(client);
    } while (response->status == 503);
    assert_int_equal(response->status, 200);
    free(first);
    harness_stop(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_http10),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_pipeline),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_dribble),
        cmocka_unit_test(test_large_body),
        cmocka_unit_test(test_continue),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_nothing_after_error),
        cmocka_unit_test(test_headers_too_large),
        cmocka_unit_test(test_body_too_large),
        cmocka_unit_test(test_access),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_too_many),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
