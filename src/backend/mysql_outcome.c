#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backoff.h"
#include "backend/mysql_step.h"
#include "backend/no_schema.h"

/* How a step ends, and what makes it try again instead. */

enum {
    MYS_PAUSE_MIN_MS = 50,
    MYS_PAUSE_MAX_MS = 2000,
};

/* The lock goes back first, unless its session goes too. */
static bool mys_end(struct mys_step *step)
{
    if (step->conn != NULL && step->locked && !step->soiled && !maria_is_broken(step->conn)) {
        mys_begin_sql(step);
        mysql_put_unlock(&step->sql, step->names.lock);
        if (step->sql.rc == 0) {
            maria_results_free(&step->results);
            return mys_await(step, MYS_RELEASING,
                             maria_query(step->conn, &step->work, step->sql.data, step->sql.len, 0,
                                         &step->results));
        }
    }
    mys_give_back(step);
    mys_move(step, MYS_DONE);
    return true;
}

bool mys_succeed(struct mys_step *step, enum backend_outcome outcome)
{
    err_clear(&step->err);
    step->result->outcome = outcome;
    step->in_doubt = false;
    step->probing = false;
    return mys_end(step);
}

bool mys_was_applied(struct mys_step *step)
{
    step->result->applied_at_us = step->row.applied_us;
    snprintf(step->result->run_id, sizeof(step->result->run_id), "%s", step->row.run);
    return mys_succeed(step, BACKEND_WAS_DONE);
}

bool mys_fail(struct mys_step *step)
{
    struct err why = step->err;

    if (step->in_doubt) {
        err_set(&step->err, ERR_IN_DOUBT,
                "it is not known whether the migration took effect, as the connection was lost and "
                "the journal could not be asked: %s; the next run finds out from the journal",
                err_text(&why));
        memcpy(step->err.sqlstate, why.sqlstate, sizeof(why.sqlstate));
    }
    step->probing = false;
    return mys_end(step);
}

bool mys_fail_with(struct mys_step *step, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    err_vset(&step->err, code, format, args);
    va_end(args);
    return mys_fail(step);
}

bool mys_fail_on_incomplete_row(struct mys_step *step)
{
    const struct mys_row *row = &step->row;

    step->in_doubt = false;
    return mys_fail_with(step, ERR_IN_DOUBT,
                         "the %s script of this migration ran statement by statement and stopped "
                         "at statement %zu (%s); run it again in that direction to finish it",
                         row->is_undo ? "down" : "up", row->statement,
                         row->is_started ? "started" : "done");
}

/* --- trying again --- */

static uint64_t mys_backoff_ms(unsigned nth)
{
    return backend_backoff_ms(nth, MYS_PAUSE_MIN_MS, MYS_PAUSE_MAX_MS);
}

bool mys_pause(struct mys_step *step, uint64_t ms)
{
    mys_give_back(step);
    if (step->canceled && !step->in_doubt)
        return mys_fail_with(step, ERR_CANCELED, "canceled");
    return mys_await(step, MYS_PAUSING,
                     op_sleep_start(&step->nap, myb_sched(step->myb), &step->work, ms));
}

bool mys_may_try_later(const struct mys_step *step)
{
    const struct backend_mysql_settings *settings = &step->myb->settings;
    bool wanted = !step->canceled || step->in_doubt;

    if (step->in_doubt && !step->wise)
        return myb_sched(step->myb)->now_ms - step->doubt_since_ms < settings->doubt_wait_ms;
    return wanted && step->result->attempts < settings->max_attempts;
}

/* What comes when no tries are left only finds out. */
static void mys_tell_attempt(const struct mys_step *step)
{
    unsigned done = step->result->attempts;

    if (step->step->on_attempt != NULL && done < step->myb->settings.max_attempts)
        step->step->on_attempt(step->step, done + 1, &step->err);
}

bool mys_try_later(struct mys_step *step)
{
    unsigned attempts = step->result->attempts;

    step->probing = false;
    if (!mys_may_try_later(step))
        return mys_fail(step);
    mys_tell_attempt(step);
    if (step->wise)
        step->result->attempts++;
    return mys_pause(step, mys_backoff_ms(attempts > 0 ? attempts - 1 : 0));
}

bool mys_on_unknown(struct mys_step *step)
{
    step->err = step->work.err;
    if (step->sent && !step->probing) {
        step->in_doubt = true;
        step->doubt_since_ms = myb_sched(step->myb)->now_ms;
        step->lost = step->err;
    }
    return mys_try_later(step);
}

