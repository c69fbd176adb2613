#include "curl_fixture.h"

#include <dlfcn.h>
#include <netdb.h>

#include "black_hole.h"

/* The HTTP client driver when something ends before its time: connections, answers, requests,
 * peers, memory. */

/* --- a name with two addresses, the first of which nobody listens at --- */

static struct sockaddr_in two_addresses[2];
static struct addrinfo two_infos[2];

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    int (*system_one)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))(
            uintptr_t)dlsym(RTLD_NEXT, "getaddrinfo");

    if (node == NULL || strcmp(node, "two.test") != 0)
        return system_one(node, service, hints, out);
    for (size_t i = 0; i < 2; i++) {
        two_addresses[i] = (struct sockaddr_in){
            .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 - (in_addr_t)i)};
        two_infos[i] = (struct addrinfo){.ai_family = AF_INET,
                                         .ai_socktype = SOCK_STREAM,
                                         .ai_addr = (struct sockaddr *)&two_addresses[i],
                                         .ai_addrlen = sizeof(two_addresses[i]),
                                         .ai_next = i == 0 ? &two_infos[1] : NULL};
    }
    *out = two_infos;
    return 0;
}

void freeaddrinfo(struct addrinfo *info)
{
    void (*system_one)(struct addrinfo *) =
        (void (*)(struct addrinfo *))(uintptr_t)dlsym(RTLD_NEXT, "freeaddrinfo");

    if (info != two_infos)
        system_one(info);
}

/* --- failures --- */

static void test_refused(void **state)
{
    struct world *world = *state;
    struct err err;

    world->settings.port = "1";
    reopen(world);
    assert_int_equal(ask_path(world, "/echo", &err), ERR_UNREACHABLE);
    assert_string_equal(err.text, "cannot connect: connection refused");
    assert_int_equal(world->answer.sent, CURL_NOT_SENT);
    assert_int_equal(world->answer.code, 7);
    assert_int_equal(report_of(world).failures, 1);
    assert_false(report_of(world).is_up);
    assert_true(report_of(world).contacted);
    assert_int_equal(report_of(world).open, 0);
}

static void test_unknown_name(void **state)
{
    struct world *world = *state;
    struct err err;

    world->settings.host = "canary-host.invalid";
    reopen(world);
    assert_int_equal(ask_path(world, "/echo", &err), ERR_UNREACHABLE);
    assert_null(strstr(err.text, "canary"));
    assert_int_equal(strncmp(err.text, "cannot connect: host name", 25), 0);
    assert_int_equal(world->answer.sent, CURL_NOT_SENT);
}

static void test_every_address_is_tried(void **state)
{
    struct world *world = *state;
    struct err err;

    world->settings.host = "two.test";
    reopen(world);
    assert_int_equal(ask_path(world, "/echo", NULL), 0);
    assert_int_equal(world->answer.status, 200);
    world->settings.port = "1";
    reopen(world);
    assert_int_equal(ask_path(world, "/echo", &err), ERR_UNREACHABLE);
    assert_string_equal(err.text, "cannot connect: connection refused");
    assert_int_equal(report_of(world).open, 0);
}

static void test_dropped(void **state)
{
    struct world *world = *state;
    struct err err;

    assert_int_equal(ask_path(world, "/drop", &err), ERR_UNREACHABLE);
    assert_int_equal(world->answer.sent, CURL_MAYBE_SENT);
    assert_int_equal(world->answer.status, 0);
    assert_int_equal(ask_path(world, "/drop-half", &err), ERR_UNREACHABLE);
    assert_string_equal(err.text, "the connection broke: the answer is not complete");
    assert_int_equal(world->answer.sent, CURL_MAYBE_SENT);
    assert_int_equal(world->answer.code, 18);
    assert_int_equal(ask_path(world, "/not-http", &err), ERR_UNREACHABLE);
    assert_int_equal(world->answer.sent, CURL_MAYBE_SENT);
    assert_int_equal(report_of(world).failures, 0);
}

