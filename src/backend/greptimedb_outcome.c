#include "backend/greptimedb_step.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* How a step ends. */

bool gts_succeed(struct gtdb_step *step, enum backend_outcome outcome)
{
    err_clear(&step->err);
    step->result->outcome = outcome;
    gts_move(step, GTS_DONE);
    return true;
}

static const char *gts_direction(const struct gtdb_step *step)
{
    return gts_is_down(step) ? "down" : "up";
}

/* Puts more behind the text of the failure. */
static void gts_add(struct gtdb_step *step, const char *format, ...) PRINTF_LIKE(2, 3);

static void gts_add(struct gtdb_step *step, const char *format, ...)
{
    struct err why = step->err;
    char more[ERR_TEXT_MAX / 2];
    size_t room;
    va_list args;

    va_start(args, format);
    vsnprintf(more, sizeof(more), format, args);
    va_end(args);
    room = sizeof(why.text) - strlen(more) - 3; /* what matters is at its end */
    err_set(&step->err, why.code, "%.*s; %s", (int)room, err_text(&why), more);
    step->err.statement = why.statement;
    step->err.line = why.line;
}

/* Nothing is undone by itself here. */
static void gts_add_applied(struct gtdb_step *step)
{
    int64_t done = step->have.done;

    if (!step->owned || done == 0 || step->lost || step->doubted)
        return;
    if (done == 1)
        gts_add(step, "statement 1 stays applied; the next %s goes on with statement 2",
                gts_direction(step));
    else
        gts_add(step,
                "statements 1-%" PRId64
                " stay applied; the next %s goes on with statement %" PRId64,
                done, gts_direction(step), done + 1);
}

bool gts_fail(struct gtdb_step *step)
{
    gts_move(step, GTS_DONE);
    return true;
}

bool gts_fail_with(struct gtdb_step *step, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    err_vset(&step->err, code, format, args);
    va_end(args);
    return gts_fail(step);
}

static void gts_note_place(struct gtdb_step *step)
{
    step->err.statement = (unsigned)step->at + 1;
    step->err.line = step->script->statements[step->at].line;
}

void gts_add_place(struct gtdb_step *step)
{
    const struct err why = step->err;

    err_set(&step->err, why.code, "%.800s (statement %zu, %.150s:%u)", err_text(&why), step->at + 1,
            step->script->file, step->script->statements[step->at].line);
    gts_note_place(step);
}

void gts_finish_row(const struct gtdb_step *step, struct gtdb_row *row)
{
    row->started = false;
    row->done = (int64_t)step->script->statement_count;
    if (gts_is_down(step)) {
        row->exists = false;
        return;
    }
    row->complete = true;
    row->applied_at_us = clock_wall_us();
    memcpy(row->checksum, step->script->checksum, sizeof(row->checksum));
}

bool gts_put_back(struct gtdb_step *step)
{
    struct gtdb_row *want = &step->want;

    if (!step->owned || step->lost)
        return gts_fail(step);
    if (step->err.code == ERR_UNREACHABLE && (step->have.done > 0 || step->doubted))
        step->err.code = ERR_DB; /* it was reached: this is about the script by now */
    if (step->doubted) {         /* an earlier try may have had its effect */
        gts_add(step,
                "an earlier try of the statement may have taken effect; the next %s repeats it",
                gts_direction(step));
        return gts_fail(step);
    }
    gts_add_applied(step);
    *want = step->have;
    want->started = false;
    if (step->have.done == 0 && !gts_is_down(step))
        want->exists = false;
    else if (step->have.done == 0 && step->origin.exists)
        *want = step->origin;
    return gts_swap(step, THEN_FAIL);
}

bool gts_give_up(struct gtdb_step *step)
{
    if (step->owned && step->at > 0)
        err_set(&step->err, ERR_CANCELED, "canceled behind statement %zu", step->at);
    else
        err_set(&step->err, ERR_CANCELED, "canceled");
    return gts_put_back(step);
}

bool gts_fail_in_doubt(struct gtdb_step *step, const struct err *why)
{
    const struct sql_statement *statement = &step->script->statements[step->at];
    size_t nth = step->at + 1, count = step->script->statement_count;

    if (why != NULL)
        err_set(&step->err, ERR_IN_DOUBT, "statement %zu of %zu (%s:%u): %.400s", nth, count,
                step->script->file, statement->line, err_text(why));
    else
        err_set(&step->err, ERR_IN_DOUBT, "statement %zu of %zu (%s:%u) was begun by run %s", nth,
                count, step->script->file, statement->line, step->have.run_id);
    gts_add(step,
            "it is not known whether it took effect: look at the database, tell by POST "
            "/api/v1/migrations/%s/resolve with \"as\": \"applied\" or \"not_applied\", and run it "
            "again",
            step->step->migration->id);
    gts_note_place(step);
    return gts_fail(step);
}

bool gts_fail_taken(struct gtdb_step *step)
{
    if (step->known > (size_t)step->have.done)
        return gts_fail_with(step, ERR_CONFLICT,
                             "somebody else has taken this migration over; statement %zu took "
                             "effect here, which could not be recorded",
                             step->known);
    return gts_fail_with(step, ERR_CONFLICT,
                         "somebody else has taken this migration over while statement %zu was at "
                         "work here",
                         step->at + 1);
}

bool gts_fail_away(struct gtdb_step *step)
{
    const struct err why = step->work.err;

    if (step->moving && step->then == THEN_FAIL) {
        gts_add(step, "the state database could not be told: %.200s", err_text(&why));
        return gts_fail(step);
    }
    if (!step->owned)
        return gts_fail_with(step, ERR_STORE,
                             "the state database cannot be asked, so nothing was sent: %.400s",
                             err_text(&why));
    err_set(&step->err, ERR_STORE,
            "statement %zu of %zu took effect, which could not be recorded: %.400s", step->known,
            step->script->statement_count, err_text(&why));
    gts_note_place(step);
    return gts_fail(step);
}
