/* What clients say about how a run is to be run: limits of failures, and idempotency keys. */
#include <string.h>

#include "api/ops_how.h"
#include "base/mem.h"
#include "cmocka_all.h"

struct failures_case {
    const char *on_error;
    int max; /* -1: not given */
    bool given, limited;
};

static void test_failures(void **state)
{
    static const struct failures_case cases[] = {
        {"", -1, false, false},      {"continue", -1, true, false}, {"stop", -1, true, true},
        {"", 0, true, true},         {"", 3, true, true},           {"stop", 0, true, true},
        {"continue", 3, true, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t max = cases[i].max > 0 ? (size_t)cases[i].max : 0;
        struct ops_failures got;
        struct err err;

        assert_int_equal(
            ops_how_read_failures(cases[i].on_error, cases[i].max >= 0, max, &got, &err), 0);
        assert_int_equal(got.given, cases[i].given);
        assert_int_equal(got.limited, cases[i].limited);
        assert_int_equal(got.max, max);
    }
}

static void test_wrong_failures(void **state)
{
    struct ops_failures got;
    struct err err;

    (void)state;
    assert_int_equal(ops_how_read_failures("Stop", false, 0, &got, &err), ERR_INVALID);
    assert_non_null(strstr(err_text(&err), "on_error"));
    assert_int_equal(ops_how_read_failures("stop", true, 1, &got, &err), ERR_INVALID);
    assert_non_null(strstr(err_text(&err), "contradicts"));
    assert_int_equal(ops_how_read_failures("continue", true, 0, &got, &err), ERR_INVALID);
}

static void test_keys(void **state)
{
    char text[OPS_KEY_MAX + 2];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[OPS_KEY_MAX + 1] = '\0';
    assert_non_null(ops_how_check_key(text));
    text[OPS_KEY_MAX] = '\0';
    assert_null(ops_how_check_key(text));
    assert_null(ops_how_check_key(" ~"));
    assert_non_null(ops_how_check_key(""));
    assert_non_null(ops_how_check_key("a\tb"));
    assert_non_null(ops_how_check_key("\x7f"));
    assert_non_null(ops_how_check_key("\xc3\xa9"));
}

static void test_fingerprints(void **state)
{
    const char *one, *same, *other_call, *other_body;
    struct arena arena;

    (void)state;
    arena_init(&arena);
    assert_int_equal(ops_how_make_fingerprint(&arena, "POST /a", "ab", 2, &one), 0);
    assert_int_equal(ops_how_make_fingerprint(&arena, "POST /a", "ab", 2, &same), 0);
    assert_int_equal(ops_how_make_fingerprint(&arena, "POST /b", "ab", 2, &other_call), 0);
    assert_int_equal(ops_how_make_fingerprint(&arena, "POST /a", "a\0", 2, &other_body), 0);
    assert_string_equal(one, same);
    assert_string_not_equal(one, other_call);
    assert_string_not_equal(one, other_body);
    arena_free(&arena);
}

static void test_memory_may_run_out(void **state)
{
    const char *got;
    struct arena arena;

    (void)state;
    arena_init(&arena);
    mem_fail_at(1, 0);
    assert_int_equal(ops_how_make_fingerprint(&arena, "POST /a", "ab", 2, &got), ERR_NOMEM);
    mem_fail_at(0, 0);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_wrong_failures),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_fingerprints),
        cmocka_unit_test(test_memory_may_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
