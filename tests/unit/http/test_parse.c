/* The request parser by itself: what is good, what is bad and which status that has, and that it
 * makes no difference where the bytes are cut. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cmocka_all.h"
#include "http/parse.h"

enum {
    MAX_HEAD = 1024,
    MAX_BODY = 100,
};

/* Feeds pieces of `step` bytes; *used is how many bytes the message took. */
static struct http_message *parse_step(const char *data, size_t len, size_t step, size_t *used,
                                       enum http_parsed *result)
{
    struct http_message *message = http_message_create(MAX_HEAD, MAX_BODY);
    size_t at = 0, n;

    assert_non_null(message);
    *result = HTTP_PARSED_PART;
    while (at < len && *result == HTTP_PARSED_PART) {
        size_t piece = len - at < step ? len - at : step;

        do {
            char *copy = malloc(piece > 0 ? piece : 1); /* an exact size shows overreads */

            memcpy(copy, data + at, piece);
            *result = http_message_parse(message, copy, piece, &n);
            free(copy);
            at += n;
            piece -= n;
        } while (*result == HTTP_PARSED_HEAD || (*result == HTTP_PARSED_PART && piece > 0));
    }
    *used = at;
    return message;
}

static struct http_message *parse_good(const char *text)
{
    struct http_message *message = NULL;
    size_t len = strlen(text), used;
    enum http_parsed result;

    for (size_t step = len; step > 0; step = step > 1 ? step / 2 : 0) {
        http_message_free(message);
        message = parse_step(text, len, step, &used, &result);
        if (result != HTTP_PARSED_ALL)
            fail_msg("refused with %d (%s) in steps of %zu: %s", message->status,
                     message->reason != NULL ? message->reason : "", step, text);
        assert_int_equal(used, len);
    }
    return message;
}

static void parse_bad_bytes(const char *text, size_t len, int status)
{
    size_t used;
    enum http_parsed result;

    for (size_t step = len; step > 0; step = step > 1 ? step / 2 : 0) {
        struct http_message *message = parse_step(text, len, step, &used, &result);

        if (result != HTTP_PARSED_BAD || message->status != status)
            fail_msg("result %d, status %d instead of %d in steps of %zu: %s", (int)result,
                     message->status, status, step, text);
        assert_non_null(message->reason);
        http_message_free(message);
    }
}

static void parse_bad(const char *text, int status)
{
    parse_bad_bytes(text, strlen(text), status);
}

static void test_simple(void **state)
{
    struct http_message *message =
        parse_good("GET /a/b%20c?x=1&y=?2 HTTP/1.1\r\nHost: h:80\r\nEmpty:\r\nEmpty2: \t \r\n"
                   "X-Pad:  v 1 \t\r\nx-pad: second\r\nAccept: */*\r\n\r\n");

    (void)state;
    assert_string_equal(message->method, "GET");
    assert_string_equal(message->path, "/a/b%20c");
    assert_string_equal(message->query, "x=1&y=?2");
    assert_int_equal(message->minor, 1);
    assert_true(message->keep_alive);
    assert_false(message->has_body);
    assert_int_equal(message->field_count, 6);
    assert_string_equal(http_message_field(message, "host"), "h:80");
    assert_string_equal(http_message_field(message, "EMPTY"), "");
    assert_string_equal(http_message_field(message, "empty2"), "");
    assert_string_equal(http_message_field(message, "X-PAD"), "v 1");
    assert_string_equal(http_message_field(message, "accept"), "*/*");
    assert_int_equal(http_message_field_count(message, "X-Pad"), 2);
    assert_null(http_message_field(message, "X"));
    http_message_free(message);
}

