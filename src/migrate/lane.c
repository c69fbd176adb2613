/* clang-format off */
/*
 * A lane: one schema of a run, its steps one after another.
 *
 *   CHECKING ──> LOCKING ──> CLAIMING ──> EXECUTING ──> SETTLING ──> the next step, or DONE
 *      │          ^   ^        │   ^         ^            │   ^
 *      v          │   │        v   │         │            v   │
 *   SKIPPING ─────┘   │       PAUSING        │           PAUSING      (the state database is away)
 *                     │                      │            │
 *                     │                      └────────────┤           (the next step's lock was free)
 *                     └───────────────────────────────────┘
 *
 *   CHECKING   waits for what RequiresSchema/RequiresTable ask for, one connection after another
 *   SKIPPING   waits for the next turn: many steps in a row needed no target
 *   LOCKING    waits for runs of this process that have the same (migration, schema)
 *   CLAIMING   waits until `pending` is recorded; nothing has reached the target
 *   EXECUTING  waits for the target
 *   SETTLING   waits until the outcome is recorded, together with `pending` of the next step if its lock is free
 *   PAUSING    waits before the same record is offered again
 *   DONE       holds nothing
 *
 * What the target said is a fact: no cancel and no failure behind EXECUTING changes it. A lock is held from LOCKING
 * until the outcome is recorded.
 */
/* clang-format on */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/mem.h"
#include "migrate/lane_internal.h"

/* Where lane_next() leads. */
#define LANE_TO_NEXT (SM_TO(LANE_SKIPPING) | SM_TO(LANE_LOCKING) | SM_TO(LANE_DONE))

static const struct sm_state lane_states[] = {
    [LANE_CHECKING] = {"checking", LANE_TO_NEXT},
    [LANE_SKIPPING] = {"skipping", LANE_TO_NEXT},
    [LANE_LOCKING] = {"locking", SM_TO(LANE_CLAIMING) | LANE_TO_NEXT},
    [LANE_CLAIMING] = {"claiming", SM_TO(LANE_EXECUTING) | SM_TO(LANE_PAUSING) | LANE_TO_NEXT},
    [LANE_EXECUTING] = {"executing", SM_TO(LANE_SETTLING)},
    [LANE_SETTLING] = {"settling", SM_TO(LANE_EXECUTING) | SM_TO(LANE_PAUSING) | LANE_TO_NEXT},
    [LANE_PAUSING] = {"pausing", SM_TO(LANE_CLAIMING) | SM_TO(LANE_SETTLING)},
    [LANE_DONE] = {"done", 0},
};

static void lane_check(const struct lane *lane)
{
    int state = lane->sm.state;

    assert((state != LANE_CLAIMING && state != LANE_EXECUTING && state != LANE_SETTLING) ||
           lane->lock.held);
    assert(state == LANE_SETTLING || state == LANE_PAUSING || !lane->next_lock.held);
    assert(state != LANE_DONE || (lane->lock.entry == NULL && !lane->op.active));
}

static void lane_move(struct lane *lane, int next)
{
    sm_move(&lane->sm, next);
    lane_check(lane);
}

/* `next` waits for the operation that was just started with `rc`; a failed start is handled there
 * too. */
static bool lane_await(struct lane *lane, int next, int rc)
{
    lane_move(lane, next);
    lane->rc = rc;
    return rc != 0;
}

static bool lane_is_hard_stopped(const struct lane *lane)
{
    return lane->run->stop != 0 && lane->run->hard;
}

/* --- one step from lock to record --- */

static bool lane_end(struct lane *lane)
{
    lane_move(lane, LANE_DONE);
    return true;
}

/* Goes on behind a step that is over. Called with no lock held. */
static bool lane_next(struct lane *lane)
{
    struct engine *engine = lane->run->pub.engine;
    enum lane_progress progress;
    const struct plan_node *node;

    err_clear(&lane->failure);
    progress = lane->result->err.code != 0 ? LANE_END : lane_skip_to_runnable(lane);
    if (progress == LANE_END)
        return lane_end(lane);
    if (progress == LANE_MORE)
        return lane_await(lane, LANE_SKIPPING,
                          op_sleep_start(&lane->sleep, engine->sched, &lane->op, 0));
    node = lane_node(lane);
    return lane_await(lane, LANE_LOCKING,
                      lock_acquire(&engine->locks, &lane->op, &lane->lock, node->migration->id,
                                   lane_schema(lane, node), engine->config.lock_wait_ms));
}

static bool lane_on_locked(struct lane *lane)
{
    bool is_up = lane->run->request.kind == RUN_UP;

    if (lane->run->stop != 0) { /* the steps that are left say so */
        lock_release(&lane->lock, lane->lock.news);
        return lane_next(lane);
    }
    if (lane->rc != 0) {
        if (lane->rc == ERR_LOCKED)
            err_set(&lane->failure, ERR_LOCKED, "migration is already being executed");
        else
            lane_note_failure(lane, lane->rc);
        lane_finish_step(lane, RUN_ITEM_FAILED);
        return lane_next(lane);
    }
    if (lane->lock.news == (is_up ? LOCK_NEWS_APPLIED : LOCK_NEWS_UNDONE)) {
        lock_release(&lane->lock, lane->lock.news);
        lane_finish_step(lane, is_up ? RUN_ITEM_SKIPPED : RUN_ITEM_NOT_APPLIED);
        return lane_next(lane);
    }
    lane->offered_since_ms = lane->run->pub.engine->sched->now_ms;
    return lane_await(lane, LANE_CLAIMING, lane_write_claim(lane));
}

