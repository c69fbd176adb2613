/* A chunk of an up without a down script: what it replaces is kept, in the same transaction. */
#include <string.h>

#include "backend/etcd_step.h"

enum {
    KEEP_EXTRA = 2, /* operations beside those of the script: marker and record */
};

/* How many operations are looked at, behind those that are done. */
static size_t keep_take(const struct etcdb_step *step)
{
    size_t left = step->operations.count - step->looked_from;
    size_t most = step->db->max_txn_ops - KEEP_EXTRA;
    size_t take = step->take < left ? step->take : left;

    return take < most ? take : most;
}

void etcdb_keep_put_look(struct etcdb_step *step)
{
    const struct etcd_operation *items = step->operations.items + step->looked_from;
    size_t take = keep_take(step);

    for (size_t i = 0; i < take; i++)
        etcdb_txn_range(&step->txn, step->path, items[i].key, items[i].end,
                        items[i].kind == ETCD_DELETE_RANGE ? step->page : 0, false);
}

bool etcdb_keep_look_at_less(struct etcdb_step *step)
{
    size_t take = keep_take(step);

    if (take > 1)
        step->take = take / 2;
    else if (step->page > 1)
        step->page /= 2;
    else
        return false;
    return true;
}

static int keep_read_seen(struct etcdb_step *step, const cJSON *range, struct etcdb_seen *seen)
{
    size_t count = etcdb_range_count(range);

    if (range == NULL)
        return err_set(&step->err, ERR_DB, "etcd gave an answer without the keys asked for");
    seen->more = etcdb_range_has_more(range);
    seen->kvs = arena_calloc(&step->seen_arena, count + 1, sizeof(*seen->kvs));
    if (seen->kvs == NULL)
        return err_set(&step->err, ERR_NOMEM, "out of memory");
    for (const cJSON *item = etcdb_range_first(range); item != NULL; item = item->next) {
        struct etcdb_kv *kv = &seen->kvs[seen->count];
        int rc = etcdb_kv_read(item, &step->seen_arena, kv);

        if (rc == 0 &&
            (kv->key.len < step->path_len || memcmp(kv->key.at, step->path, step->path_len) != 0))
            rc = ERR_DB;
        if (rc != 0)
            return err_set(&step->err, rc, "%s",
                           rc == ERR_NOMEM ? "out of memory" : "etcd gave a malformed key");
        seen->count++;
    }
    return 0;
}

static int keep_read(struct etcdb_step *step, const cJSON *body, struct etcdb_seen **out,
                     size_t count)
{
    *out = arena_calloc(&step->seen_arena, count + 1, sizeof(**out));
    if (*out == NULL)
        return err_set(&step->err, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        int rc;

        (*out)[i].operation = &step->operations.items[step->looked_from + i];
        rc = keep_read_seen(step, etcdb_answer_range(body, 1 + i), &(*out)[i]);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static void keep_put_compares(struct etcdb_step *step, const struct etcdb_chunk *chunk,
                              int64_t revision)
{
    for (size_t i = 0; i < chunk->count; i++) {
        const struct etcd_operation *item = &chunk->items[i];
        const struct etcdb_seen *seen = &chunk->seen[i];
        size_t keys = etcdb_chunk_keys(chunk, i);

        for (size_t key = 0; key < keys; key++)
            etcdb_txn_compare_mod(&step->txn, "", seen->kvs[key].key, seen->kvs[key].mod);
        if (item->kind == ETCD_DELETE_RANGE)
            etcdb_txn_compare_quiet(&step->txn, step->path, item->key, item->end, revision);
        else if (keys == 0)
            etcdb_txn_compare_create(&step->txn, step->path, item->key, 0);
    }
}

static int keep_make_record(const struct etcdb_step *step, const struct etcdb_chunk *chunk,
                            struct buf *out)
{
    etcdb_record_begin(out);
    for (size_t i = 0; i < chunk->count; i++) {
        const struct etcd_operation *item = &chunk->items[i];
        const struct etcdb_seen *seen = &chunk->seen[i];
        size_t keys = etcdb_chunk_keys(chunk, i);

        if (item->kind == ETCD_PUT)
            etcdb_record_add(out, step->path, item->key, keys > 0 ? &seen->kvs[0].value : NULL,
                             &item->value);
        for (size_t key = 0; item->kind != ETCD_PUT && key < keys; key++)
            etcdb_record_add(out, "", seen->kvs[key].key, &seen->kvs[key].value, NULL);
    }
    return etcdb_record_end(out);
}

static void keep_put_record(struct etcdb_step *step, const struct etcdb_chunk *chunk)
{
    struct buf record, key;

    buf_init(&record, ETCDB_BODY_MAX);
    buf_init(&key, ETCDB_BODY_MAX);
    etcdb_put_undo_key(&key, step->db->reserved, step->step->schema, step->step->migration->id,
                       step->next.records - 1);
    keep_make_record(step, chunk, &record);
    if (step->txn.body.rc == 0)
        step->txn.body.rc = key.rc != 0 ? key.rc : record.rc;
    etcdb_txn_put(&step->txn, "", (struct slice){.at = buf_str(&key), .len = key.len},
                  (struct slice){.at = buf_str(&record), .len = record.len});
    buf_free(&key);
    buf_free(&record);
}

static bool keep_fail_too_large(struct etcdb_step *step, const struct etcd_operation *one)
{
    err_set(&step->err, ERR_LIMIT,
            "operation %u of %zu: together with the value that it replaces, which is kept as the "
            "migration has no down script, it is too large for one request to etcd of %zu bytes "
            "(--max-request-bytes; here the connection's MAX_REQUEST_BYTES); give the migration a "
            "down script",
            one->number, step->operations.given, step->db->max_request);
    step->err.statement = one->number;
    step->err.line = one->line;
    return etcdb_step_fail(step);
}

bool etcdb_keep_send(struct etcdb_step *step, const cJSON *body)
{
    const struct etcdb_limits limits = {.operations = step->db->max_txn_ops,
                                        .request = step->db->max_request};
    size_t count = keep_take(step);
    struct etcdb_chunk chunk;
    struct etcdb_seen *seen;
    int rc;

    if (keep_read(step, body, &seen, count) != 0)
        return etcdb_step_fail(step);
    rc = etcdb_pack(&limits, seen, count, step->path_len, etcdb_step_own_bytes(step),
                    &step->seen_arena, &chunk);
    if (rc == ERR_LIMIT)
        return keep_fail_too_large(step, seen[0].operation);
    if (rc != 0)
        return etcdb_step_no_memory(step);
    etcdb_step_set_next_up(step, step->looked_from + chunk.whole);
    if (chunk.entries > 0)
        step->next.records++;
    etcdb_step_open(step);
    keep_put_compares(step, &chunk, etcdb_answer_revision(body));
    etcdb_step_put_marker(step);
    if (chunk.entries > 0)
        keep_put_record(step, &chunk);
    etcdb_txn_operations(&step->txn, step->path, chunk.items, chunk.count, &limits, KEEP_EXTRA);
    return etcdb_step_send(step);
}
