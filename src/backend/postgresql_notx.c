#include "backend/postgresql_step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"

/*
 * A script without a transaction, statement by statement. The journal row holds how far it is; each
 * move of it is a compare-and-swap, so that of two servers at most one goes on.
 *
 * A statement that can run in a transaction does, together with the mark that it is done: it never
 * is in doubt. For the others the mark "started" comes before and "done" behind, and what a crash
 * leaves "started" is looked up in the catalog where that can tell. One that can commit inside is
 * never run a second time by itself, unless the server refused it before it began.
 *
 * They need the search path and the limits as settings of the session, as nothing may share a query
 * with them; the session is cleaned and its connection closed at the end. Behind a pooler the next
 * query may have another session: that is found out and refused before the row is made or taken.
 */

/* Rows of a statement of the query: a compare-and-swap that found the row as expected. */
static bool notx_swapped(const struct pgb_step *step, size_t index)
{
    return index < step->results.count && PQntuples(step->results.results[index]) == 1;
}

static bool notx_try_later(struct pgb_step *step)
{
    bool again = step_try_later(step);

    if (step->sm.state == STEP_PAUSING)
        step->result->attempts++;
    return again;
}

bool notx_lost(struct pgb_step *step)
{
    bool again = step_on_unknown(step);

    if (step->sm.state == STEP_PAUSING)
        step->result->attempts++;
    return again;
}

/* A query of our own failed. */
static bool notx_on_failure(struct pgb_step *step)
{
    struct pgb_answer answer;

    pgb_answer_read(&answer, &step->results, step->rc, step->pgb->settings.journal_schema);
    step->err = step->work.err;
    if (answer.sqlstate[0] == '\0' || step->rc == ERR_UNREACHABLE)
        return notx_lost(step);
    if (strcmp(answer.sqlstate, "42P01") == 0 && step->sm.state == STEP_LOOKING)
        return step_mend(step);
    if (strcmp(answer.sqlstate, "3F000") == 0 && step->sm.state == STEP_CLAIMING)
        return step_on_no_schema(step);
    if (strcmp(answer.sqlstate, PGSQL_POOLED) == 0)
        return step_fail_with(step, ERR_UNSUPPORTED,
                              "a script without a transaction needs a direct connection to "
                              "PostgreSQL: this one goes through a pooler, which may give each "
                              "statement another session");
    if (strcmp(answer.sqlstate, "55P03") == 0 && step->sm.state == STEP_CLAIMING)
        return step_fail_with(step, ERR_LOCKED, "migration is already being executed");
    if (step->new_schema && step->sm.state == STEP_CLAIMING &&
        (strcmp(answer.sqlstate, "23505") == 0 || strcmp(answer.sqlstate, "42P06") == 0))
        return step_repair(step);
    if (strcmp(answer.sqlstate, "22012") == 0)
        return step_fail_with(step, ERR_DB,
                              "schema \"%s\" cannot be used: it is missing, or the "
                              "role lacks USAGE on it",
                              step->step->schema);
    return pgb_may_pass(answer.sqlstate) ? notx_try_later(step) : step_fail(step);
}

bool notx_look(struct pgb_step *step)
{
    char tail[sizeof(step->marker_tail) + 2];

    if (step->result->attempts == 0)
        step->result->attempts = 1;
    err_clear(&step->err);
    notx_begin_sql(step);
    snprintf(tail, sizeof(tail), "'%s'", step->marker_tail);
    pgsql_put_look(&step->sql, &step->names, tail);
    return step_ask(step, STEP_LOOKING);
}

/* Somebody else is at work on it, or may be. */
bool notx_wait(struct pgb_step *step)
{
    uint64_t now = pgb_sched(step->pgb)->now_ms;

    if (step->poll_since_ms == 0)
        step->poll_since_ms = now;
    if (now - step->poll_since_ms >= step->pgb->settings.lock_wait_ms)
        return step_fail_with(step, ERR_LOCKED, "migration is already being executed");
    return step_pause(step, PGB_POLL_MS);
}

