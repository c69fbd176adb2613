#include "cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "backend/etcd_client_private.h"

/* What the client of etcd decides without a server: what an answer means, which endpoint is next,
 * how keys are written. */

/* --- what an answer means --- */

struct row {
    int status;
    const char *body;
    enum etcd_class class;
    int grpc;
    const char *text;
};

static enum etcd_class judge(const struct row *row, struct etcd_answer *out, struct err *err)
{
    struct curl_answer http = {.status = row->status, .sent = CURL_MAYBE_SENT};
    enum etcd_class class;

    buf_init(&http.body, 1 << 20);
    buf_puts(&http.body, row->body);
    http.is_json = row->body[0] == '{';
    *out = (struct etcd_answer){.grpc = 77};
    *err = (struct err){.code = 0};
    class = etcd_classify(0, &http, out, err);
    buf_free(&http.body);
    return class;
}

#define ERROR(message, code) \
    "{\"error\":\"" message "\",\"message\":\"" message "\",\"code\":" #code "}"

static const struct row rows[] = {
    {200, "{\"header\":{\"revision\":\"2\"}}", ETCD_SUCCESS, 0, ""},
    {200, "{}", ETCD_SUCCESS, 0, ""},
    /* not applied, elsewhere */
    {503, ERROR("etcdserver: no leader", 14), ETCD_NO_LEADER, 14, "etcdserver: no leader"},
    {503, ERROR("etcdserver: no leader now", 14), ETCD_UNKNOWN, 14, "no leader now"},
    /* not applied, another token */
    {401, ERROR("etcdserver: invalid auth token", 16), ETCD_RENEW, 16, "invalid auth token"},
    {400, ERROR("etcdserver: user name is empty", 3), ETCD_RENEW, 3, "user name is empty"},
    {400, ERROR("etcdserver: revision of auth store is old", 3), ETCD_RENEW, 3, "is old"},
    /* not applied, permanent */
    {400, ERROR("etcdserver: key is not provided", 3), ETCD_REFUSED, 3, "key is not provided"},
    {400, ERROR("etcdserver: duplicate key given in txn request", 3), ETCD_REFUSED, 3, "dup"},
    {400, ERROR("etcdserver: too many operations in txn request", 3), ETCD_TOO_LARGE, 3, "many"},
    {400, ERROR("etcdserver: request is too large", 3), ETCD_TOO_LARGE, 3, "too large"},
    {400, ERROR("etcdserver: authentication failed, invalid user ID or password", 3),
     ETCD_FORBIDDEN, 3, "authentication failed"},
    {404, ERROR("etcdserver: requested lease not found", 5), ETCD_REFUSED, 5, "lease not found"},
    {403, ERROR("etcdserver: permission denied", 7), ETCD_FORBIDDEN, 7, "permission denied"},
    {412, ERROR("etcdserver: authentication is not enabled", 9), ETCD_REFUSED, 9, "not enabled"},
    {400, ERROR("etcdserver: mvcc: required revision has been compacted", 11), ETCD_REFUSED, 11,
     ""},
    {429, ERROR("grpc: received message larger than max (2097162 vs. 2097152)", 8), ETCD_TOO_LARGE,
     8, "larger than max"},
    {404, "404 page not found", ETCD_REFUSED, -1, "HTTP status 404"},
    {405, "Method Not Allowed", ETCD_REFUSED, -1, "HTTP status 405"},
    {400,
     "CommonName of client sending a request against gateway will be ignored and not used as expected",
     ETCD_REFUSED, -1, "common name (CN)"},
    /* not applied, later */
    {429, ERROR("etcdserver: too many requests", 8), ETCD_LATER, 8, "too many requests"},
    /* unknown */
    {429, ERROR("etcdserver: mvcc: database space exceeded", 8), ETCD_NO_SPACE, 8,
     "space exceeded"},
    {429, ERROR("somebody else's quota", 8), ETCD_UNKNOWN, 8, "quota"},
    {503, ERROR("etcdserver: request timed out", 14), ETCD_UNKNOWN, 14, "request timed out"},
    {503, ERROR("transport is closing", 14), ETCD_UNKNOWN, 14, "transport is closing"},
    {503, ERROR("connection closed", 14), ETCD_UNKNOWN, 14, "connection closed"},
    {408, ERROR("grpc: the client connection is closing", 1), ETCD_UNKNOWN, 1, "is closing"},
    {500, ERROR("context deadline exceeded", 2), ETCD_UNKNOWN, 2, "context deadline exceeded"},
    {504, ERROR("context deadline exceeded", 4), ETCD_UNKNOWN, 4, "context deadline exceeded"},
    {500, ERROR("panic", 13), ETCD_UNKNOWN, 13, "panic"},
    {200, "{\"header\":", ETCD_UNKNOWN, -1, "HTTP status 200"},
    {200, "[]", ETCD_UNKNOWN, -1, "HTTP status 200"},
    {200, "", ETCD_UNKNOWN, -1, "HTTP status 200"},
    {502, "Bad Gateway", ETCD_UNKNOWN, -1, "HTTP status 502"},
    {400, "{\"reason\":\"of a proxy\"}", ETCD_UNKNOWN, -1, "HTTP status 400"},
    /* 3.6 has no `error`; streams have an object there */
    {503, "{\"code\":14, \"message\":\"etcdserver: no leader\"}", ETCD_NO_LEADER, 14, "no leader"},
    {503, "{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\"}}",
     ETCD_NO_LEADER, 14, "no leader"},
    {503, "{\"error\":{\"code\":16,\"message\":\"x\"}}", ETCD_RENEW, 16, "x"},
    {400, "{\"error\":\"only this\",\"code\":5}", ETCD_REFUSED, 5, "only this"},
};

