#include "backend/postgresql_step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"

/* A step with a transaction: one query, and what its answer means. */

/* Any function or trigger may have changed a setting or the role, listened or locked, and the text
 * of a script does not tell; this is cheap enough to go behind every one (the last two take some
 * 10 µs of the server's time). A ROLLBACK leaves nothing but such locks. */
#define TX_UNLOCK "SELECT pg_advisory_unlock_all()"
static const char tx_light_clean[] =
    ";SET SESSION AUTHORIZATION DEFAULT;RESET ALL;UNLISTEN *;" TX_UNLOCK;

static void tx_build(struct pgb_step *step)
{
    struct buf *sql = &step->sql;

    buf_truncate(sql, 0);
    if (step_is_down(step))
        pgsql_put_down_head(sql, &step->names, &step->layout);
    else
        pgsql_put_up_head(sql, &step->names, &step->layout);
    step->layout.script_end = step->layout.script_start;
    if (step->probing) {
        pgsql_put_probe_tail(sql);
        return;
    }
    if (template_render(step->script, &step->values, sql, &step->err) != 0)
        return;
    step->layout.script_end = sql->len;
    pgsql_put_tail(sql, step->script->dirties_session);
    if (!step->script->dirties_session)
        buf_puts(sql, tx_light_clean);
    /* Behind a pooler the default is the database's encoding. */
    buf_puts(sql, ";SET client_encoding='UTF8'");
}

/* In doubt, the script runs again only as long as tries are left; then a look must do. */
static bool tx_must_probe(const struct pgb_step *step)
{
    return step->in_doubt &&
           (step->canceled || step->result->attempts >= step->pgb->settings.max_attempts);
}

bool tx_execute(struct pgb_step *step)
{
    bool stuck;

    err_clear(&step->err);
    step->probing = tx_must_probe(step);
    if (step_make_schema_sql(step) != 0)
        return step_fail_with(step, ERR_NOMEM, "out of memory");
    tx_build(step);
    if (step->err.code != 0)
        return step_fail(step);
    step->counted = !step->probing;
    if (step->counted)
        step->result->attempts++;
    stuck = step_ask(step, STEP_EXECUTING);
    if (stuck)
        return true;
    crash_point("step_sent");
    pgb_watch_start(&step->watch, step->pgb, step->marker,
                    (uint64_t)step->names.lock_timeout_ms / 2);
    return false;
}

/* What comes next when the failed transaction is out of the way; `lost`: the connection went too.
 */
static bool tx_go_on(struct pgb_step *step, bool lost)
{
    switch (step->next) {
    case NEXT_LOOK:
        if (lost)
            return step_try_later(step);
        break;
    case NEXT_AGAIN:
        return lost ? step_try_later(step) : step_repair(step);
    case NEXT_MEND:
        return lost ? step_try_later(step) : step_mend(step);
    case NEXT_SCHEMA:
        return lost ? step_try_later(step) : step_on_no_schema(step);
    case NEXT_PAUSE:
        return step_try_later(step);
    case NEXT_FAIL:
        return step_fail(step);
    }
    step_read_row(step, step_last_result(step));
    if (step->row.exists && !step->row.is_complete)
        return step_fail_on_incomplete_row(step);
    if (step_is_down(step)) {
        if (step->row.exists)
            return step_repair(step);
        return step_succeed(step, step->in_doubt ? BACKEND_DONE : BACKEND_WAS_DONE);
    }
    if (!step->row.exists)
        return step_repair(step);
    if (step->row.is_ours)
        return step_succeed(step, BACKEND_DONE);
    return step_was_applied(step);
}

/* Ends the failed transaction at once: others may wait for its locks. */
static bool tx_clear(struct pgb_step *step, enum step_next next)
{
    struct buf *sql = &step->sql;
    bool open = PQtransactionStatus(pg_raw(step->conn)) != PQTRANS_IDLE;
    bool clean = step->script->dirties_session;

    step->next = next;
    if (pg_is_broken(step->conn))
        return tx_go_on(step, true);
    if (!open && !clean && next != NEXT_LOOK && next != NEXT_SCHEMA)
        return tx_go_on(step, false);
    buf_truncate(sql, 0);
    buf_printf(sql, "%s%s", step->marker, open ? "ROLLBACK;" TX_UNLOCK ";" : "");
    if (clean) {
        pgsql_put_clean(sql);
        buf_putc(sql, ';');
    }
    if (next == NEXT_LOOK) {
        char tail[sizeof(step->marker_tail) + 2];

        snprintf(tail, sizeof(tail), "'%s'", step->marker_tail);
        pgsql_put_look(sql, &step->names, tail);
    } else if (next == NEXT_SCHEMA) {
        pgsql_put_look_for_schema(sql, &step->names);
    }
    return step_ask(step, STEP_CLEARING);
}

