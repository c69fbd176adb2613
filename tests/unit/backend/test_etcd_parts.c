/* The parts of the etcd backend that know no network. */
#include "cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "backend/etcd_client.h"
#include "backend/etcd_keys.h"
#include "backend/etcd_pack.h"
#include "base/mem.h"

static struct slice text(const char *text)
{
    return (struct slice){.at = text, .len = strlen(text)};
}

static void assert_path(const char *prefix, const char *schema, const char *table,
                        const char *expected)
{
    struct buf out;

    buf_init(&out, 1024);
    assert_int_equal(etcdb_put_path(&out, prefix, schema, table), 0);
    assert_string_equal(buf_str(&out), expected);
    buf_free(&out);
}

static void test_paths(void **state)
{
    struct buf out;

    (void)state;
    assert_path("/", "t1", "", "/t1/");
    assert_path("/app/", "t1", "users", "/app/t1/users/");
    assert_path("/app/", "/abs", "", "/abs/");
    assert_path("/app/", "/abs/", "users", "/abs/users/");
    assert_path("/app/", "/", "", "/");
    assert_path("/", "a/b", "c/", "/a/b/c/");
    buf_init(&out, 1024);
    etcdb_put_reserved(&out, "/");
    buf_putc(&out, ' ');
    etcdb_put_reserved(&out, "/app/");
    assert_string_equal(buf_str(&out), ".bfm/ /app.bfm/");
    buf_free(&out);
}

static void test_marker_keys(void **state)
{
    struct slice schema, id;
    struct buf a, b;

    (void)state;
    buf_init(&a, 1024);
    buf_init(&b, 1024);
    etcdb_put_marker_key(&a, "/app.bfm/", "/t", "2025_x_etcd_conf");
    assert_true(etcdb_read_marker_key("/app.bfm/", (struct slice){.at = a.data, .len = a.len},
                                      &schema, &id));
    assert_int_equal(schema.len, 2);
    assert_memory_equal(schema.at, "/t", 2);
    assert_int_equal(id.len, 16);
    assert_memory_equal(id.at, "2025_x_etcd_conf", 16);
    /* ordered by (schema, ID): "/t" is in front of "/t/a" and "/t-" whatever the IDs are */
    etcdb_put_marker_key(&b, "/app.bfm/", "/t-", "0");
    assert_true(memcmp(a.data, b.data, a.len < b.len ? a.len : b.len) < 0);
    assert_false(etcdb_read_marker_key("/app.bfm/", text("/app.bfm/journal/x"), &schema, &id));
    assert_false(etcdb_read_marker_key("/app.bfm/", text("/app.bfm/journal/"), &schema, &id));
    assert_false(etcdb_read_marker_key("/app.bfm/", text("/app.bfm/undo/x"), &schema, &id));
    assert_false(etcdb_read_marker_key(
        "/app.bfm/", (struct slice){.at = "/app.bfm/journal/x\0y\0z", .len = 22}, &schema, &id));
    assert_false(etcdb_read_marker_key(
        "/app.bfm/", (struct slice){.at = "/app.bfm/journal/x\0", .len = 19}, &schema, &id));
    buf_free(&a);
    buf_free(&b);
}

static bool is_reserved(const char *path, enum etcd_operation_kind kind, const char *key,
                        const char *end)
{
    const struct etcd_operation one = {.kind = kind, .key = text(key), .end = text(end)};
    const struct etcd_operations operations = {.items = &one, .count = 1, .given = 1};

    return etcdb_find_reserved(&operations, path, "/app.bfm/") != NULL;
}

static void test_reserved(void **state)
{
    (void)state;
    assert_true(is_reserved("/app.bfm/", ETCD_PUT, "x", ""));
    assert_true(is_reserved("/", ETCD_PUT, "app.bfm/journal/x", ""));
    assert_false(is_reserved("/", ETCD_PUT, "app.bfm", ""));
    assert_false(is_reserved("/app/", ETCD_PUT, "app.bfm/", ""));
    assert_false(is_reserved("/app.bfm2/", ETCD_PUT, "x", ""));
    assert_true(is_reserved("/", ETCD_DELETE_RANGE, "app", "apq"));
    assert_true(is_reserved("/", ETCD_DELETE_RANGE, "app.bfm/undo/", "app.bfm/undo0"));
    assert_true(is_reserved("/", ETCD_DELETE_RANGE, "a", "app.bfm/k"));
    assert_true(is_reserved("/app", ETCD_DELETE_RANGE, ".", "/"));
    assert_false(is_reserved("/", ETCD_DELETE_RANGE, "app/", "app0"));
    assert_false(is_reserved("/", ETCD_DELETE_RANGE, "a", "app.bfm/"));
    assert_false(is_reserved("/", ETCD_DELETE_RANGE, "b", "c"));
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;

    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

static void make_puts(struct etcd_operation *items, char (*keys)[24], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        snprintf(keys[i], sizeof(keys[i]), "k%zu", i);
        items[i] = (struct etcd_operation){
            .kind = ETCD_PUT, .number = (unsigned)i + 1, .key = text(keys[i]), .value = text("v")};
    }
}

