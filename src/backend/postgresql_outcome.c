#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backoff.h"
#include "backend/no_schema.h"
#include "backend/postgresql_step.h"

/* How a step ends, and what makes it try again instead. */

enum {
    STEP_PAUSE_MIN_MS = 50,
    STEP_PAUSE_MAX_MS = 2000,
};

bool step_succeed(struct pgb_step *step, enum backend_outcome outcome)
{
    err_clear(&step->err);
    step->result->outcome = outcome;
    step->in_doubt = false;
    step->probing = false;
    step_give_back(step);
    step_move(step, STEP_DONE);
    return true;
}

bool step_was_applied(struct pgb_step *step)
{
    step->result->applied_at_us = step->row.applied_us;
    snprintf(step->result->run_id, sizeof(step->result->run_id), "%s", step->row.run);
    return step_succeed(step, BACKEND_WAS_DONE);
}

bool step_fail(struct pgb_step *step)
{
    struct err why = step->err;

    if (step->in_doubt) {
        err_set(&step->err, ERR_IN_DOUBT,
                "it is not known whether the migration took effect, as the connection was lost and "
                "the journal could not be asked: %s; the next run finds out from the journal",
                err_text(&why));
        memcpy(step->err.sqlstate, why.sqlstate, sizeof(why.sqlstate));
    }
    step_give_back(step);
    step_move(step, STEP_DONE);
    return true;
}

bool step_fail_with(struct pgb_step *step, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    err_vset(&step->err, code, format, args);
    va_end(args);
    return step_fail(step);
}

bool step_sql_failed(struct pgb_step *step)
{
    if (step->sql.rc == ERR_NOMEM)
        return step_fail_with(step, ERR_NOMEM, "out of memory");
    return step_fail_with(step, ERR_LIMIT, "the script is too large");
}

/* --- trying again --- */

static uint64_t step_backoff_ms(unsigned nth)
{
    return backend_backoff_ms(nth, STEP_PAUSE_MIN_MS, STEP_PAUSE_MAX_MS);
}

bool step_pause(struct pgb_step *step, uint64_t ms)
{
    step_give_back(step);
    if (step->canceled && !step->in_doubt)
        return step_fail_with(step, ERR_CANCELED, "canceled");
    return step_await(step, STEP_PAUSING,
                      op_sleep_start(&step->nap, pgb_sched(step->pgb), &step->work, ms));
}

void step_add_blocker(struct pgb_step *step)
{
    struct err why = step->err;

    if (step->watch.blocker[0] == '\0' || strcmp(why.sqlstate, "55P03") != 0)
        return;
    err_set(&step->err, why.code, "%s; %s", err_text(&why), step->watch.blocker);
    step->err.statement = why.statement;
    step->err.line = why.line;
    memcpy(step->err.sqlstate, why.sqlstate, sizeof(why.sqlstate));
}

bool step_may_try_later(const struct pgb_step *step)
{
    const struct backend_pg_settings *settings = &step->pgb->settings;
    bool wanted = !step->canceled || step->in_doubt;

    if (step->in_doubt && !step->step->migration->no_transaction)
        return pgb_sched(step->pgb)->now_ms - step->doubt_since_ms < settings->doubt_wait_ms;
    return wanted && step->result->attempts < settings->max_attempts;
}

/* What comes when no tries are left only finds out. */
static void step_tell_attempt(const struct pgb_step *step)
{
    unsigned done = step->result->attempts;

    if (step->step->on_attempt != NULL && done < step->pgb->settings.max_attempts)
        step->step->on_attempt(step->step, done + 1, &step->err);
}

bool step_try_later(struct pgb_step *step)
{
    if (step_may_try_later(step)) {
        step_tell_attempt(step);
        return step_pause(step, step_backoff_ms(step->result->attempts - 1));
    }
    step_add_blocker(step);
    return step_fail(step);
}

bool step_on_unknown(struct pgb_step *step)
{
    step->err = step->work.err;
    if (step->sent && !step->probing) {
        step->in_doubt = true;
        step->doubt_since_ms = pgb_sched(step->pgb)->now_ms;
        step->lost = step->err;
    }
    step->probing = false;
    return step_try_later(step);
}

bool step_repair(struct pgb_step *step)
{
    if (step->canceled && !step->in_doubt)
        return step_fail_with(step, ERR_CANCELED, "canceled");
    if (++step->repairs > PGB_REPAIRS_MAX)
        return step_fail(step);
    if (step->step->migration->no_transaction)
        return notx_look(step);
    if (step->counted)
        step->result->attempts--; /* it goes on with the same try */
    return tx_execute(step);
}

/* For how long nobody has got a connection, counted from the beginning of the first try. */
static uint64_t step_note_down(struct pgb *pgb)
{
    uint64_t now = pgb_sched(pgb)->now_ms;
    struct pg_pool_stats stats;

    pg_pool_get_stats(pgb->pool, &stats);
    return backend_down_note(&pgb->down, now, stats.failed_since_ms);
}

