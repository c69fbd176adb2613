#include "backend/mysql_step.h"

#include <stdlib.h>
#include <string.h>

#include "base/crash.h"

/*
 * A step in one transaction. All of it goes in one query if it is not too long: the server stops at
 * the first statement that fails, so COMMIT comes only when everything before it worked, and the
 * number of results says which one failed. A down begins with a query of its own, as only the
 * client can tell that the journal had the row.
 */

void mys_put_database(struct mys_step *step)
{
    if (step->new_schema) {
        step->layout.database_at = mys_put_next(step);
        mysql_put_create_database(&step->sql, step->names.database);
    }
    step->layout.use_at = mys_put_next(step);
    buf_printf(&step->sql, "USE %s", step->names.database);
}

/* The row is waited for as long as for another server's step, the script's locks as it says. */
static void mys_put_head(struct mys_step *step)
{
    const struct mysql_place whole = {.kind = "up", .run = step->names.run};
    const struct mysql_place any = {.kind = "up"};

    mys_put_database(step);
    mys_put_next(step);
    mysql_put_limits(&step->sql, &step->limits);
    mys_put_next(step);
    mysql_put_lock_limit(&step->sql, (int64_t)step->myb->settings.lock_wait_ms + 1);
    mys_put_next(step);
    buf_puts(&step->sql, "START TRANSACTION");
    step->layout.journal_at = mys_put_next(step);
    if (mys_is_down(step))
        mysql_put_remove(&step->sql, &step->names, &any);
    else
        mysql_put_insert(&step->sql, &step->names, &whole);
    mys_put_next(step);
    mysql_put_lock_limit(&step->sql, step->limits.lock_ms);
}

/* Statements from `at` on, and COMMIT behind the last one. */
static void mys_put_batch(struct mys_step *step)
{
    const struct script *script = step->script;
    struct buf *sql = &step->sql;
    bool single = mys_own_limit_ms(step) > 0; /* which is for one statement */

    step->layout.first = step->at;
    step->layout.script_at = step->layout.end;
    while (step->at < script->statement_count &&
           (step->layout.count == 0 || (!single && sql->len < MYB_BATCH_BYTES))) {
        mys_put_next(step);
        if (template_render_statement(script, &script->statements[step->at], &step->values, sql,
                                      &step->err) != 0)
            return;
        step->layout.count++;
        step->at++;
    }
    if (step->at < script->statement_count)
        return;
    step->layout.commit_at = mys_put_next(step);
    buf_puts(sql, "COMMIT");
    if (step->limits.statement_ms >= 0) {
        mys_put_next(step);
        mysql_put_no_limit(sql, step->limits.is_mariadb);
    }
}

static bool mys_tx_send(struct mys_step *step)
{
    if (step->err.code != 0)
        return mys_fail(step);
    if (mys_ask(step, MYS_EXECUTING))
        return true;
    crash_point("step_sent");
    return false;
}

/* In doubt, the script runs again only as long as tries are left; then a look must do. */
static bool mys_must_probe(const struct mys_step *step)
{
    return step->in_doubt &&
           (step->canceled || step->result->attempts >= step->myb->settings.max_attempts);
}

bool mys_tx_execute(struct mys_step *step)
{
    err_clear(&step->err);
    step->probing = mys_must_probe(step);
    step->at = 0;
    step->soiled = step->script->dirties_session || step->limits.statement_ms >= 0;
    mys_begin_sql(step);
    mys_put_head(step);
    step->counted = !step->probing;
    if (step->probing) {
        mys_put_next(step);
        buf_puts(&step->sql, "ROLLBACK");
    } else {
        step->result->attempts++;
        if (!mys_is_down(step))
            mys_put_batch(step);
    }
    return mys_tx_send(step);
}

static bool mys_tx_go_on_script(struct mys_step *step)
{
    if (step->canceled) {
        err_set(&step->err, ERR_CANCELED, "canceled");
        step->soiled = true; /* with the open transaction, which ends with its session */
        return mys_fail(step);
    }
    mys_begin_sql(step);
    mys_put_batch(step);
    if (step->err.code != 0)
        step->soiled = true;
    return mys_tx_send(step);
}

/* --- what becomes of a failure --- */

static bool mys_tx_on_row(struct mys_step *step)
{
    const struct mys_row *row = &step->row;

    mys_read_row(step, myb_last(&step->results));
    if (row->exists && !row->is_complete) {
        if (row->is_undo != mys_is_down(step))
            return mys_fail_on_incomplete_row(step);
        step->in_doubt = false;
        step->wise = true; /* as it was begun */
        return mys_wise_look(step);
    }
    if (mys_is_down(step)) {
        if (row->exists)
            return mys_repair(step);
        return mys_succeed(step, step->in_doubt ? BACKEND_DONE : BACKEND_WAS_DONE);
    }
    if (!row->exists)
        return mys_repair(step);
    return row->is_ours ? mys_succeed(step, BACKEND_DONE) : mys_was_applied(step);
}

static bool mys_tx_go_on(struct mys_step *step, bool lost)
{
    switch (step->next) {
    case MYS_NEXT_LOOK:
        return lost ? mys_try_later(step) : mys_tx_on_row(step);
    case MYS_NEXT_MEND:
        return lost ? mys_try_later(step) : mys_mend(step);
    case MYS_NEXT_PAUSE:
        return mys_try_later(step);
    case MYS_NEXT_FAIL:
        break;
    }
    return mys_fail(step);
}

