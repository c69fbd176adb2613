#include <string.h>

#include "base/err.h"
#include "base/hex.h"
#include "cmocka_all.h"

static void test_bytes_come_back(void **state)
{
    unsigned char all[256], got[256];
    struct buf text;

    (void)state;
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (unsigned char)i;
    buf_init(&text, 1024);
    assert_int_equal(hex_put(&text, all, sizeof(all)), 0);
    assert_int_equal(text.len, 2 * sizeof(all));
    assert_memory_equal(text.data, "000102", 6);
    assert_int_equal(hex_read(text.data, sizeof(all), got), 0);
    assert_memory_equal(got, all, sizeof(all));
    buf_free(&text);
}

static void test_other_texts_are_refused(void **state)
{
    static const char *const wrong[] = {"0g", "g0", "0A", "0 ", "0", "-1"};
    char got;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(hex_read(wrong[i], 1, &got), ERR_INVALID);
    assert_int_equal(hex_read("", 0, &got), 0);
}

static void test_room_may_run_out(void **state)
{
    struct buf text;

    (void)state;
    buf_init(&text, 3);
    assert_int_equal(hex_put(&text, "ab", 2), ERR_LIMIT);
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_come_back),
        cmocka_unit_test(test_other_texts_are_refused),
        cmocka_unit_test(test_room_may_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