bool mys_repair(struct mys_step *step)
{
    if (step->canceled && !step->in_doubt)
        return mys_fail_with(step, ERR_CANCELED, "canceled");
    if (++step->repairs > MYB_REPAIRS_MAX)
        return mys_fail(step);
    if (step->wise)
        return mys_wise_look(step);
    if (step->counted)
        step->result->attempts--; /* it goes on with the same try */
    return mys_tx_execute(step);
}

/* For how long nobody has got a connection, counted from the beginning of the first try. */
static uint64_t mys_note_down(struct myb *myb)
{
    uint64_t now = myb_sched(myb)->now_ms;
    struct maria_pool_stats stats;

    maria_pool_get_stats(myb->pool, &stats);
    return backend_down_note(&myb->down, now, stats.failed_since_ms);
}

/* A target that is away is given some time to come back: much when an outcome is at stake. What the
 * server says with a SQLSTATE of its own does not pass, but for being full (08004) or stopping. */
bool mys_on_no_connection(struct mys_step *step)
{
    struct myb *myb = step->myb;
    uint64_t now = myb_sched(myb)->now_ms, down_ms;
    const char *sqlstate = step->work.err.sqlstate;
    bool passing = sqlstate[0] == '\0' || strncmp(sqlstate, "08", 2) == 0;

    if (step->err.code == 0 || !step->in_doubt)
        step->err = step->work.err;
    if (step->rc != ERR_UNREACHABLE)
        return mys_fail(step);
    down_ms = mys_note_down(myb);
    if (step->in_doubt ? now - step->doubt_since_ms < myb->settings.doubt_wait_ms
                       : passing && down_ms < BACKEND_DOWN_GRACE_MS)
        return mys_pause(step, mys_backoff_ms(step->misses++));
    return mys_fail(step);
}

bool mys_on_no_schema(struct mys_step *step)
{
    if (!mys_is_down(step) && step->myb->settings.create_schema && !step->new_schema) {
        step->new_schema = true;
        return mys_repair(step);
    }
    if (step->myb->settings.create_schema || mys_is_down(step))
        return mys_fail_with(step, ERR_DB, "schema \"%s\" does not exist", step->step->schema);
    backend_refuse_schema(&step->err, "schema", step->step->schema, step->myb->settings.connection);
    return mys_fail(step);
}

/* --- the journal --- */

bool mys_mend(struct mys_step *step)
{
    mys_begin_sql(step);
    myb_put_create_journal(&step->sql, step->myb, step->mend_database);
    return mys_ask(step, MYS_MENDING);
}

bool mys_mended(struct mys_step *step)
{
    const unsigned error = step->results.error;

    if (step->rc == 0)
        return mys_repair(step);
    if (error == MYB_NO_DATABASE && !step->mend_database) {
        step->mend_database = true;
        return mys_mend(step);
    }
    step->err = step->work.err;
    if (step->rc != ERR_DB || myb_may_pass(error))
        return mys_try_later(step);
    myb_explain_journal(&step->err, step->myb, error);
    return mys_fail(step);
}

static const char *mys_text(const struct maria_result *result, enum mysql_column column)
{
    const char *text = maria_value(result, 0, column, NULL);

    return text != NULL ? text : "";
}

void mys_read_row(struct mys_step *step, const struct maria_result *result)
{
    struct mys_row *row = &step->row;

    *row = (struct mys_row){.exists = false};
    if (result == NULL || result->rows == 0)
        return;
    row->exists = true;
    snprintf(row->kind, sizeof(row->kind), "%s", mys_text(result, MYSQL_COLUMN_KIND));
    snprintf(row->run, sizeof(row->run), "%s", mys_text(result, MYSQL_COLUMN_RUN));
    row->is_complete = strcmp(row->kind, "up") == 0;
    row->is_undo = strncmp(row->kind, "undo", 4) == 0;
    row->is_started = strstr(row->kind, "started") != NULL;
    row->is_ours = strcmp(row->run, step->run) == 0;
    snprintf(row->checksum, sizeof(row->checksum), "%s", mys_text(result, MYSQL_COLUMN_CHECKSUM));
    row->statement = strtoul(mys_text(result, MYSQL_COLUMN_STATEMENT), NULL, 10);
    row->applied_us = strtoll(mys_text(result, MYSQL_COLUMN_APPLIED_US), NULL, 10);
}
