#include "backend/greptimedb_step.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What the row in the ledger says about where to go on. */

static bool gts_was_applied(struct gtdb_step *step)
{
    step->result->applied_at_us = step->have.applied_at_us;
    snprintf(step->result->run_id, sizeof(step->result->run_id), "%s", step->have.run_id);
    return gts_succeed(step, BACKEND_WAS_DONE);
}

/* Somebody is at work on it, or was a short while ago. One that does not move is waited for until
 * it is known to be nobody's, even beyond the time that a lock may take. */
static bool gts_wait(struct gtdb_step *step)
{
    uint64_t now = gtdb_sched(step->gtdb)->now_ms;

    if (step->poll_since_ms == 0)
        step->poll_since_ms = now;
    if (now - step->poll_since_ms >= step->gtdb->settings.lock_wait_ms &&
        step->watch.since_ms > step->poll_since_ms)
        return gts_fail_with(step, ERR_LOCKED, "migration is already being executed");
    return gts_nap(step, GTS_POLLING, GTDB_POLL_MS);
}

static bool gts_fail_changed(struct gtdb_step *step)
{
    const struct gtdb_row *row = &step->have;

    script_prefix_refuse(&step->err, ERR_IN_DOUBT, step->script, (size_t)row->done + row->started,
                         row->started ? "begun" : "done");
    return gts_fail(step);
}

static bool gts_fail_other_way(struct gtdb_step *step)
{
    const struct gtdb_row *row = &step->have;

    return gts_fail_with(
        step, ERR_IN_DOUBT,
        "the %s script of this migration stopped at statement %" PRId64 " (%s); run it "
        "again in that direction, to finish it",
        row->undo ? "down" : "up", row->done + row->started, row->started ? "begun" : "done");
}

/* What was done or begun is in the script as it was; the rest may have been corrected. */
static int gts_compare(const struct gtdb_step *step, bool *same)
{
    const struct gtdb_row *row = &step->have;

    *same = !row->started && row->done == 0;
    if (*same || row->done < 0)
        return 0;
    return script_prefix_compare(step->script, (size_t)row->done + row->started, row->checksum,
                                 same);
}

bool gts_claim(struct gtdb_step *step)
{
    const struct gtdb_row *have = &step->have;
    bool begins = !have->exists || have->complete;
    size_t count = step->script->statement_count;
    struct gtdb_row *want = &step->want;

    if (have->complete)
        step->origin = *have;
    *want = (struct gtdb_row){.exists = true,
                              .undo = gts_is_down(step),
                              .started = true,
                              .done = begins ? 0 : have->done,
                              .applied_at_us = have->applied_at_us};
    snprintf(want->run_id, sizeof(want->run_id), "%s", step->run_id);
    step->at = (size_t)want->done;
    step->known = step->at;
    if (step->at < count)
        return gts_swap(step, THEN_RUN);
    gts_finish_row(step, want);
    return gts_swap(step, THEN_SUCCEED);
}

/* The database that is known to be missing comes first: nothing is begun then if it cannot be
 * made. */
static bool gts_begin(struct gtdb_step *step)
{
    const struct gtdb *gtdb = step->gtdb;

    if (step->step->schema_is_new && gtdb->settings.create_schema && !gts_is_down(step) &&
        !step->created && strcmp(step->database, "public") != 0)
        return gts_prepare(step);
    return gts_claim(step);
}

/* A row that says that a script is at work. */
static bool gts_resume(struct gtdb_step *step)
{
    const struct gtdb_row *row = &step->have;
    bool same;

    if (row->started && !gtdb_watch_is_stale(&step->watch, step->gtdb, step->step->schema,
                                             step->step->migration->id, row))
        return gts_wait(step);
    if (row->undo != gts_is_down(step))
        return gts_fail_other_way(step);
    if (gts_compare(step, &same) != 0)
        return gts_fail_with(step, ERR_NOMEM, "out of memory");
    if (!same)
        return gts_fail_changed(step);
    step->at = (size_t)row->done;
    step->doubted = row->started;
    if (row->started && !gts_is_repeatable(step))
        return gts_fail_in_doubt(step, NULL);
    return gts_claim(step);
}

bool gts_decide(struct gtdb_step *step)
{
    const struct gtdb_row *row = &step->have;
    bool down = gts_is_down(step);

    if (step->canceled)
        return gts_give_up(step);
    if (!row->exists)
        return down ? gts_succeed(step, BACKEND_WAS_DONE) : gts_begin(step);
    if (row->complete)
        return down ? gts_claim(step) : gts_was_applied(step);
    return gts_resume(step);
}
