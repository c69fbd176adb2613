#include "backend/postgresql_step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"

/* One statement of a script without a transaction: its marks in the journal, what an earlier try
 * left behind, and the statement itself. */

const char *notx_kind(const struct pgb_step *step, bool started)
{
    if (step_is_down(step))
        return started ? "undo started" : "undo done";
    return started ? "started" : "done";
}

/* The row as it is now, by what this step did to it. */
static struct pgsql_place notx_place(const struct pgb_step *step, bool started)
{
    return (struct pgsql_place){.kind = notx_kind(step, started),
                                .statement = started ? step->at + 1 : step->at,
                                .run = step->names.run};
}

void notx_begin_sql(struct pgb_step *step)
{
    buf_truncate(&step->sql, 0);
    buf_puts(&step->sql, step->marker);
}

struct pgsql_place notx_goal(struct pgb_step *step, bool started, size_t statement)
{
    int rc = script_prefix_move(&step->prefix, step->script, statement);

    if (rc != 0)
        step->sql.rc = rc;
    snprintf(step->prefix_quoted, sizeof(step->prefix_quoted), "'%s'", step->prefix.checksum);
    return (struct pgsql_place){.kind = notx_kind(step, started),
                                .statement = statement,
                                .run = step->names.run,
                                .checksum = step->prefix_quoted};
}

static const struct sql_statement *notx_statement(const struct pgb_step *step)
{
    return &step->script->statements[step->at];
}

void notx_put_no_pooler(struct pgb_step *step)
{
    pgsql_put_no_pooler(&step->sql, PQbackendPID(pg_raw(step->conn)));
    buf_putc(&step->sql, ';');
}

/* Session settings come once per connection. */
static void notx_put_session_settings(struct pgb_step *step)
{
    if (step->session_set)
        return;
    buf_putc(&step->sql, ';');
    notx_put_no_pooler(step);
    pgsql_put_settings(&step->sql, &step->names, false);
}

/* They went in with the query that has just worked. */
void notx_note_session_settings(struct pgb_step *step)
{
    step->session_set = true;
    step->soiled = true;
}

static bool notx_finish(struct pgb_step *step)
{
    const struct pgsql_place from = notx_place(step, false);
    const struct pgsql_place to = {.kind = "up", .run = step->names.run};

    notx_begin_sql(step);
    buf_puts(&step->sql, "BEGIN;");
    if (step_is_down(step))
        pgsql_put_remove(&step->sql, &step->names, &from);
    else
        pgsql_put_move(&step->sql, &step->names, &from, &to);
    buf_puts(&step->sql, ";COMMIT;");
    pgsql_put_clean(&step->sql);
    return step_ask(step, STEP_FINISHING);
}

/* The row goes back to what it was before the statement; `next` is what comes then. */
bool notx_undo(struct pgb_step *step, enum step_next next, bool started)
{
    const struct pgsql_place from = notx_place(step, started);
    const struct pgsql_place whole = {.kind = "up",
                                      .run = step->claim_run,
                                      .applied_us = step->claim_applied_us,
                                      .checksum = step->claim_checksum};
    struct pgsql_place done;
    bool nothing_ran = step->at == 0 && next == NEXT_FAIL;

    step->next = next;
    notx_begin_sql(step);
    done = notx_goal(step, false, step->at);
    if (PQtransactionStatus(pg_raw(step->conn)) != PQTRANS_IDLE)
        buf_puts(&step->sql, "ROLLBACK;");
    buf_puts(&step->sql, "BEGIN;");
    if (nothing_ran && !step_is_down(step))
        pgsql_put_remove(&step->sql, &step->names, &from);
    else if (nothing_ran && step->claim_run != NULL)
        pgsql_put_move(&step->sql, &step->names, &from, &whole);
    else
        pgsql_put_move(&step->sql, &step->names, &from, &done);
    buf_puts(&step->sql, ";COMMIT;");
    pgsql_put_clean(&step->sql);
    return step_ask(step, STEP_UNDOING);
}

bool notx_record(struct pgb_step *step)
{
    const struct pgsql_place from = notx_place(step, true);
    struct pgsql_place to;

    step->known_done = step->at + 1;
    notx_begin_sql(step);
    to = notx_goal(step, false, step->at + 1);
    pgsql_put_move(&step->sql, &step->names, &from, &to);
    return step_ask(step, STEP_RECORDING);
}

bool notx_start(struct pgb_step *step)
{
    const struct pgsql_place from = notx_place(step, step->doubtful);
    struct pgsql_place to;

    notx_begin_sql(step);
    to = notx_goal(step, true, step->at + 1);
    pgsql_put_move(&step->sql, &step->names, &from, &to);
    notx_put_session_settings(step);
    return step_ask(step, STEP_STARTING);
}

