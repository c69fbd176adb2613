#include "backend/etcd_step.h"

#include <stdio.h>
#include <string.h>

#include "backend/backoff.h"

/* How a step ends, and what makes it try again instead. */

enum {
    STEP_PAUSE_MIN_MS = 50,
    STEP_PAUSE_MAX_MS = 1000,
    STEP_MAX_ATTEMPTS = 5,
    STEP_MAX_LOSSES = 10,
};

bool etcdb_step_succeed(struct etcdb_step *step, enum backend_outcome outcome)
{
    struct backend_result *result = step->result;

    err_clear(&step->err);
    step->in_doubt = false;
    result->outcome = outcome;
    if (outcome == BACKEND_WAS_DONE && !etcdb_step_is_down(step)) {
        result->applied_at_us = step->marker.applied_at_us;
        snprintf(result->run_id, sizeof(result->run_id), "%s", step->marker.run_id);
    }
    etcdb_step_move(step, ETCDB_DONE);
    return true;
}

/* A step that is through with a part says so: it can only go on from there. */
static void step_tell_progress(struct etcdb_step *step)
{
    const struct etcdb_marker *marker = &step->marker;
    const char *which = etcdb_step_is_down(step) ? "down" : "up";
    const struct err why = step->err;
    size_t done = etcdb_step_done(step);

    if (step->marker_mod == 0)
        return;
    if (marker->kind == ETCDB_UNDO_PART)
        err_set(&step->err, why.code,
                "%s; a part of the values from before was put back, and the next down goes on",
                err_text(&why));
    else if (done > 0 && done <= step->operations.count && strcmp(marker->plan, step->plan) == 0)
        err_set(&step->err, why.code,
                "%s; operations 1 to %u of %zu of the %s script took effect, and the next %s goes "
                "on behind them",
                err_text(&why), step->operations.items[done - 1].number, step->operations.given,
                which, which);
    step->err.statement = why.statement;
    step->err.line = why.line;
}

bool etcdb_step_fail(struct etcdb_step *step)
{
    const struct err why = step->err;

    if (step->in_doubt)
        err_set(&step->err, ERR_IN_DOUBT,
                "it is not known whether the migration took effect, as etcd did not answer and its "
                "journal could not be asked: %s; the next run finds out from the journal",
                err_text(&why));
    else
        step_tell_progress(step);
    step->in_doubt = false;
    etcdb_step_move(step, ETCDB_DONE);
    return true;
}

bool etcdb_step_fail_with(struct etcdb_step *step, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    err_vset(&step->err, code, format, args);
    va_end(args);
    return etcdb_step_fail(step);
}

bool etcdb_step_no_memory(struct etcdb_step *step)
{
    return etcdb_step_fail_with(step, ERR_NOMEM, "out of memory");
}

bool etcdb_step_fail_to_write(struct etcdb_step *step)
{
    if (step->txn.body.rc == ERR_LIMIT)
        return etcdb_step_fail_with(step, ERR_LIMIT, "the request to etcd is too large");
    return etcdb_step_no_memory(step);
}

/* --- trying again --- */

static void step_count_attempt(struct etcdb_step *step)
{
    step->result->attempts++;
    if (step->step->on_attempt != NULL)
        step->step->on_attempt(step->step, step->result->attempts, &step->err);
}

static bool step_pause(struct etcdb_step *step)
{
    step_count_attempt(step);
    return etcdb_step_pause(
        step, backend_backoff_ms(step->pauses++, STEP_PAUSE_MIN_MS, STEP_PAUSE_MAX_MS));
}

/* The same again, as long as there is a point in finding out; else the failure in step->err. */
static bool step_try_in_doubt(struct etcdb_step *step)
{
    uint64_t now = etcdb_sched(step->db)->now_ms;

    if (now - step->doubt_since_ms >= step->db->doubt_wait_ms)
        return etcdb_step_fail(step);
    return step_pause(step);
}