/* A target that is away is given some time to come back: much when an outcome is at stake. */
bool step_on_no_connection(struct pgb_step *step)
{
    struct pgb *pgb = step->pgb;
    uint64_t now = pgb_sched(pgb)->now_ms, down_ms;
    const char *sqlstate = step->work.err.sqlstate;
    bool passing = sqlstate[0] == '\0' || pgb_may_pass(sqlstate) || strcmp(sqlstate, "53300") == 0;

    if (step->err.code == 0 || !step->in_doubt)
        step->err = step->work.err;
    if (step->rc != ERR_UNREACHABLE)
        return step_fail(step);
    down_ms = step_note_down(pgb);
    if (step->in_doubt ? now - step->doubt_since_ms < pgb->settings.doubt_wait_ms
                       : passing && down_ms < BACKEND_DOWN_GRACE_MS)
        return step_pause(step, step_backoff_ms(step->misses++));
    return step_fail(step);
}

bool step_on_no_schema(struct pgb_step *step)
{
    const PGresult *found = step_last_result(step);

    if (found != NULL && PQresultStatus(found) == PGRES_TUPLES_OK && PQntuples(found) == 1)
        return step_fail_with(step, ERR_DB,
                              "schema \"%s\" cannot be used: the role lacks USAGE on it",
                              step->step->schema);
    if (!step_is_down(step) && step->pgb->settings.create_schema && !step->new_schema) {
        step->new_schema = true;
        return step_repair(step);
    }
    if (step->pgb->settings.create_schema || step_is_down(step))
        return step_fail_with(step, ERR_DB, "schema \"%s\" does not exist", step->step->schema);
    backend_refuse_schema(&step->err, "schema", step->step->schema, step->pgb->settings.connection);
    return step_fail(step);
}

/* --- the journal --- */

bool step_mend(struct pgb_step *step)
{
    buf_truncate(&step->sql, 0);
    buf_puts(&step->sql, step->marker);
    step_put_do(step, &step->sql, step->pgb->settings.journal_schema,
                pgsql_put_create_journal_body);
    return step_ask(step, STEP_MENDING);
}

bool step_mended(struct pgb_step *step)
{
    struct pgb_answer answer;

    pgb_answer_read(&answer, &step->results, step->rc, step->pgb->settings.journal_schema);
    if (step->rc == 0 || pgb_was_made_meanwhile(answer.sqlstate))
        return step_repair(step);
    step->err = step->work.err;
    if (step->rc != ERR_DB || pgb_may_pass(answer.sqlstate)) {
        if (step->step->migration->no_transaction) /* else the next try counts itself */
            step->result->attempts++;
        return step_try_later(step);
    }
    err_prefix(&step->err, "the journal table could not be created in schema \"%s\"%s",
               step->pgb->settings.journal_schema,
               strcmp(answer.sqlstate, "42501") == 0 ? " (" PGB_MAKE_SCHEMA_HINT ")" : "");
    return step_fail(step);
}

static bool text_is(const PGresult *result, int column, const char *text)
{
    return strcmp(PQgetvalue(result, 0, column), text) == 0;
}

void step_read_row(struct pgb_step *step, const PGresult *result)
{
    struct step_row *row = &step->row;

    *row = (struct step_row){.exists = false};
    if (result == NULL || PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) == 0)
        return;
    row->exists = true;
    snprintf(row->kind, sizeof(row->kind), "%s", PQgetvalue(result, 0, PGSQL_KIND));
    snprintf(row->run, sizeof(row->run), "%s", PQgetvalue(result, 0, PGSQL_RUN));
    snprintf(row->checksum, sizeof(row->checksum), "%s", PQgetvalue(result, 0, PGSQL_CHECKSUM));
    row->is_complete = strcmp(row->kind, "up") == 0;
    row->is_undo = strncmp(row->kind, "undo", 4) == 0;
    row->is_started = strstr(row->kind, "started") != NULL;
    row->is_ours = strcmp(row->run, step->run) == 0;
    row->is_alive = text_is(result, PGSQL_IS_ALIVE, "t");
    row->statement = strtoul(PQgetvalue(result, 0, PGSQL_STATEMENT), NULL, 10);
    row->applied_us = strtoll(PQgetvalue(result, 0, PGSQL_APPLIED_US), NULL, 10);
    row->age_ms = strtoll(PQgetvalue(result, 0, PGSQL_AGE_MS), NULL, 10);
}

void step_note_error(struct pgb_step *step, const struct pgb_answer *answer,
                     const struct pgb_source *source)
{
    int code = strcmp(answer->sqlstate, "55P03") == 0 ? ERR_LOCKED : ERR_DB;

    if (answer->failed == NULL || answer->sqlstate[0] == '\0')
        step->err = step->work.err;
    else if (answer->rc == ERR_CANCELED || answer->rc == ERR_UNREACHABLE)
        pgb_error_of(answer, source, answer->rc, &step->err);
    else
        pgb_error_of(answer, source, code, &step->err);
}

bool step_fail_on_incomplete_row(struct pgb_step *step)
{
    const struct step_row *row = &step->row;

    step->in_doubt = false;
    return step_fail_with(
        step, ERR_IN_DOUBT,
        "the %s script of this migration ran without a transaction and stopped at "
        "statement %zu (%s); run it again in that direction, without a "
        "transaction, to finish it",
        row->is_undo ? "down" : "up", row->statement, row->is_started ? "started" : "done");
}
