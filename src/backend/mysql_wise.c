#include "backend/mysql_step.h"

#include <stdio.h>
#include <string.h>

/*
 * A script whose statements commit by themselves, one after the other. Its lock says that somebody
 * is at work on it: it goes with the session, however that ends. The journal row says how far it
 * is.
 */

/* Even the journal is not waited for without an end. The statement's limit is not for the look. */
static void mys_wise_put_lock_limits(struct mys_step *step)
{
    struct mysql_limits limits = step->limits;

    limits.statement_ms = -1;
    mys_put_next(step);
    mysql_put_limits(&step->sql, &limits);
}

bool mys_wise_look(struct mys_step *step)
{
    if (step->result->attempts == 0)
        step->result->attempts = 1;
    err_clear(&step->err);
    mys_begin_sql(step);
    mys_wise_put_lock_limits(step);
    step->layout.lock_at = mys_put_next(step);
    if (step->locked)
        mysql_put_has_lock(&step->sql);
    else
        mysql_put_lock(&step->sql, step->names.lock, 0);
    step->layout.journal_at = mys_put_next(step);
    mysql_put_look(&step->sql, &step->names);
    if (step->limits.statement_ms >= 0) {
        mys_put_next(step);
        mysql_put_limits(&step->sql, &step->limits);
    }
    mys_put_database(step);
    return mys_ask(step, MYS_LOOKING);
}

/* Somebody else is at work on it. */
static bool mys_wise_wait(struct mys_step *step)
{
    uint64_t now = myb_sched(step->myb)->now_ms;

    if (step->poll_since_ms == 0)
        step->poll_since_ms = now;
    if (now - step->poll_since_ms < step->myb->settings.lock_wait_ms)
        return mys_pause(step, MYB_POLL_MS);
    if (step->row.exists && !step->row.is_complete)
        return mys_fail_with(step, ERR_LOCKED,
                             "migration is already being executed by run %s, at statement %zu, in "
                             "session %s of the database",
                             step->row.run, step->row.statement, step->holder);
    return mys_fail_with(step, ERR_LOCKED,
                         "migration is already being executed in session %s of the database",
                         step->holder);
}

static bool mys_wise_fail_changed(struct mys_step *step)
{
    const struct mys_row *row = &step->row;

    script_prefix_refuse(&step->err, ERR_IN_DOUBT, step->script, row->statement,
                         row->is_started ? "started" : "done");
    return mys_fail(step);
}

/* What was done or started is in the script as it was; the rest may have been corrected. Rows were
 * written before with the up script's checksum, whichever script was at work. */
static int mys_wise_compare(const struct mys_step *step, bool *same)
{
    const struct mys_row *row = &step->row;

    *same = !row->exists || row->is_complete || (!row->is_started && row->statement == 0);
    if (*same || row->statement == 0)
        return 0;
    *same = mys_is_down(step) && row->statement <= step->script->statement_count &&
            strcmp(row->checksum, step->step->migration->up.checksum) == 0;
    if (*same)
        return 0;
    return script_prefix_compare(step->script, row->statement, row->checksum, same);
}

/* Sessions come and go, SETs in front are part of what the statement is run with. */
static bool mys_wise_replay(struct mys_step *step)
{
    const struct script *script = step->script;

    step->replayed = true;
    mys_begin_sql(step);
    step->layout.script_at = 0;
    for (size_t i = 0; i < step->at; i++) {
        if (script->statements[i].kind != MYSQL_SESSION)
            continue;
        mys_put_next(step);
        if (template_render_statement(script, &script->statements[i], &step->values, &step->sql,
                                      &step->err) != 0)
            return mys_fail(step);
    }
    return step->layout.end > 0 ? mys_ask(step, MYS_REPLAYING) : mys_wise_next(step);
}

