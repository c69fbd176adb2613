#include "backend/greptimedb_probe.h"
#include "base/mem.h"

/* --- inspect and ping: questions to GreptimeDB --- */

struct gtdb_read {
    struct gtdb *gtdb;
    struct op *op; /* the caller's */
    struct op work;
    struct gtdb_probe probe;
    struct timer timer; /* of a ping */
    bool timed_out;
    bool is_busy;                 /* the ping got no turn, as every connection is at work */
    struct backend_check *checks; /* of inspect */
    size_t count, at;
};

static void read_finish(struct gtdb_read *read, const struct err *why)
{
    struct gtdb *gtdb = read->gtdb;
    struct op *op = read->op;
    struct err err = *why;

    sched_stop_timer(gtdb_sched(gtdb), &read->timer);
    gtdb_probe_free(&read->probe);
    mem_free(read);
    gtdb_end(gtdb);
    if (err.code != 0)
        op_fail(op, &err);
    else
        op_finish(op, 0);
}

static void read_cancel(struct op *op)
{
    struct gtdb_read *read = op->impl;

    op_cancel(&read->work);
}

static struct gtdb_read *read_create(struct backend *backend, struct op *op,
                                     void (*done)(struct op *op, int rc))
{
    struct gtdb_read *read = mem_calloc(1, sizeof(*read));

    if (read == NULL) {
        op_refuse(op, ERR_NOMEM, "out of memory");
        return NULL;
    }
    read->gtdb = container_of(backend, struct gtdb, pub);
    read->op = op;
    op_init(&read->work, done);
    gtdb_probe_init(&read->probe, read->gtdb);
    return read;
}

/* `rc`: what the first question's start returned. */
static int read_begin(struct gtdb_read *read, int rc)
{
    struct op *op = read->op;

    if (rc != 0) {
        op_refuse(op, rc, "%s", err_text(&read->work.err));
        gtdb_probe_free(&read->probe);
        mem_free(read);
        return rc;
    }
    op_begin(op, read, read_cancel);
    gtdb_begin(read->gtdb);
    return 0;
}

static int inspect_ask(struct gtdb_read *read)
{
    const struct backend_check *check = &read->checks[read->at];

    return gtdb_probe_object(&read->probe, &read->work, gtdb_database_of(read->gtdb, check->schema),
                             check->table);
}

static void inspect_on_answer(struct op *op, int rc)
{
    struct gtdb_read *read = container_of(op, struct gtdb_read, work);

    if (rc == 0) {
        read->checks[read->at++].exists = read->probe.found;
        if (read->at < read->count)
            rc = read->op->canceled ? err_set(&op->err, ERR_CANCELED, "canceled")
                                    : inspect_ask(read);
        else
            err_clear(&op->err);
        if (rc == 0 && read->at < read->count)
            return;
    }
    read_finish(read, &op->err);
}

int gtdb_inspect(struct backend *backend, struct op *op, struct backend_check *checks, size_t count)
{
    struct gtdb_read *read;

    if (count == 0) {
        op_begin(op, NULL, NULL);
        op_finish_later(op, gtdb_sched(container_of(backend, struct gtdb, pub)), 0);
        return 0;
    }
    read = read_create(backend, op, inspect_on_answer);
    if (read == NULL)
        return ERR_NOMEM;
    read->checks = checks;
    read->count = count;
    return read_begin(read, inspect_ask(read));
}

/* No turn came in time because every connection runs a step: they are there, so the target is. */
static bool ping_is_of_busy(const struct gtdb_read *read)
{
    struct pool_stats stats = {0};

    curl_peer_report(read->gtdb->peer, &stats);
    return read->timed_out && stats.waiting > 0 && stats.busy >= stats.max;
}

static void ping_on_answer(struct op *op, int rc)
{
    struct gtdb_read *read = container_of(op, struct gtdb_read, work);
    struct err err = op->err;

    if (rc != 0 && read->timed_out && !read->is_busy)
        err_set(&err, ERR_TIMEOUT, "no answer from GreptimeDB in time");
    else if (rc == 0 || read->is_busy)
        err_clear(&err);
    read_finish(read, &err);
}