static bool notx_render(struct pgb_step *step)
{
    step->layout.script_start = step->sql.len;
    if (template_render_statement(step->script, notx_statement(step), &step->values, &step->sql,
                                  &step->err) != 0)
        return false;
    step->layout.script_end = step->sql.len;
    return true;
}

bool notx_run(struct pgb_step *step)
{
    const struct pgsql_place from = notx_place(step, false);
    struct pgsql_place to;

    step->layout = (struct pgsql_layout){.schema_at = SIZE_MAX,
                                         .journal_at = step->atomic ? 2 : SIZE_MAX,
                                         .guard_at = step->atomic ? 1 : SIZE_MAX,
                                         .script_at = step->atomic ? 3 : 0};
    notx_begin_sql(step);
    if (step->atomic) {
        to = notx_goal(step, false, step->at + 1);
        buf_puts(&step->sql, "BEGIN;");
        pgsql_put_settings(&step->sql, &step->names, true);
        buf_putc(&step->sql, ';');
        pgsql_put_move_or_fail(&step->sql, &step->names, &from, &to);
        buf_putc(&step->sql, ';');
    }
    if (!notx_render(step))
        return notx_undo(step, NEXT_FAIL, !step->atomic);
    if (step->atomic)
        buf_puts(&step->sql, "\n;COMMIT");
    step->soiled = step->soiled || step->script->dirties_session;
    if (step_ask(step, STEP_RUNNING)) {
        step->known_unsent = step->at + 1;
        return true;
    }
    step->known_unsent = 0;
    crash_point_nth("notx_sent", step->at + 1);
    pgb_watch_start(&step->watch, step->pgb, step->marker,
                    (uint64_t)step->names.lock_timeout_ms / 2);
    return false;
}

/* --- what an earlier try left behind --- */

static void notx_put_check(struct pgb_step *step)
{
    struct buf *sql = &step->sql;
    struct pgsql_check check = {.of_table = step->kind.of_table};

    check.index = step_quote_literal(step, step->kind.index);
    check.name = step_quote_literal(step, step->kind.name);
    if (check.index == NULL || check.name == NULL)
        sql->rc = ERR_NOMEM;
    else if (step->kind.kind == PGSQL_CREATE_INDEX)
        pgsql_put_check_created(sql, &check);
    else if (step->kind.kind == PGSQL_DROP_INDEX)
        pgsql_put_check_dropped(sql, &check);
    else
        pgsql_put_check_reindexed(sql, &check);
}

bool notx_check(struct pgb_step *step)
{
    notx_begin_sql(step);
    buf_puts(&step->sql, "SELECT 1");
    notx_put_session_settings(step);
    buf_putc(&step->sql, ';');
    notx_put_check(step);
    return step_ask(step, STEP_CHECKING);
}

static bool notx_drop(struct pgb_step *step, const char *index)
{
    notx_begin_sql(step);
    buf_printf(&step->sql, "DROP INDEX CONCURRENTLY IF EXISTS %s", index);
    return step_ask(step, STEP_DROPPING);
}

bool notx_checked(struct pgb_step *step)
{
    const PGresult *found = step_last_result(step);
    bool any = PQntuples(found) > 0;
    char index[3 * PGSQL_NAME_MAX];

    notx_note_session_settings(step);
    if (step->kind.kind == PGSQL_DROP_INDEX)
        return any ? notx_start(step) : notx_record(step);
    if (!any)
        return notx_start(step);
    if (strcmp(PQgetvalue(found, 0, PGSQL_IS_VALID), "t") == 0)
        return step->doubtful ? notx_record(step) : notx_start(step);
    if (strcmp(PQgetvalue(found, 0, PGSQL_IS_BUILDING), "t") == 0)
        return notx_wait(step);
    snprintf(index, sizeof(index), "%s", PQgetvalue(found, 0, PGSQL_INDEX));
    return notx_drop(step, index);
}

/* What only a person can tell: the row says again which run started it, and since when. */
static bool notx_leave(struct pgb_step *step)
{
    const struct pgsql_place from = notx_place(step, true);
    struct pgsql_place to;

    if (step->left_run == NULL)
        return step_fail(step);
    step->next = NEXT_FAIL;
    notx_begin_sql(step);
    to = notx_goal(step, true, step->at + 1);
    to.run = step->left_run;
    to.applied_us = step->left_applied_us;
    pgsql_put_move(&step->sql, &step->names, &from, &to);
    buf_putc(&step->sql, ';');
    pgsql_put_clean(&step->sql);
    return step_ask(step, STEP_UNDOING);
}

