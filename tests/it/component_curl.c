#include "curl_fixture.h"

#include <netinet/tcp.h>

/* The HTTP client driver against a server that misbehaves on request. */

static void test_request_and_answer(void **state)
{
    struct world *world = *state;
    const char *const headers[] = {"Grpc-Timeout: 500m", "X-Other: 1", NULL};
    const struct curl_request request = {.method = "POST",
                                         .path = "/echo/../echo?a=b%20c",
                                         .content_type = "application/json",
                                         .body = "{\"a\":1}",
                                         .len = 7,
                                         .headers = headers};
    cJSON *json;
    const cJSON *got;

    assert_int_equal(send_and_wait(world, &request, NULL), 0);
    assert_int_equal(world->answer.status, 200);
    assert_true(world->answer.is_json);
    assert_int_equal(world->answer.code, 0);
    json = parsed(world);
    assert_string_equal(cJSON_GetObjectItem(json, "method")->valuestring, "POST");
    assert_string_equal(cJSON_GetObjectItem(json, "path")->valuestring, "/echo/../echo?a=b%20c");
    assert_string_equal(cJSON_GetObjectItem(json, "body")->valuestring, "{\"a\":1}");
    got = cJSON_GetObjectItem(json, "headers");
    assert_string_equal(cJSON_GetObjectItem(got, "content-type")->valuestring, "application/json");
    assert_string_equal(cJSON_GetObjectItem(got, "grpc-timeout")->valuestring, "500m");
    assert_string_equal(cJSON_GetObjectItem(got, "x-other")->valuestring, "1");
    assert_null(cJSON_GetObjectItem(got, "expect"));
    assert_null(cJSON_GetObjectItem(got, "authorization"));
    cJSON_Delete(json);
}

static void test_get(void **state)
{
    struct world *world = *state;
    const struct curl_request request = {.method = "GET", .path = "/echo"};
    cJSON *json;

    assert_int_equal(ask_path(world, "/echo", NULL), 0); /* the slot was used for POST before */
    assert_int_equal(send_and_wait(world, &request, NULL), 0);
    json = parsed(world);
    assert_string_equal(cJSON_GetObjectItem(json, "method")->valuestring, "GET");
    assert_null(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "headers"), "content-type"));
    cJSON_Delete(json);
}

static void test_large_body(void **state)
{
    struct world *world = *state;
    const size_t len = 3 << 20;
    char *body = malloc(len);
    const struct curl_request request = {
        .method = "POST", .path = "/echo", .body = body, .len = len};
    cJSON *json;

    memset(body, 'x', len);
    assert_int_equal(send_and_wait(world, &request, NULL), 0);
    json = parsed(world);
    assert_int_equal(strlen(cJSON_GetObjectItem(json, "body")->valuestring), len);
    cJSON_Delete(json);
    free(body);
}

static void test_basic_is_sent_at_once(void **state)
{
    struct world *world = *state;
    cJSON *json;

    world->settings.username = "user";
    world->settings.password = "canary";
    reopen(world);
    assert_int_equal(ask_path(world, "/echo", NULL), 0);
    json = parsed(world);
    assert_string_equal(
        cJSON_GetObjectItem(cJSON_GetObjectItem(json, "headers"), "authorization")->valuestring,
        "Basic dXNlcjpjYW5hcnk=");
    cJSON_Delete(json);
    assert_int_equal(curl_peer_set_password(world->peer, "new"), 0);
    assert_int_equal(ask_path(world, "/echo", NULL), 0);
    json = parsed(world);
    assert_string_equal(
        cJSON_GetObjectItem(cJSON_GetObjectItem(json, "headers"), "authorization")->valuestring,
        "Basic dXNlcjpuZXc=");
    cJSON_Delete(json);
    assert_int_equal(ask_path(world, "/status/401", NULL), 0);
    assert_int_equal(world->answer.status, 401);
}

static void test_any_status_is_an_answer(void **state)
{
    struct world *world = *state;

    assert_int_equal(ask_path(world, "/status/503", NULL), 0);
    assert_int_equal(world->answer.status, 503);
    assert_int_equal(ask_path(world, "/text", NULL), 0);
    assert_int_equal(world->answer.status, 404);
    assert_false(world->answer.is_json);
    assert_string_equal(buf_str(&world->answer.body), "nothing of that kind");
    assert_int_equal(ask_path(world, "/redirect", NULL), 0);
    assert_int_equal(world->answer.status, 302);
}

static void test_no_proxy(void **state)
{
    struct world *world = *state;

    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    reopen(world);
    assert_int_equal(ask_path(world, "/echo", NULL), 0);
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
}

/* --- connections --- */

static void test_connection_is_kept(void **state)
{
    struct world *world = *state;
    int first;

    assert_int_equal(ask_path(world, "/echo", NULL), 0);
    first = number_of(world, "connection");
    for (int i = 0; i < 10; i++) {
        assert_int_equal(ask_path(world, "/echo", NULL), 0);
        assert_int_equal(number_of(world, "connection"), first);
    }
    assert_int_equal(report_of(world).open, 1);
    assert_int_equal(report_of(world).busy, 0);
    assert_true(report_of(world).is_up);
    assert_true(report_of(world).contact_us > 0);
}

/* The descriptor of the one connection to the server. */
static int connection_fd(const struct world *world)
{
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in addr;
        socklen_t len = sizeof(addr);

        if (getpeername(fd, (struct sockaddr *)&addr, &len) == 0 && addr.sin_family == AF_INET &&
            ntohs(addr.sin_port) == strtol(world->settings.port, NULL, 10))
            return fd;
    }
    fail_msg("no connection");
    return -1;
}