/* The row is ours. */
static bool notx_resume(struct pgb_step *step)
{
    const struct step_row *row = &step->row;

    step->claimed = true;
    step->poll_since_ms = 0;
    step->doubtful = row->is_started;
    step->at = row->is_started ? row->statement - 1 : row->statement;
    if (step->doubtful && step->known_done == step->at + 1)
        return notx_record(step);
    if (step->doubtful && step->known_unsent == step->at + 1)
        return notx_start(step);
    return notx_next(step);
}

static bool notx_claim_new(struct pgb_step *step)
{
    if (step_make_schema_sql(step) != 0)
        return step_fail_with(step, ERR_NOMEM, "out of memory");
    notx_begin_sql(step);
    notx_put_no_pooler(step);
    if (step->names.create_schema != NULL)
        buf_printf(&step->sql, "%s;", step->names.create_schema);
    pgsql_put_claim(&step->sql, &step->names);
    step->row = (struct step_row){.exists = true};
    return step_ask(step, STEP_CLAIMING);
}

/* Takes the row over from whoever had it: a complete one for a down, or one that was left. */
static bool notx_claim(struct pgb_step *step)
{
    struct step_row *row = &step->row;
    const char *run = step_quote_literal(step, row->run);
    struct pgsql_place from = {.kind = row->kind, .statement = row->statement, .run = run};
    const char *checksum = step_quote_literal(step, row->checksum);
    struct pgsql_place to;

    if (run == NULL || checksum == NULL)
        return step_fail_with(step, ERR_NOMEM, "out of memory");
    step->left_run = row->is_started ? run : NULL;
    step->left_applied_us = row->applied_us;
    if (row->is_complete) {
        step->claim_run = run;
        step->claim_applied_us = row->applied_us;
        step->claim_checksum = checksum;
    }
    notx_begin_sql(step);
    to = notx_goal(step, row->is_started, row->is_complete ? 0 : row->statement);
    notx_put_no_pooler(step);
    pgsql_put_move(&step->sql, &step->names, &from, &to);
    return step_ask(step, STEP_CLAIMING);
}

/* What was done or started is in the script as it was; the rest may have been corrected. Rows of
 * earlier servers have the up script's checksum, whichever script is at work. */
static int notx_compare(const struct pgb_step *step, bool *same)
{
    const struct step_row *row = &step->row;

    *same = !row->is_started && row->statement == 0;
    if (*same || (row->is_started && row->statement == 0))
        return 0;
    *same = step_is_down(step) && row->statement <= step->script->statement_count &&
            strcmp(row->checksum, step->step->migration->up.checksum) == 0;
    if (*same)
        return 0;
    return script_prefix_compare(step->script, row->statement, row->checksum, same);
}

static bool notx_fail_changed(struct pgb_step *step)
{
    const struct step_row *row = &step->row;

    script_prefix_refuse(&step->err, ERR_IN_DOUBT, step->script, row->statement,
                         row->is_started ? "started" : "done");
    return step_fail(step);
}

/* Somebody is at work on it, or was a moment ago: whose statement has just ended is about to say so
 * in the row. */
static bool notx_is_busy(struct pgb_step *step)
{
    const struct step_row *row = &step->row;
    const uint64_t now = pgb_sched(step->pgb)->now_ms;
    const uint64_t stale_ms = row->is_ours ? PGB_OWN_STALE_MS : PGB_STALE_MS;
    bool known = row->is_ours &&
                 (step->known_done == row->statement || step->known_unsent == row->statement);

    if (row->is_alive)
        step->alive_ms = now;
    if (row->is_alive || known || (row->is_ours && !row->is_started))
        return row->is_alive;
    return row->age_ms < (int64_t)stale_ms ||
           (step->alive_ms > 0 && now - step->alive_ms < stale_ms);
}

/* An incomplete row of our direction. */
static bool notx_take(struct pgb_step *step)
{
    bool same;

    if (notx_is_busy(step))
        return notx_wait(step);
    if (notx_compare(step, &same) != 0)
        return step_fail_with(step, ERR_NOMEM, "out of memory");
    if (!same)
        return notx_fail_changed(step);
    return step->row.is_ours ? notx_resume(step) : notx_claim(step);
}

