#include <stdlib.h>
#include <string.h>

#include "backend/etcd_reads.h"
#include "base/mem.h"

/*
 *  start ─> ASKING ─> done
 *             ^  │
 *             └──┘ there is more to ask
 *
 * Questions, and what may be said twice. `put` writes the next request, `take` reads its answer.
 */
enum {
    ETCDB_ASKING,
};

enum {
    READ_RETRIES = 20,
};

static const struct sm_state read_states[] = {
    [ETCDB_ASKING] = {"asking", SM_TO(ETCDB_ASKING)},
};

void etcdb_read_free(struct etcdb_read *read)
{
    etcd_answer_free(&read->answer);
    etcdb_txn_free(&read->txn);
    arena_free(&read->arena);
    mem_free(read);
}

static void read_finish(struct etcdb_read *read, int rc, struct err *err)
{
    struct etcdb *db = read->db;
    struct op *op = read->op;

    if (rc != 0 && err->code == 0)
        err_set(err, rc, "%s", err_code_text(rc));
    if (rc != 0 && read->on_fail != NULL)
        read->on_fail(read);
    etcdb_read_free(read);
    etcdb_end(db);
    if (rc != 0)
        op_fail(op, err);
    else
        op_finish(op, 0);
}

static int read_ask(struct etcdb_read *read)
{
    int rc;

    etcd_answer_free(&read->answer);
    read->answer = (struct etcd_answer){.body = NULL};
    read->writes = false;
    read->made_for = read->db->max_txn_ops;
    rc = read->put(read);
    if (rc == 0)
        rc = read->txn.body.rc;
    if (rc != 0)
        return err_set(&read->work.err, rc, "%s", err_code_text(rc));
    sm_move(&read->sm, ETCDB_ASKING);
    return etcd_call(read->db->client, &read->work, read->writes ? ETCD_WRITE : ETCD_READ,
                     ETCDB_TXN, &read->txn.body, read->limit_ms, &read->answer);
}

static bool read_retry(struct etcdb_read *read, int rc)
{
    if (read->retries++ >= READ_RETRIES)
        return false;
    if (rc == ERR_LIMIT && etcdb_is_too_many(&read->answer))
        return etcdb_shrink(read->db, read->made_for);
    return read->retry != NULL && read->retry(read, rc);
}

static void read_on_work(struct op *op, int rc)
{
    struct etcdb_read *read = container_of(op, struct etcdb_read, work);
    struct err err = read->work.err;
    bool more = false;

    etcdb_explain(read->db, NULL, &read->answer, &err);
    if (rc == 0) {
        rc = read->take(read, &more, &err);
    } else if (read_retry(read, rc)) {
        more = true;
        rc = 0;
    }
    if (rc == 0 && more && read->op->canceled)
        rc = err_set(&err, ERR_CANCELED, "canceled");
    if (rc == 0 && more) {
        rc = read_ask(read);
        if (rc == 0)
            return;
        err = read->work.err;
    }
    read_finish(read, rc, &err);
}

static void read_cancel(struct op *op)
{
    struct etcdb_read *read = op->impl;

    op_cancel(&read->work);
}

struct etcdb_read *etcdb_read_create(struct backend *backend, struct op *op)
{
    struct etcdb_read *read = mem_calloc(1, sizeof(*read));

    if (read == NULL) {
        op_refuse(op, ERR_NOMEM, "out of memory");
        return NULL;
    }
    sm_init(&read->sm, read_states, "etcd_read", ETCDB_ASKING);
    read->db = container_of(backend, struct etcdb, pub);
    read->op = op;
    arena_init(&read->arena);
    etcdb_txn_init(&read->txn, ETCDB_BODY_MAX);
    op_init(&read->work, read_on_work);
    return read;
}

int etcdb_read_start(struct etcdb_read *read)
{
    struct op *op = read->op;
    int rc = read_ask(read);

    if (rc != 0) {
        op->err = read->work.err;
        if (read->on_fail != NULL)
            read->on_fail(read);
        etcdb_read_free(read);
        return rc;
    }
    op_begin(op, read, read_cancel);
    etcdb_begin(read->db);
    return 0;
}

/* Everything that begins with the path, but one key is enough. */
int etcdb_read_put_exists(struct etcdb_read *read, const char *schema, const char *table)
{
    struct buf path, end;
    int rc;

    buf_init(&path, ETCDB_BODY_MAX);
    buf_init(&end, ETCDB_BODY_MAX);
    rc = etcdb_put_path(&path, read->db->prefix, schema, table);
    if (rc == 0)
        rc = etcd_put_range_end(&end, path.data, path.len);
    if (rc == 0)
        etcdb_txn_range(&read->txn, "", (struct slice){.at = path.data, .len = path.len},
                        (struct slice){.at = end.data, .len = end.len}, 1, true);
    buf_free(&path);
    buf_free(&end);
    return rc;
}

/* --- ping --- */

static int ping_put(struct etcdb_read *read)
{
    struct buf key;
    int rc;

    buf_init(&key, ETCDB_BODY_MAX);
    rc = etcdb_put_journal(&key, read->db->reserved);
    etcdb_txn_begin_reads(&read->txn);
    etcdb_txn_range(&read->txn, "", (struct slice){.at = buf_str(&key), .len = key.len},
                    (struct slice){.len = 0}, 1, true);
    etcdb_txn_end(&read->txn);
    buf_free(&key);
    return rc;
}

static int ping_take(struct etcdb_read *read, bool *more, struct err *err)
{
    (void)read;
    (void)more;
    (void)err;
    return 0;
}

int etcdb_ping(struct backend *backend, struct op *op)
{
    struct etcdb_read *read = etcdb_read_create(backend, op);

    if (read == NULL)
        return ERR_NOMEM;
    read->limit_ms = ETCDB_PING_MS;
    read->put = ping_put;
    read->take = ping_take;
    return etcdb_read_start(read);
}

/* --- inspect --- */

static size_t inspect_share(const struct etcdb_read *read)
{
    size_t left = read->count - read->at;

    return left < read->db->max_txn_ops ? left : read->db->max_txn_ops;
}

static int inspect_put(struct etcdb_read *read)
{
    size_t share = inspect_share(read);
    int rc = 0;

    etcdb_txn_begin_reads(&read->txn);
    for (size_t i = 0; i < share && rc == 0; i++)
        rc = etcdb_read_put_exists(read, read->checks[read->at + i].schema,
                                   read->checks[read->at + i].table);
    etcdb_txn_end(&read->txn);
    return rc;
}

static int inspect_take(struct etcdb_read *read, bool *more, struct err *err)
{
    size_t share = inspect_share(read);

    for (size_t i = 0; i < share; i++) {
        const cJSON *range = etcdb_answer_range(read->answer.body, i);

        if (range == NULL)
            return err_set(err, ERR_DB, "etcd gave an answer without the keys asked for");
        read->checks[read->at + i].exists = etcdb_range_first(range) != NULL;
    }
    read->at += share;
    *more = read->at < read->count;
    return 0;
}

int etcdb_inspect(struct backend *backend, struct op *op, struct backend_check *checks,
                  size_t count)
{
    struct etcdb_read *read;

    if (count == 0) {
        op_begin(op, NULL, NULL);
        op_finish_later(op, etcdb_sched(container_of(backend, struct etcdb, pub)), 0);
        return 0;
    }
    read = etcdb_read_create(backend, op);
    if (read == NULL)
        return ERR_NOMEM;
    read->checks = checks;
    read->count = count;
    read->put = inspect_put;
    read->take = inspect_take;
    return etcdb_read_start(read);
}
