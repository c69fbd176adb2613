/* Percent-decoding, query parameters, status texts and dates; what an answer's header may hold. */
#include "harness.h"
#include "http/conn.h"

static void decode(const char *text, bool plus_is_space, const char *expected)
{
    struct arena arena;
    const char *decoded;

    arena_init(&arena);
    decoded = http_decode(&arena, text, strlen(text), plus_is_space);
    if (expected == NULL)
        assert_null(decoded);
    else
        assert_string_equal(decoded, expected);
    arena_free(&arena);
}

static void test_decode(void **state)
{
    (void)state;
    decode("", false, "");
    decode("a+b", false, "a+b");
    decode("a+b", true, "a b");
    decode("%41%2f%2F%c3%A4", false, "A//\xc3\xa4");
    decode("%2", false, NULL);
    decode("%", false, NULL);
    decode("a%zz", false, NULL);
    decode("%4g", false, NULL);
    decode("%00", false, NULL);
    decode("a%00b", false, NULL);
    decode("%2541", false, "%41");
}

static void test_decode_cut(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena);
    assert_string_equal(http_decode(&arena, "abc%41", 3, false), "abc");
    assert_null(http_decode(&arena, "abc%41", 5, false));
    assert_null(http_decode(&arena, "a\0b", 3, false));
    arena_free(&arena);
}

static void test_query_param(void **state)
{
    struct http_message message = {.query = "a=1&b=x+y%26&a=2&flag&=v&c%2Fd=e&bad=%g&&z="};
    struct http_request request = {.message = &message};

    (void)state;
    assert_string_equal(http_query_param(&request, "a"), "1");
    assert_string_equal(http_query_param(&request, "b"), "x y&");
    assert_string_equal(http_query_param(&request, "flag"), "");
    assert_string_equal(http_query_param(&request, "c/d"), "e");
    assert_string_equal(http_query_param(&request, "z"), "");
    assert_null(http_query_param(&request, "bad"));
    assert_null(http_query_param(&request, "aa"));
    assert_null(http_query_param(&request, "fla"));
    arena_free(&request.arena);
}

static void test_status_text(void **state)
{
    (void)state;
    assert_string_equal(http_status_text(200), "OK");
    assert_string_equal(http_status_text(404), "Not Found");
    assert_string_equal(http_status_text(599), "Unknown");
}

static void test_date(void **state)
{
    char date[HTTP_DATE_SIZE];

    (void)state;
    http_format_date(784111777, date);
    assert_string_equal(date, "Sun, 06 Nov 1994 08:49:37 GMT");
    http_format_date(0, date);
    assert_string_equal(date, "Thu, 01 Jan 1970 00:00:00 GMT");
    http_format_date(4102444799, date);
    assert_string_equal(date, "Thu, 31 Dec 2099 23:59:59 GMT");
}

static void test_answer_headers(void **state)
{
    static const char *const bad[][2] = {
        {"X", "a\r\nSet-Cookie: b"},
        {"X", "a\nb"},
        {"X", "a\rb"},
        {"X", "\x01"},
        {"X", "\x7f"},
        {"X\r\nY", "a"},
        {"X Y", "a"},
        {"X:", "a"},
        {"", "a"},
        {"\xc3\xa4", "a"},
        {"content-length", "5"},
        {"Transfer-Encoding", "chunked"},
        {"connection", "close"},
        {"Date", "now"},
    };
    struct http_request request = {0};

    (void)state;
    buf_init(&request.headers, 64);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(http_add_header(&request, bad[i][0], bad[i][1]), ERR_INVALID);
    assert_int_equal(request.headers.len, 0);
    assert_int_equal(http_add_header(&request, "X-Tab", "a\tb \xc3\xa4"), 0);
    assert_int_equal(http_add_header(&request, "Empty", ""), 0);
    assert_string_equal(buf_str(&request.headers), "X-Tab: a\tb \xc3\xa4\r\nEmpty: \r\n");
    assert_int_equal(
        http_add_header(&request, "Long", "................................................"),
        ERR_LIMIT);
    buf_free(&request.headers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),      cmocka_unit_test(test_decode_cut),
        cmocka_unit_test(test_query_param), cmocka_unit_test(test_status_text),
        cmocka_unit_test(test_date),        cmocka_unit_test(test_answer_headers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
