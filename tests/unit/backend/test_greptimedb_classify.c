#include "cmocka_all.h"

#include <string.h>

#include "backend/greptimedb_classify.h"
#include "backend/greptimedb_sql.h"
#include "base/base.h"

/* Section 5 of the contract, row by row. */
static void test_codes(void **state)
{
    static const struct {
        int code, status;
        char verdict; /* N fails, R is retried, A is not known */
    } rows[] = {
        {1000, 500, 'A'}, {1001, 400, 'N'}, {1002, 500, 'N'}, {1003, 500, 'A'}, {1004, 400, 'N'},
        {1005, 504, 'A'}, {1008, 504, 'A'}, {1006, 500, 'A'}, {1007, 503, 'A'}, {1009, 503, 'R'},
        {2000, 400, 'N'}, {3000, 400, 'N'}, {3001, 500, 'N'}, {4000, 400, 'N'}, {4001, 400, 'N'},
        {4002, 400, 'N'}, {4003, 400, 'N'}, {4004, 400, 'N'}, {4005, 400, 'N'}, {4006, 400, 'N'},
        {4007, 401, 'A'}, {4008, 503, 'R'}, {4009, 503, 'R'}, {4010, 503, 'R'}, {4011, 400, 'N'},
        {5000, 503, 'A'}, {5001, 400, 'N'}, {6000, 500, 'R'}, {6001, 429, 'R'}, {7000, 401, 'N'},
        {7001, 401, 'N'}, {7002, 401, 'N'}, {7003, 401, 'N'}, {7004, 401, 'N'}, {7005, 403, 'N'},
        {7006, 403, 'N'}, {8000, 400, 'N'}, {8001, 400, 'N'}, {9000, 400, 'N'}, {9001, 400, 'N'},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        enum gtdb_verdict expected = rows[i].verdict == 'N'   ? GTDB_REFUSED
                                     : rows[i].verdict == 'R' ? GTDB_BUSY
                                                              : GTDB_UNKNOWN;

        if (gtdb_judge_code(rows[i].code, rows[i].status) != expected)
            fail_msg("%d is not %c", rows[i].code, rows[i].verdict);
        assert_non_null(gtdb_find_code(rows[i].code));
        assert_int_equal(gtdb_find_code(rows[i].code)->code, rows[i].code);
    }
    assert_string_equal(gtdb_find_code(4000)->name, "TableAlreadyExists");
    assert_string_equal(gtdb_find_code(6001)->name, "RateLimited");
}

static void test_unknown_codes(void **state)
{
    (void)state;
    assert_null(gtdb_find_code(4999));
    assert_int_equal(gtdb_judge_code(4999, 400), GTDB_REFUSED);
    assert_int_equal(gtdb_judge_code(4999, 500), GTDB_UNKNOWN);
    assert_int_equal(gtdb_judge_code(4999, 200), GTDB_UNKNOWN);
    assert_int_equal(gtdb_judge_code(1005, 200), GTDB_UNKNOWN); /* v0.9 */
    assert_int_equal(gtdb_judge_code(4000, 200), GTDB_REFUSED); /* v0.4 */
}

static void test_statuses(void **state)
{
    static const int refused[] = {301, 400, 401, 403, 404, 405, 413, 414, 415, 422};
    static const int unknown[] = {200, 204, 408, 500, 502, 503, 504};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        assert_int_equal(gtdb_judge_status(refused[i]), GTDB_REFUSED);
    for (size_t i = 0; i < ARRAY_SIZE(unknown); i++)
        assert_int_equal(gtdb_judge_status(unknown[i]), GTDB_UNKNOWN);
    assert_int_equal(gtdb_judge_status(429), GTDB_BUSY);
    for (int status = 100; status < 600; status++)
        assert_non_null(gtdb_status_text(status));
}

static void test_users(void **state)
{
    (void)state;
    for (int code = 7000; code <= 7005; code++)
        assert_true(gtdb_code_is_about_user(code));
    assert_false(gtdb_code_is_about_user(7006));
    assert_false(gtdb_code_is_about_user(6001));
}

static void test_names(void **state)
{
    static const char *const valid[] = {"a", "A", "_", ":", "-", "a-b", "a.b", "a@b#c:d_9"};
    static const char *const invalid[] = {"",    "1a",   ".a",       "@a",  "#a",  "a b",
                                          "a'b", "a\"b", "\xc3\xa4", "a/b", "a\nb"};
    char name[65];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(valid); i++)
        assert_true(gtdb_name_is_valid(valid[i]));
    for (size_t i = 0; i < ARRAY_SIZE(invalid); i++)
        if (gtdb_name_is_valid(invalid[i]))
            fail_msg("\"%s\" is valid", invalid[i]);
    memset(name, 'a', 64);
    name[64] = '\0';
    assert_false(gtdb_name_is_valid(name));
    assert_true(gtdb_name_is_valid(name + 1));
}

static void test_quotes(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 1000);
    assert_int_equal(gtdb_put_identifier(&buf, "a\"b'c\\"), 0);
    assert_int_equal(gtdb_put_literal(&buf, "a\"b'c\\"), 0);
    assert_string_equal(buf_str(&buf), "\"a\"\"b'c\\\"'a\"b''c\\'");
    buf_free(&buf);
}

static void test_paths(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 1000);
    gtdb_put_path(&buf, "public", false);
    buf_putc(&buf, ' ');
    gtdb_put_path(&buf, "a-b", true);
    buf_putc(&buf, ' ');
    gtdb_put_path(&buf, "a#b@c", false);
    assert_string_equal(buf_str(&buf), "/v1/sql?db=public /v1/sql?db=greptime-a-b&limit=1 "
                                       "/v1/sql?db=a%23b%40c");
    buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),    cmocka_unit_test(test_unknown_codes),
        cmocka_unit_test(test_statuses), cmocka_unit_test(test_users),
        cmocka_unit_test(test_names),    cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