bool tx_cleared(struct pgb_step *step)
{
    if (step->rc == 0)
        return tx_go_on(step, false);
    step->soiled = true;
    if (step->next != NEXT_FAIL)
        step->err = step->work.err;
    if (step->next != NEXT_FAIL && step->canceled && strcmp(step->err.sqlstate, "57014") == 0)
        err_set(&step->err, ERR_CANCELED, "canceled"); /* the cancel came as late as this */
    return tx_go_on(step, true);
}

static bool tx_on_applied(struct pgb_step *step, const struct pgb_answer *answer)
{
    crash_point("step_committed");
    step->soiled = answer->rc != 0; /* what comes behind COMMIT did not work */
    return step_succeed(step, BACKEND_DONE);
}

static bool tx_on_refused(struct pgb_step *step, const struct pgb_answer *answer)
{
    bool at_meeting = answer->failed != NULL && (answer->failed_at == step->layout.journal_at ||
                                                 answer->failed_at == step->layout.schema_at);

    if (at_meeting && strcmp(answer->sqlstate, "55P03") == 0) {
        err_set(&step->err, ERR_LOCKED, "migration is already being executed");
        memcpy(step->err.sqlstate, "55P03", sizeof(step->err.sqlstate));
        return tx_clear(step, step->in_doubt ? NEXT_PAUSE : NEXT_FAIL);
    }
    if (answer->rc == 0)
        err_set(&step->err, ERR_DB, "the transaction was not committed");
    return tx_clear(step, NEXT_FAIL);
}

/* What the server said while the step ran is worth keeping from the last try only. */
static void tx_keep_notices(struct pgb_step *step)
{
    buf_free(&step->notices);
    step->notices = step->results.notices;
    buf_init(&step->results.notices, step->notices.max);
}

static void tx_note_error(struct pgb_step *step, const struct pgb_answer *answer)
{
    const struct pgb_source source = {.script = step->script,
                                      .values = &step->values,
                                      .sql = buf_str(&step->sql),
                                      .layout = &step->layout,
                                      .statement_count = step->script->statement_count,
                                      .text_end = step->script->len};

    if (answer->rc != 0)
        step_note_error(step, answer, &source);
}

/* The probe got through the journal, so no try took effect, and none is under way. */
static bool tx_nothing_happened(struct pgb_step *step)
{
    step->in_doubt = false;
    if (step->canceled)
        return step_fail_with(step, ERR_CANCELED, "canceled");
    step->err = step->lost;
    return step_fail(step);
}

bool tx_judge(struct pgb_step *step)
{
    struct pgb_answer answer;
    enum pgb_verdict verdict;

    pgb_answer_read(&answer, &step->results, step->rc, step->pgb->settings.journal_schema);
    verdict = pgb_judge_step(&answer, &step->layout, step->script->statement_count);
    tx_keep_notices(step);
    tx_note_error(step, &answer);
    if (answer.failed != NULL && answer.failed_at > step->layout.journal_at)
        step->in_doubt = false; /* the journal let us in, so no earlier try had taken effect */
    if (step->probing && answer.rc == 0) {
        step->probing = false;
        return tx_nothing_happened(step);
    }
    if (verdict == PGB_UNKNOWN)
        return step_on_unknown(step);
    step->probing = false;
    if (step->in_doubt && answer.rc == ERR_CANCELED) {
        step->soiled = true; /* with the open transaction: what comes now is a probe */
        return step_try_later(step);
    }
    switch (verdict) {
    case PGB_APPLIED:
        return tx_on_applied(step, &answer);
    case PGB_ALREADY:
        return tx_clear(step, NEXT_LOOK);
    case PGB_NO_JOURNAL:
        return tx_clear(step, NEXT_MEND);
    case PGB_NO_SCHEMA:
        return tx_clear(step, NEXT_SCHEMA);
    case PGB_RACE:
        return tx_clear(step, NEXT_AGAIN);
    case PGB_RETRY:
        return tx_clear(step, NEXT_PAUSE);
    case PGB_UNKNOWN:
        return step_on_unknown(step);
    case PGB_REFUSED:
        return tx_on_refused(step, &answer);
    }
    abort();
}
