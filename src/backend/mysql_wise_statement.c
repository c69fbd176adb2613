#include "backend/mysql_step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"

/*
 * One statement of such a script, in one query:
 *
 *   START TRANSACTION; "statement n is started"; guard; statement n; "statement n is done"; COMMIT
 *
 * A statement that commits by itself commits the first mark before it takes effect, and the second
 * is a transaction of its own. Any other is one transaction with both marks. So whatever happens,
 * the row is behind the statement, or in front of it and nothing happened, or says "started": then
 * it is in doubt. Marks are compared with what the row was, and only the holder of the step's lock
 * writes them. Where that lock does not hold (a cluster's members each have their own), the row has
 * become somebody else's: the guard then ends the query in front of the statement.
 */

static bool wise_put_script(struct mys_step *step)
{
    step->layout.script_at = mys_put_next(step);
    step->layout.first = step->at;
    step->layout.count = 1;
    return template_render_statement(step->script, mys_wise_statement(step), &step->values,
                                     &step->sql, &step->err) == 0;
}

/* What the session had for the step, unless the answers of the statement cannot be counted. */
static void wise_put_end(struct mys_step *step)
{
    if (!mys_wise_is_last(step) || mys_wise_kind(step) == MYSQL_OPAQUE)
        return;
    mys_put_next(step);
    mysql_put_unlock(&step->sql, step->names.lock);
    if (step->limits.statement_ms >= 0) {
        mys_put_next(step);
        mysql_put_no_limit(&step->sql, step->limits.is_mariadb);
    }
}

bool mys_wise_run(struct mys_step *step)
{
    step->records = step->doubtful && step->known_done == step->at + 1;
    mys_begin_sql(step);
    mys_put_next(step);
    buf_puts(&step->sql, "START TRANSACTION");
    if (!step->records) {
        mys_wise_put_started(step);
        if (!wise_put_script(step))
            return mys_fail(step);
    }
    mys_wise_put_done(step);
    step->layout.commit_at = mys_put_next(step);
    buf_puts(&step->sql, "COMMIT");
    wise_put_end(step);
    if (mys_ask(step, MYS_RUNNING))
        return true;
    crash_point_nth("notx_sent", step->at + 1);
    return false;
}

/* --- the end of a script that has become shorter --- */

/* All that is left of it was done before. */
static bool wise_finish(struct mys_step *step)
{
    const struct mysql_place done = mys_wise_before(step);
    const struct mysql_place whole = {.kind = "up", .run = step->names.run};

    mys_begin_sql(step);
    mys_put_next(step);
    buf_puts(&step->sql, "START TRANSACTION");
    step->layout.done_at = mys_put_next(step);
    if (mys_is_down(step))
        mysql_put_remove(&step->sql, &step->names, &done);
    else
        mysql_put_move(&step->sql, &step->names, &done, &whole);
    step->layout.commit_at = mys_put_next(step);
    buf_puts(&step->sql, "COMMIT");
    return mys_ask(step, MYS_RUNNING);
}

static bool wise_finished(struct mys_step *step)
{
    if (step->rc == 0 || step->results.count > step->layout.commit_at) {
        if (!mys_wise_is_marked(step))
            return mys_wise_fail_unmarked(step);
        crash_point("step_committed");
        return mys_succeed(step, BACKEND_DONE);
    }
    step->soiled = true; /* with the open transaction */
    return mys_wise_on_failure(step);
}

/* --- on to the next statement --- */

static bool wise_fail_in_doubt(struct mys_step *step)
{
    const struct sql_statement *statement = mys_wise_statement(step);
    size_t nth = step->at + 1;

    err_set(&step->err, ERR_IN_DOUBT,
            "statement %zu (%s:%u) was started by run %s and it is not known whether it took "
            "effect; look, then POST /api/v1/migrations/%s/resolve with schema \"%s\" and as "
            "\"applied\" or \"not_applied\", and run again",
            nth, step->script->file, statement->line, step->row.run, step->step->migration->id,
            step->step->schema);
    step->err.statement = (unsigned)nth;
    step->err.line = statement->line;
    return mys_fail(step);
}

bool mys_wise_next(struct mys_step *step)
{
    if (step->canceled && !(step->doubtful && step->known_done == step->at + 1)) {
        err_set(&step->err, ERR_CANCELED, "canceled behind statement %zu", step->at);
        return mys_fail(step);
    }
    if (step->at == step->script->statement_count)
        return wise_finish(step);
    if (!step->doubtful || step->known_done == step->at + 1)
        return mys_wise_run(step);
    switch (mys_wise_kind(step)) {
    case MYSQL_REPEATABLE:
    case MYSQL_ONCE: /* if it works now, it had not before */
        return mys_wise_run(step);
    case MYSQL_DML:
    case MYSQL_SESSION:
    case MYSQL_TEMPORARY:
    case MYSQL_DDL:
    case MYSQL_OPAQUE:
        break;
    }
    return wise_fail_in_doubt(step);
}