/* Whether a record that the state database did not take is offered again; else it is given up. */
static bool lane_may_retry(const struct lane *lane)
{
    const struct engine *engine = lane->run->pub.engine;

    return lane->rc == ERR_STORE && !lane_is_hard_stopped(lane) &&
           engine->sched->now_ms - lane->offered_since_ms < engine->config.settle_give_up_ms;
}

static bool lane_pause(struct lane *lane, int back_to)
{
    struct engine *engine = lane->run->pub.engine;
    uint64_t pause = lane->pause_ms > 0 ? lane->pause_ms : engine->config.settle_retry_ms;

    lane->pause_ms = pause < 2500 ? pause * 2 : 5000;
    lane->back_to = back_to;
    return lane_await(lane, LANE_PAUSING,
                      op_sleep_start(&lane->sleep, engine->sched, &lane->op, pause));
}

static bool lane_execute(struct lane *lane)
{
    const struct plan_node *node = &lane->run->graph.nodes[lane_step(lane)->node];
    struct backend *backend =
        engine_target(lane->run->pub.engine, node->migration->connection)->backend;

    lane->pause_ms = 0;
    lane->run->did_something = true;
    lane_prepare_step(lane);
    engine_emit(lane->run->pub.engine, RUN_EVENT_RUNNING, lane->run, &lane->item);
    return lane_await(
        lane, LANE_EXECUTING,
        backend->ops->execute(backend, &lane->op, &lane->step_request, &lane->step_result));
}

static bool lane_on_claimed(struct lane *lane)
{
    if (lane->rc != 0 && lane->run->stop == 0 && lane_may_retry(lane))
        return lane_pause(lane, LANE_CLAIMING);
    if (lane->rc != 0) {
        lane_note_failure(lane, lane->rc);
        lock_release(&lane->lock, LOCK_NEWS_NONE);
        lane_finish_step(lane, RUN_ITEM_FAILED);
        return lane_next(lane);
    }
    if (lane->run->stop != 0) {
        lock_release(&lane->lock, LOCK_NEWS_NONE);
        return lane_next(lane);
    }
    crash_point("lane_claimed");
    return lane_execute(lane);
}

static bool lane_settle(struct lane *lane)
{
    return lane_await(lane, LANE_SETTLING, lane_write_outcome(lane));
}

static bool lane_on_executed(struct lane *lane)
{
    crash_point("lane_executed");
    if (lane->rc != 0)
        lane_note_failure(lane, lane->rc);
    lane_judge_outcome(lane);
    lane->offered_since_ms = lane->run->pub.engine->sched->now_ms;
    return lane_settle(lane);
}

static bool lane_on_settled(struct lane *lane)
{
    bool has_next;

    if (lane->rc != 0 && lane_may_retry(lane))
        return lane_pause(lane, LANE_SETTLING);
    if (lane->rc != 0)
        lane_note_unrecorded(lane);
    crash_point("lane_settled");
    has_next = lane->next_lock.held;
    lane_finish_step(lane, lane->outcome);
    lock_release(&lane->lock, lane->news);
    if (!has_next)
        return lane_next(lane);
    lock_move(&lane->lock, &lane->next_lock);
    err_clear(&lane->failure);
    if (lane_skip_to_runnable(lane) != LANE_FOUND || lane->run->stop != 0) {
        lock_release(&lane->lock, LOCK_NEWS_NONE);
        return lane_next(lane);
    }
    return lane_execute(lane);
}

static bool lane_on_paused(struct lane *lane)
{
    if (lane->back_to == LANE_SETTLING)
        return lane_settle(lane);
    return lane_await(lane, LANE_CLAIMING, lane_write_claim(lane));
}

/* --- the machine --- */

/* true: call again; false: suspended, or `lane` is gone */
static bool lane_once(struct lane *lane)
{
    switch ((enum lane_state)lane->sm.state) {
    case LANE_CHECKING:
        return lane_check_requirements(lane) ? lane_next(lane) : false;
    case LANE_SKIPPING:
        return lane_next(lane);
    case LANE_LOCKING:
        return lane_on_locked(lane);
    case LANE_CLAIMING:
        return lane_on_claimed(lane);
    case LANE_EXECUTING:
        return lane_on_executed(lane);
    case LANE_SETTLING:
        return lane_on_settled(lane);
    case LANE_PAUSING:
        return lane_on_paused(lane);
    case LANE_DONE:
        lane_free(lane); /* tells the run; last touch of the lane */
        return false;
    }
    assert(false);
    return false;
}

static void lane_advance(struct lane *lane)
{
    while (lane_once(lane))
        continue;
}

static void lane_on_op(struct op *op, int rc)
{
    struct lane *lane = container_of(op, struct lane, op);

    lane->rc = rc;
    lane_advance(lane);
}

int lane_start(struct run_full *run, size_t index)
{
    struct lane *lane = lane_create(run, index);

    if (lane == NULL)
        return ERR_NOMEM;
    op_init(&lane->op, lane_on_op);
    sm_init(&lane->sm, lane_states, "lane", LANE_CHECKING);
    list_push_back(&run->lanes, &lane->link);
    run->active++;
    if (run->request.kind == RUN_UP && !run->request.dry_run)
        lane_announce(lane);
    lane_advance(lane);
    return 0;
}

void lane_stop(struct list *link, bool hard)
{
    struct lane *lane = container_of(link, struct lane, link);

    switch ((enum lane_state)lane->sm.state) {
    case LANE_CHECKING:
    case LANE_LOCKING:
        op_cancel(&lane->op);
        return;
    case LANE_EXECUTING:
    case LANE_PAUSING:
        if (hard)
            op_cancel(&lane->op);
        return;
    case LANE_SKIPPING:
    case LANE_CLAIMING:
    case LANE_SETTLING:
    case LANE_DONE:
        return;
    }
}