/* A cluster that is away is given some time to come back. */
static bool step_on_nobody(struct etcdb_step *step)
{
    struct etcdb *db = step->db;
    uint64_t away_ms = backend_down_note(&db->down, etcdb_sched(db)->now_ms, step->called_ms);

    if (step->canceled)
        return etcdb_step_fail_with(step, ERR_CANCELED, "canceled");
    if (away_ms >= BACKEND_DOWN_GRACE_MS || step->result->attempts >= STEP_MAX_ATTEMPTS)
        return etcdb_step_fail(step);
    return step_pause(step);
}

/* etcd says so when the entry was made as well as when it was not. */
static bool step_probe(struct etcdb_step *step)
{
    struct etcdb_txn *txn = &step->txn;

    etcdb_txn_begin_reads(txn);
    etcdb_txn_range(txn, "", step->marker_key, (struct slice){.len = 0}, 0, false);
    etcdb_txn_end(txn);
    return etcdb_step_ask(step, ETCDB_PROBING);
}

/* A record of previous values cannot be divided: it was kept when etcd took as many. */
static bool step_fail_record(struct etcdb_step *step)
{
    char name[256];
    size_t len = 0;

    for (const char *c = step->db->connection; *c != '\0' && len + 1 < sizeof(name); c++)
        name[len++] = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
    name[len] = '\0';
    return etcdb_step_fail_with(
        step, ERR_LIMIT,
        "etcd takes fewer operations at once than when the values from before this migration were "
        "kept (%zu keys in one); raise %s_MAX_TXN_OPS, and --max-txn-ops of etcd, or add a down "
        "script",
        step->record.count, name);
}

static bool step_on_limit(struct etcdb_step *step)
{
    if (step->in_doubt)
        return etcdb_step_fail(step);
    if (step->sm.state == ETCDB_LOOKING && step->keeps && etcdb_keep_look_at_less(step))
        return etcdb_step_look(step);
    if (etcdb_is_too_many(&step->answer))
        return step->record.count == 0 ? etcdb_step_shrink(step) : step_fail_record(step);
    return etcdb_step_fail(step);
}

bool etcdb_step_on_failure(struct etcdb_step *step)
{
    bool was_sending = step->sm.state == ETCDB_SENDING;

    step->err = step->work.err;
    etcdb_explain(step->db, step->step->schema, &step->answer, &step->err);
    if (step->rc == ERR_IN_DOUBT && was_sending) {
        step->probe_tells = !step->in_doubt;
        if (!step->in_doubt)
            step->doubt_since_ms = step->called_ms;
        step->in_doubt = true;
        if (step->answer.grpc == 8)
            return step_probe(step);
    }
    if (step->rc == ERR_LIMIT)
        return step_on_limit(step);
    if (step->in_doubt && (step->rc == ERR_IN_DOUBT || step->rc == ERR_UNREACHABLE ||
                           step->rc == ERR_TIMEOUT || step->rc == ERR_CANCELED))
        return step_try_in_doubt(step);
    if (step->rc == ERR_UNREACHABLE)
        return step_on_nobody(step);
    if (step->rc == ERR_CANCELED)
        return etcdb_step_fail_with(step, ERR_CANCELED, "canceled");
    return etcdb_step_fail(step);
}

bool etcdb_step_on_lost(struct etcdb_step *step)
{
    if (step->canceled)
        return etcdb_step_fail_with(step, ERR_CANCELED, "canceled");
    err_set(&step->err, ERR_CONFLICT,
            "keys that this migration changes were changed by somebody else between being read and "
            "being written");
    if (++step->losses >= STEP_MAX_LOSSES) {
        err_prefix(&step->err, "given up after %d tries", (int)STEP_MAX_LOSSES);
        return etcdb_step_fail(step);
    }
    step_count_attempt(step);
    return etcdb_step_look(step);
}
