#include "cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"

static void assert_refused(const char *text, size_t len, const char *why)
{
    struct err err;
    cJSON *json = (cJSON *)1;

    err_clear(&err);
    assert_int_equal(json_parse(text, len, &json, &err), ERR_INVALID);
    assert_int_equal(err.code, ERR_INVALID);
    assert_null(json);
    if (strstr(err.text, why) == NULL)
        fail_msg("'%s' was refused because of: %s", text, err.text);
}

static void assert_bad(const char *text, const char *why)
{
    assert_refused(text, strlen(text), why);
}

static cJSON *parse(const char *text)
{
    struct err err;
    cJSON *json;

    if (json_parse(text, strlen(text), &json, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    return json;
}

static void test_values(void **state)
{
    cJSON *json =
        parse(" {\"a\": [1, -2.5e3, true, null, \"\\u00e4\\n\\\\u0000\"], \"b\": {}}\r\n");
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "a");

    (void)state;
    assert_int_equal(cJSON_GetArraySize(list), 5);
    assert_true(cJSON_GetArrayItem(list, 1)->valuedouble < -2499);
    assert_string_equal(cJSON_GetArrayItem(list, 4)->valuestring, "\xc3\xa4\n\\u0000");
    cJSON_Delete(json);
    cJSON_Delete(parse("[]"));
    cJSON_Delete(parse("\"x\""));
    cJSON_Delete(parse("{\"a\":1,\"A\":2,\"b\":{\"a\":1}}"));
}

static void test_malformed(void **state)
{
    static const char *const texts[] = {"",    " ",     "{",       "[1,]",   "{\"a\":}",
                                        "nul", "{a:1}", "'a'",     "[1 2]",  "\"a",
                                        "}",   "[1]]",  "{\"a\"}", "\"\\q\""};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        assert_bad(texts[i], "invalid JSON: ");
    assert_bad("{} x", "unexpected text at offset 3");
    assert_bad("{}{}", "unexpected text");
}

static void assert_at(const char *text, size_t offset)
{
    struct err err;
    size_t at = 0;
    cJSON *json;

    assert_int_equal(json_parse_at(text, strlen(text), &json, &at, &err), ERR_INVALID);
    assert_null(json);
    assert_true(at == offset);
}

static void test_places(void **state)
{
    (void)state;
    assert_at("[1,\n]", 4);
    assert_at("{} x", 3);
    assert_at("\"a\nb\"", 2);
    assert_at("\"a\\u0000b\"", 2);
    assert_at("{\"a\":1,\"a\":2}", JSON_NOWHERE);
    assert_at("\"\xff\"", JSON_NOWHERE);
}

static void test_hostile_text(void **state)
{
    (void)state;
    assert_bad("{\"a\":1,\"a\":2}", "key \"a\" is given twice");
    assert_bad("[{\"x\":{\"a\":1,\"b\":2,\"a\":3}}]", "key \"a\" is given twice");
    assert_bad("\"a\\u0000b\"", "NUL character in a string at offset 2");
    assert_bad("\"\xff\"", "not valid UTF-8");
    assert_bad("\"a\nb\"", "control character");
    assert_refused("[1,\0 2]", 7, "NUL byte at offset 3");
    assert_refused("[1]\0", 4, "NUL byte");
}

static void test_depth(void **state)
{
    char text[2 * JSON_DEPTH_MAX + 3];
    cJSON *json;

    (void)state;
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    text[2 * JSON_DEPTH_MAX] = '\0';
    json = parse(text);
    cJSON_Delete(json);
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    text[2 * JSON_DEPTH_MAX + 2] = '\0';
    assert_bad(text, "nested deeper than 64 levels");
    /* brackets in strings do not count */
    text[0] = '"';
    text[2 * JSON_DEPTH_MAX + 1] = '"';
    json = parse(text);
    cJSON_Delete(json);
}

static void assert_put(const char *text, const char *expected)
{
    struct buf buf;

    buf_init(&buf, 1000);
    assert_int_equal(json_put_string(&buf, text), 0);
    assert_string_equal(buf.data, expected);
    buf_free(&buf);
}

static void test_put_string(void **state)
{
    (void)state;
    assert_put("", "\"\"");
    assert_put("plain / text", "\"plain / text\"");
    assert_put("a\"b\\c\nd\re\tf\x01\x7f", "\"a\\\"b\\\\c\\nd\\re\\tf\\u0001\\u007f\"");
    assert_put("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
    assert_put("a\xff"
               "b\xc3",
               "\"a\xef\xbf\xbd"
               "b\xef\xbf\xbd\"");
    assert_put("\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void test_put_member(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 1000);
    buf_putc(&buf, '{');
    json_put_member(&buf, "a", "1");
    json_put_member(&buf, "b", "\"");
    buf_putc(&buf, '}');
    assert_string_equal(buf.data, "{\"a\":\"1\",\"b\":\"\\\"\"}");
    buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),     cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_places),     cmocka_unit_test(test_hostile_text),
        cmocka_unit_test(test_depth),      cmocka_unit_test(test_put_string),
        cmocka_unit_test(test_put_member),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
