#include "cmocka_all.h"

#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/utf8.h"

static void assert_duration(const char *text, int64_t expected)
{
    int64_t ms = 424242;

    if (!clock_parse_duration(text, &ms))
        fail_msg("%s is refused", text);
    assert_int_equal(ms, expected);
}

static void test_durations(void **state)
{
    static const char *const bad[] = {"",     " ",   "5",      "s",   "5 s",  "5s ", " 5s",
                                      "5d",   "5S",  "1.2.3s", ".s",  "--5s", "-",   "1e3s",
                                      "0x5s", "5s3", "inf",    "nan", "1h,"};
    int64_t ms;

    (void)state;
    assert_duration("0", 0);
    assert_duration("300ms", 300);
    assert_duration("10s", 10000);
    assert_duration("1m30s", 90000);
    assert_duration("1.5h", 5400000);
    assert_duration("2h45m10s5ms", 9910005);
    assert_duration("1500us", 2);
    assert_duration("999ns", 0);
    assert_duration("-5s", -5000);
    assert_duration("+5s", 5000);
    assert_duration(".5s", 500);
    assert_duration("0s", 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (clock_parse_duration(bad[i], &ms))
            fail_msg("'%s' is taken for a duration", bad[i]);
    assert_false(clock_parse_duration("99999999999999999999h", &ms));
}

static void test_times(void **state)
{
    char text[CLOCK_RFC3339_SIZE];
    uint64_t before = clock_monotonic_ns();

    (void)state;
    clock_format(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00Z");
    clock_format(INT64_C(1735732800999999), text);
    assert_string_equal(text, "2025-01-01T12:00:00Z");
    clock_format(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59Z");
    assert_true(clock_monotonic_ns() >= before);
    assert_true(clock_wall_us() > INT64_C(1735732800000000));
}

static void assert_valid(const char *text, bool valid)
{
    if (utf8_is_valid(text, strlen(text)) != valid)
        fail_msg("utf8_is_valid of %zu bytes is not %d", strlen(text), valid);
}

static void test_utf8(void **state)
{
    (void)state;
    assert_valid("", true);
    assert_valid("plain \x7f", true);
    assert_valid("\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf", true);
    assert_valid("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", true);
    assert_valid("\x80", false);
    assert_valid("\xc3", false);
    assert_valid("\xc3(", false);
    assert_valid("\xc0\x80", false); /* overlong */
    assert_valid("\xc1\xbf", false);
    assert_valid("\xe0\x9f\xbf", false);
    assert_valid("\xf0\x8f\xbf\xbf", false);
    assert_valid("\xed\xa0\x80", false); /* a surrogate */
    assert_valid("\xf4\x90\x80\x80", false);
    assert_valid("\xf5\x80\x80\x80", false);
    assert_valid("\xe2\x82", false);
    assert_valid("\xf0\x9f\x98", false);
    assert_true(utf8_is_valid("a\0b", 3));
}

static void test_utf8_cut(void **state)
{
    static const char text[] = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z";
    static const size_t cuts[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};

    (void)state;
    for (size_t len = 0; len < sizeof(text); len++) {
        assert_int_equal(utf8_cut(text, len), cuts[len]);
        assert_true(utf8_is_valid(text, utf8_cut(text, len)));
    }
}

static void test_times_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2025-01-01T12:00:00Z", INT64_C(1735732800000000)},
        {"2025-01-01t12:00:00z", INT64_C(1735732800000000)},
        {"2025-01-01 13:30:00.5+01:30", INT64_C(1735732800500000)},
        {"2025-01-01T10:00:00.123456789-02:00", INT64_C(1735732800123456)},
        {"2024-02-29T00:00:00Z", INT64_C(1709164800000000)},
        {"2016-12-31T23:59:60Z", INT64_C(1483228800000000)},
    };
    static const char *const bad[] = {
        "",
        "2025-01-01",
        "2025-01-01T12:00:00",
        "2025-02-29T00:00:00Z",
        "2025-13-01T00:00:00Z",
        "2025-00-10T00:00:00Z",
        "2025-01-01T24:00:00Z",
        "2025-01-01T00:60:00Z",
        "2025-01-01T00:00:61Z",
        "2025-1-01T00:00:00Z",
        "2025-01-01T00:00:00.Z",
        "2025-01-01T00:00:00.1234567890Z",
        "2025-01-01T00:00:00+0100",
        "2025-01-01T00:00:00Zx",
        "2025-01-01T00:00:00+24:00",
        "2025-01-00T00:00:00Z",
    };
    int64_t us;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        if (!clock_parse_rfc3339(good[i].text, &us) || us != good[i].us)
            fail_msg("%s", good[i].text);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (clock_parse_rfc3339(bad[i], &us))
            fail_msg("%s", bad[i]);
}

static void test_digests_are_found(void **state)
{
    struct hash_sha256 table[3], wanted;
    char hex[HASH_SHA256_HEX];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        assert_int_equal(hash_sha256("abc", i, &table[i]), 0);
    assert_int_equal(hash_sha256_hex("ab", 2, hex), 0);
    assert_true(hash_sha256_parse(hex, &wanted));
    assert_int_equal(hash_find_const_time(table, 3, &wanted), 2);
    wanted.bytes[31] ^= 1;
    assert_int_equal(hash_find_const_time(table, 3, &wanted), 3);
    assert_int_equal(hash_find_const_time(table, 0, &wanted), 0);
    hex[0] = 'G';
    assert_false(hash_sha256_parse(hex, &wanted));
    assert_false(hash_sha256_parse("00", &wanted));
}

static void test_hashes(void **state)
{
    static const char key[] = "20250101120000_create_users_postgresql_core\0core\0core";
    char hex[HASH_SHA256_HEX];
    uint64_t hash = hash_fnv1a(HASH_FNV_START, key, sizeof(key) - 1);
    unsigned char a[16], b[16];

    (void)state;
    assert_int_equal((int32_t)(uint32_t)(hash >> 32), -97142035);
    assert_int_equal((int32_t)(uint32_t)hash, -557870656);
    assert_true(hash_fnv1a(HASH_FNV_START, "", 0) == HASH_FNV_START);
    assert_true(hash_fnv1a(HASH_FNV_START, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(hash_fnv1a(hash_fnv1a(HASH_FNV_START, "foo", 3), "bar", 3) ==
                UINT64_C(0x85944171f73967e8));

    assert_int_equal(hash_sha256_hex("", 0, hex), 0);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(hash_sha256_hex("abc", 3, hex), 0);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");

    assert_true(hash_equal_const_time("abc", "abc", 3));
    assert_false(hash_equal_const_time("abc", "abd", 3));
    hash_random(a, sizeof(a));
    hash_random(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
}

static void test_errors(void **state)
{
    struct err err;
    char longer[2 * ERR_TEXT_MAX];

    (void)state;
    assert_int_equal(err_set(NULL, ERR_LIMIT, "x"), ERR_LIMIT);
    assert_int_equal(err_set(&err, ERR_DB, "%s %d", "a", 1), ERR_DB);
    assert_string_equal(err_text(&err), "a 1");
    err.statement = 3;
    err.line = 4;
    memcpy(err.sqlstate, "23505", 6);
    assert_int_equal(err_prefix(&err, "lane %d", 2), ERR_DB);
    assert_string_equal(err_text(&err), "lane 2: a 1");
    assert_int_equal(err.statement, 3);
    assert_int_equal(err.line, 4);
    assert_string_equal(err.sqlstate, "23505");
    assert_int_equal(err_set(&err, ERR_TIMEOUT, "%s", ""), ERR_TIMEOUT);
    assert_int_equal(err.line, 0);
    assert_string_equal(err_text(&err), "timed out");
    err_clear(&err);
    assert_int_equal(err.code, 0);
    assert_string_equal(err_text(&err), "success");
    assert_string_equal(err_code_name(ERR_IN_DOUBT), "IN_DOUBT");
    assert_string_equal(err_code_name(0), "OK");
    assert_string_equal(err_code_text(-1000), "unknown error");

    /* cut at the end of a character */
    for (size_t i = 0; i + 2 < sizeof(longer); i += 2)
        memcpy(longer + i, "\xc3\xa4", 2);
    longer[sizeof(longer) - 2] = '\0';
    err_set(&err, ERR_DB, "%s", longer);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 2);
    assert_true(utf8_is_valid(err.text, strlen(err.text)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),      cmocka_unit_test(test_times),
        cmocka_unit_test(test_utf8),           cmocka_unit_test(test_utf8_cut),
        cmocka_unit_test(test_times_are_read), cmocka_unit_test(test_digests_are_found),
        cmocka_unit_test(test_hashes),         cmocka_unit_test(test_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
