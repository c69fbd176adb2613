#include <stdio.h>
#include <string.h>

#include "api/http_fields.h"
#include "base/json.h"
#include "base/mem.h"
#include "cmocka_all.h"

struct fixture {
    struct arena arena;
    struct err err;
    cJSON *json;
    struct fields fields;
};

static void fixture_parse(struct fixture *fixture, const char *text)
{
    *fixture = (struct fixture){0};
    assert_int_equal(json_parse(text, strlen(text), &fixture->json, &fixture->err), 0);
    fields_init(&fixture->fields, fixture->json, &fixture->arena, &fixture->err);
}

static void fixture_free(struct fixture *fixture)
{
    cJSON_Delete(fixture->json);
    arena_free(&fixture->arena);
}

static void test_values_are_read(void **state)
{
    struct fixture f;
    struct fields inner;
    const char *const *list;
    size_t count;

    (void)state;
    fixture_parse(&f, "{\"s\":\"x\\u00e4\",\"t\":true,\"f\":false,\"l\":[\"a\",\"b\"],"
                      "\"o\":{\"s\":\"in\"},\"other\":[1,{}]}");
    assert_string_equal(fields_string(&f.fields, "s"), "x\xc3\xa4");
    assert_true(fields_bool(&f.fields, "t"));
    assert_false(fields_bool(&f.fields, "f"));
    list = fields_strings(&f.fields, "l", 2, &count);
    assert_int_equal(count, 2);
    assert_string_equal(list[1], "b");
    assert_true(fields_object(&f.fields, "o", "o.", &inner));
    assert_string_equal(fields_string(&inner, "s"), "in");
    fields_require(&f.fields, "s");
    assert_int_equal(f.fields.rc, 0);
    fixture_free(&f);
}

static bool reads_count(const char *text, size_t wanted)
{
    struct fixture f;
    size_t count = 77;
    bool given;

    fixture_parse(&f, text);
    given = fields_count(&f.fields, "n", &count);
    assert_int_equal(count, wanted);
    assert_true(f.fields.rc == 0 || (f.fields.rc == ERR_INVALID && !given));
    if (f.fields.rc != 0)
        assert_string_equal(f.err.text, "field \"n\" must be a whole number from 0 to 1000000000");
    given = f.fields.rc == 0;
    fixture_free(&f);
    return given;
}

static void test_counts_are_whole(void **state)
{
    static const char *const wrong[] = {"-1",    "0.5",  "1000000001", "1e300",
                                        "\"1\"", "true", "[1]",        "-0.1"};
    char text[64];

    (void)state;
    assert_true(reads_count("{\"n\":0}", 0));
    assert_true(reads_count("{\"n\":1000000000}", 1000000000));
    assert_true(reads_count("{\"n\":3e2}", 300));
    assert_true(reads_count("{}", 0));
    assert_true(reads_count("{\"n\":null}", 0));
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        snprintf(text, sizeof(text), "{\"n\":%s}", wrong[i]);
        assert_false(reads_count(text, 0));
    }
}

static void test_absent_and_null_are_the_same(void **state)
{
    struct fixture f;
    struct fields inner;
    const char *const *list;
    size_t count = 9;

    (void)state;
    fixture_parse(&f, "{\"a\":null,\"A\":\"other case\"}");
    assert_string_equal(fields_string(&f.fields, "a"), "");
    assert_string_equal(fields_string(&f.fields, "b"), "");
    assert_false(fields_bool(&f.fields, "a"));
    list = fields_strings(&f.fields, "a", 1, &count);
    assert_non_null(list);
    assert_int_equal(count, 0);
    assert_false(fields_object(&f.fields, "a", "a.", &inner));
    assert_string_equal(fields_string(&inner, "x"), "");
    assert_int_equal(f.fields.rc, 0);
    fields_require(&f.fields, "a");
    assert_int_equal(f.fields.rc, ERR_INVALID);
    assert_string_equal(f.err.text, "field \"a\" is required");
    fixture_free(&f);
}

static void test_no_body_is_an_empty_object(void **state)
{
    struct arena arena = {0};
    struct err err = {0};
    struct fields fields;

    (void)state;
    fields_init(&fields, NULL, &arena, &err);
    assert_string_equal(fields_string(&fields, "a"), "");
    assert_int_equal(fields.rc, 0);
    arena_free(&arena);
}

enum read_kind {
    READ_STRING,
    READ_BOOL,
    READ_STRINGS,
    READ_OBJECT,
    READ_INNER_STRINGS,
};