/* No level of a transaction has more operations than etcd takes there. */
static void assert_nesting(size_t count, size_t groups)
{
    static struct etcd_operation items[5000];
    static char keys[5000][24];
    const struct etcdb_limits limits = {.operations = 128, .request = 1 << 20, .nested = true};
    struct etcdb_txn txn;
    cJSON *root, *outer;
    size_t most = 0, all = 0;

    make_puts(items, keys, count);
    etcdb_txn_init(&txn, 1 << 24);
    etcdb_txn_begin(&txn);
    etcdb_txn_success(&txn);
    etcdb_txn_put(&txn, "", text("marker"), text("m"));
    etcdb_txn_operations(&txn, "/t/", items, count, &limits, 1);
    assert_int_equal(etcdb_txn_end(&txn), 0);
    root = cJSON_Parse(buf_str(&txn.body));
    outer = cJSON_GetObjectItem(root, "success");
    assert_int_equal(cJSON_GetArraySize(outer), 1 + (groups > 0 ? groups : count));
    for (const cJSON *item = outer->child; item != NULL; item = item->next) {
        const cJSON *inner =
            cJSON_GetObjectItem(cJSON_GetObjectItem(item, "request_txn"), "success");
        size_t held = inner != NULL ? (size_t)cJSON_GetArraySize(inner) : 0;

        assert_true(inner == NULL || held > 0);
        most = held > most ? held : most;
        all += held;
    }
    assert_int_equal(all, groups > 0 ? count : 0);
    assert_true(most + 1 + groups <= 128);
    assert_int_equal(count_of(buf_str(&txn.body), "request_put"), count + 1);
    cJSON_Delete(root);
    etcdb_txn_free(&txn);
}

static void test_nesting(void **state)
{
    struct etcdb_limits limits = {.operations = 128, .request = 1 << 20, .nested = true};

    (void)state;
    assert_nesting(1, 0);
    assert_nesting(127, 0);
    assert_nesting(128, 2);
    assert_nesting(129, 2);
    assert_nesting(1000, 9);
    assert_nesting(4032, 63);
    assert_int_equal(etcdb_limits_room(&limits, 1), 4032);
    limits.nested = false;
    assert_int_equal(etcdb_limits_room(&limits, 1), 127);
    limits.operations = 1;
    assert_int_equal(etcdb_limits_room(&limits, 2), 0);
}

static void test_fit(void **state)
{
    static struct etcd_operation items[200];
    static char keys[200][24];
    struct etcdb_limits limits = {.operations = 128, .request = 1 << 20};
    size_t one;

    (void)state;
    make_puts(items, keys, 200);
    one = etcdb_size_of(&items[150], 3);
    assert_int_equal(one, 3 + 4 + 1 + 32);
    assert_int_equal(etcdb_limits_fit(&limits, items, 200, 3, 1, 100), 127);
    assert_int_equal(etcdb_limits_fit(&limits, items, 50, 3, 1, 100), 50);
    limits.request = 100 + 10 * one;
    assert_int_equal(etcdb_limits_fit(&limits, items + 150, 50, 3, 1, 100), 10);
    limits.request--;
    assert_int_equal(etcdb_limits_fit(&limits, items + 150, 50, 3, 1, 100), 9);
}

static void test_txn(void **state)
{
    struct etcdb_txn txn;

    (void)state;
    etcdb_txn_init(&txn, 4096);
    etcdb_txn_begin(&txn);
    etcdb_txn_compare_create(&txn, "f", text("oo"), 0);
    etcdb_txn_compare_mod(&txn, "", text("foo"), 7);
    etcdb_txn_compare_quiet(&txn, "", text("foo"), text("bar"), 9);
    etcdb_txn_success(&txn);
    etcdb_txn_put(&txn, "", text("foo"), text("bar"));
    etcdb_txn_delete(&txn, "", text("foo"), text(""));
    etcdb_txn_delete(&txn, "", text("foo"), text("bar"));
    etcdb_txn_failure(&txn);
    etcdb_txn_range(&txn, "", text("foo"), text("bar"), 3, true);
    assert_int_equal(etcdb_txn_end(&txn), 0);
    assert_string_equal(
        buf_str(&txn.body),
        "{\"compare\":["
        "{\"key\":\"Zm9v\",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"0\"},"
        "{\"key\":\"Zm9v\",\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"7\"},"
        "{\"key\":\"Zm9v\",\"range_end\":\"YmFy\",\"target\":\"MOD\",\"result\":\"LESS\","
        "\"mod_revision\":\"10\"}],"
        "\"success\":[{\"request_put\":{\"key\":\"Zm9v\",\"value\":\"YmFy\"}},"
        "{\"request_delete_range\":{\"key\":\"Zm9v\"}},"
        "{\"request_delete_range\":{\"key\":\"Zm9v\",\"range_end\":\"YmFy\"}}],"
        "\"failure\":[{\"request_range\":{\"key\":\"Zm9v\",\"range_end\":\"YmFy\",\"limit\":\"3\","
        "\"keys_only\":true}}]}");
    etcdb_txn_free(&txn);
}

