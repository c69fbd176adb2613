#include <string.h>

#include "base/mem.h"
#include "cmocka_all.h"
#include "grpc/message.h"

static void feed_all(struct grpc_inbox *inbox, const struct buf *bytes, size_t piece,
                     const char *expected, size_t len)
{
    struct buf out = {0};
    size_t at = 0;
    int rc = 0;

    while (rc == 0 && at < bytes->len) {
        size_t left = bytes->len - at < piece ? bytes->len - at : piece;
        size_t taken;

        buf_free(&out);
        rc = grpc_inbox_feed(inbox, bytes->data + at, left, &taken, &out);
        at += taken;
    }
    assert_int_equal(rc, 1);
    assert_int_equal(at, bytes->len);
    assert_int_equal(out.len, len);
    assert_memory_equal(buf_str(&out), expected, len);
    buf_free(&out);
    assert_true(grpc_inbox_is_empty(inbox));
}

static void test_pieces(void **state)
{
    char text[5000];
    struct grpc_inbox inbox;
    struct buf bytes;

    (void)state;
    memset(text, 'x', sizeof(text));
    for (int compress = 0; compress < 2; compress++) {
        for (size_t len = 0; len <= sizeof(text); len += 1250) {
            buf_init(&bytes, 10000);
            assert_int_equal(grpc_put_message(&bytes, text, len, compress), 0);
            for (size_t piece = 1; piece < 8; piece++) {
                grpc_inbox_init(&inbox, sizeof(text));
                inbox.may_be_compressed = true;
                feed_all(&inbox, &bytes, piece, text, len);
                grpc_inbox_free(&inbox);
            }
            buf_free(&bytes);
        }
    }
}

static void test_incompressible(void **state)
{
    unsigned char text[2048];
    struct buf bytes;
    uint32_t seed = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++) {
        seed = seed * 1664525 + 1013904223;
        text[i] = (unsigned char)(seed >> 24);
    }
    buf_init(&bytes, 10000);
    assert_int_equal(grpc_put_message(&bytes, text, sizeof(text), true), 0);
    assert_int_equal(bytes.len, GRPC_PREFIX_SIZE + sizeof(text));
    assert_int_equal(bytes.data[0], 0);
    buf_free(&bytes);
}

static int feed_raw(const char *data, size_t len, size_t max, bool may_be_compressed)
{
    struct grpc_inbox inbox;
    struct buf out;
    size_t taken;
    int rc;

    grpc_inbox_init(&inbox, max);
    inbox.may_be_compressed = may_be_compressed;
    rc = grpc_inbox_feed(&inbox, data, len, &taken, &out);
    buf_free(&out);
    grpc_inbox_free(&inbox);
    return rc;
}

static void test_refused(void **state)
{
    struct buf bytes;
    char zeros[20000] = {0};

    (void)state;
    assert_int_equal(feed_raw("\0\0\0\0\5", 5, 4, true), ERR_LIMIT);
    assert_int_equal(feed_raw("\0\0\0\0\4", 5, 4, true), 0);
    assert_int_equal(feed_raw("\2\0\0\0\1", 5, 4, true), ERR_INVALID);
    assert_int_equal(feed_raw("\1\0\0\0\1a", 6, 4, false), ERR_INVALID);
    assert_int_equal(feed_raw("\1\0\0\0\1a", 6, 4, true), ERR_INVALID);
    buf_init(&bytes, 30000);
    assert_int_equal(grpc_put_message(&bytes, zeros, sizeof(zeros), true), 0);
    assert_in_range(bytes.len, 1, 1000);
    assert_int_equal(feed_raw(bytes.data, bytes.len, 20000, true), 1);
    assert_int_equal(feed_raw(bytes.data, bytes.len, 19999, true),
                     ERR_LIMIT); /* inflates to more */
    assert_int_equal(feed_raw(bytes.data, bytes.len - 1, 20000, true), 0);
    buf_free(&bytes);
}

static void test_no_memory(void **state)
{
    char zeros[3000] = {0};
    struct buf bytes;
    int rc;

    (void)state;
    for (unsigned nth = 1;; nth++) {
        buf_init(&bytes, 10000);
        mem_fail_at(nth, 1);
        rc = grpc_put_message(&bytes, zeros, sizeof(zeros), true);
        if (rc == 0)
            rc = feed_raw(bytes.data, bytes.len, sizeof(zeros), true);
        mem_fail_at(0, 0);
        buf_free(&bytes);
        if (rc == 1)
            break;
        assert_int_equal(rc, ERR_NOMEM);
        assert_in_range(nth, 1, 50);
    }
}

static void test_failure(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 10000);
    assert_int_equal(grpc_put_failure(&out, "100% \xc3\xa4\n~"), 0);
    assert_string_equal(buf_str(&out), "100%25 %C3%A4%0A~");
    buf_free(&out);
}

static void test_timeout(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"1H", 3600000}, {"2M", 120000}, {"3S", 3000},
                {"4m", 4},       {"5u", 1},      {"1n", 1},
                {"0m", 0},       {"1500u", 2},   {"99999999H", 99999999ull * 3600000}};
    static const char *const bad[] = {"",   "1",   "m",   "123456789m", "-1m",
                                      "1x", "1mm", " 1m", "1.5S"};
    uint64_t ms;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(grpc_parse_timeout(good[i].text, &ms));
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(grpc_parse_timeout(bad[i], &ms));
}

static void test_accepts(void **state)
{
    (void)state;
    assert_true(grpc_accepts("identity, deflate,gzip", "gzip"));
    assert_true(grpc_accepts("gzip", "gzip"));
    assert_false(grpc_accepts("gzipped", "gzip"));
    assert_false(grpc_accepts("", "gzip"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),  cmocka_unit_test(test_incompressible),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_failure), cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_accepts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