static void test_classes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct etcd_answer out;
        struct err err;
        enum etcd_class class = judge(&rows[i], &out, &err);

        if (class != rows[i].class)
            fail_msg("%s: class %d, not %d", rows[i].body, (int)class, (int)rows[i].class);
        assert_int_equal(out.grpc, rows[i].grpc);
        assert_int_equal(err.code == 0, class == ETCD_SUCCESS);
        if (strstr(err.text, rows[i].text) == NULL)
            fail_msg("%s: %s", rows[i].body, err.text);
        etcd_answer_free(&out);
    }
}

/* Without an answer it counts whether anything had left. */
static void test_no_answer(void **state)
{
    struct curl_answer unsent = {.sent = CURL_NOT_SENT}, sent = {.sent = CURL_MAYBE_SENT};
    struct etcd_answer out = {.grpc = 0};
    struct err err;

    (void)state;
    assert_int_equal(etcd_classify(ERR_UNREACHABLE, &unsent, &out, &err), ETCD_ELSEWHERE);
    assert_int_equal(out.grpc, -1);
    assert_int_equal(etcd_classify(ERR_TIMEOUT, &unsent, &out, &err), ETCD_ELSEWHERE);
    assert_int_equal(etcd_classify(ERR_NOMEM, &unsent, &out, &err), ETCD_NO_MEMORY);
    assert_int_equal(etcd_classify(ERR_UNREACHABLE, &sent, &out, &err), ETCD_UNKNOWN);
    assert_int_equal(etcd_classify(ERR_TIMEOUT, &sent, &out, &err), ETCD_UNKNOWN);
    assert_int_equal(etcd_classify(ERR_LIMIT, &sent, &out, &err), ETCD_UNKNOWN);
    assert_int_equal(etcd_classify(ERR_NOMEM, &sent, &out, &err), ETCD_UNKNOWN);
}