static void expect_refused(const char *text, enum read_kind kind, const char *reason)
{
    struct fixture f;
    struct fields inner;
    size_t count;

    fixture_parse(&f, text);
    switch (kind) {
    case READ_STRING:
        assert_string_equal(fields_string(&f.fields, "a"), "");
        break;
    case READ_BOOL:
        assert_false(fields_bool(&f.fields, "a"));
        break;
    case READ_STRINGS:
        fields_strings(&f.fields, "a", 3, &count);
        break;
    case READ_OBJECT:
        assert_false(fields_object(&f.fields, "a", "a.", &inner));
        break;
    case READ_INNER_STRINGS:
        fields_object(&f.fields, "a", "a.", &inner);
        fields_strings(&inner, "b", 3, &count);
        f.fields.rc = inner.rc;
        break;
    }
    assert_int_equal(f.fields.rc, ERR_INVALID);
    assert_string_equal(f.err.text, reason);
    fields_string(&f.fields, "b"); /* the first reason is kept */
    assert_string_equal(f.err.text, reason);
    fixture_free(&f);
}

static void test_wrong_types_are_named(void **state)
{
    (void)state;
    expect_refused("{\"a\":1,\"b\":2}", READ_STRING, "field \"a\" must be a string");
    expect_refused("{\"a\":[\"x\"]}", READ_STRING, "field \"a\" must be a string");
    expect_refused("{\"a\":\"true\"}", READ_BOOL, "field \"a\" must be true or false");
    expect_refused("{\"a\":0}", READ_BOOL, "field \"a\" must be true or false");
    expect_refused("{\"a\":\"x\"}", READ_STRINGS, "field \"a\" must be an array of strings");
    expect_refused("{\"a\":{}}", READ_STRINGS, "field \"a\" must be an array of strings");
    expect_refused("{\"a\":[\"x\",1]}", READ_STRINGS, "field \"a\" must be an array of strings");
    expect_refused("{\"a\":[null]}", READ_STRINGS, "field \"a\" must be an array of strings");
    expect_refused("{\"a\":[\"\",\"\",\"\",\"\"]}", READ_STRINGS,
                   "field \"a\" has more than 3 entries");
    expect_refused("{\"a\":[]}", READ_OBJECT, "field \"a\" must be an object");
    expect_refused("{\"a\":\"\"}", READ_OBJECT, "field \"a\" must be an object");
    expect_refused("{\"a\":{\"b\":[1]}}", READ_INNER_STRINGS,
                   "field \"a.b\" must be an array of strings");
    expect_refused("{\"a\":7}", READ_INNER_STRINGS, "field \"a\" must be an object");
}

static void test_only_objects_are_bodies(void **state)
{
    static const char *const texts[] = {"[]", "1", "\"x\"", "null", "true"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct fixture f;

        fixture_parse(&f, texts[i]);
        assert_int_equal(f.fields.rc, ERR_INVALID);
        assert_string_equal(fields_string(&f.fields, "a"), "");
        fixture_free(&f);
    }
}

static void test_strings_have_a_limit(void **state)
{
    char *text = mem_alloc(FIELD_STRING_MAX + 16);
    struct fixture f;

    (void)state;
    assert_non_null(text);
    memcpy(text, "{\"a\":\"", 6);
    memset(text + 6, 'x', FIELD_STRING_MAX + 1);
    memcpy(text + 6 + FIELD_STRING_MAX, "\"}", 3);
    fixture_parse(&f, text);
    assert_int_equal(strlen(fields_string(&f.fields, "a")), FIELD_STRING_MAX);
    assert_int_equal(f.fields.rc, 0);
    fixture_free(&f);

    memcpy(text + 6 + FIELD_STRING_MAX, "x\"}", 4);
    fixture_parse(&f, text);
    assert_string_equal(fields_string(&f.fields, "a"), "");
    assert_int_equal(f.fields.rc, ERR_INVALID);
    fixture_free(&f);
    mem_free(text);
}

static void test_memory_may_run_out(void **state)
{
    struct fixture f;
    size_t count;
    uint64_t nth = 0;

    (void)state;
    do {
        fixture_parse(&f, "{\"a\":\"x\",\"l\":[\"a\",\"b\"]}");
        mem_fail_at(++nth, 0);
        fields_string(&f.fields, "a");
        fields_strings(&f.fields, "l", 2, &count);
        if (mem_fail_hit())
            assert_int_equal(f.fields.rc, ERR_NOMEM);
        else
            assert_int_equal(f.fields.rc, 0);
        mem_fail_at(0, 0);
        fixture_free(&f);
    } while (f.fields.rc != 0);
    assert_true(nth > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_are_read),
        cmocka_unit_test(test_counts_are_whole),
        cmocka_unit_test(test_absent_and_null_are_the_same),
        cmocka_unit_test(test_no_body_is_an_empty_object),
        cmocka_unit_test(test_wrong_types_are_named),
        cmocka_unit_test(test_only_objects_are_bodies),
        cmocka_unit_test(test_strings_have_a_limit),
        cmocka_unit_test(test_memory_may_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
