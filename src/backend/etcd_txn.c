#include "backend/etcd_txn.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/etcd_client.h"
#include "base/hash.h"

enum {
    TXN_OVERHEAD = 32, /* bytes that an operation or a compare has beside its keys and values */
};

void etcdb_txn_init(struct etcdb_txn *txn, size_t max)
{
    buf_init(&txn->body, max);
    buf_init(&txn->scratch, max);
}

void etcdb_txn_free(struct etcdb_txn *txn)
{
    buf_free(&txn->body);
    buf_free(&txn->scratch);
}

void etcdb_txn_begin(struct etcdb_txn *txn)
{
    buf_truncate(&txn->body, 0);
    buf_puts(&txn->body, "{\"compare\":[");
}

void etcdb_txn_success(struct etcdb_txn *txn)
{
    buf_puts(&txn->body, "],\"success\":[");
}

void etcdb_txn_begin_reads(struct etcdb_txn *txn)
{
    etcdb_txn_begin(txn);
    etcdb_txn_success(txn);
}

void etcdb_txn_failure(struct etcdb_txn *txn)
{
    buf_puts(&txn->body, "],\"failure\":[");
}

int etcdb_txn_end(struct etcdb_txn *txn)
{
    buf_puts(&txn->body, "]}");
    return txn->body.rc;
}

static void txn_separate(struct buf *body)
{
    if (body->len > 0 && body->data[body->len - 1] != '[')
        buf_putc(body, ',');
}

/* "name":"<path and rest>" */
static void txn_put_bytes(struct etcdb_txn *txn, const char *name, const char *path,
                          struct slice rest)
{
    struct buf *scratch = &txn->scratch;
    int rc;

    buf_printf(&txn->body, "\"%s\":", name);
    buf_truncate(scratch, 0);
    buf_puts(scratch, path);
    buf_append(scratch, rest.at, rest.len);
    rc = scratch->rc != 0 ? scratch->rc
                          : etcd_put_base64(&txn->body, buf_str(scratch), scratch->len);
    if (rc != 0 && txn->body.rc == 0)
        txn->body.rc = rc;
}

static void txn_put_keys(struct etcdb_txn *txn, const char *path, struct slice key,
                         struct slice end)
{
    txn_put_bytes(txn, "key", path, key);
    if (end.len > 0) {
        buf_putc(&txn->body, ',');
        txn_put_bytes(txn, "range_end", path, end);
    }
}

static void txn_put_compare(struct etcdb_txn *txn, const char *path, struct slice key,
                            struct slice end, const char *rest, int64_t revision)
{
    txn_separate(&txn->body);
    buf_putc(&txn->body, '{');
    txn_put_keys(txn, path, key, end);
    buf_printf(&txn->body, ",%s:\"%" PRId64 "\"}", rest, revision);
}

static const struct slice no_end;

void etcdb_txn_compare_create(struct etcdb_txn *txn, const char *path, struct slice key,
                              int64_t revision)
{
    txn_put_compare(txn, path, key, no_end,
                    "\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\"", revision);
}

void etcdb_txn_compare_mod(struct etcdb_txn *txn, const char *path, struct slice key,
                           int64_t revision)
{
    txn_put_compare(txn, path, key, no_end,
                    "\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\"", revision);
}

void etcdb_txn_compare_quiet(struct etcdb_txn *txn, const char *path, struct slice key,
                             struct slice end, int64_t revision)
{
    txn_put_compare(txn, path, key, end, "\"target\":\"MOD\",\"result\":\"LESS\",\"mod_revision\"",
                    revision + 1);
}

static void txn_open(struct etcdb_txn *txn, const char *name)
{
    txn_separate(&txn->body);
    buf_printf(&txn->body, "{\"%s\":{", name);
}

static void txn_close(struct etcdb_txn *txn)
{
    buf_puts(&txn->body, "}}");
}

void etcdb_txn_put(struct etcdb_txn *txn, const char *path, struct slice key, struct slice value)
{
    txn_open(txn, "request_put");
    txn_put_bytes(txn, "key", path, key);
    buf_putc(&txn->body, ',');
    txn_put_bytes(txn, "value", "", value);
    txn_close(txn);
}

