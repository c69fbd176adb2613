#include <stdio.h>
#include <string.h>

#include "backend/greptimedb_private.h"
#include "base/clock.h"
#include "base/mem.h"
#include "model/prefix.h"

/*
 * What a person decided about a statement in doubt.
 *
 *  LOOKING ─> [WAITING ─> LOOKING ...] ─> SWAPPING ─┬─> done
 *                                                   └─> CHECKING ─> done
 *
 * LOOKING   the row is being read
 * WAITING   until it has stood still for stale_ms, so that nobody is at work on it
 * SWAPPING  the decision is being recorded
 * CHECKING  the ledger failed at that: the row tells whether it was
 *
 * A cancel cuts WAITING short.
 */
enum resolve_state {
    RESOLVE_LOOKING,
    RESOLVE_WAITING,
    RESOLVE_SWAPPING,
    RESOLVE_CHECKING,
};

static const struct sm_state resolve_states[] = {
    [RESOLVE_LOOKING] = {"looking", SM_TO(RESOLVE_WAITING) | SM_TO(RESOLVE_SWAPPING)},
    [RESOLVE_WAITING] = {"waiting", SM_TO(RESOLVE_LOOKING)},
    [RESOLVE_SWAPPING] = {"swapping", SM_TO(RESOLVE_CHECKING)},
    [RESOLVE_CHECKING] = {"checking", 0},
};

struct gtdb_resolve {
    struct sm sm;
    struct gtdb *gtdb;
    struct op *op; /* the caller's */
    struct op work;
    struct op_sleep nap;
    struct backend_decision *decision;
    struct gtdb_watch watch;
    struct gtdb_row have, want;
    struct ledger_query query;
    struct ledger_rows rows;
    struct ledger_change change;
    bool swapped;
    bool is_over; /* it took effect */
};

static void resolve_finish(struct gtdb_resolve *resolve, const struct err *why)
{
    struct gtdb *gtdb = resolve->gtdb;
    struct op *op = resolve->op;
    struct err err = *why;

    mem_free(resolve);
    gtdb_end(gtdb);
    if (err.code != 0)
        op_fail(op, &err);
    else
        op_finish(op, 0);
}

static int resolve_read(struct gtdb_resolve *resolve)
{
    struct ledger *ledger = resolve->gtdb->ledger;

    return ledger->ops->read(ledger, &resolve->work, &resolve->query, &resolve->rows);
}

static const struct script *resolve_script(const struct gtdb_resolve *resolve)
{
    const struct migration *migration = resolve->decision->migration;

    return resolve->have.undo ? &migration->down : &migration->up;
}

/* What the row becomes. */
static int resolve_decide(struct gtdb_resolve *resolve)
{
    struct backend_decision *decision = resolve->decision;
    const struct gtdb_row *have = &resolve->have;
    const struct script *script = resolve_script(resolve);
    struct gtdb_row *want = &resolve->want;
    int64_t count = (int64_t)script->statement_count;

    *want = *have;
    want->started = false;
    want->done += decision->applied;
    want->revision = gtdb_row_next(have);
    decision->undo = have->undo;
    decision->statement = (unsigned)have->done + 1;
    decision->statements = (unsigned)count;
    decision->complete = decision->applied && want->done == count;
    memcpy(decision->checksum, script->checksum, sizeof(decision->checksum));
    if (have->undo ? decision->complete : want->done == 0) {
        want->exists = false;
    } else if (decision->complete) {
        want->complete = true;
        want->applied_at_us = clock_wall_us();
        memcpy(want->checksum, script->checksum, sizeof(want->checksum));
        return 0;
    }
    return script_prefix_checksum(script, (size_t)want->done, want->checksum);
}

static int resolve_swap(struct gtdb_resolve *resolve)
{
    const struct backend_decision *decision = resolve->decision;
    struct ledger *ledger = resolve->gtdb->ledger;
    int rc = resolve_decide(resolve);

    if (rc != 0)
        return err_set(&resolve->work.err, rc, "%s", err_code_text(rc));
    gtdb_row_change(&resolve->change, resolve->gtdb, decision->schema, decision->migration->id,
                    &resolve->have, &resolve->want);
    sm_move(&resolve->sm, RESOLVE_SWAPPING);
    return ledger->ops->swap(ledger, &resolve->work, &resolve->change, &resolve->swapped);
}

static int resolve_refuse(struct gtdb_resolve *resolve, int code, const char *why)
{
    return err_set(&resolve->work.err, code, "%s", why);
}

