/* The end of a server: what is under way is answered, what is idle is closed, nothing is left. */
#include <sys/resource.h>

#include "base/clock.h"
#include "harness.h"

static struct http_request *held[2];
static size_t held_count;
static sem_t held_event;
static int gone_count, drain_count;

static void on_gone(struct http_request *request)
{
    (void)request;
    gone_count++;
}

static void on_gone_respond(struct http_request *request)
{
    gone_count++;
    http_respond(request, 200, "too late", 8);
}

static void on_drain(struct http_request *request)
{
    (void)request;
    drain_count++;
}

static void on_request(void *arg, struct http_request *request)
{
    const char *path = http_path(request);

    (void)arg;
    if (strcmp(path, "/hold") == 0) {
        http_on_gone(request, on_gone);
        held[held_count++] = request;
        sem_post(&held_event);
    } else if (strcmp(path, "/stream") == 0) {
        char *piece = arena_calloc(http_arena(request), 1, 32 * 1024 * 1024);

        http_on_gone(request, on_gone);
        http_stream_begin(request, 200, on_drain);
        if (http_stream_write(request, piece, 32 * 1024 * 1024) != 1)
            abort();
        held[held_count++] = request;
        sem_post(&held_event);
    } else if (strcmp(path, "/gone") == 0) {
        http_on_gone(request, on_gone_respond);
        sem_post(&held_event);
    } else {
        http_respond(request, 200, "ok", 2);
    }
}

static struct client *client, *other;
static struct response *response;

static void start(struct harness *harness)
{
    struct http_config config = harness_config();

    held_count = 0;
    gone_count = drain_count = 0;
    sem_init(&held_event, 0, 0);
    harness_start(harness, &config, on_request, NULL);
}

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

static void hold(struct client *which, struct harness *harness, const char *path)
{
    char text[128];

    client_open(which, harness->port);
    snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);
    client_send(which, text);
    while (sem_wait(&held_event) != 0)
        continue;
}

static void do_respond(struct harness *harness, void *arg)
{
    (void)harness;
    http_respond(arg, 200, "late", 4);
}

static void test_nobody(void **state)
{
    struct harness harness;

    (void)state;
    start(&harness);
    harness_stop(&harness);
}

static void test_under_way(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct harness harness;
    int fd;

    (void)state;
    start(&harness);
    hold(client, &harness, "/hold");
    client_open(other, harness.port);
    client_send(other, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read(other, response);
    harness_call(&harness, harness_do_stop, NULL);
    client_expect_end(other); /* idle */
    client_close(other);
    fd = socket(AF_INET, SOCK_STREAM, 0); /* nobody listens any more */
    address.sin_port = htons((uint16_t)harness.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
    assert_false(harness.stopped);
    harness_call(&harness, do_respond, held[0]);
    client_read(client, response);
    assert_string_equal(response->body, "late");
    assert_string_equal(response_header(response, "Connection"), "close");
    client_expect_end(client);
    client_close(client);
    harness_join(&harness);
    assert_int_equal(gone_count, 0);
}

/* A request that had begun to arrive is still read and answered. */
static void test_half_read(void **state)
{
    struct harness harness;

    (void)state;
    start(&harness);
    client_open(client, harness.port);
    client_send(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\nPOST / HTTP/1.1\r\nHost: h\r\nContent-");
    client_read(client, response);
    harness_call(&harness, harness_do_stop, NULL);
    client_send(client, "Length: 1\r\n\r\nx");
    client_read(client, response);
    assert_int_equal(response->status, 200);
    assert_string_equal(response_header(response, "Connection"), "close");
    client_expect_end(client);
    client_close(client);
    harness_join(&harness);
}

static void test_abort(void **state)
{
    struct client *third = malloc(sizeof(*third)), *fourth = malloc(sizeof(*fourth));
    struct harness harness;

    (void)state;
    start(&harness);
    hold(client, &harness, "/hold");
    hold(other, &harness, "/stream");
    client_open(third, harness.port);
    client_send(third, "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /half");
    client_read(third, response);
    hold(fourth, &harness, "/gone");
    harness_call(&harness, harness_do_stop, NULL);
    harness_call(&harness, harness_do_abort, NULL);
    harness_join(&harness);
    assert_int_equal(gone_count, 3);
    assert_int_equal(drain_count, 1);
    http_respond(held[0], 200, "x", 1); /* the server is gone, the requests are not */
    assert_int_equal(http_stream_write(held[1], "x", 1), ERR_IO);
    http_stream_end(held[1]);
    client_close(client);
    client_close(other);
    client_close(third);
    client_close(fourth);
    free(third);
    free(fourth);
}

/* A client that has its last answer but does not close holds up the end for a second only. */
static void test_lingering(void **state)
{
    struct harness harness;
    uint64_t began;

    (void)state;
    start(&harness);
    client_open(client, harness.port);
    client_send(client, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    client_read(client, response);
    client_expect_end(client);
    began = clock_monotonic_ns();
    harness_stop(&harness);
    assert_true(clock_monotonic_ns() - began < UINT64_C(4900000000)); /* otherwise it is 5 s */
    client_close(client);
}

static void count_connections(struct harness *harness, void *arg)
{
    *(size_t *)arg = http_server_connections(harness->server);
}

enum {
    MANY = 1000,
};

static void test_many(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    struct rlimit limit;
    struct harness harness;
    int fds[MANY];
    size_t count = 0;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 4096)
        limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    setrlimit(RLIMIT_NOFILE, &limit);
    assert_true(limit.rlim_cur > 2 * MANY + 100);
    start(&harness);
    for (int i = 0; i < MANY; i++) {
        client_open(client, harness.port);
        fds[i] = client->fd;
    }
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++)
            assert_int_equal(send(fds[i], text, sizeof(text) - 1, 0), sizeof(text) - 1);
        for (int i = 0; i < MANY; i++) {
            client->fd = fds[i];
            client->len = 0;
            client_read(client, response);
            assert_string_equal(response->body, "ok");
        }
    }
    harness_call(&harness, count_connections, &count);
    assert_int_equal(count, MANY);
    harness_stop(&harness);
    for (int i = 0; i < MANY; i++) {
        client->fd = fds[i];
        client->len = 0;
        client_expect_end(client);
        close(fds[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody),    cmocka_unit_test(test_under_way),
        cmocka_unit_test(test_half_read), cmocka_unit_test(test_abort),
        cmocka_unit_test(test_lingering), cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