void etcdb_txn_delete(struct etcdb_txn *txn, const char *path, struct slice key, struct slice end)
{
    txn_open(txn, "request_delete_range");
    txn_put_keys(txn, path, key, end);
    txn_close(txn);
}

void etcdb_txn_range(struct etcdb_txn *txn, const char *path, struct slice key, struct slice end,
                     size_t limit, bool keys_only)
{
    txn_open(txn, "request_range");
    txn_put_keys(txn, path, key, end);
    if (limit > 0)
        buf_printf(&txn->body, ",\"limit\":\"%zu\"", limit);
    if (keys_only)
        buf_puts(&txn->body, ",\"keys_only\":true");
    txn_close(txn);
}

void etcdb_txn_range_last(struct etcdb_txn *txn, struct slice key, struct slice end)
{
    txn_open(txn, "request_range");
    txn_put_keys(txn, "", key, end);
    buf_puts(&txn->body, ",\"limit\":\"1\",\"sort_order\":\"DESCEND\",\"sort_target\":\"KEY\"");
    txn_close(txn);
}

/* --- limits --- */

/* Groups of one level, if each of them holds what the level leaves to it. */
static size_t limits_hold(const struct etcdb_limits *limits, size_t extra, size_t groups)
{
    return groups * (limits->operations - extra - groups);
}

size_t etcdb_limits_room(const struct etcdb_limits *limits, size_t extra)
{
    size_t left = limits->operations > extra ? limits->operations - extra : 0;

    if (!limits->nested || left < 4)
        return left;
    return limits_hold(limits, extra, left / 2);
}

size_t etcdb_size_of_key(size_t key_len)
{
    return key_len + TXN_OVERHEAD;
}

size_t etcdb_size_of(const struct etcd_operation *one, size_t path_len)
{
    size_t size = etcdb_size_of_key(path_len + one->key.len) + one->value.len;

    return one->kind == ETCD_DELETE_RANGE ? size + path_len + one->end.len : size;
}

size_t etcdb_limits_fit(const struct etcdb_limits *limits, const struct etcd_operation *items,
                        size_t count, size_t path_len, size_t extra, size_t bytes)
{
    size_t room = etcdb_limits_room(limits, extra), fit = 0;

    for (; fit < count && fit < room; fit++) {
        bytes += etcdb_size_of(&items[fit], path_len);
        if (bytes > limits->request)
            break;
    }
    return fit;
}

static void txn_put_flat(struct etcdb_txn *txn, const char *path,
                         const struct etcd_operation *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (items[i].kind == ETCD_PUT)
            etcdb_txn_put(txn, path, items[i].key, items[i].value);
        else
            etcdb_txn_delete(txn, path, items[i].key, items[i].end);
    }
}

void etcdb_txn_operations(struct etcdb_txn *txn, const char *path,
                          const struct etcd_operation *items, size_t count,
                          const struct etcdb_limits *limits, size_t extra)
{
    size_t groups = 1;

    if (count + extra <= limits->operations) {
        txn_put_flat(txn, path, items, count);
        return;
    }
    while (limits_hold(limits, extra, groups) < count)
        groups++;
    for (size_t at = 0; groups > 0; groups--) {
        size_t share = (count - at + groups - 1) / groups;

        txn_open(txn, "request_txn");
        buf_puts(&txn->body, "\"success\":[");
        txn_put_flat(txn, path, items + at, share);
        buf_putc(&txn->body, ']');
        txn_close(txn);
        at += share;
    }
}

static uint64_t plan_add(uint64_t hash, struct slice text)
{
    const uint64_t len = text.len;

    hash = hash_fnv1a(hash, &len, sizeof(len));
    return hash_fnv1a(hash, text.at, text.len);
}

void etcdb_plan_of(const struct etcd_operations *operations, const char *path, char out[17])
{
    uint64_t hash = hash_fnv1a(HASH_FNV_START, path, strlen(path) + 1);

    for (size_t i = 0; i < operations->count; i++) {
        const struct etcd_operation *one = &operations->items[i];
        const unsigned char kind = (unsigned char)one->kind;

        hash = hash_fnv1a(hash, &kind, 1);
        hash = plan_add(hash, one->key);
        hash = plan_add(hash, one->end);
        hash = plan_add(hash, one->value);
    }
    snprintf(out, 17, "%016" PRIx64, hash);
}