static void ping_on_timer(struct timer *timer)
{
    struct gtdb_read *read = container_of(timer, struct gtdb_read, timer);

    read->timed_out = true;
    read->is_busy = ping_is_of_busy(read);
    op_cancel(&read->work);
}

int gtdb_ping(struct backend *backend, struct op *op)
{
    struct gtdb_read *read = read_create(backend, op, ping_on_answer);
    int rc;

    if (read == NULL)
        return ERR_NOMEM;
    rc = read_begin(read, gtdb_probe_life(&read->probe, &read->work));
    if (rc != 0)
        return rc;
    read->timer.fire = ping_on_timer;
    sched_start_timer(gtdb_sched(read->gtdb), &read->timer, read->gtdb->settings.probe_timeout_ms);
    return 0;
}

/* --- read_journal: from the ledger --- */

struct gtdb_journal {
    struct gtdb *gtdb;
    struct op *op; /* the caller's */
    struct op work;
    struct ledger_query query;
    struct ledger_rows rows;
    size_t limit;
    struct backend_journal *out;
};

/* The texts stay where they are: the arena of the rows becomes that of the journal. A down script
 * that stopped half-way leaves what it undoes applied, until it is finished. */
static int journal_take(struct gtdb_journal *read)
{
    struct backend_journal *out = read->out;
    size_t count = read->rows.count < read->limit ? read->rows.count : read->limit;

    out->rows = arena_calloc(&read->rows.arena, count > 0 ? count : 1, sizeof(*out->rows));
    if (out->rows == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const struct ledger_row *row = &read->rows.rows[i];

        out->rows[i] = (struct backend_journal_row){.migration_id = row->migration_id,
                                                    .schema = row->schema,
                                                    .checksum = row->complete ? row->checksum : "",
                                                    .run_id = row->run_id,
                                                    .applied_at_us = row->applied_at_us,
                                                    .complete = row->complete || row->undo};
    }
    out->count = count;
    out->more = read->rows.count > read->limit;
    arena_adopt(&out->arena, &read->rows.arena);
    return 0;
}

static void journal_on_rows(struct op *op, int rc)
{
    struct gtdb_journal *read = container_of(op, struct gtdb_journal, work);
    struct op *caller = read->op;
    struct gtdb *gtdb = read->gtdb;
    struct err err = op->err;

    if (rc == 0) {
        rc = journal_take(read);
        if (rc != 0)
            err_set(&err, rc, "%s", err_code_text(rc));
        arena_free(&read->rows.arena);
    }
    mem_free(read);
    gtdb_end(gtdb);
    if (rc != 0)
        op_fail(caller, &err);
    else
        op_finish(caller, 0);
}

int gtdb_read_journal(struct backend *backend, struct op *op, const char *after_schema,
                      const char *after_id, size_t limit, struct backend_journal *out)
{
    struct gtdb *gtdb = container_of(backend, struct gtdb, pub);
    struct gtdb_journal *read = mem_calloc(1, sizeof(*read));
    int rc;

    if (read == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    *out = (struct backend_journal){.count = 0};
    arena_init(&out->arena);
    *read = (struct gtdb_journal){.gtdb = gtdb, .op = op, .limit = limit, .out = out};
    read->query = (struct ledger_query){.connection = gtdb->connection,
                                        .after_schema = after_schema,
                                        .after_id = after_id,
                                        .limit = limit + 1};
    op_init(&read->work, journal_on_rows);
    rc = gtdb->ledger->ops->read(gtdb->ledger, &read->work, &read->query, &read->rows);
    if (rc != 0) {
        op_refuse(op, rc, "%s", err_text(&read->work.err));
        mem_free(read);
        return rc;
    }
    op_begin(op, read, NULL);
    gtdb_begin(gtdb);
    return 0;
}