static void test_messages_hold_no_host(void **state)
{
    const struct row addresses[] = {
        {503,
         ERROR("connection error: desc = \\\"transport: error while dialing: "
               "dial tcp canary-host:2379: connect: connection refused\\\"",
               14),
         ETCD_UNKNOWN, 14, ""},
        {503,
         ERROR("error reading from server: read tcp canary-host:40104->canary-host:2379: "
               "read: connection reset by peer",
               14),
         ETCD_UNKNOWN, 14, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
        struct etcd_answer out;
        struct err err;

        assert_int_equal(judge(&addresses[i], &out, &err), ETCD_UNKNOWN);
        assert_null(strstr(err.text, "canary"));
        assert_null(strstr(out.message, "canary"));
        etcd_answer_free(&out);
    }
}

/* --- base64, and the end of a range --- */

static void check_base64(const char *plain, size_t len, const char *text)
{
    struct buf out;
    char quoted[64];

    buf_init(&out, 100);
    assert_int_equal(etcd_put_base64(&out, plain, len), 0);
    snprintf(quoted, sizeof(quoted), "\"%s\"", text);
    assert_string_equal(buf_str(&out), quoted);
    buf_truncate(&out, 0);
    assert_int_equal(etcd_read_base64(text, &out), 0);
    assert_int_equal(out.len, len);
    assert_memory_equal(buf_str(&out), plain, len);
    buf_free(&out);
}

static void test_base64(void **state)
{
    static const char *const bad[] = {"Zg",   "Zg=",  "Zg= ",     "====",   "=g==", "Zh==", "Zm9=",
                                      "Z_-=", " Zg=", "Zg==Zg==", "Zm9v\n", "A",    "Zg=A"};
    struct buf out;

    (void)state;
    check_base64("", 0, "");
    check_base64("f", 1, "Zg==");
    check_base64("fo", 2, "Zm8=");
    check_base64("foo", 3, "Zm9v");
    check_base64("\0", 1, "AA==");
    check_base64("\xfb\xff\xfe", 3, "+//+");
    buf_init(&out, 100);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (etcd_read_base64(bad[i], &out) != ERR_INVALID)
            fail_msg("%s was taken", bad[i]);
    }
    buf_free(&out);
}

static void test_base64_of_any_length(void **state)
{
    enum {
        MOST = 10000
    };
    static char plain[MOST];
    struct buf text, back;

    (void)state;
    for (size_t i = 0; i < MOST; i++)
        plain[i] = (char)(i * 31 + i / 256);
    buf_init(&text, 4 * MOST);
    buf_init(&back, MOST);
    for (size_t len = 0; len <= MOST; len += len < 20 || len > 3060 ? 1 + len / 50 : 19) {
        buf_truncate(&text, 0);
        buf_truncate(&back, 0);
        assert_int_equal(etcd_put_base64(&text, plain, len), 0);
        buf_truncate(&text, text.len - 1);
        assert_int_equal(text.len - 1, (len + 2) / 3 * 4);
        assert_int_equal(etcd_read_base64(text.data + 1, &back), 0);
        assert_int_equal(back.len, len);
        assert_memory_equal(buf_str(&back), plain, len);
    }
    buf_free(&text);
    buf_free(&back);
    buf_init(&back, 2);
    assert_int_equal(etcd_read_base64("Zm9v", &back), ERR_LIMIT);
    buf_free(&back);
}

static void check_end(const char *prefix, size_t len, const char *end, size_t end_len)
{
    struct buf out;

    buf_init(&out, 100);
    assert_int_equal(etcd_put_range_end(&out, prefix, len), 0);
    assert_int_equal(out.len, end_len);
    assert_memory_equal(out.data, end, end_len);
    buf_free(&out);
}

static void test_range_end(void **state)
{
    (void)state;
    check_end("p/", 2, "p0", 2);
    check_end("a\xff", 2, "b", 1);
    check_end("a\xff\xff", 3, "b", 1);
    check_end("a\0", 2, "a\1", 2);
    check_end("\x7f", 1, "\x80", 1);
    check_end("", 0, "\0", 1);
    check_end("\xff\xff", 2, "\0", 1);
}

/* --- endpoints --- */

static void on_closed(struct op *op, int rc)
{
    (void)op;
    assert_int_equal(rc, 0);
}

static void check_endpoints(const char *text, size_t count, const char *reason)
{
    struct loop *loop = loop_create();
    struct curl_client *curl = curl_client_create(loop);
    const struct backend_etcd_settings settings = {.endpoints = text, .timeout_ms = 1000};
    struct etcd_endpoints endpoints = {.count = 0};
    struct op closing[ETCD_ENDPOINTS_MAX + 1];
    struct err err = {.code = 0};
    int rc = etcd_endpoints_create(curl, &settings, &endpoints, &err);

    if (reason == NULL && rc != 0)
        fail_msg("%s: %s", text, err.text);
    if (reason != NULL && (rc != ERR_INVALID || strstr(err.text, reason) == NULL))
        fail_msg("%s: %d %s", text, rc, err.text);
    assert_null(strstr(err.text, "canary"));
    assert_int_equal(endpoints.count, count);
    for (size_t i = 0; i < endpoints.count; i++) {
        op_init(&closing[i], on_closed);
        curl_peer_close(endpoints.list[i].peer, &closing[i]);
    }
    op_init(&closing[ETCD_ENDPOINTS_MAX], on_closed);
    curl_client_close(curl, &closing[ETCD_ENDPOINTS_MAX]);
    loop_run(loop);
    loop_destroy(loop);
}