bool mys_wise_replayed(struct mys_step *step)
{
    if (step->rc == 0)
        return mys_wise_next(step);
    if (step->results.error == 0)
        return mys_on_unknown(step);
    step->err = step->work.err;
    err_prefix(&step->err, "saying again the SET statements in front of statement %zu",
               step->at + 1);
    return mys_fail(step);
}

/* The row is nobody else's. */
static bool mys_wise_resume(struct mys_step *step)
{
    const struct mys_row *row = &step->row;
    bool same;

    if (mys_wise_compare(step, &same) != 0)
        return mys_fail_with(step, ERR_NOMEM, "out of memory");
    if (!same)
        return mys_wise_fail_changed(step);
    step->row_run = myb_literal(&step->arena, row->run);
    if (step->row_run == NULL)
        return mys_fail_with(step, ERR_NOMEM, "out of memory");
    step->poll_since_ms = 0;
    step->doubtful = row->exists && row->is_started;
    step->at = row->is_started ? row->statement - 1 : row->statement;
    if (row->is_complete) {
        step->at = 0;
        step->claim_run = step->row_run;
        step->claim_applied_us = row->applied_us;
        step->claim_checksum = myb_literal(&step->arena, row->checksum);
        if (step->claim_checksum == NULL)
            return mys_fail_with(step, ERR_NOMEM, "out of memory");
    }
    if (step->at > 0 && step->at < step->script->statement_count && !step->replayed)
        return mys_wise_replay(step);
    step->replayed = true;
    return mys_wise_next(step);
}

static bool mys_wise_decide(struct mys_step *step)
{
    const struct mys_row *row = &step->row;
    bool down = mys_is_down(step);

    step->in_doubt = false;
    if (!row->exists && down)
        return mys_succeed(step, step->claim_run != NULL ? BACKEND_DONE : BACKEND_WAS_DONE);
    if (row->is_complete && !down)
        return row->is_ours ? mys_succeed(step, BACKEND_DONE) : mys_was_applied(step);
    if (row->exists && !row->is_complete && row->is_undo != down)
        return mys_fail_on_incomplete_row(step);
    if (step->rc != 0 && step->results.error == MYB_NO_DATABASE)
        return mys_on_no_schema(step);
    if (step->rc != 0) {
        mys_note_error(step, step->results.count);
        return mys_fail(step);
    }
    return mys_wise_resume(step);
}

bool mys_wise_on_failure(struct mys_step *step)
{
    if (step->rc == ERR_UNREACHABLE || step->results.error == 0)
        return mys_on_unknown(step);
    mys_note_error(step, step->results.count);
    return step->rc == ERR_DB && myb_may_pass(step->results.error) ? mys_try_later(step)
                                                                   : mys_fail(step);
}

static bool mys_wise_has_lock(struct mys_step *step)
{
    const struct maria_result *answer = &step->results.results[step->layout.lock_at];
    const char *got = answer->rows == 1 ? maria_value(answer, 0, 0, NULL) : NULL;
    const char *holder = answer->rows == 1 ? maria_value(answer, 0, 1, NULL) : NULL;

    snprintf(step->holder, sizeof(step->holder), "%s", holder != NULL ? holder : "?");
    step->locked = got != NULL && strcmp(got, "1") == 0;
    return step->locked;
}

bool mys_wise_looked(struct mys_step *step)
{
    const struct maria_results *results = &step->results;
    bool locked = results->count > step->layout.lock_at && mys_wise_has_lock(step);

    step->soiled = step->script->dirties_session || step->limits.statement_ms >= 0;
    if (step->rc != 0 && results->count <= step->layout.journal_at) {
        if (results->error == MYB_NO_TABLE || results->error == MYB_NO_DATABASE)
            return mys_mend(step);
        return mys_wise_on_failure(step);
    }
    if (step->rc != 0 && results->error == 0)
        return mys_on_unknown(step);
    mys_read_row(step, &results->results[step->layout.journal_at]);
    if (!locked && !(step->row.is_complete && !mys_is_down(step)))
        return mys_wise_wait(step);
    return mys_wise_decide(step);
}
