/* What is done at the beginning of each request shows in every answer, whoever makes it. */
#include "harness.h"

static unsigned begun, handled, accessed;

static void on_begin(void *arg, struct http_request *request)
{
    static int context;

    (void)arg;
    begun++;
    assert_null(http_context(request));
    http_set_context(request, &context);
    http_add_header(request, "X-Begun", http_header(request, "X-Name") != NULL ? "named" : "yes");
}

static void on_drain(struct http_request *request)
{
    (void)request;
}

static void on_request(void *arg, struct http_request *request)
{
    const char *path = http_path(request);

    (void)arg;
    handled++;
    http_add_header(request, "X-Later", "yes");
    if (strcmp(path, "/refused") == 0) {
        http_stream_abort(request);
    } else if (strcmp(path, "/stream") == 0) {
        http_stream_begin(request, 200, on_drain);
        http_stream_write(request, "x", 1);
        http_stream_end(request);
    } else {
        http_respond(request, 200, "ok", 2);
    }
}

static void on_access(void *arg, const struct http_request *request)
{
    (void)arg;
    accessed += http_context(request) != NULL;
}

static struct client *client;
static struct response *response;

static int set_up(void **state)
{
    struct harness *harness = malloc(sizeof(*harness));
    struct http_config config = harness_config();

    config.begin = on_begin;
    config.max_connections = 1;
    begun = handled = accessed = 0;
    harness_start(harness, &config, on_request, on_access);
    client = malloc(sizeof(*client));
    response = malloc(sizeof(*response));
    *state = harness;
    return 0;
}

static int tear_down(void **state)
{
    harness_stop(*state);
    free(*state);
    free(client);
    free(response);
    return 0;
}

static void exchange(const char *request, int status, const char *begun_header)
{
    client_send(client, request);
    client_read(client, response);
    assert_int_equal(response->status, status);
    assert_string_equal(response_header(response, "X-Begun"), begun_header);
}

static void test_answers_of_the_handler(void **state)
{
    struct harness *harness = *state;

    client_open(client, harness->port);
    exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 200, "yes");
    exchange("GET / HTTP/1.1\r\nHost: h\r\nX-Name: n\r\n\r\n", 200, "named");
    exchange("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n", 200, "yes");
    assert_string_equal(response_header(response, "X-Later"), "yes");
    exchange("GET /refused HTTP/1.1\r\nHost: h\r\n\r\n", 500, "yes");
    assert_null(response_header(response, "X-Later"));
    assert_int_equal(begun, 4);
    assert_int_equal(handled, 4);
    client_close(client);
}

static void test_answers_of_the_server_itself(void **state)
{
    struct harness *harness = *state;

    client_open(client, harness->port);
    exchange("nonsense\r\n\r\n", 400, "yes");
    assert_int_equal(begun, 1);
    assert_int_equal(handled, 0);
    client_close(client);
}

static void test_too_many_connections(void **state)
{
    struct harness *harness = *state;
    struct client *other = malloc(sizeof(*other));

    client_open(other, harness->port);
    client_open(client, harness->port);
    exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 503, "yes");
    assert_int_equal(handled, 0);
    client_close(client);
    client_close(other);
    free(other);
}

/* The access log has the context whatever became of the request. */
static void test_the_context_stays(void **state)
{
    struct harness *harness = *state;

    client_open(client, harness->port);
    exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 200, "yes");
    exchange("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400, "yes");
    client_close(client);
    harness_call(harness, harness_do_abort, NULL);
    assert_int_equal(accessed, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answers_of_the_handler, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_answers_of_the_server_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_many_connections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_context_stays, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