static void test_bodies(void **state)
{
    struct http_message *message;

    (void)state;
    message = parse_good("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    assert_string_equal(buf_str(&message->body), "hello");
    assert_true(message->has_body);
    http_message_free(message);
    message = parse_good("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(message->body.len, 0);
    assert_false(message->has_body);
    http_message_free(message);
    message = parse_good("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
                         "3\r\nabc\r\n0B;q=\"x y\"\r\ndefghijklmn\r\n0\r\n"
                         "X-Trailer: t\r\nHost: other\r\n\r\n");
    assert_string_equal(buf_str(&message->body), "abcdefghijklmn");
    assert_null(http_message_field(message, "X-Trailer"));
    assert_string_equal(http_message_field(message, "Host"), "h");
    http_message_free(message);
}

static void test_keep_alive(void **state)
{
    static const struct {
        const char *text;
        bool keep;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: x, CLOSE\r\n\r\n", false},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http_message *message = parse_good(cases[i].text);

        assert_int_equal(message->keep_alive, cases[i].keep);
        http_message_free(message);
    }
}

static void test_targets(void **state)
{
    static const struct {
        const char *target, *path, *query;
    } cases[] = {
        {"/", "/", ""},
        {"/?", "/", ""},
        {"//x//y", "//x//y", ""},
        {"/a/../b", "/a/../b", ""},
        {"http://h/p?q", "/p", "q"},
        {"HTTPS://h:8/p", "/p", ""},
        {"http://h", "/", ""},
        {"http://h?q=1", "/", "q=1"},
    };
    static const char nul_path[] = "GET /a\0b HTTP/1.1\r\nHost: h\r\n\r\n";
    char text[256];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http_message *message;

        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", cases[i].target);
        message = parse_good(text);
        assert_string_equal(message->path, cases[i].path);
        assert_string_equal(message->query, cases[i].query);
        http_message_free(message);
    }
    http_message_free(parse_good("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"));
    parse_bad("GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("GET a/b HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("GET http://user@h/x HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("GET /a\x01 HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("GET /a\x7f HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad_bytes(nul_path, sizeof(nul_path) - 1, 400);
    parse_bad("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 501);
}

static void test_versions(void **state)
{
    (void)state;
    parse_bad("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505);
    parse_bad("GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505);
    parse_bad("GET / HTTP/11.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505);
    parse_bad("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    parse_bad("GET / HTTPS/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("GET / http/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("OPTIONS / RTSP/1.0\r\n\r\n", 400);
    parse_bad("SOURCE / ICE/1.0\r\n\r\n", 400);
    parse_bad("FOO / HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("get / HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("\x16\x03\x01\x02", 400);
    parse_bad("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400);
    parse_bad(" GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("GET /  HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    parse_bad("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400);
}

static void test_hosts(void **state)
{
    (void)state;
    http_message_free(parse_good("GET / HTTP/1.1\r\nHost:\r\n\r\n"));
    http_message_free(parse_good("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"));
    http_message_free(parse_good("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    parse_bad("GET / HTTP/1.1\r\n\r\n", 400);
    parse_bad("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    parse_bad("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400);
    parse_bad("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400);
    parse_bad("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400);
}

#define POST "POST / HTTP/1.1\r\nHost: h\r\n"

static void test_smuggling(void **state)
{
    static const char nul_value[] = POST "X: a\0b\r\n\r\n";
    static const char nul_name[] = POST "X\0: b\r\n\r\n";

    (void)state;
    parse_bad(POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    parse_bad(POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400);
    parse_bad(POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400);
    parse_bad(POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400);
    parse_bad(POST "Content-Length: 3, 3\r\n\r\nabc", 400);
    parse_bad(POST "Content-Length: +3\r\n\r\nabc", 400);
    parse_bad(POST "Content-Length: -1\r\n\r\nabc", 400);
    parse_bad(POST "Content-Length: 0x3\r\n\r\nabc", 400);
    parse_bad(POST "Content-Length:\r\n\r\nabc", 400);
    parse_bad(POST "Content-Length: 99999999999999999999999\r\n\r\nabc", 400);
    parse_bad(POST "Transfer-Encoding: gzip\r\n\r\n", 400);
    parse_bad(POST "Transfer-Encoding: xchunked\r\n\r\n", 400);
    parse_bad(POST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501);
    parse_bad(POST "Transfer-Encoding: \r\n\r\n", 400);
    parse_bad(POST "Transfer-Encoding: chunked, gzip\r\n\r\n", 400);
    parse_bad(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    parse_bad(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n", 400);
    parse_bad("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    parse_bad(POST "Content-Length : 3\r\n\r\nabc", 400);
    parse_bad(POST " Content-Length: 3\r\n\r\nabc", 400);
    parse_bad(POST "X: a\r\n b\r\n\r\n", 400);
    parse_bad(POST "X: a\r\n\tb\r\n\r\n", 400);
    parse_bad(POST "X: a\nY: b\r\n\r\n", 400);
    parse_bad(POST "X: a\rY: b\r\n\r\n", 400);
    parse_bad(POST "X: a\r\n\n", 400);
    parse_bad("GET / HTTP/1.1\nHost: h\n\n", 400);
    parse_bad(POST "X\r\n\r\n", 400);
    parse_bad(POST "Transfer-Encoding : chunked\r\n\r\n", 400);
    parse_bad(POST "Connection : close\r\n\r\n", 400);
    parse_bad(POST "A B: c\r\n\r\n", 400);
    parse_bad(POST "A(B: c\r\n\r\n", 400);
    parse_bad(POST "A\xc3: c\r\n\r\n", 400);
    parse_bad(POST ": x\r\n\r\n", 400);
    parse_bad(POST "X: a\x01\r\n\r\n", 400);
    parse_bad(POST "X: a\x7f\r\n\r\n", 400);
    parse_bad_bytes(nul_value, sizeof(nul_value) - 1, 400);
    parse_bad_bytes(nul_name, sizeof(nul_name) - 1, 400);
}

#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

static void test_chunks(void **state)
{
    (void)state;
    parse_bad(CHUNKED "g\r\n", 400);
    parse_bad(CHUNKED "\r\n", 400);
    parse_bad(CHUNKED "-1\r\n", 400);
    parse_bad(CHUNKED "0x3\r\nabc\r\n", 400);
    parse_bad(CHUNKED "3\r\nabcd\r\n", 400);
    parse_bad(CHUNKED "3\nabc\r\n0\r\n\r\n", 400);
    parse_bad(CHUNKED "3 \r\nabc\r\n0\r\n\r\n", 400);
    parse_bad(CHUNKED "ffffffffffffffffff\r\n", 400);
    parse_bad(CHUNKED "65\r\n", 413);
    parse_bad(CHUNKED "40\r\n"
                      "................................................................\r\n40\r\n",
              413);
    parse_bad(POST "Content-Length: 101\r\n\r\n", 413);
}

static void test_expect(void **state)
{
    struct http_message *message =
        parse_good(POST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx");

    (void)state;
    assert_true(message->expects_continue);
    http_message_free(message);
    message = parse_good(POST "Expect: 100-continue\r\n\r\n");
    assert_false(message->expects_continue); /* nothing to wait for */
    http_message_free(message);
    message = parse_good("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx");
    assert_false(message->expects_continue);
    http_message_free(message);
    parse_bad(POST "Expect: tea\r\n\r\n", 417);
    parse_bad(POST "Expect: 100-continue\r\nExpect: tea\r\n\r\n", 417);
}

/* A request whose head is `len` bytes long. */
static char *make_head(size_t len)
{
    static const char start[] = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
    char *text = malloc(len + 1);

    memset(text, 'x', len);
    memcpy(text, start, strlen(start));
    memcpy(text + len - 4, "\r\n\r\n", 5);
    return text;
}

static void test_head_limit(void **state)
{
    char *text = make_head(MAX_HEAD);
    char many[MAX_HEAD];
    size_t len;

    (void)state;
    http_message_free(parse_good(text));
    free(text);
    text = make_head(MAX_HEAD + 1);
    parse_bad(text, 431);
    free(text);
    len = (size_t)snprintf(many, sizeof(many), "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < HTTP_FIELDS_MAX; i++)
        len += (size_t)snprintf(many + len, sizeof(many) - len, "a:b\r\n");
    snprintf(many + len, sizeof(many) - len, "\r\n");
    parse_bad(many, 431);
    memset(many, '\n', sizeof(many)); /* empty lines in front of the request count as well */
    for (size_t i = 0; i < sizeof(many); i += 2)
        many[i] = '\r';
    parse_bad_bytes(many, sizeof(many), 431);
}

static void test_framing_limit(void **state)
{
    struct buf text;

    (void)state;
    buf_init(&text, 8 * MAX_HEAD);
    buf_printf(&text, CHUNKED "1;%0*d\r\nx\r\n0\r\n\r\n", MAX_HEAD + 64, 0);
    parse_bad(text.data, 431);
    buf_truncate(&text, 0);
    buf_printf(&text, CHUNKED "1\r\nx\r\n0\r\nT: %0*d\r\n\r\n", MAX_HEAD + 64, 0);
    parse_bad(text.data, 431);
    buf_truncate(&text, 0);
    buf_puts(&text, CHUNKED);
    for (int i = 0; i < MAX_BODY; i++)
        buf_puts(&text, "1;e=e\r\nx\r\n");
    buf_puts(&text, "0\r\n\r\n");
    http_message_free(parse_good(text.data));
    buf_free(&text);
}

static void test_memory(void **state)
{
    static const char text[] = CHUNKED "3\r\nabc\r\n0\r\n\r\n";
    int hits = 0;

    (void)state;
    for (unsigned nth = 1;; nth++) {
        struct http_message *message;
        enum http_parsed result = HTTP_PARSED_HEAD;
        size_t at = 0, used;

        mem_fail_at(nth, 0);
        message = http_message_create(MAX_HEAD, MAX_BODY);
        while (message != NULL && result == HTTP_PARSED_HEAD) {
            result = http_message_parse(message, text + at, strlen(text) - at, &used);
            at += used;
        }
        if (!mem_fail_hit()) {
            assert_int_equal(result, HTTP_PARSED_ALL);
            http_message_free(message);
            break;
        }
        hits++;
        if (message != NULL)
            assert_int_equal(message->status, 503);
        http_message_free(message);
    }
    mem_fail_at(0, 0);
    assert_true(hits >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simple),        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_keep_alive),    cmocka_unit_test(test_targets),
        cmocka_unit_test(test_versions),      cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_smuggling),     cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_expect),        cmocka_unit_test(test_head_limit),
        cmocka_unit_test(test_framing_limit), cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
