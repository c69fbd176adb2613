#include "backend/greptimedb_step.h"

/*
 * While a statement runs, the row of the step is moved now and then, so that others see that
 * somebody is at work on it. Whoever finds that it was taken stops.
 */

enum {
    BEAT_AGAIN_MS = 500, /* after one that failed, at most */
};

static void beat_arm(struct gtdb_step *step, bool worked)
{
    uint64_t ms = step->gtdb->settings.stale_ms / 3;

    if (!worked && ms > BEAT_AGAIN_MS)
        ms = BEAT_AGAIN_MS;
    sched_start_timer(gtdb_sched(step->gtdb), &step->beat_timer, ms > 0 ? ms : 1);
}

static void beat_note_lost(struct gtdb_step *step)
{
    step->lost = true;
    op_cancel(&step->work);
}

/* What the one before became is not known: the row tells. */
static void beat_note_read(struct gtdb_step *step)
{
    struct gtdb_row found;

    gtdb_row_take(&found, &step->beat_rows);
    if (gtdb_row_is(&found, &step->tried))
        step->have = step->tried;
    else if (!gtdb_row_is(&found, &step->have))
        beat_note_lost(step);
    step->unsure = false;
}

static void beat_on_done(struct op *op, int rc)
{
    struct gtdb_step *step = container_of(op, struct gtdb_step, beat);
    enum gtdb_state state = (enum gtdb_state)step->sm.state;

    if (rc != 0)
        step->unsure = true;
    else if (step->beat_reads)
        beat_note_read(step);
    else if (step->beat_swapped)
        step->have = step->tried;
    else
        beat_note_lost(step);
    if (state == GTS_SETTLING || state == GTS_DONE)
        gts_go(step); /* the step may be gone behind it */
    else if (!step->lost)
        beat_arm(step, rc == 0 && !step->beat_reads);
}

static int beat_send(struct gtdb_step *step)
{
    struct ledger *ledger = step->gtdb->ledger;

    step->beat_reads = step->unsure;
    if (step->unsure) {
        step->beat_query = (struct ledger_query){.connection = step->gtdb->connection,
                                                 .schema = step->step->schema,
                                                 .migration_id = step->step->migration->id,
                                                 .limit = 1};
        return ledger->ops->read(ledger, &step->beat, &step->beat_query, &step->beat_rows);
    }
    step->tried = step->have;
    step->tried.revision = gtdb_row_next(&step->have);
    step->tried_move = false;
    gtdb_row_change(&step->beat_change, step->gtdb, step->step->schema, step->step->migration->id,
                    &step->have, &step->tried);
    return ledger->ops->swap(ledger, &step->beat, &step->beat_change, &step->beat_swapped);
}

static void beat_on_timer(struct timer *timer)
{
    struct gtdb_step *step = container_of(timer, struct gtdb_step, beat_timer);

    if (beat_send(step) != 0)
        beat_arm(step, false);
}

void gts_beat_init(struct gtdb_step *step)
{
    op_init(&step->beat, beat_on_done);
    step->beat_timer.fire = beat_on_timer;
}

void gts_beat_start(struct gtdb_step *step)
{
    beat_arm(step, true);
}

bool gts_beat_stop(struct gtdb_step *step)
{
    sched_stop_timer(gtdb_sched(step->gtdb), &step->beat_timer);
    return !step->beat.active;
}
