/* Markers for what older servers applied. Everything here may be said twice. */
#include <stdio.h>
#include <string.h>

#include "backend/etcd_reads.h"
#include "base/clock.h"

/* What is to be written for one of the share. */
struct etcdb_want {
    bool is_wanted;
    int64_t marker_mod; /* what is to be there until then: a tombstone, or (0) nothing */
};

/* So many are looked at, and written, at once: two keys each. */
static size_t adopt_share(const struct etcdb_read *read)
{
    size_t left = read->count - read->at, most = read->db->max_txn_ops / 2;

    return left < most ? left : most;
}

static void adopt_put_key(struct buf *key, const struct etcdb_read *read,
                          const struct backend_adoption *item)
{
    buf_truncate(key, 0);
    etcdb_put_marker_key(key, read->db->reserved, item->schema, item->migration->id);
}

static struct slice adopt_slice(const struct buf *text)
{
    return (struct slice){.at = buf_str(text), .len = text->len};
}

/* The markers, and whether the schemas are there. */
static int adopt_put_look(struct etcdb_read *read)
{
    const struct slice none = {.len = 0};
    size_t share = adopt_share(read);
    struct buf key;
    int rc = 0;

    buf_init(&key, ETCDB_BODY_MAX);
    etcdb_txn_begin_reads(&read->txn);
    for (size_t i = 0; i < share && rc == 0; i++) {
        adopt_put_key(&key, read, &read->adoptions[read->at + i]);
        rc = key.rc;
        etcdb_txn_range(&read->txn, "", adopt_slice(&key), none, 0, false);
        if (rc == 0)
            rc = etcdb_read_put_exists(read, read->adoptions[read->at + i].schema, "");
    }
    etcdb_txn_end(&read->txn);
    buf_free(&key);
    return rc;
}

static int adopt_put_value(struct buf *value, const struct backend_adoption *item)
{
    struct etcdb_marker marker = {.kind = ETCDB_UP, .run_id = "adopted"};

    memcpy(marker.checksum, item->migration->up.checksum, sizeof(marker.checksum));
    marker.applied_at_us = item->applied_at_us != 0 ? item->applied_at_us : clock_wall_us();
    buf_truncate(value, 0);
    return etcdb_marker_put(value, &marker);
}

static int adopt_put_write(struct etcdb_read *read)
{
    size_t share = adopt_share(read);
    struct buf key, value;
    int rc = 0;

    buf_init(&key, ETCDB_BODY_MAX);
    buf_init(&value, ETCDB_BODY_MAX);
    etcdb_txn_begin(&read->txn);
    for (size_t pass = 0; pass < 2; pass++) {
        if (pass == 1)
            etcdb_txn_success(&read->txn);
        for (size_t i = 0; i < share && rc == 0; i++) {
            if (!read->wants[i].is_wanted)
                continue;
            adopt_put_key(&key, read, &read->adoptions[read->at + i]);
            rc = key.rc;
            if (rc == 0 && pass == 1)
                rc = adopt_put_value(&value, &read->adoptions[read->at + i]);
            if (pass == 0)
                etcdb_txn_compare_mod(&read->txn, "", adopt_slice(&key), read->wants[i].marker_mod);
            else
                etcdb_txn_put(&read->txn, "", adopt_slice(&key), adopt_slice(&value));
        }
    }
    etcdb_txn_end(&read->txn);
    buf_free(&key);
    buf_free(&value);
    read->writes = true;
    return rc;
}

static int adopt_put(struct etcdb_read *read)
{
    return read->is_seen ? adopt_put_write(read) : adopt_put_look(read);
}

static void adopt_next_share(struct etcdb_read *read, bool *more)
{
    read->at += adopt_share(read);
    read->is_seen = false;
    *more = read->at < read->count;
}

static int adopt_take_look(struct etcdb_read *read, bool *more, struct err *err)
{
    size_t share = adopt_share(read);
    bool any = false;

    for (size_t i = 0; i < share; i++) {
        const cJSON *exists = etcdb_answer_range(read->answer.body, 2 * i + 1);
        struct etcdb_marker marker;
        struct etcdb_kv kv;
        bool is_none;
        int rc = etcdb_take_marker(etcdb_answer_range(read->answer.body, 2 * i), &marker, &kv,
                                   &read->arena, err);

        if (rc != 0 && rc != ERR_NOT_FOUND)
            return rc;
        is_none = rc == ERR_NOT_FOUND || marker.kind == ETCDB_UNDONE;
        read->adoptions[read->at + i].adopted = !is_none && etcdb_marker_is_applied(&marker);
        read->wants[i] = (struct etcdb_want){
            .is_wanted = is_none && etcdb_range_first(exists) != NULL, .marker_mod = kv.mod};
        any = any || read->wants[i].is_wanted;
    }
    read->is_seen = any;
    if (any)
        *more = true;
    else
        adopt_next_share(read, more);
    return 0;
}

static int adopt_take_write(struct etcdb_read *read, bool *more, struct err *err)
{
    size_t share = adopt_share(read);

    (void)err;
    if (!etcdb_answer_succeeded(read->answer.body)) { /* somebody wrote one of them meanwhile */
        read->is_seen = false;
        *more = true;
        return 0;
    }
    for (size_t i = 0; i < share; i++)
        if (read->wants[i].is_wanted)
            read->adoptions[read->at + i].adopted = true;
    adopt_next_share(read, more);
    return 0;
}

static int adopt_take(struct etcdb_read *read, bool *more, struct err *err)
{
    return read->is_seen ? adopt_take_write(read, more, err) : adopt_take_look(read, more, err);
}

/* A write of unknown outcome: a look tells. */
static bool adopt_retry(struct etcdb_read *read, int rc)
{
    if (rc != ERR_IN_DOUBT)
        return false;
    read->is_seen = false;
    return true;
}

int etcdb_adopt(struct backend *backend, struct op *op, struct backend_adoption *items,
                size_t count)
{
    struct etcdb_read *read = etcdb_read_create(backend, op);

    if (read == NULL)
        return ERR_NOMEM;
    read->adoptions = items;
    read->count = count;
    read->put = adopt_put;
    read->take = adopt_take;
    read->retry = adopt_retry;
    read->wants = arena_calloc(&read->arena, read->db->max_txn_ops + 1, sizeof(*read->wants));
    if (read->wants == NULL) {
        etcdb_read_free(read);
        return op_refuse(op, ERR_NOMEM, "out of memory");
    }
    return etcdb_read_start(read);
}