/* Of a request that did not leave to its end nothing can come. */
static void test_dropped_while_sending(void **state)
{
    static const struct {
        const char *path;
        enum curl_sent sent;
        int rc;
    } rows[] = {
        {"/unread/0", CURL_NOT_SENT, ERR_UNREACHABLE},
        {"/unread/1000000", CURL_NOT_SENT, ERR_UNREACHABLE},
        {"/drop", CURL_MAYBE_SENT, ERR_UNREACHABLE},
        {"/silent", CURL_MAYBE_SENT, ERR_TIMEOUT},
    };
    struct world *world = *state;
    const size_t len = 64 << 20; /* more than the kernel takes at once */
    char *body = calloc(1, len);
    struct err err;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct curl_request request = {.method = "POST",
                                             .path = rows[i].path,
                                             .body = body,
                                             .len = len,
                                             .timeout_ms = i == 3 ? 3000 : 0};

        assert_int_equal(send_and_wait(world, &request, &err), rows[i].rc);
        assert_int_equal(world->answer.sent, rows[i].sent);
        assert_int_equal(strncmp(err.text, "the request could not be sent to its end: ", 42) == 0,
                         rows[i].sent == CURL_NOT_SENT);
    }
    assert_int_equal(report_of(world).failures, 2);
    free(body);
}

static void test_no_answer_in_time(void **state)
{
    struct world *world = *state;
    const struct curl_request request = {.method = "POST", .path = "/silent", .timeout_ms = 500};
    struct err err;
    int gone = seen(world, "/gone"); /* and a connection is kept */

    assert_int_equal(send_and_wait(world, &request, &err), ERR_TIMEOUT);
    assert_string_equal(err.text, "no answer in time");
    assert_int_equal(world->answer.sent, CURL_MAYBE_SENT);
    assert_int_equal(world->answer.code, 28);
    while (seen(world, "/gone") == gone) /* the connection was closed */
        wait_ms(world->loop, 5);
}

/* Somebody listens, but does not take part in the handshake. */
static void test_connect_timeout(void **state)
{
    struct world *world = *state;
    struct err err;
    char port[16];
    int fd = listen_silently(port, sizeof(port));

    world->settings.port = port;
    world->settings.tls = true;
    world->settings.connect_timeout_ms = 500;
    reopen(world);
    assert_int_equal(ask_path(world, "/echo", &err), ERR_UNREACHABLE);
    assert_string_equal(err.text, "cannot connect: timed out");
    assert_int_equal(world->answer.sent, CURL_NOT_SENT);
    assert_int_equal(world->answer.code, 28);
    close(fd);
}

static void test_nobody_lets_it_in(void **state)
{
    struct world *world = *state;
    struct black_hole hole;
    struct err err;

    black_hole_open(&hole);
    world->settings.port = hole.port;
    world->settings.connect_timeout_ms = 2000; /* for both addresses */
    for (int i = 0; i < 2; i++) {
        reopen(world);
        assert_int_equal(ask_path(world, "/echo", &err), ERR_UNREACHABLE);
        assert_string_equal(err.text, "cannot connect: timed out");
        assert_int_equal(world->answer.sent, CURL_NOT_SENT);
        assert_int_equal(report_of(world).open, 0);
        world->settings.host = "two.test"; /* one refuses, and its descriptor is used again */
    }
    black_hole_close(&hole);
}

static void test_nobody_waits_for_a_server_that_is_away(void **state)
{
    struct world *world = *state;
    const struct curl_request request = {.method = "POST", .path = "/echo"};
    struct many many[100];
    struct black_hole hole;
    uint64_t began = uv_hrtime();
    unsigned done = 0;

    black_hole_open(&hole);
    world->settings.port = hole.port;
    world->settings.connect_timeout_ms = 1000;
    reopen(world);
    start_many(world, many, ARRAY_SIZE(many), &request, &done);
    for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
        assert_int_equal(wait_for(&many[i].waited, 0), ERR_UNREACHABLE);
        assert_string_equal(many[i].waited.op.err.text, "cannot connect: timed out");
        assert_int_equal(many[i].answer.sent, CURL_NOT_SENT);
        curl_answer_free(&many[i].answer);
    }
    assert_true(uv_hrtime() - began < UINT64_C(20000000000)); /* in turn: 25 s */
    assert_true(report_of(world).failures <= 4);
    black_hole_close(&hole);
}

static void test_too_big(void **state)
{
    struct world *world = *state;
    struct err err;

    world->settings.max_answer = 100000;
    reopen(world);
    assert_int_equal(ask_path(world, "/big/100000", &err), 0);
    assert_int_equal(world->answer.body.len, 100000);
    assert_int_equal(ask_path(world, "/big/100001", &err), ERR_LIMIT);
    assert_string_equal(err.text, "the answer is larger than 100000 bytes");
    assert_int_equal(world->answer.sent, CURL_MAYBE_SENT);
    assert_int_equal(world->answer.status, 200);
    assert_int_equal(ask_path(world, "/echo", &err), 0);
}

