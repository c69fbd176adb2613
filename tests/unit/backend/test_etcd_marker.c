/* Markers and records of the etcd backend as texts. */
#include "cmocka_all.h"

#include <string.h>

#include "backend/etcd_marker.h"
#include "backend/etcd_record.h"

static struct slice text(const char *text)
{
    return (struct slice){.at = text, .len = strlen(text)};
}

static void test_marker(void **state)
{
    struct etcdb_marker marker = {.kind = ETCDB_UP_PART,
                                  .checksum = "c1",
                                  .run_id = "run \"1\"",
                                  .attempt = "a1",
                                  .applied_at_us = INT64_C(1735732800123456),
                                  .kept = true,
                                  .records = 3,
                                  .operations = 1000,
                                  .done = 126,
                                  .script = "s1",
                                  .plan = "p1"};
    struct etcdb_marker read;
    struct err err = {0};
    struct buf out, again;

    (void)state;
    buf_init(&out, 4096);
    assert_int_equal(etcdb_marker_put(&out, &marker), 0);
    assert_int_equal(etcdb_marker_read(out.data, out.len, &read, &err), 0);
    buf_init(&again, 4096);
    assert_int_equal(etcdb_marker_put(&again, &read), 0);
    assert_string_equal(again.data, out.data);
    assert_true(strstr(again.data, "\"done\":126,\"script\":\"s1\"") != NULL);
    assert_int_equal(read.records, 3);
    buf_free(&again);
    buf_truncate(&out, 0);
    marker.kind = ETCDB_UP;
    marker.kept = false;
    marker.records = 0;
    etcdb_marker_put(&out, &marker);
    assert_int_equal(etcdb_marker_read(out.data, out.len, &read, &err), 0);
    assert_int_equal(read.kind, ETCDB_UP);
    assert_false(read.kept);
    assert_int_equal(read.applied_at_us, marker.applied_at_us);
    buf_free(&out);
}

/* Of what it was before only the little is left that the next up and down, and people, ask for. */
static void test_tombstone(void **state)
{
    struct etcdb_marker marker = {.kind = ETCDB_UNDONE,
                                  .checksum = "c1",
                                  .run_id = "run-1",
                                  .attempt = "a2",
                                  .undid = "a1",
                                  .applied_at_us = INT64_C(1735732800123456),
                                  .kept = true,
                                  .records = 3,
                                  .operations = 1000,
                                  .done = 126,
                                  .script = "s1",
                                  .plan = "p1"};
    struct etcdb_marker read;
    struct err err = {0};
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    assert_int_equal(etcdb_marker_put(&out, &marker), 0);
    assert_string_equal(out.data, "{\"kind\":\"undone\",\"checksum\":\"c1\",\"run_id\":\"run-1\","
                                  "\"attempt\":\"a2\",\"undid\":\"a1\"}");
    assert_int_equal(etcdb_marker_read(out.data, out.len, &read, &err), 0);
    assert_int_equal(read.kind, ETCDB_UNDONE);
    assert_string_equal(read.undid, "a1");
    assert_false(read.kept || etcdb_marker_is_applied(&read));
    for (int kind = ETCDB_UP; kind < ETCDB_UNDONE; kind++) {
        marker.kind = (enum etcdb_kind)kind;
        assert_int_equal(etcdb_marker_is_applied(&marker), kind != ETCDB_UP_PART);
    }
    buf_truncate(&out, 0);
    marker.kind = ETCDB_UNDO_PART; /* it is handed on */
    etcdb_marker_put(&out, &marker);
    assert_int_equal(etcdb_marker_read(out.data, out.len, &read, &err), 0);
    assert_string_equal(read.undid, "a1");
    assert_int_equal(read.records, 3);
    buf_free(&out);
}

/* A part of a down by a server that knew no tombstones. */
static void test_older_marker(void **state)
{
    static const char old[] =
        "{\"kind\":\"undo-part\",\"checksum\":\"c\",\"run_id\":\"r\",\"attempt\":\"a\","
        "\"applied_at_us\":7,\"operations\":9,\"records\":2,\"done\":0,\"script\":\"\",\"plan\":\"\"}";
    struct etcdb_marker read;
    struct err err = {0};
    struct buf out;

    (void)state;
    assert_int_equal(etcdb_marker_read(old, sizeof(old) - 1, &read, &err), 0);
    assert_int_equal(read.kind, ETCDB_UNDO_PART);
    assert_string_equal(read.undid, "");
    buf_init(&out, 4096);
    assert_int_equal(etcdb_marker_put(&out, &read), 0);
    assert_string_equal(out.data, old);
    buf_free(&out);
}

static void test_bad_markers(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "7",
        "{}",
        "{\"kind\":\"up\"}",
        "{\"kind\":\"sideways\",\"checksum\":\"c\"}",
        "{\"kind\":\"up\",\"checksum\":7}",
        "{\"kind\":\"up\",\"checksum\":\"c\",\"done\":-1}",
        "{\"kind\":\"up\",\"checksum\":\"c\",\"done\":2,\"operations\":1}",
        "{\"kind\":\"up\",\"checksum\":\"c\",\"records\":1e99}",
        "{\"kind\":\"undone\"}",
        "{\"kind\":\"undone\",\"checksum\":\"c\",\"undid\":7}",
        "{\"kind\":\"undone\",\"checksum\":\"c\",\"undid\":\"123456789012345678901234567890123\"}",
        "{\"kind\":\"up\",\"checksum\":\"c\",\"plan\":\"12345678901234567\"}"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct etcdb_marker read;
        struct err err = {0};

        assert_int_equal(etcdb_marker_read(bad[i], strlen(bad[i]), &read, &err), ERR_INVALID);
    }
}

static void test_record(void **state)
{
    const struct slice before = {.at = "\x00\xff\x01", .len = 3}, after = {.at = "new", .len = 3};
    struct etcdb_record record;
    struct arena arena;
    struct err err = {0};
    struct buf out;

    (void)state;
    arena_init(&arena);
    buf_init(&out, 4096);
    etcdb_record_begin(&out);
    etcdb_record_add(&out, "/t/", text("a"), &before, &after);
    etcdb_record_add(&out, "", text("/t/b"), NULL, &after);
    etcdb_record_add(&out, "/t/", text("c"), &before, NULL);
    assert_int_equal(etcdb_record_end(&out), 0);
    assert_true(out.len <= 3 * etcdb_record_size_of(4, 3) + 16);
    assert_int_equal(
        etcdb_record_read((struct slice){.at = out.data, .len = out.len}, &arena, &record, &err),
        0);
    assert_int_equal(record.count, 3);
    assert_string_equal(record.entries[0].key.at, "/t/a");
    assert_true(record.entries[0].was && record.entries[0].is);
    assert_int_equal(record.entries[0].before.len, 3);
    assert_memory_equal(record.entries[0].before.at, before.at, 3);
    assert_int_equal(strlen(record.entries[0].after), 64);
    assert_false(record.entries[1].was);
    assert_false(record.entries[2].is);
    assert_int_equal(etcdb_record_read(text("{\"entries\":[{}]}"), &arena, &record, &err),
                     ERR_INVALID);
    assert_int_equal(
        etcdb_record_read(text("{\"entries\":[{\"key\":\"!\"}]}"), &arena, &record, &err),
        ERR_INVALID);
    buf_free(&out);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marker),       cmocka_unit_test(test_tombstone),
        cmocka_unit_test(test_older_marker), cmocka_unit_test(test_bad_markers),
        cmocka_unit_test(test_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
