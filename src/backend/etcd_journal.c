/* What the markers say, page by page. */
#include "backend/etcd_reads.h"
#include "base/log.h"

static int journal_put(struct etcdb_read *read)
{
    struct etcdb_txn *txn = &read->txn;
    struct buf from, end;
    int rc;

    buf_init(&from, ETCDB_BODY_MAX);
    buf_init(&end, ETCDB_BODY_MAX);
    rc = etcdb_put_journal(&from, read->db->reserved);
    if (rc == 0)
        rc = etcd_put_range_end(&end, from.data, from.len);
    if (rc == 0 && read->from.len > 0) {
        buf_truncate(&from, 0);
        rc = buf_append(&from, read->from.at, read->from.len);
    } else if (rc == 0 && (read->after_schema[0] != '\0' || read->after_id[0] != '\0')) {
        buf_truncate(&from, 0);
        etcdb_put_marker_key(&from, read->db->reserved, read->after_schema, read->after_id);
        rc = buf_putc(&from, '\0'); /* the next possible key */
    }
    etcdb_txn_begin_reads(&read->txn);
    etcdb_txn_range(txn, "", (struct slice){.at = buf_str(&from), .len = from.len},
                    (struct slice){.at = buf_str(&end), .len = end.len}, read->limit + 1, false);
    etcdb_txn_end(txn);
    buf_free(&from);
    buf_free(&end);
    return rc;
}

/* What somebody else put there stops nobody; a line for every request of the caller is enough. */
static void journal_pass_over(struct etcdb_read *read, struct slice key)
{
    char shown[ETCDB_KEY_SHOWN];

    if (read->has_foreign)
        return;
    read->has_foreign = true;
    etcdb_show_key(key, shown, sizeof(shown));
    log_write(LOG_WARN, "a key in the journal of a connection is not one of BfM; it has no effect",
              LOG_STR("connection", read->db->connection), LOG_STR("key", shown));
}

/* ERR_NOT_FOUND: the key is none of BfM's, or a tombstone. */
static int journal_take_row(struct etcdb_read *read, const cJSON *item,
                            struct backend_journal_row *row, struct err *err)
{
    struct arena *arena = &read->journal->arena;
    struct etcdb_marker marker;
    struct slice schema, id;
    struct etcdb_kv kv;
    int rc = etcdb_kv_read(item, &read->arena, &kv);

    if (rc != 0)
        return rc;
    if (!etcdb_read_marker_key(read->db->reserved, kv.key, &schema, &id)) {
        journal_pass_over(read, kv.key);
        return ERR_NOT_FOUND;
    }
    rc = etcdb_marker_read(kv.value.at, kv.value.len, &marker, err);
    if (rc != 0)
        return rc == ERR_INVALID ? (err->code = ERR_DB) : rc;
    if (marker.kind == ETCDB_UNDONE)
        return ERR_NOT_FOUND;
    *row = (struct backend_journal_row){
        .schema = arena_strndup(arena, schema.at, schema.len),
        .migration_id = arena_strndup(arena, id.at, id.len),
        .checksum = arena_strdup(arena, marker.checksum),
        .run_id = arena_strdup(arena, marker.run_id),
        .applied_at_us = marker.applied_at_us,
        .complete = etcdb_marker_is_applied(&marker),
    };
    return row->schema != NULL && row->migration_id != NULL && row->checksum != NULL &&
                   row->run_id != NULL
               ? 0
               : ERR_NOMEM;
}

/* No key up to `last` has a row: there is none that the caller could go on behind. */
static int journal_go_on(struct etcdb_read *read, const cJSON *last)
{
    struct backend_journal *out = read->journal;
    struct etcdb_kv kv;
    int rc = etcdb_kv_read(last, &read->arena, &kv);

    if (rc != 0)
        return rc;
    arena_free(&out->arena);
    *out = (struct backend_journal){.count = 0};
    arena_init(&out->arena);
    read->from.at = arena_strndup(&out->arena, kv.key.at, kv.key.len);
    read->from.len = kv.key.len + 1; /* with its NUL: the next possible key */
    arena_free(&read->arena);
    return read->from.at != NULL ? 0 : ERR_NOMEM;
}

static int journal_take(struct etcdb_read *read, bool *more, struct err *err)
{
    struct backend_journal *out = read->journal;
    const cJSON *range = etcdb_answer_range(read->answer.body, 0), *last = NULL;
    size_t count = etcdb_range_count(range);
    int rc = 0;

    if (range == NULL)
        return err_set(err, ERR_DB, "etcd gave an answer without the keys asked for");
    /* Fewer may have been asked for than the caller wants. */
    out->more = count > read->limit;
    count = out->more ? read->limit : count;
    out->rows = arena_calloc(&out->arena, count + 1, sizeof(*out->rows));
    if (out->rows == NULL)
        return ERR_NOMEM;
    for (const cJSON *item = etcdb_range_first(range); item != NULL && count > 0 && rc == 0;
         item = item->next, count--) {
        rc = journal_take_row(read, item, &out->rows[out->count], err);
        last = item;
        if (rc == 0)
            out->count++;
        else if (rc == ERR_NOT_FOUND)
            rc = 0;
    }
    *more = rc == 0 && out->more && out->count == 0 && last != NULL;
    return *more ? journal_go_on(read, last) : rc;
}

/* The rows are too much for one answer. */
static bool journal_retry(struct etcdb_read *read, int rc)
{
    if (rc != ERR_LIMIT || read->limit <= 1)
        return false;
    read->limit /= 2;
    return true;
}

static void journal_fail(struct etcdb_read *read)
{
    arena_free(&read->journal->arena);
    *read->journal = (struct backend_journal){.count = 0};
}

int etcdb_read_journal(struct backend *backend, struct op *op, const char *after_schema,
                       const char *after_id, size_t limit, struct backend_journal *out)
{
    struct etcdb_read *read = etcdb_read_create(backend, op);

    if (read == NULL)
        return ERR_NOMEM;
    *out = (struct backend_journal){.count = 0};
    arena_init(&out->arena);
    read->after_schema = after_schema;
    read->after_id = after_id;
    read->limit = limit;
    read->journal = out;
    read->put = journal_put;
    read->take = journal_take;
    read->retry = journal_retry;
    read->on_fail = journal_fail;
    return etcdb_read_start(read);
}
