#include "cmocka_all.h"

#include <string.h>

#include "store/record.h"
#include "store/text.h"

static void assert_clean(const char *text, const char *expected)
{
    struct buf out;

    buf_init(&out, 1000);
    assert_int_equal(text_put_clean(&out, text), 0);
    assert_string_equal(buf_str(&out), expected);
    buf_free(&out);
}

static void test_clean(void **state)
{
    (void)state;
    assert_clean("", "");
    assert_clean("plain", "plain");
    assert_clean("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    assert_clean("a\xff", "a\xEF\xBF\xBD");
    assert_clean("\xc3(", "\xEF\xBF\xBD(");
    assert_clean("\xe2\x82", "\xEF\xBF\xBD\xEF\xBF\xBD");
    assert_clean("\xed\xa0\x80!", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD!");
}

static void test_clean_has_a_limit(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 4);
    assert_int_equal(text_put_clean(&out, "\xff\xff"), ERR_LIMIT);
    buf_free(&out);
}

static void test_count(void **state)
{
    (void)state;
    assert_int_equal(text_count_characters("", 0), 0);
    assert_int_equal(text_count_characters("abc", 3), 3);
    assert_int_equal(text_count_characters("\xc3\xa9\xe2\x82\xac", 5), 2);
}

static void test_clean_text_is_not_copied(void **state)
{
    const char *good = "fine";
    struct buf scratch;

    (void)state;
    buf_init(&scratch, 100);
    assert_ptr_equal(record_clean_text(good, &scratch), good);
    assert_null(record_clean_text(NULL, &scratch));
    assert_int_equal(scratch.rc, 0);
    assert_string_equal(record_clean_text("x\xff", &scratch), "x\xEF\xBF\xBD");
    buf_free(&scratch);
}

static void test_check(void **state)
{
    const struct migration migration = {.id = "id", .schema = ""};
    struct store_record record = {.migration = &migration};
    char schema[600];
    struct err err;

    (void)state;
    memset(schema, 's', 255);
    schema[255] = '\0';
    record.schema = schema;
    assert_int_equal(record_check(&record, &err), 0);
    schema[255] = 's';
    schema[256] = '\0';
    assert_int_equal(record_check(&record, &err), ERR_INVALID);
    record.schema = "\xff";
    assert_int_equal(record_check(&record, &err), ERR_INVALID);
    for (int i = 0; i < 255; i++)
        memcpy(schema + 2 * i, "\xc3\xa9", 3);
    record.schema = schema;
    assert_int_equal(record_check(&record, &err), 0);
}

static void test_base(void **state)
{
    const struct migration fixed = {.schema = "core"}, dynamic = {.schema = ""};
    struct store_record record = {.migration = &fixed, .schema = "core"};

    (void)state;
    assert_true(record_is_base(&record));
    record.schema = "tenant";
    assert_false(record_is_base(&record));
    record.migration = &dynamic;
    assert_true(record_is_base(&record));
}

static void test_weigh(void **state)
{
    const struct store_caller caller = {.execution_context = "0123456789"};
    const struct store_record records[] = {
        {.event = STORE_SKIPPED, .caller = &caller, .schema = "abcd"},
        {.event = STORE_SKIPPED, .caller = &caller, .schema = "", .error = "xyz"},
        {.event = STORE_PENDING, .caller = &caller, .schema = ""}};
    bool only_skips;

    (void)state;
    assert_int_equal(record_weigh(records, 2, &only_skips), 2 * sizeof(records[0]) + 17);
    assert_true(only_skips);
    record_weigh(records, 3, &only_skips);
    assert_false(only_skips);
    assert_int_equal(record_weigh(records, 0, &only_skips), 0);
    assert_false(only_skips);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean), cmocka_unit_test(test_clean_has_a_limit),
        cmocka_unit_test(test_count), cmocka_unit_test(test_clean_text_is_not_copied),
        cmocka_unit_test(test_check), cmocka_unit_test(test_base),
        cmocka_unit_test(test_weigh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
