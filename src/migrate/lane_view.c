/* What can be seen of a lane while it is under way: where it is, and what it has come to so far. */
#include "migrate/lane_internal.h"

static void lane_note_state(struct lane *lane, int state)
{
    size_t *lanes_at = lane->run->pub.engine->lanes_at;

    if (lane->is_counted)
        lanes_at[lane->counted_at]--;
    lane->is_counted = state != LANE_DONE;
    lane->counted_at = state;
    if (lane->is_counted)
        lanes_at[state]++;
}

void lane_note_start(struct lane *lane)
{
    lane_note_state(lane, lane->sm.state);
    lane->result->started = true;
    lane->result->started_ms = lane->run->pub.engine->sched->now_ms;
}

static bool lane_is_at_step(const struct lane *lane)
{
    int state = lane->sm.state;

    return state != LANE_CHECKING && state != LANE_SKIPPING && state != LANE_CLOSING &&
           state != LANE_DONE;
}

void lane_note_position(struct lane *lane)
{
    struct run_lane_result *result = lane->result;
    const struct plan_node *node = lane_is_at_step(lane) ? lane_node(lane) : NULL;

    lane_note_state(lane, lane->sm.state);
    result->waits_for = sm_name(&lane->sm);
    result->current = node != NULL ? node->migration : NULL;
    result->current_schema = node != NULL ? lane_schema(lane, node) : NULL;
}

static void count_item(struct run_counts *counts, enum run_item_kind kind)
{
    switch (kind) {
    case RUN_ITEM_APPLIED:
    case RUN_ITEM_DRY_RUN:
        counts->applied++;
        return;
    case RUN_ITEM_SKIPPED:
    case RUN_ITEM_NOT_APPLIED:
        counts->skipped++;
        return;
    case RUN_ITEM_FAILED:
        counts->failed++;
        return;
    case RUN_ITEM_NOT_RUN:
        counts->not_run++;
        return;
    }
}

void lane_note_item(struct lane *lane, enum run_item_kind kind)
{
    count_item(&lane->result->counts, kind);
    count_item(&lane->run->pub.counts, kind);
}

/* Else what it did not do was left alone because others failed. */
static bool lane_failed_itself(const struct run_full *run, const struct run_lane_result *result)
{
    if (run->stop != ERR_HALTED)
        return run_lane_failed(result);
    return result->counts.failed > 0 || (result->err.code != 0 && result->err.code != ERR_HALTED);
}

void run_note_lane_end(struct run_full *run, struct run_lane_result *result)
{
    result->ended = true;
    result->ended_ms = run->pub.engine->sched->now_ms;
    run->pub.lanes_failed += lane_failed_itself(run, result);
    if (run->request.limits_failures && run->pub.lanes_failed > run->request.max_failures)
        run_stop(run, ERR_HALTED, false);
}

void lane_note_end(struct lane *lane)
{
    lane_note_state(lane, LANE_DONE);
    lane->result->current = NULL;
    lane->result->current_schema = NULL;
    run_note_lane_end(lane->run, lane->result);
}