/* --- cancel and close --- */

static void test_cancel_while_waiting(void **state)
{
    struct world *world = *state;
    const struct curl_request silent = {.method = "POST", .path = "/silent"};
    struct curl_peer *other = world->peer, *busy;
    struct many many[3];
    unsigned done = 0;
    int before = seen(world, "/silent");

    world->peer = NULL;
    world->settings.max_open = 1;
    reopen(world);
    start_many(world, many, ARRAY_SIZE(many), &silent, &done);
    busy = world->peer;
    world->peer = other;
    while (seen(world, "/silent") == before)
        continue;
    close_peer(world);
    world->peer = busy;
    op_cancel(&many[1].waited.op);
    assert_false(many[1].waited.done);
    assert_int_equal(wait_for(&many[1].waited, 0), ERR_CANCELED);
    assert_int_equal(many[1].answer.sent, CURL_NOT_SENT);
    assert_int_equal(done, 1);
    op_cancel(&many[0].waited.op);
    assert_int_equal(wait_for(&many[0].waited, 0), ERR_CANCELED);
    assert_int_equal(many[0].answer.sent, CURL_MAYBE_SENT);
    op_cancel(&many[2].waited.op); /* it has the slot now, and sent nothing yet */
    assert_int_equal(wait_for(&many[2].waited, 0), ERR_CANCELED);
    for (size_t i = 0; i < ARRAY_SIZE(many); i++)
        curl_answer_free(&many[i].answer);
    assert_int_equal(ask_path(world, "/echo", NULL), 0);
}

/* After every number of turns: looking up, connecting, sending, waiting for the answer. */
static void test_cancel_everywhere(void **state)
{
    struct world *world = *state;
    const struct curl_request silent = {.method = "POST", .path = "/silent", .body = "x", .len = 1};

    for (unsigned turns = 0; turns < 20; turns++) {
        struct many one;
        unsigned done = 0;

        if (turns % 2 == 0) /* a slot that was used before, or a new one */
            reopen(world);
        world->settings.host = turns % 4 < 2 ? "127.0.0.1" : "localhost";
        start_many(world, &one, 1, &silent, &done);
        for (unsigned i = 0; i < turns; i++)
            uv_run(loop_uv(world->loop), UV_RUN_NOWAIT);
        op_cancel(&one.waited.op);
        assert_int_equal(done, 0);
        assert_int_equal(wait_for(&one.waited, 0), ERR_CANCELED);
        if (turns == 0)
            assert_int_equal(one.answer.sent, CURL_NOT_SENT);
        curl_answer_free(&one.answer);
        assert_int_equal(ask_path(world, "/echo", NULL), 0);
    }
}

/* The number of an earlier request's bytes is not taken for this one's. */
static void test_cancel_of_a_used_slot(void **state)
{
    struct world *world = *state;
    const struct curl_request silent = {.method = "POST", .path = "/silent"};
    struct many one;
    unsigned done = 0;

    assert_int_equal(ask_path(world, "/echo", NULL), 0);
    start_many(world, &one, 1, &silent, &done);
    assert_int_equal(report_of(world).busy, 1);
    op_cancel(&one.waited.op);
    assert_int_equal(wait_for(&one.waited, 0), ERR_CANCELED);
    assert_int_equal(one.answer.sent, CURL_NOT_SENT);
    curl_answer_free(&one.answer);
}

static void test_close_with_requests(void **state)
{
    struct world *world = *state;
    const struct curl_request request = {.method = "POST", .path = "/meet/3", .timeout_ms = 60000};
    struct curl_peer *other = world->peer;
    struct many many[6];
    struct waited closing;
    unsigned done = 0;

    world->peer = NULL;
    world->settings.max_open = 2;
    reopen(world);
    start_many(world, many, ARRAY_SIZE(many), &request, &done);
    wait_ms(world->loop, 1);
    waited_init(&closing, world->loop);
    assert_int_equal(curl_peer_close(world->peer, &closing.op), 0);
    assert_int_equal(done, 0);
    assert_int_equal(wait_for(&many[5].waited, 0), ERR_SHUTDOWN);
    assert_false(closing.done);
    world->peer = other;
    assert_int_equal(ask_path(world, "/meet/3", NULL), 0); /* lets the two go that are under way */
    assert_int_equal(wait_for(&closing, 0), 0);
    assert_int_equal(done, 6);
    for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
        assert_int_equal(many[i].waited.rc, i < 2 ? 0 : ERR_SHUTDOWN);
        assert_int_equal(many[i].answer.status, i < 2 ? 200 : 0);
        curl_answer_free(&many[i].answer);
    }
}

