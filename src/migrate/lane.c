/* clang-format off */
/*
 * A lane: one schema of a run, its steps one after another.
 *
 *   CHECKING ──> LOCKING ──> CLAIMING ──> LOOKING ──> EXECUTING ──> SETTLING ──> the next step, or DONE
 *      │          ^            │   ^       │ │ ^ └────────────────────^ │  ^
 *      v          │            v   │       │ v └──────────────────────┐ v  │
 *   SKIPPING ─────┘           PAUSING      │ PAUSING        PAUSING ──┼────┘    (the state database is away,
 *                                          v                          │         or another server is at work)
 *      the next step, or DONE <─────── CLOSING <──────────────────────┤
 *                                                                     └─ the next step, already claimed
 *
 *   CHECKING   waits for what RequiresSchema/RequiresTable ask for, one connection after another
 *   SKIPPING   waits for the next turn: many steps in a row needed no target
 *   LOCKING    waits for runs of this process that change this (migration, schema) or one it depends on
 *   GUARDING   waits for other servers that are at it, where the state database has locks for that; else it is left out
 *   CLAIMING   waits until `pending` is recorded; nothing has reached the target
 *   LOOKING    waits for what the state says now about what the step relies on, if there is anything
 *   ADOPTING   waits until what an older server applied is in the target's journal, so that it can be undone
 *   EXECUTING  waits for the target
 *   SETTLING   waits until the outcome is recorded, together with `pending` of the next step if its locks are free
 *   CLOSING    waits until it is recorded that a claimed step does not start after all: the run was stopped
 *   PAUSING    waits before the same is tried again
 *   DONE       holds nothing
 *
 * What the target said is a fact: no cancel and no failure behind EXECUTING changes it. Locks are held from LOCKING
 * until the outcome is recorded; every `pending` that was recorded gets its end before they go.
 */
/* clang-format on */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/mem.h"
#include "migrate/adoption.h"
#include "migrate/lane_internal.h"

/* Where lane_next() leads. */
#define LANE_TO_NEXT (SM_TO(LANE_SKIPPING) | SM_TO(LANE_LOCKING) | SM_TO(LANE_DONE))

/* Where lane_begin() leads. */
#define LANE_TO_START \
    (SM_TO(LANE_LOOKING) | SM_TO(LANE_ADOPTING) | SM_TO(LANE_EXECUTING) | SM_TO(LANE_CLOSING))

static const struct sm_state lane_states[] = {
    [LANE_CHECKING] = {"checking", LANE_TO_NEXT},
    [LANE_SKIPPING] = {"skipping", LANE_TO_NEXT},
    [LANE_LOCKING] = {"locking", SM_TO(LANE_GUARDING) | SM_TO(LANE_CLAIMING) | LANE_TO_NEXT},
    [LANE_GUARDING] = {"guarding", SM_TO(LANE_CLAIMING) | SM_TO(LANE_PAUSING) | LANE_TO_NEXT},
    [LANE_CLAIMING] = {"claiming", LANE_TO_START | SM_TO(LANE_PAUSING) | LANE_TO_NEXT},
    [LANE_LOOKING] = {"looking", SM_TO(LANE_EXECUTING) | SM_TO(LANE_ADOPTING) |
                                     SM_TO(LANE_SETTLING) | SM_TO(LANE_CLOSING) |
                                     SM_TO(LANE_PAUSING)},
    [LANE_ADOPTING] = {"adopting",
                       SM_TO(LANE_EXECUTING) | SM_TO(LANE_SETTLING) | SM_TO(LANE_CLOSING)},
    [LANE_EXECUTING] = {"executing", SM_TO(LANE_SETTLING)},
    [LANE_SETTLING] = {"settling", LANE_TO_START | SM_TO(LANE_PAUSING) | LANE_TO_NEXT},
    [LANE_CLOSING] = {"closing", SM_TO(LANE_PAUSING) | LANE_TO_NEXT},
    [LANE_PAUSING] = {"pausing", SM_TO(LANE_GUARDING) | SM_TO(LANE_CLAIMING) | SM_TO(LANE_LOOKING) |
                                     SM_TO(LANE_SETTLING) | SM_TO(LANE_CLOSING)},
    [LANE_DONE] = {"done", 0},
};