static bool notx_fail_in_doubt(struct pgb_step *step)
{
    const struct sql_statement *statement = notx_statement(step);
    size_t nth = step->at + 1;

    err_set(&step->err, ERR_IN_DOUBT,
            "statement %zu (%s:%u) was started by run %s and it is not known whether it took "
            "effect; look, then POST /api/v1/migrations/%s/resolve with schema \"%s\" and as "
            "\"applied\" if it did, \"not_applied\" if it did not, and run again",
            nth, step->script->file, statement->line, step->row.run, step->step->migration->id,
            step->step->schema);
    step->err.statement = (unsigned)nth;
    step->err.line = statement->line;
    return notx_leave(step);
}

/* --- on to the next statement --- */

static bool notx_classify(struct pgb_step *step)
{
    notx_begin_sql(step);
    if (!notx_render(step))
        return false;
    pgsql_classify(step->sql.data + step->layout.script_start,
                   step->layout.script_end - step->layout.script_start, &step->kind);
    step->atomic = step->kind.kind == PGSQL_ATOMIC;
    return true;
}

bool notx_next(struct pgb_step *step)
{
    if (step->canceled) {
        err_set(&step->err, ERR_CANCELED, "canceled behind statement %zu", step->at);
        return step->doubtful ? notx_leave(step) : notx_undo(step, NEXT_FAIL, false);
    }
    if (step->at == step->script->statement_count)
        return notx_finish(step);
    if (!notx_classify(step))
        return step->doubtful ? notx_leave(step) : notx_undo(step, NEXT_FAIL, false);
    switch (step->kind.kind) {
    case PGSQL_ATOMIC:
        return step->doubtful ? notx_fail_in_doubt(step) : notx_run(step);
    case PGSQL_OPAQUE:
        return step->doubtful ? notx_fail_in_doubt(step) : notx_start(step);
    case PGSQL_CREATE_INDEX:
    case PGSQL_REINDEX: /* a try that failed leaves something too */
        return notx_check(step);
    case PGSQL_DROP_INDEX:
        return step->doubtful ? notx_check(step) : notx_start(step);
    case PGSQL_REPEATABLE:
        return notx_start(step);
    }
    abort();
}

static void notx_note_error(struct pgb_step *step, const struct pgb_answer *answer)
{
    const struct sql_statement *statement = notx_statement(step);
    const struct pgb_source source = {.script = step->script,
                                      .values = &step->values,
                                      .sql = buf_str(&step->sql),
                                      .layout = &step->layout,
                                      .statement_first = step->at,
                                      .statement_count = 1,
                                      .text_start = statement->start,
                                      .text_end = statement->end};

    step_note_error(step, answer, &source);
}

/* The server refused it before anything of it ran: an error inside of it has a context. */
static bool notx_was_refused(const struct pgb_answer *answer)
{
    const char *sqlstate = answer->sqlstate;

    if (strncmp(sqlstate, "42", 2) != 0 && strncmp(sqlstate, "0A", 2) != 0)
        return false;
    return PQresultErrorField(answer->failed, PG_DIAG_CONTEXT) == NULL;
}

/* It failed, and may have committed something before: its mark stays as it is. */
static bool notx_fail_partly(struct pgb_step *step)
{
    struct err why;

    step_add_blocker(step);
    why = step->err;
    err_set(&step->err, why.code,
            "%s; it may have taken effect in part, so it is not run again: look, then POST "
            "/api/v1/migrations/%s/resolve with schema \"%s\" and as \"applied\" to go on behind "
            "it, \"not_applied\" to run it again",
            err_text(&why), step->step->migration->id, step->step->schema);
    step->err.statement = why.statement;
    step->err.line = why.line;
    memcpy(step->err.sqlstate, why.sqlstate, sizeof(why.sqlstate));
    return step_fail(step);
}

bool notx_ran(struct pgb_step *step)
{
    struct pgb_answer answer;

    pgb_answer_read(&answer, &step->results, step->rc, step->pgb->settings.journal_schema);
    buf_puts(&step->notices, buf_str(&step->results.notices));
    if (answer.committed || (!step->atomic && step->rc == 0)) {
        if (!step->atomic)
            return notx_record(step);
        step->at++;
        crash_point_nth("notx_done", step->at);
        return pg_is_broken(step->conn) ? notx_lost(step) : notx_next(step);
    }
    if (answer.sqlstate[0] == '\0' || pg_is_broken(step->conn))
        return notx_lost(step);
    notx_note_error(step, &answer);
    if (step->atomic && answer.failed_at == step->layout.journal_at &&
        strcmp(answer.sqlstate, "22012") == 0)
        return notx_undo(step, NEXT_LOOK, false);
    if (step->kind.kind == PGSQL_OPAQUE && !notx_was_refused(&answer))
        return notx_fail_partly(step);
    if (step->rc != ERR_CANCELED && pgb_may_pass(answer.sqlstate) && step_may_try_later(step))
        return notx_undo(step, NEXT_PAUSE, !step->atomic);
    step_add_blocker(step);
    return notx_undo(step, NEXT_FAIL, !step->atomic);
}