/* Ends the failed transaction at once: others may wait for its locks. */
static bool mys_tx_clear(struct mys_step *step, enum mys_next next)
{
    step->next = next;
    if (maria_is_broken(step->conn))
        return mys_tx_go_on(step, true);
    mys_begin_sql(step);
    mys_put_next(step);
    buf_puts(&step->sql, "ROLLBACK");
    mys_put_next(step);
    buf_puts(&step->sql, "SHOW WARNINGS");
    if (next == MYS_NEXT_LOOK) {
        mys_put_next(step);
        mysql_put_look(&step->sql, &step->names);
    }
    return mys_ask(step, MYS_CLEARING);
}

bool mys_tx_cleared(struct mys_step *step)
{
    if (step->rc != 0) {
        step->soiled = true;
        if (step->next != MYS_NEXT_FAIL)
            step->err = step->work.err;
        return mys_tx_go_on(step, true);
    }
    if (step->next != MYS_NEXT_LOOK && step->results.count > 1 &&
        mys_note_not_rolled_back(step, &step->results.results[1])) {
        step->in_doubt = false;
        step->next = MYS_NEXT_FAIL; /* trying again would change those tables again */
    }
    return mys_tx_go_on(step, false);
}

static bool mys_tx_is_missing(unsigned error)
{
    return error == MYB_NO_TABLE || error == MYB_NO_DATABASE;
}

/* The server refused statement `at` of the query. */
static bool mys_tx_refused(struct mys_step *step, size_t at)
{
    const struct mys_layout *layout = &step->layout;
    const unsigned error = step->results.error;

    if (at == layout->use_at && error == MYB_NO_DATABASE)
        return mys_on_no_schema(step);
    if (at == layout->journal_at && error == MYB_DUPLICATE_KEY)
        return mys_tx_clear(step, MYS_NEXT_LOOK);
    if (at == layout->journal_at && mys_tx_is_missing(error))
        return mys_tx_clear(step, MYS_NEXT_MEND);
    if (at == layout->journal_at && error == MYB_LOCK_TIMEOUT) {
        err_set(&step->err, ERR_LOCKED, "migration is already being executed");
        return mys_tx_clear(step, step->in_doubt ? MYS_NEXT_PAUSE : MYS_NEXT_FAIL);
    }
    if (step->rc == ERR_DB && myb_may_pass(error))
        return mys_tx_clear(step, MYS_NEXT_PAUSE);
    return mys_tx_clear(step, MYS_NEXT_FAIL);
}

/* The probe got through the journal, so no try took effect, and none is under way. */
static bool mys_nothing_happened(struct mys_step *step)
{
    step->in_doubt = false;
    step->probing = false;
    if (step->canceled)
        return mys_fail_with(step, ERR_CANCELED, "canceled");
    step->err = step->lost;
    return mys_fail(step);
}

static bool mys_tx_worked(struct mys_step *step)
{
    const struct mys_layout *layout = &step->layout;

    if (step->probing)
        return mys_nothing_happened(step);
    if (layout->journal_at != SIZE_MAX && mys_is_down(step) &&
        step->results.results[layout->journal_at].affected != 1)
        return mys_tx_clear(step, MYS_NEXT_LOOK);
    step->in_doubt = false; /* the journal let us in, so no earlier try had taken effect */
    if (layout->commit_at == SIZE_MAX)
        return mys_tx_go_on_script(step);
    crash_point("step_committed");
    step->soiled = step->script->dirties_session;
    return mys_succeed(step, BACKEND_DONE);
}

/* The connection broke. What was sent without a COMMIT has no effect. */
static bool mys_tx_lost(struct mys_step *step)
{
    const struct mys_layout *layout = &step->layout;

    if (layout->commit_at != SIZE_MAX && step->results.count > layout->commit_at)
        return mys_succeed(step, BACKEND_DONE);
    if (layout->commit_at == SIZE_MAX && !step->in_doubt)
        step->sent = false;
    return mys_on_unknown(step);
}

bool mys_tx_judge(struct mys_step *step)
{
    const struct mys_layout *layout = &step->layout;
    const size_t at = step->results.count;

    if (step->rc == 0)
        return mys_tx_worked(step);
    if (step->rc == ERR_UNREACHABLE || step->results.error == 0)
        return mys_tx_lost(step);
    if (layout->commit_at != SIZE_MAX && at > layout->commit_at) { /* behind COMMIT */
        step->soiled = true;
        return mys_succeed(step, BACKEND_DONE);
    }
    mys_note_error(step, at);
    if (layout->journal_at == SIZE_MAX || at > layout->journal_at)
        step->in_doubt = false;
    step->probing = false;
    if (at == layout->commit_at && step->rc == ERR_CANCELED) {
        step->soiled = true;
        return mys_on_unknown(step);
    }
    if (step->in_doubt && step->rc == ERR_CANCELED) {
        step->soiled = true; /* with the open transaction: what comes now is a probe */
        return mys_try_later(step);
    }
    return mys_tx_refused(step, at);
}