static bool notx_decide(struct pgb_step *step)
{
    const struct step_row *row = &step->row;
    bool down = step_is_down(step);

    step->in_doubt = false;
    if (!row->exists && step->claimed && !down)
        return step_fail_with(step, ERR_IN_DOUBT,
                              "the row of this migration vanished from %s while its script ran",
                              step->names.journal);
    if (!row->exists && down)
        return step_succeed(step, step->claimed ? BACKEND_DONE : BACKEND_WAS_DONE);
    if (!row->exists)
        return notx_claim_new(step);
    if (row->is_complete && down)
        return notx_claim(step);
    if (row->is_complete && row->is_ours)
        return step_succeed(step, BACKEND_DONE);
    if (row->is_complete)
        return step_was_applied(step);
    if (row->is_undo != down)
        return step_fail_on_incomplete_row(step);
    return notx_take(step);
}

/* --- answers --- */

static bool notx_claimed(struct pgb_step *step)
{
    if (!notx_swapped(step, step->results.count - 1))
        return notx_look(step); /* somebody was quicker */
    if (step->row.is_complete)
        step->row = (struct step_row){.exists = true};
    return notx_resume(step);
}

static bool notx_started(struct pgb_step *step)
{
    notx_note_session_settings(step);
    if (!notx_swapped(step, 0))
        return notx_look(step);
    step->doubtful = true; /* from here on, until it is seen to work */
    step->left_run = NULL;
    crash_point_nth("notx_started", step->at + 1);
    if (step->canceled) {
        err_set(&step->err, ERR_CANCELED, "canceled behind statement %zu", step->at);
        return notx_undo(step, NEXT_FAIL, true);
    }
    return notx_run(step);
}

static bool notx_recorded(struct pgb_step *step)
{
    if (!notx_swapped(step, 0))
        return notx_look(step);
    step->doubtful = false;
    step->left_run = NULL;
    step->at++;
    crash_point_nth("notx_done", step->at);
    return notx_next(step);
}

static void notx_note_cleaned(struct pgb_step *step, bool worked)
{
    step->soiled = !worked;
    step->session_set = false;
}

static bool notx_undone(struct pgb_step *step)
{
    notx_note_cleaned(step, step->rc == 0);
    if (step->next == NEXT_FAIL)
        return step_fail(step);
    if (step->next == NEXT_LOOK && step->rc == 0)
        return notx_look(step);
    return notx_try_later(step);
}

static bool notx_finished(struct pgb_step *step)
{
    struct pgb_answer answer;

    pgb_answer_read(&answer, &step->results, step->rc, step->pgb->settings.journal_schema);
    if (!answer.committed)
        return notx_on_failure(step);
    notx_note_cleaned(step, step->rc == 0);
    if (!notx_swapped(step, 1)) /* behind BEGIN */
        return pg_is_broken(step->conn) ? notx_lost(step) : notx_look(step);
    crash_point("step_committed");
    return step_succeed(step, BACKEND_DONE);
}

bool notx_once(struct pgb_step *step)
{
    const enum step_state state = (enum step_state)step->sm.state;

    if (state == STEP_RUNNING || state == STEP_UNWATCHING)
        return notx_ran(step);
    if (state == STEP_UNDOING)
        return notx_undone(step);
    if (state == STEP_FINISHING)
        return notx_finished(step);
    if (step->rc != 0)
        return notx_on_failure(step);
    switch (state) {
    case STEP_LOOKING:
        step_read_row(step, step_last_result(step));
        return notx_decide(step);
    case STEP_CLAIMING:
        return notx_claimed(step);
    case STEP_CHECKING:
        return notx_checked(step);
    case STEP_DROPPING:
        return notx_check(step);
    case STEP_STARTING:
        return notx_started(step);
    case STEP_RECORDING:
        return notx_recorded(step);
    default:
        abort();
    }
}
