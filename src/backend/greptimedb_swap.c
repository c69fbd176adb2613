#include "backend/greptimedb_step.h"

#include <string.h>

/*
 * The row of a step in the ledger: read, and moved by compare-and-swap. When the ledger fails, a
 * swap may have taken effect or not; the row is read then, and tells.
 */

enum {
    AWAY_MS = 250, /* between tries of a ledger that is away */
};

static struct ledger_query gts_query(const struct gtdb_step *step)
{
    return (struct ledger_query){.connection = step->gtdb->connection,
                                 .schema = step->step->schema,
                                 .migration_id = step->step->migration->id,
                                 .limit = 1};
}

/* The ledger has failed: another try, as long as it may take. */
static bool gts_on_away(struct gtdb_step *step)
{
    uint64_t now = gtdb_sched(step->gtdb)->now_ms;

    if (step->canceled && !step->owned)
        return gts_give_up(step);
    if (step->away_since_ms == 0)
        step->away_since_ms = now;
    if (now - step->away_since_ms >= step->gtdb->settings.state_wait_ms)
        return gts_fail_away(step);
    step->watch.seen = false; /* what was not seen may have moved */
    step->poll_since_ms = 0;
    return gts_nap(step, GTS_AWAY, AWAY_MS);
}

bool gts_back(struct gtdb_step *step)
{
    if (step->canceled && !step->owned)
        return gts_give_up(step);
    return step->moving ? gts_swap_now(step) : gts_look(step);
}

/* --- reading --- */

static int gts_read(struct gtdb_step *step)
{
    struct ledger *ledger = step->gtdb->ledger;

    step->query = gts_query(step);
    return ledger->ops->read(ledger, &step->work, &step->query, &step->rows);
}

bool gts_look(struct gtdb_step *step)
{
    step->moving = false;
    step->unsure = false;
    return gts_await(step, GTS_LOOKING, gts_read(step));
}

bool gts_looked(struct gtdb_step *step)
{
    if (step->rc != 0)
        return gts_on_away(step);
    step->away_since_ms = 0;
    gtdb_row_take(&step->have, &step->rows);
    return gts_decide(step);
}

/* --- moving --- */

static bool gts_moved(struct gtdb_step *step)
{
    step->moving = false;
    step->unsure = false;
    step->have = step->tried;
    switch (step->then) {
    case THEN_RUN:
        step->owned = true;
        step->at = (size_t)step->have.done;
        gts_beat_start(step);
        return gts_run(step);
    case THEN_SUCCEED:
        return gts_succeed(step, BACKEND_DONE);
    case THEN_FAIL:
        break;
    }
    return gts_fail(step);
}

/* The row is neither what it was nor what it was to be. */
static bool gts_was_taken(struct gtdb_step *step)
{
    if (step->then == THEN_FAIL)
        return gts_fail(step);
    if (step->owned)
        return gts_fail_taken(step);
    return gts_look(step); /* somebody was quicker */
}

/* While it is incomplete, the row is of the statements that are done or begun. */
static int gts_set_checksum(struct gtdb_step *step)
{
    struct gtdb_row *want = &step->want;
    int rc = 0;

    if (want->complete || !want->exists)
        return 0;
    rc = script_prefix_move(&step->prefix, step->script, (size_t)want->done + want->started);
    memcpy(want->checksum, step->prefix.checksum, sizeof(want->checksum));
    return rc;
}

bool gts_swap(struct gtdb_step *step, enum gtdb_then then)
{
    int rc = gts_set_checksum(step);

    step->moving = true;
    step->then = then;
    if (rc != 0) {
        err_set(&step->work.err, rc, "%s", err_code_text(rc));
        return gts_fail_away(step);
    }
    if (!gts_beat_stop(step)) {
        gts_move(step, GTS_SETTLING);
        return false;
    }
    return gts_swap_now(step);
}

bool gts_swap_now(struct gtdb_step *step)
{
    struct ledger *ledger = step->gtdb->ledger;

    if (step->lost)
        return step->then == THEN_FAIL ? gts_fail(step) : gts_fail_taken(step);
    if (step->unsure)
        return gts_await(step, GTS_CHECKING, gts_read(step));
    step->tried = step->want;
    step->tried.revision = gtdb_row_next(&step->have);
    step->tried_move = true;
    gtdb_row_change(&step->change, step->gtdb, step->step->schema, step->step->migration->id,
                    &step->have, &step->tried);
    return gts_await(step, GTS_MOVING,
                     ledger->ops->swap(ledger, &step->work, &step->change, &step->swapped));
}

bool gts_swapped(struct gtdb_step *step)
{
    if (step->rc != 0) {
        step->unsure = true;
        return gts_on_away(step);
    }
    step->away_since_ms = 0;
    return step->swapped ? gts_moved(step) : gts_was_taken(step);
}

bool gts_checked(struct gtdb_step *step)
{
    struct gtdb_row found;

    if (step->rc != 0)
        return gts_on_away(step);
    step->away_since_ms = 0;
    gtdb_row_take(&found, &step->rows);
    if (gtdb_row_is(&found, &step->tried) && step->tried_move)
        return gts_moved(step);
    if (gtdb_row_is(&found, &step->tried))
        step->have = step->tried;
    else if (!gtdb_row_is(&found, &step->have))
        return gts_was_taken(step);
    step->unsure = false;
    return gts_swap_now(step);
}