/* --- packing --- */

static struct etcdb_kv *make_kvs(struct arena *arena, size_t count, size_t value_len)
{
    struct etcdb_kv *kvs = arena_calloc(arena, count + 1, sizeof(*kvs));
    char *value = arena_calloc(arena, 1, value_len + 1);

    for (size_t i = 0; i < count; i++) {
        kvs[i].key = text(arena_printf(arena, "/t/p/%04zu", i));
        kvs[i].value = (struct slice){.at = value, .len = value_len};
        kvs[i].mod = (int64_t)i + 1;
    }
    return kvs;
}

static void test_pack(void **state)
{
    static struct etcd_operation items[200];
    static struct etcdb_seen seen[200];
    static char keys[200][24];
    struct etcdb_limits limits = {.operations = 128, .request = 1572864};
    const struct etcd_operation prefix = {
        .kind = ETCD_DELETE_RANGE, .number = 1, .key = text("p/"), .end = text("p0")};
    struct etcdb_chunk chunk;
    struct arena arena;

    (void)state;
    arena_init(&arena);
    make_puts(items, keys, 200);
    for (size_t i = 0; i < 200; i++)
        seen[i] = (struct etcdb_seen){.operation = &items[i], .kvs = make_kvs(&arena, 1, 10)};
    assert_int_equal(etcdb_pack(&limits, seen, 200, 3, 1000, &arena, &chunk), 0);
    assert_int_equal(chunk.whole, 126); /* 128 less the marker and the record */
    assert_int_equal(chunk.count, 126);
    assert_int_equal(chunk.entries, 126);

    /* A range of more keys than can be compared is done by pieces. */
    seen[0] = (struct etcdb_seen){
        .operation = &prefix, .kvs = make_kvs(&arena, 150, 10), .count = 150, .more = true};
    assert_int_equal(etcdb_pack(&limits, seen, 5, 3, 1000, &arena, &chunk), 0);
    assert_int_equal(chunk.whole, 0);
    assert_int_equal(chunk.count, 1);
    assert_int_equal(chunk.entries, 126); /* 127 compares less the one of the range */
    assert_int_equal(etcdb_chunk_keys(&chunk, 0), 126);
    assert_int_equal(chunk.items[0].end.len, 7);
    assert_memory_equal(chunk.items[0].end.at, "p/0125", 7);

    /* One that fits goes with others; one that does not waits for the next. */
    seen[0].count = 20;
    seen[0].more = false;
    assert_int_equal(etcdb_pack(&limits, seen, 5, 3, 1000, &arena, &chunk), 0);
    assert_int_equal(chunk.whole, 5);
    assert_int_equal(etcdb_chunk_keys(&chunk, 0), 20);
    seen[4] = seen[0];
    seen[0] = seen[1];
    seen[4].more = true;
    assert_int_equal(etcdb_pack(&limits, seen, 5, 3, 1000, &arena, &chunk), 0);
    assert_int_equal(chunk.whole, 4);
    assert_int_equal(chunk.count, 4);
    assert_int_equal(etcdb_chunk_keys(&chunk, 3), seen[3].count);

    /* Bytes count too, and one that is too large for itself is refused. */
    seen[0] =
        (struct etcdb_seen){.operation = &prefix, .kvs = make_kvs(&arena, 10, 300000), .count = 10};
    assert_int_equal(etcdb_pack(&limits, seen, 1, 3, 1000, &arena, &chunk), 0);
    assert_int_equal(chunk.whole, 0);
    assert_int_equal(etcdb_chunk_keys(&chunk, 0), 3);
    seen[0].kvs = make_kvs(&arena, 1, 1400000);
    seen[0].count = 1;
    assert_int_equal(etcdb_pack(&limits, seen, 1, 3, 1000, &arena, &chunk), ERR_LIMIT);
    limits.request = 1000;
    seen[0].count = 0;
    assert_int_equal(etcdb_pack(&limits, seen, 1, 3, 1000, &arena, &chunk), ERR_LIMIT);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),    cmocka_unit_test(test_marker_keys),
        cmocka_unit_test(test_reserved), cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_fit),      cmocka_unit_test(test_txn),
        cmocka_unit_test(test_pack),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
