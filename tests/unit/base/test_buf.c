#include "cmocka_all.h"

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

static void test_append(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 1000);
    assert_string_equal(buf_str(&buf), "");
    assert_int_equal(buf_puts(&buf, "ab"), 0);
    assert_int_equal(buf_putc(&buf, 'c'), 0);
    assert_int_equal(buf_append(&buf, "d\0e", 3), 0);
    assert_int_equal(buf_append(&buf, NULL, 0), 0);
    assert_int_equal(buf_printf(&buf, "%d-%s", 7, "x"), 0);
    assert_int_equal(buf.len, 9);
    assert_memory_equal(buf.data, "abcd\0e7-x", 10);
    buf_free(&buf);
    assert_string_equal(buf_str(&buf), "");
    assert_int_equal(buf_puts(&buf, "again"), 0);
    assert_string_equal(buf_str(&buf), "again");
    buf_free(&buf);
}

static void test_grows_byte_by_byte(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 100000);
    for (size_t i = 0; i < 100000; i++)
        assert_int_equal(buf_putc(&buf, (char)('a' + i % 26)), 0);
    for (size_t i = 0; i < 100000; i++)
        assert_int_equal(buf.data[i], 'a' + i % 26);
    assert_int_equal(buf.data[buf.len], '\0');
    buf_free(&buf);
}

static void test_drop(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 6);
    buf_drop(&buf, 0);
    assert_int_equal(buf_puts(&buf, "123456"), 0);
    buf_drop(&buf, 4);
    assert_string_equal(buf.data, "56");
    assert_int_equal(buf_puts(&buf, "7890"), 0);
    assert_string_equal(buf.data, "567890");
    buf_drop(&buf, 6);
    assert_int_equal(buf.len, 0);
    assert_string_equal(buf.data, "");
    buf_free(&buf);
}

static void test_maximum(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 5);
    assert_int_equal(buf_puts(&buf, "12345"), 0);
    assert_int_equal(buf_putc(&buf, '6'), ERR_LIMIT);
    assert_string_equal(buf.data, "12345");
    assert_int_equal(buf_append(&buf, "", 0), ERR_LIMIT); /* sticks */
    buf_truncate(&buf, 3);
    assert_string_equal(buf.data, "123");
    assert_int_equal(buf_printf(&buf, "%s", "ab"), 0);
    assert_int_equal(buf_printf(&buf, "%s", "c"), ERR_LIMIT);
    assert_string_equal(buf.data, "123ab");
    buf_free(&buf);
}

static void test_long_printf(void **state)
{
    char text[500];
    struct buf buf;

    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    buf_init(&buf, 1000);
    assert_int_equal(buf_printf(&buf, "<%s>", text), 0);
    assert_int_equal(buf.len, 501);
    assert_int_equal(buf.data[500], '>');
    assert_int_equal(buf_printf(&buf, "%s%s", text, text), ERR_LIMIT);
    assert_int_equal(buf.len, 501);
    buf_free(&buf);
}

static void test_take(void **state)
{
    struct buf buf;
    char *text;

    (void)state;
    buf_init(&buf, 10);
    text = buf_take(&buf);
    assert_string_equal(text, "");
    mem_free(text);
    buf_puts(&buf, "abc");
    text = buf_take(&buf);
    assert_string_equal(text, "abc");
    mem_free(text);
    assert_int_equal(buf.len, 0);
    assert_int_equal(buf.max, 10);
    buf_puts(&buf, "much too long");
    assert_null(buf_take(&buf));
    buf_free(&buf);
}

static void test_out_of_memory(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 1000);
    mem_fail_at(1, 0);
    assert_int_equal(buf_puts(&buf, "x"), ERR_NOMEM);
    assert_true(mem_fail_hit());
    assert_int_equal(buf_puts(&buf, "y"), ERR_NOMEM);
    assert_null(buf_take(&buf));
    mem_fail_at(0, 0);
    buf_truncate(&buf, 0);
    assert_int_equal(buf_puts(&buf, "z"), 0);
    assert_string_equal(buf.data, "z");
    buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),        cmocka_unit_test(test_grows_byte_by_byte),
        cmocka_unit_test(test_drop),          cmocka_unit_test(test_maximum),
        cmocka_unit_test(test_long_printf),   cmocka_unit_test(test_take),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