static void lane_check(const struct lane *lane)
{
    int state = lane->sm.state;
    bool holds = lane->locks.own != NULL && lane->locks.taken == lane->locks.count;

    assert(state < LANE_CLAIMING || state == LANE_DONE || holds);
    assert(state == LANE_SETTLING || state == LANE_PAUSING || lane->next.items == NULL);
    assert(state == LANE_LOOKING || lane->places == NULL);
    assert(state != LANE_DONE || (lane->locks.items == NULL && !lane->op.active));
}

static void lane_move(struct lane *lane, int next)
{
    sm_move(&lane->sm, next);
    lane_check(lane);
    lane_note_position(lane);
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

static bool lane_lock(struct lane *lane, int rc);

/* Goes on behind a step that is over. Called with no lock held. */
static bool lane_next(struct lane *lane)
{
    struct engine *engine = lane->run->pub.engine;
    enum lane_progress progress;

    lane_drop_ahead(lane);
    err_clear(&lane->failure);
    progress = lane->result->err.code != 0 ? LANE_END : lane_skip_to_runnable(lane);
    if (progress == LANE_END)
        return lane_end(lane);
    if (progress == LANE_MORE)
        return lane_await(lane, LANE_SKIPPING,
                          op_sleep_start(&lane->sleep, engine->sched, &lane->op, 0));
    return lane_lock(lane, lane_take_locks(lane, lane_node(lane)));
}

/* `rc`: what taking the locks came to. */
static bool lane_lock(struct lane *lane, int rc)
{
    return lane_await(lane, LANE_LOCKING, rc == LANE_LOCKS_WAIT ? 0 : rc) || rc == 0;
}

static bool lane_claim(struct lane *lane)
{
    lane->offered_since_ms = lane->run->pub.engine->sched->now_ms;
    return lane_await(lane, LANE_CLAIMING, lane_write_claim(lane));
}

static bool lane_guard(struct lane *lane)
{
    return lane_await(lane, LANE_GUARDING, lane_start_guard(lane));
}

static bool lane_on_locked(struct lane *lane)
{
    bool is_up = lane->run->request.kind == RUN_UP;
    enum lock_news news = LOCK_NEWS_NONE;

    if (lane->run->stop == 0 && lane->rc == 0) {
        lane->rc = lane_take_more_locks(lane);
        if (lane->rc == LANE_LOCKS_WAIT)
            return false;
    }
    if (lane->locks.own != NULL && lane->locks.own->lock.held)
        news = lane->locks.own->lock.news;
    if (lane->run->stop != 0) { /* the steps that are left say so */
        lane_release_locks(lane, news);
        return lane_next(lane);
    }
    if (lane->rc != 0) {
        if (lane->rc == ERR_LOCKED)
            err_set(&lane->failure, ERR_LOCKED, "migration is already being executed");
        else
            lane_note_failure(lane, lane->rc);
        lane_release_locks(lane, news);
        lane_finish_step(lane, RUN_ITEM_FAILED);
        return lane_next(lane);
    }
    if (lane_has_wish(lane)) {
        lane_release_locks(lane, news);
        lane_finish_step(lane, is_up ? RUN_ITEM_SKIPPED : RUN_ITEM_NOT_APPLIED);
        return lane_next(lane);
    }
    lane->offered_since_ms = lane->run->pub.engine->sched->now_ms;
    return lane_has_guard(lane) ? lane_guard(lane) : lane_claim(lane);
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

static bool lane_on_guarded(struct lane *lane)
{
    bool is_up = lane->run->request.kind == RUN_UP;

    if (lane->rc == 0 && lane->run->stop == 0 && lane_keep_guard(lane))
        return lane_claim(lane);
    if (lane->rc == 0 && lane->run->stop != 0)
        (void)lane_keep_guard(lane);
    if (lane->run->stop != 0) {
        lane_release_locks(lane, LOCK_NEWS_NONE);
        return lane_next(lane);
    }
    if (lane->rc != 0 && lane_may_retry(lane))
        return lane_pause(lane, LANE_GUARDING);
    lane->pause_ms = 0;
    if (lane->rc == 0) {
        lane_release_locks(lane, is_up ? LOCK_NEWS_APPLIED : LOCK_NEWS_UNDONE);
        lane_finish_step(lane, is_up ? RUN_ITEM_SKIPPED : RUN_ITEM_NOT_APPLIED);
        return lane_next(lane);
    }
    if (lane->rc == ERR_LOCKED)
        err_set(&lane->failure, ERR_LOCKED, "migration is already being executed");
    else
        lane_note_failure(lane, lane->rc);
    lane_release_locks(lane, LOCK_NEWS_NONE);
    lane_finish_step(lane, RUN_ITEM_FAILED);
    return lane_next(lane);
}

static bool lane_execute(struct lane *lane)
{
    const struct plan_node *node = &lane->run->graph.nodes[lane_step(lane)->node];
    struct backend *backend =
        engine_target(lane->run->pub.engine, node->migration->connection)->backend;

    lane->pause_ms = 0;
    lane->run->did_something = true;
    lane_prepare_step(lane);
    lane_start_ahead(lane, lane_peek(lane));
    engine_emit(lane->run->pub.engine, RUN_EVENT_RUNNING, lane->run, &lane->item);
    return lane_await(
        lane, LANE_EXECUTING,
        backend->ops->execute(backend, &lane->op, &lane->step_request, &lane->step_result));
}

/* The step was claimed and does not start. */
static bool lane_close(struct lane *lane)
{
    return lane_await(lane, LANE_CLOSING, lane_write_cut_off(lane));
}

static bool lane_look(struct lane *lane)
{
    return lane_await(lane, LANE_LOOKING, lane_start_look(lane));
}

/* What it relies on is there. */
static bool lane_start_step(struct lane *lane)
{
    struct engine *engine = lane->run->pub.engine;

    if (lane_is_unjournaled(lane) &&
        adoption_is_possible(
            engine, engine_target(engine, lane_node(lane)->migration->connection)->backend))
        return lane_await(lane, LANE_ADOPTING, lane_start_adoption(lane));
    return lane_execute(lane);
}

/* Starts the step that is claimed. */
static bool lane_begin(struct lane *lane)
{
    crash_point("lane_claimed");
    lane->offered_since_ms = lane->looking_since_ms = lane->run->pub.engine->sched->now_ms;
    if (lane->run->stop != 0)
        return lane_close(lane);
    return lane_has_look(lane) ? lane_look(lane) : lane_start_step(lane);
}

static bool lane_on_claimed(struct lane *lane)
{
    if (lane->rc != 0 && lane->run->stop == 0 && lane_may_retry(lane))
        return lane_pause(lane, LANE_CLAIMING);
    if (lane->rc != 0) {
        lane_note_failure(lane, lane->rc);
        lane_release_locks(lane, LOCK_NEWS_NONE);
        lane_finish_step(lane, RUN_ITEM_FAILED);
        return lane_next(lane);
    }
    return lane_begin(lane);
}

static bool lane_settle(struct lane *lane)
{
    return lane_await(lane, LANE_SETTLING, lane_write_outcome(lane));
}

/* The target is not asked; that is an outcome, too. */
static bool lane_refuse(struct lane *lane)
{
    lane_judge_refused(lane);
    lane->offered_since_ms = lane->run->pub.engine->sched->now_ms;
    return lane_settle(lane);
}

static bool lane_on_busy(struct lane *lane)
{
    const struct engine *engine = lane->run->pub.engine;

    if (engine->sched->now_ms - lane->looking_since_ms < engine->config.lock_wait_ms)
        return lane_pause(lane, LANE_LOOKING);
    lane_fail_busy(lane);
    return lane_refuse(lane);
}

static bool lane_on_looked(struct lane *lane)
{
    enum lane_sight sight = lane->rc == 0 ? lane_judge_look(lane) : LANE_BLOCKED;

    lane_end_look(lane);
    if (lane->run->stop != 0)
        return lane_close(lane);
    if (lane->rc != 0) {
        if (lane_may_retry(lane))
            return lane_pause(lane, LANE_LOOKING);
        lane_note_failure(lane, lane->rc);
        return lane_refuse(lane);
    }
    switch (sight) {
    case LANE_CLEAR:
        return lane_start_step(lane);
    case LANE_BUSY:
        return lane_on_busy(lane);
    case LANE_BLOCKED:
        break;
    }
    return lane_refuse(lane);
}

static bool lane_on_adopted(struct lane *lane)
{
    if (lane->run->stop != 0)
        return lane_close(lane);
    if (lane->rc == 0)
        return lane_execute(lane);
    lane_note_failure(lane, lane->rc);
    return lane_refuse(lane);
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
    bool is_next_claimed;

    if (lane->rc != 0 && lane_may_retry(lane))
        return lane_pause(lane, LANE_SETTLING);
    lane->pause_ms = 0;
    if (lane->rc != 0) {
        lane_note_unrecorded(lane);
        lane_forget_next(lane); /* if it was recorded after all, a reconcile gives it an end */
    }
    crash_point("lane_settled");
    is_next_claimed = lane->next.items != NULL;
    lane_finish_step(lane, lane->outcome);
    if (!is_next_claimed) {
        lane_release_locks(lane, lane->news);
        return lane_next(lane);
    }
    lane_pass_locks(lane, lane->news);
    err_clear(&lane->failure);
    if (lane->run->stop != 0 || lane_skip_to_runnable(lane) != LANE_FOUND)
        return lane_close(lane);
    return lane_begin(lane);
}

static bool lane_on_closed(struct lane *lane)
{
    if (lane->rc != 0 && lane_may_retry(lane))
        return lane_pause(lane, LANE_CLOSING);
    lane->pause_ms = 0;
    lane_release_locks(lane, LOCK_NEWS_NONE);
    return lane_next(lane);
}

static bool lane_on_paused(struct lane *lane)
{
    switch (lane->back_to) {
    case LANE_SETTLING:
        return lane_settle(lane);
    case LANE_CLOSING:
        return lane_close(lane);
    case LANE_LOOKING:
        return lane->run->stop != 0 ? lane_close(lane) : lane_look(lane);
    case LANE_GUARDING: /* a wait that begins now would not be cut short by the stop */
        return lane->run->stop != 0 ? lane_await(lane, LANE_GUARDING, lane->run->stop)
                                    : lane_guard(lane);
    default:
        return lane_await(lane, LANE_CLAIMING, lane_write_claim(lane));
    }
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
    case LANE_GUARDING:
        return lane_on_guarded(lane);
    case LANE_CLAIMING:
        return lane_on_claimed(lane);
    case LANE_LOOKING:
        return lane_on_looked(lane);
    case LANE_ADOPTING:
        return lane_on_adopted(lane);
    case LANE_EXECUTING:
        return lane_on_executed(lane);
    case LANE_SETTLING:
        return lane_on_settled(lane);
    case LANE_CLOSING:
        return lane_on_closed(lane);
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

const char *engine_lane_state(size_t at)
{
    static_assert((int)LANE_DONE <= (int)ENGINE_LANE_STATES,
                  "every state of a lane under way has a place");
    return at < LANE_DONE ? lane_states[at].name : NULL;
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
    lane_note_start(lane);
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
    case LANE_GUARDING:
    case LANE_LOOKING:
    case LANE_ADOPTING:
        op_cancel(&lane->op);
        return;
    case LANE_EXECUTING:
        if (hard)
            op_cancel(&lane->op);
        return;
    case LANE_PAUSING:
        if (hard || lane->back_to == LANE_LOOKING || lane->back_to == LANE_GUARDING)
            op_cancel(&lane->op);
        return;
    case LANE_SKIPPING:
    case LANE_CLAIMING:
    case LANE_SETTLING:
    case LANE_CLOSING:
    case LANE_DONE:
        return;
    }
}