static bool wise_worked(struct mys_step *step)
{
    bool is_last = mys_wise_is_last(step);

    if (!mys_wise_is_marked(step))
        return mys_wise_fail_unmarked(step);
    if (is_last && mys_wise_kind(step) != MYSQL_OPAQUE && step->rc == 0) {
        step->locked = false; /* wise_put_end() */
        step->soiled = step->script->dirties_session;
    }
    step->doubtful = false;
    step->in_doubt = false;
    step->at++;
    crash_point_nth("notx_done", step->at);
    if (is_last) {
        crash_point("step_committed");
        return mys_succeed(step, BACKEND_DONE);
    }
    step->row = (struct mys_row){.exists = true, .statement = step->at};
    step->row_run = step->names.run;
    return mys_wise_next(step);
}

/* --- failures --- */

/* Whether the failure of the statement means that nothing of it happened. */
static bool wise_is_certain(const struct mys_step *step)
{
    return mys_wise_kind(step) != MYSQL_OPAQUE &&
           (!step->doubtful || mys_wise_kind(step) == MYSQL_REPEATABLE);
}

static bool wise_undo(struct mys_step *step, enum mys_next next, bool restores)
{
    step->next = next;
    step->restores = restores;
    mys_begin_sql(step);
    mys_put_next(step);
    buf_puts(&step->sql, "ROLLBACK");
    mys_put_next(step);
    buf_puts(&step->sql, "SHOW WARNINGS");
    if (restores)
        mys_wise_put_restore(step);
    mys_put_next(step);
    mysql_put_look(&step->sql, &step->names);
    return mys_ask(step, MYS_UNDOING);
}

bool mys_wise_ran(struct mys_step *step)
{
    const struct mys_layout *layout = &step->layout;
    const size_t count = step->results.count;
    bool countable, passing; /* CALL gives any number of answers */
    size_t at;

    if (step->at == step->script->statement_count)
        return wise_finished(step);
    countable = mys_wise_kind(step) != MYSQL_OPAQUE;
    at = !countable && count > layout->script_at ? layout->script_at : count;
    if (step->rc == 0)
        return wise_worked(step);
    if (countable && count > layout->commit_at) {
        step->soiled = true; /* what comes behind COMMIT did not work */
        return wise_worked(step);
    }
    if (countable && !step->records && count > layout->script_at &&
        !mysql_kind_keeps_transaction(mys_wise_kind(step)))
        step->known_done = step->at + 1;
    if (step->rc == ERR_UNREACHABLE || step->results.error == 0)
        return mys_on_unknown(step);
    if (mys_wise_is_taken(step, at))
        return mys_wise_fail_taken(step);
    mys_note_error(step, at);
    if (maria_is_broken(step->conn)) /* it was too large to be read */
        return mys_fail(step);
    passing = step->rc == ERR_DB && myb_may_pass(step->results.error);
    if (step->records || at != layout->script_at) /* the marks failed: the row tells what is true */
        return wise_undo(step, passing ? MYS_NEXT_PAUSE : MYS_NEXT_FAIL, false);
    passing = passing && wise_is_certain(step) && mys_may_try_later(step);
    return wise_undo(step, passing ? MYS_NEXT_PAUSE : MYS_NEXT_FAIL, wise_is_certain(step));
}

/* It failed, and may have taken effect before, or in part: its mark stays. */
static bool wise_fail_partly(struct mys_step *step)
{
    const struct err why = step->err;
    bool again = mys_wise_kind(step) != MYSQL_OPAQUE;

    err_set(&step->err, ERR_IN_DOUBT,
            "%s; %s: look, then POST /api/v1/migrations/%s/resolve with schema \"%s\" and as "
            "\"applied\" to go on behind it, or \"not_applied\" to run it again",
            err_text(&why),
            again ? "it was started before, and this can mean that it took effect then"
                  : "it may have taken effect in part, so it is not run again",
            step->step->migration->id, step->step->schema);
    step->err.statement = why.statement;
    step->err.line = why.line;
    memcpy(step->err.sqlstate, why.sqlstate, sizeof(why.sqlstate));
    return mys_fail(step);
}

static bool wise_not_rolled_back(struct mys_step *step)
{
    return step->results.count > 1 && mys_note_not_rolled_back(step, &step->results.results[1]);
}

bool mys_wise_undone(struct mys_step *step)
{
    const struct err why = step->err;
    const struct mys_row row = step->row;
    bool stays;

    if (step->rc != 0 && step->results.error == 0) {
        step->err = why;
        step->soiled = true;
        if (step->next == MYS_NEXT_FAIL && step->restores)
            return mys_fail(step);
        return mys_on_unknown(step);
    }
    if (step->rc != 0)
        return mys_fail(step);
    if (wise_not_rolled_back(step))
        return mys_fail(step);
    mys_read_row(step, myb_last(&step->results));
    stays = step->row.exists && step->row.is_started && step->row.statement == step->at + 1;
    if (stays && step->known_done == step->at + 1) {
        step->doubtful = true;
        return mys_wise_next(step);
    }
    if (stays)
        return wise_fail_partly(step);
    if (mys_is_down(step) ? row.exists && !step->row.exists
                          : step->row.is_complete && !row.is_complete)
        return mys_succeed(step, BACKEND_DONE);
    return step->next == MYS_NEXT_PAUSE ? mys_try_later(step) : mys_fail(step);
}