static void test_endpoints_are_read(void **state)
{
    const char *const bad = "neither host:port nor a URL";

    (void)state;
    check_endpoints("a:2379", 1, NULL);
    check_endpoints("a:1, http://b:2 ,https://c:3/,[::1]:4,https://[fe80::1]:5", 5, NULL);
    check_endpoints("", 0, "no endpoint");
    check_endpoints(NULL, 0, "no endpoint");
    check_endpoints("canary", 0, bad);
    check_endpoints("canary:", 0, bad);
    check_endpoints("canary:123456", 0, bad);
    check_endpoints("canary:12x", 0, bad);
    check_endpoints(":2379", 0, bad);
    check_endpoints("a:1,,b:2", 1, "endpoint 2");
    check_endpoints("a:1,", 1, "endpoint 2");
    check_endpoints("ftp://canary:1", 0, bad);
    check_endpoints("http://canary:1/path", 0, bad);
    check_endpoints("user@canary:1", 0, bad);
    check_endpoints("::1:2379", 0, bad);
    check_endpoints("a:1,a:2,a:3,a:4,a:5,a:6,a:7,a:8,a:9,a:10,a:11,a:12,a:13,a:14,a:15,a:16,a:17",
                    16, "more than 16");
}

static void test_the_last_good_one_is_first(void **state)
{
    struct etcd_endpoints endpoints = {.count = 3};

    (void)state;
    assert_int_equal(etcd_endpoints_choose(&endpoints, 0, 1000), 0);
    assert_int_equal(etcd_endpoints_choose(&endpoints, 1, 1000), 1);
    assert_int_equal(etcd_endpoints_choose(&endpoints, 7, 1000), 3);
    etcd_endpoints_note_success(&endpoints, 2);
    assert_int_equal(etcd_endpoints_choose(&endpoints, 0, 1000), 2);
    assert_int_equal(etcd_endpoints_choose(&endpoints, 4, 1000), 0);
}

static void test_failed_ones_come_last(void **state)
{
    struct etcd_endpoints endpoints = {.count = 3};

    (void)state;
    etcd_endpoints_note_failure(&endpoints, 0, 1000);
    assert_int_equal(etcd_endpoints_choose(&endpoints, 0, 1000), 1);
    assert_int_equal(etcd_endpoints_choose(&endpoints, 6, 1000), 0); /* nobody else is left */
    assert_int_equal(etcd_endpoints_choose(&endpoints, 0, 1249), 1);
    assert_int_equal(etcd_endpoints_choose(&endpoints, 0, 1250), 0);
    etcd_endpoints_note_failure(&endpoints, 1, 1000);
    etcd_endpoints_note_failure(&endpoints, 2, 900);
    assert_int_equal(etcd_endpoints_choose(&endpoints, 0, 1100), 2); /* the first to be due */
}

static void test_backoff_grows(void **state)
{
    struct etcd_endpoints endpoints = {.count = 1};
    uint64_t now = 0, last = 0;

    (void)state;
    for (int i = 0; i < 12; i++) {
        etcd_endpoints_note_failure(&endpoints, 0, now);
        for (int other = 0; other < 10; other++) /* those that were under way, too */
            etcd_endpoints_note_failure(&endpoints, 0, now + 1);
        assert_int_equal(endpoints.list[0].down_until_ms - now, i == 0             ? 250
                                                                : last * 2 < 10000 ? last * 2
                                                                                   : 10000);
        last = endpoints.list[0].down_until_ms - now;
        now = endpoints.list[0].down_until_ms;
    }
    etcd_endpoints_note_success(&endpoints, 0);
    etcd_endpoints_note_failure(&endpoints, 0, now);
    assert_int_equal(endpoints.list[0].down_until_ms - now, 250);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_messages_hold_no_host),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_base64_of_any_length),
        cmocka_unit_test(test_range_end),
        cmocka_unit_test(test_endpoints_are_read),
        cmocka_unit_test(test_the_last_good_one_is_first),
        cmocka_unit_test(test_failed_ones_come_last),
        cmocka_unit_test(test_backoff_grows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
