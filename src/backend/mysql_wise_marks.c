/* The marks around a statement: what the row is in front of it, and is to become. */
#include <stdio.h>

#include "backend/mysql_step.h"

const struct sql_statement *mys_wise_statement(const struct mys_step *step)
{
    return &step->script->statements[step->at];
}

enum mysql_kind mys_wise_kind(const struct mys_step *step)
{
    return (enum mysql_kind)mys_wise_statement(step)->kind;
}

bool mys_wise_is_last(const struct mys_step *step)
{
    return step->at + 1 == step->script->statement_count;
}

static const char *wise_kind_name(const struct mys_step *step, bool started)
{
    if (mys_is_down(step))
        return started ? "undo started" : "undo done";
    return started ? "started" : "done";
}

static struct mysql_place wise_place(const struct mys_step *step, bool started)
{
    return (struct mysql_place){.kind = wise_kind_name(step, started),
                                .statement = started ? step->at + 1 : step->at,
                                .run = step->names.run};
}

/* What the query moves the row to, incomplete: failures show in step->sql. */
static struct mysql_place wise_goal(struct mys_step *step, bool started, size_t statement)
{
    int rc = script_prefix_move(&step->prefix, step->script, statement);

    if (rc != 0)
        step->sql.rc = rc;
    snprintf(step->prefix_quoted, sizeof(step->prefix_quoted), "'%s'", step->prefix.checksum);
    return (struct mysql_place){.kind = wise_kind_name(step, started),
                                .statement = statement,
                                .run = step->names.run,
                                .checksum = step->prefix_quoted};
}

struct mysql_place mys_wise_before(const struct mys_step *step)
{
    const struct mys_row *row = &step->row;
    struct mysql_place before;

    if (!row->exists)
        return (struct mysql_place){.kind = ""};
    if (row->is_complete)
        return (struct mysql_place){.kind = "up",
                                    .run = step->claim_run,
                                    .applied_us = step->claim_applied_us,
                                    .checksum = step->claim_checksum};
    before = wise_place(step, step->doubtful);
    before.run = step->row_run;
    return before;
}

/* --- what the query says of the row --- */

void mys_wise_put_started(struct mys_step *step)
{
    const struct mysql_place before = mys_wise_before(step);
    const struct mysql_place started = wise_goal(step, true, step->at + 1);

    step->layout.journal_at = mys_put_next(step);
    if (before.kind[0] == '\0')
        mysql_put_insert(&step->sql, &step->names, &started);
    else
        mysql_put_move(&step->sql, &step->names, &before, &started);
    step->layout.guard_at = mys_put_next(step);
    mysql_put_guard(&step->sql);
}

/* Behind the last statement the row is whole, or gone. */
void mys_wise_put_done(struct mys_step *step)
{
    const struct mysql_place started = wise_place(step, true);
    const struct mysql_place whole = {.kind = "up", .run = step->names.run};
    struct mysql_place done;

    step->layout.done_at = mys_put_next(step);
    if (!mys_wise_is_last(step)) {
        done = wise_goal(step, false, step->at + 1);
        mysql_put_move(&step->sql, &step->names, &started, &done);
    } else if (mys_is_down(step)) {
        mysql_put_remove(&step->sql, &step->names, &started);
    } else {
        mysql_put_move(&step->sql, &step->names, &started, &whole);
    }
}

/* The mark goes back to what it was, if it was written at all. */
void mys_wise_put_restore(struct mys_step *step)
{
    const struct mysql_place started = wise_place(step, true);
    struct mysql_place before = mys_wise_before(step);

    if (step->row.exists && !step->row.is_complete) /* also if another run had started it */
        before = wise_goal(step, false, step->at);
    mys_put_next(step);
    if (before.kind[0] == '\0' || (step->at == 0 && !mys_is_down(step)))
        mysql_put_remove(&step->sql, &step->names, &started);
    else
        mysql_put_move(&step->sql, &step->names, &started, &before);
}

/* --- whether the row became that --- */

/* Every mark is of the one row. Behind a CALL, which gives any number of answers, the last two are
 * of the mark and of COMMIT. */
bool mys_wise_is_marked(const struct mys_step *step)
{
    const struct maria_result *results = step->results.results;
    const struct mys_layout *layout = &step->layout;
    bool at_end = step->at < step->script->statement_count && mys_wise_kind(step) == MYSQL_OPAQUE;
    size_t done_at = at_end ? step->results.count - 2 : layout->done_at;

    return (layout->journal_at == SIZE_MAX || results[layout->journal_at].affected == 1) &&
           results[done_at].affected == 1;
}

bool mys_wise_fail_unmarked(struct mys_step *step)
{
    const bool ran = step->layout.script_at != SIZE_MAX;

    step->in_doubt = false;
    step->soiled = true; /* the session goes, and the lock with it */
    err_set(&step->err, ERR_IN_DOUBT,
            "the journal's row of this migration was changed by somebody else while statement %zu "
            "was at work%s; look which statements took effect and what the row says, then run "
            "again",
            ran || step->records ? step->at + 1 : step->at,
            ran ? ", and the statement took effect" : "");
    if (ran) {
        step->err.statement = (unsigned)(step->at + 1);
        step->err.line = mys_wise_statement(step)->line;
    }
    return mys_fail(step);
}

bool mys_wise_is_taken(const struct mys_step *step, size_t at)
{
    const struct mys_layout *layout = &step->layout;
    const unsigned error = step->results.error;

    return (at == layout->journal_at && error == MYB_DUPLICATE_KEY) ||
           (at == layout->guard_at && error == MYB_OUT_OF_RANGE);
}

bool mys_wise_fail_taken(struct mys_step *step)
{
    const struct sql_statement *statement = mys_wise_statement(step);

    step->in_doubt = false;
    step->soiled = true; /* with the open transaction; the lock goes too */
    err_set(&step->err, ERR_LOCKED,
            "the journal's row of this migration was changed by somebody else, so statement %zu "
            "(%s:%u) was not run; when nobody is at work on it any more, run again",
            step->at + 1, step->script->file, statement->line);
    step->err.statement = (unsigned)(step->at + 1);
    step->err.line = statement->line;
    return mys_fail(step);
}