static void test_close_while_looking_up(void **state)
{
    struct world *world = *state;
    const struct curl_request request = {.method = "POST", .path = "/echo"};
    struct many one;
    unsigned done = 0;

    world->settings.host = "localhost";
    reopen(world);
    start_many(world, &one, 1, &request, &done);
    close_peer(world);
    assert_int_equal(done, 1);
    assert_int_equal(one.waited.rc, ERR_SHUTDOWN);
    curl_answer_free(&one.answer);
}

/* A peer that is gone leaves no connection open at its server. */
static void test_close_ends_kept_connections(void **state)
{
    struct world *world = *state;
    struct curl_peer *other = world->peer;
    char port[16], bytes[512];
    int fd = listen_silently(port, sizeof(port)), peer_fd;
    const struct curl_request request = {.method = "POST", .path = "/", .timeout_ms = 20000};
    static const char answer[] = "HTTP/1.1 204 No Content\r\n\r\n";
    struct many one;
    unsigned done = 0;

    world->peer = NULL;
    world->settings.port = port;
    reopen(world);
    start_many(world, &one, 1, &request, &done);
    wait_readable(world->loop, fd);
    peer_fd = accept(fd, NULL, NULL);
    wait_readable(world->loop, peer_fd);
    assert_true(read(peer_fd, bytes, sizeof(bytes)) > 0);
    assert_int_equal(write(peer_fd, answer, sizeof(answer) - 1), sizeof(answer) - 1);
    assert_int_equal(wait_for(&one.waited, 0), 0);
    assert_int_equal(report_of(world).open, 1);
    close_peer(world);
    assert_int_equal(read(peer_fd, bytes, sizeof(bytes)), 0);
    curl_answer_free(&one.answer);
    close(peer_fd);
    close(fd);
    world->peer = other;
}

/* --- memory --- */

static int try_everything(struct world *world, struct curl_answer *answer)
{
    const struct curl_request request = {.method = "POST", .path = "/echo", .body = "x", .len = 1};
    struct curl_peer *peer = NULL;
    struct err err = {.code = 0};
    struct waited waited;
    int rc = curl_peer_create(world->client, &world->settings, &peer, &err);

    if (rc != 0)
        return rc;
    waited_init(&waited, world->loop);
    rc = wait_for(&waited, curl_start(peer, &waited.op, &request, answer));
    if (rc == 0)
        rc = curl_peer_set_password(peer, "other");
    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, curl_peer_close(peer, &waited.op)), 0);
    return rc;
}

static void test_out_of_memory(void **state)
{
    struct world *world = *state;
    bool hit = true;
    unsigned tries = 0;

    world->settings.username = "user";
    world->settings.password = "word";
    world->settings.host = "localhost";
    for (uint64_t nth = 1; hit; nth++) {
        struct curl_answer answer = {.status = 0};
        int rc;

        mem_fail_at(nth, 0);
        rc = try_everything(world, &answer);
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        curl_answer_free(&answer);
        assert_int_equal(rc, hit ? ERR_NOMEM : 0);
        tries++;
    }
    assert_true(tries > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CURL_TEST(test_refused),
        CURL_TEST(test_unknown_name),
        CURL_TEST(test_every_address_is_tried),
        CURL_TEST(test_dropped),
        CURL_TEST(test_dropped_while_sending),
        CURL_TEST(test_no_answer_in_time),
        CURL_TEST(test_connect_timeout),
        CURL_TEST(test_nobody_lets_it_in),
        CURL_TEST(test_nobody_waits_for_a_server_that_is_away),
        CURL_TEST(test_too_big),
        CURL_TEST(test_cancel_while_waiting),
        CURL_TEST(test_cancel_everywhere),
        CURL_TEST(test_cancel_of_a_used_slot),
        CURL_TEST(test_close_with_requests),
        CURL_TEST(test_close_while_looking_up),
        CURL_TEST(test_close_ends_kept_connections),
        CURL_TEST(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