static int option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);

    assert_int_equal(getsockopt(fd, level, option, &value, &len), 0);
    return value;
}

static void test_keepalive(void **state)
{
    struct world *world = *state;
    int fd;

    assert_int_equal(ask_path(world, "/echo", NULL), 0);
    assert_int_equal(option_of(connection_fd(world), SOL_SOCKET, SO_KEEPALIVE), 0);
    close_peer(world);
    world->settings.keepalive =
        (struct keepalive){.idle_s = 17, .interval_s = 5, .count = 3, .user_timeout_ms = 9000};
    reopen(world);
    assert_int_equal(ask_path(world, "/echo", NULL), 0);
    fd = connection_fd(world);
    assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 17);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), 5);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), 3);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 9000);
}

static void test_old_connection_is_left(void **state)
{
    struct world *world = *state;
    int first;

    world->settings.max_idle_ms = 1000;
    reopen(world);
    assert_int_equal(ask_path(world, "/echo", NULL), 0);
    first = number_of(world, "connection");
    wait_ms(world->loop, 2100);
    assert_int_equal(ask_path(world, "/echo", NULL), 0);
    assert_int_not_equal(number_of(world, "connection"), first);
}

static void test_peers_share_nothing(void **state)
{
    struct world *world = *state;
    struct curl_peer *first = world->peer;
    int number;

    assert_int_equal(ask_path(world, "/echo", NULL), 0);
    number = number_of(world, "connection");
    world->peer = NULL;
    reopen(world);
    assert_int_equal(ask_path(world, "/echo", NULL), 0);
    assert_int_not_equal(number_of(world, "connection"), number);
    close_peer(world);
    world->peer = first; /* not harmed */
    assert_int_equal(ask_path(world, "/echo", NULL), 0);
    assert_int_equal(number_of(world, "connection"), number);
}

/* The server closed a kept connection: seen before it is used again. */
static void test_closed_while_kept(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 20; i++) {
        assert_int_equal(ask_path(world, "/leave", NULL), 0);
        wait_ms(world->loop, 2);
        if (ask_path(world, "/echo", NULL) != 0)
            assert_int_equal(world->answer.sent, CURL_MAYBE_SENT); /* the end was not here yet */
    }
    wait_ms(world->loop, 100);
    assert_int_equal(ask_path(world, "/echo", NULL), 0);
}

/* libcurl would send it again on a new connection. */
static void test_request_is_not_repeated(void **state)
{
    struct world *world = *state;
    struct err err;
    int before = seen(world, "/drop-second");

    reopen(world);
    assert_int_equal(ask_path(world, "/drop-second", NULL), 0);
    assert_int_equal(ask_path(world, "/drop-second", &err), ERR_UNREACHABLE);
    assert_string_equal(err.text, "the connection broke: the server closed it without an answer");
    assert_int_equal(world->answer.sent, CURL_MAYBE_SENT);
    assert_int_equal(world->answer.code, 52);
    assert_int_equal(seen(world, "/drop-second") - before, 2);
}

/* --- many at once --- */

static void test_two_hundred_at_once(void **state)
{
    static struct many many[200];
    struct world *world = *state;
    const struct curl_request request = {.method = "POST", .path = "/meet/4", .timeout_ms = 60000};
    unsigned done = 0;

    start_many(world, many, ARRAY_SIZE(many), &request, &done);
    assert_true(report_of(world).waiting > 0);
    while (done < ARRAY_SIZE(many)) {
        loop_run(world->loop);
        assert_true(report_of(world).busy <= 4);
        assert_true(report_of(world).open <= 4);
    }
    for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
        assert_int_equal(many[i].waited.rc, 0);
        assert_int_equal(many[i].answer.status, 200); /* four were there together */
        curl_answer_free(&many[i].answer);
    }
    assert_true(report_of(world).waits >= 190);
    assert_true(report_of(world).wait_us > 0);
    assert_int_equal(report_of(world).max, 4);
}

static void test_waiting_is_in_turn(void **state)
{
    struct many many[10];
    struct world *world = *state;
    const struct curl_request request = {.method = "POST", .path = "/echo"};
    unsigned done = 0;

    world->settings.max_open = 1;
    reopen(world);
    start_many(world, many, ARRAY_SIZE(many), &request, &done);
    for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
        assert_int_equal(wait_for(&many[i].waited, 0), 0);
        assert_int_equal(done, i + 1);
        curl_answer_free(&many[i].answer);
    }
}

/* --- text --- */

static void test_escaping(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 100);
    assert_int_equal(curl_put_escaped(&out, "az AZ09-._~/+&=%\xc3\xa4\0", 19), 0);
    assert_string_equal(buf_str(&out), "az%20AZ09-._~%2F%2B%26%3D%25%C3%A4%00");
    buf_free(&out);
    buf_init(&out, 5);
    assert_int_equal(curl_put_escaped(&out, "a  ", 3), ERR_LIMIT);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CURL_TEST(test_request_and_answer),
        CURL_TEST(test_get),
        CURL_TEST(test_large_body),
        CURL_TEST(test_basic_is_sent_at_once),
        CURL_TEST(test_any_status_is_an_answer),
        CURL_TEST(test_no_proxy),
        CURL_TEST(test_connection_is_kept),
        CURL_TEST(test_keepalive),
        CURL_TEST(test_old_connection_is_left),
        CURL_TEST(test_peers_share_nothing),
        CURL_TEST(test_closed_while_kept),
        CURL_TEST(test_request_is_not_repeated),
        CURL_TEST(test_two_hundred_at_once),
        CURL_TEST(test_waiting_is_in_turn),
        CURL_TEST(test_escaping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
