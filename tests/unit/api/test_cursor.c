/* Cursors: what was put is read again, and nothing else is taken. */
#include <string.h>

#include "api/cursor.h"
#include "base/err.h"
#include "base/mem.h"
#include "cmocka_all.h"

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static const char *make(char kind, const char *const *parts, size_t count)
{
    struct buf out;
    char *text;

    buf_init(&out, 4096);
    assert_int_equal(cursor_put(&out, kind, parts, count), 0);
    text = arena_strndup(&arena, out.data, out.len);
    assert_non_null(text);
    buf_free(&out);
    return text;
}

static void test_parts_come_back(void **state)
{
    static const char *const parts[] = {"1700000000000001", "", "sch\xc3\xa9ma/x\" \x01"};
    const char *got[CURSOR_PARTS_MAX];
    const char *text = make('e', parts, 3);

    (void)state;
    assert_int_equal(text[strspn(text, "0123456789abcdef")], '\0');
    assert_int_equal(cursor_read(text, 'e', &arena, got, 3), 0);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(got[i], parts[i]);
}

static void test_other_texts_are_refused(void **state)
{
    static const char *const parts[] = {"17"}, *const bad_utf8[] = {"\xff"};
    static const char *const wrong[] = {"",     "6",        "x",       "zz",      "68",
                                        "6831", "683100g0", "68310",   "6831 00", "683100683100",
                                        "-1",   "10",       "683100ff"};
    const char *got[CURSOR_PARTS_MAX];
    const char *text = make('h', parts, 1);

    (void)state;
    assert_int_equal(cursor_read(text, 'h', &arena, got, 1), 0);
    assert_int_equal(cursor_read(text, 's', &arena, got, 1), ERR_INVALID);
    assert_int_equal(cursor_read(text, 'h', &arena, got, 2), ERR_INVALID);
    assert_int_equal(cursor_read(make('h', bad_utf8, 1), 'h', &arena, got, 1), ERR_INVALID);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_int_equal(cursor_read(wrong[i], 'h', &arena, got, 1), ERR_INVALID);
}

static void test_numbers(void **state)
{
    static const char *const wrong[] = {"",   "-1",  "+1",  " 1",
                                        "1 ", "0x1", "101", "9223372036854775808"};
    int64_t number;

    (void)state;
    assert_int_equal(cursor_read_number("0", 100, &number), 0);
    assert_int_equal(number, 0);
    assert_int_equal(cursor_read_number("100", 100, &number), 0);
    assert_int_equal(number, 100);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_int_equal(cursor_read_number(wrong[i], 100, &number), ERR_INVALID);
    assert_int_equal(cursor_read_number("9223372036854775808", INT64_MAX, &number), ERR_INVALID);
}

static void test_memory_may_run_out(void **state)
{
    const char *got[CURSOR_PARTS_MAX];

    (void)state;
    mem_fail_at(1, 0);
    assert_int_equal(cursor_read("683100", 'h', &arena, got, 1), ERR_NOMEM);
    mem_fail_at(0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_parts_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_texts_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory_may_run_out, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