/* The statement in doubt, and those in front of it, are in the script as they were. */
static int resolve_compare(struct gtdb_resolve *resolve)
{
    const struct gtdb_row *row = &resolve->have;
    const struct script *script = resolve_script(resolve);
    bool same = false;
    int rc = 0;

    if (row->done >= 0)
        rc = script_prefix_compare(script, (size_t)row->done + 1, row->checksum, &same);
    if (rc != 0)
        return err_set(&resolve->work.err, rc, "%s", err_code_text(rc));
    if (!same)
        return script_prefix_refuse(&resolve->work.err, ERR_CONFLICT, script, (size_t)row->done + 1,
                                    "begun");
    return 0;
}

static int resolve_looked(struct gtdb_resolve *resolve)
{
    struct gtdb_row *row = &resolve->have;
    bool seen = resolve->watch.seen;
    int64_t revision = resolve->watch.revision;
    int rc;

    gtdb_row_take(row, &resolve->rows);
    if (seen && (!row->exists || row->revision != revision))
        return resolve_refuse(resolve, ERR_LOCKED,
                              "migration is being executed: nothing was "
                              "changed; look again when it has ended");
    if (!row->exists || !row->started)
        return resolve_refuse(resolve, ERR_NOT_FOUND, "no statement of it is in doubt");
    rc = resolve_compare(resolve);
    if (rc != 0)
        return rc;
    if (gtdb_watch_is_stale(&resolve->watch, resolve->gtdb, resolve->decision->schema,
                            resolve->decision->migration->id, row))
        return resolve_swap(resolve);
    if (resolve->op->canceled)
        return resolve_refuse(resolve, ERR_CANCELED, "canceled");
    sm_move(&resolve->sm, RESOLVE_WAITING);
    return op_sleep_start(&resolve->nap, gtdb_sched(resolve->gtdb), &resolve->work, GTDB_POLL_MS);
}

static int resolve_swapped(struct gtdb_resolve *resolve, int rc)
{
    if (rc != 0) {
        sm_move(&resolve->sm, RESOLVE_CHECKING);
        return resolve_read(resolve);
    }
    if (!resolve->swapped)
        return resolve_refuse(resolve, ERR_LOCKED, "migration is being executed");
    resolve->is_over = true;
    return 0;
}

static int resolve_checked(struct gtdb_resolve *resolve, int rc)
{
    struct gtdb_row found;

    resolve->decision->unknown = rc != 0;
    if (rc != 0)
        return resolve_refuse(resolve, ERR_STORE,
                              "the state database failed, and it is not known whether the decision "
                              "was recorded: send it again");
    gtdb_row_take(&found, &resolve->rows);
    if (!gtdb_row_is(&found, &resolve->want))
        return resolve_refuse(resolve, ERR_STORE,
                              "the state database failed, and the decision was not recorded: send "
                              "it again");
    resolve->is_over = true;
    return 0;
}

static int resolve_go_on(struct gtdb_resolve *resolve, int rc)
{
    switch ((enum resolve_state)resolve->sm.state) {
    case RESOLVE_LOOKING:
        return rc != 0 ? rc : resolve_looked(resolve);
    case RESOLVE_WAITING:
        if (rc != 0)
            return rc;
        sm_move(&resolve->sm, RESOLVE_LOOKING);
        return resolve_read(resolve);
    case RESOLVE_SWAPPING:
        return resolve_swapped(resolve, rc);
    case RESOLVE_CHECKING:
        break;
    }
    return resolve_checked(resolve, rc);
}

static void resolve_on_work(struct op *op, int rc)
{
    struct gtdb_resolve *resolve = container_of(op, struct gtdb_resolve, work);

    rc = resolve_go_on(resolve, rc);
    if (rc == 0 && !resolve->is_over)
        return;
    if (rc == 0)
        err_clear(&op->err);
    resolve_finish(resolve, &op->err);
}

static void resolve_cancel(struct op *op)
{
    struct gtdb_resolve *resolve = op->impl;

    if (resolve->sm.state == RESOLVE_WAITING)
        op_cancel(&resolve->work);
}

int gtdb_resolve(struct backend *backend, struct op *op, struct backend_decision *decision)
{
    struct gtdb *gtdb = container_of(backend, struct gtdb, pub);
    struct gtdb_resolve *resolve = mem_calloc(1, sizeof(*resolve));
    int rc;

    if (resolve == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    sm_init(&resolve->sm, resolve_states, "greptimedb_resolve", RESOLVE_LOOKING);
    resolve->gtdb = gtdb;
    resolve->op = op;
    resolve->decision = decision;
    resolve->query = (struct ledger_query){.connection = gtdb->connection,
                                           .schema = decision->schema,
                                           .migration_id = decision->migration->id,
                                           .limit = 1};
    op_init(&resolve->work, resolve_on_work);
    rc = resolve_read(resolve);
    if (rc != 0) {
        op_refuse(op, rc, "%s", err_text(&resolve->work.err));
        mem_free(resolve);
        return rc;
    }
    op_begin(op, resolve, resolve_cancel);
    gtdb_begin(gtdb);
    return 0;
}
