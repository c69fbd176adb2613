/* clang-format off */
/*
 * A run: one request from what is applied to what became of every step.
 *
 *                             ┌──────── COMPARING <────────┐
 *                             v                            │
 *   PLANNING ──> ENTERING ──> LOADING ──> DEPENDENTS ──> INDEXING ──> LANES ──> CLOSING ──> RECORDING ──> OVER
 *      │ │            │         ^  │ │           │          ^   │         │         ^  │          ^
 *      │ └── no row ──┼─────────┘  │ └── up ─────┼──────────┘   │         └─────────┼──┼── no row ┤
 *      └── failed ────┴────────────┴─────────────┴──────────────┴───────────────────┘  └── late ──┘
 *
 *   PLANNING    waits for the graph of what may have to run, made on a thread when it is large
 *   ENTERING    only if the run is to be on record first: waits for its row
 *   LOADING     waits for the state database: applied executions of all lanes in one look-up
 *   DEPENDENTS  undo only: waits for the executions of each migration that depends on this one
 *   INDEXING    turns rows into bits, a slice per turn
 *   COMPARING   undo only, where there seems to be nothing to undo: waits for the target's journal, if the state
 *               may not have what is in it; then looks once more, and again while others put a part of it right
 *   LANES       lanes run in parallel up to `limit`; a slice of them is started per turn; may wait for a lane's plan
 *   CLOSING     only if the run has a row that says `running`: waits until it says how the run ended
 *   RECORDING   the caller has its answer (done() was called); rows of skipped steps are written behind it,
 *               and the run's own row where that is not there yet
 *   OVER        nothing is held; memory goes with the last reference
 */
/* clang-format on */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "migrate/run_internal.h"

enum run_state {
    RUN_PLANNING,
    RUN_ENTERING,
    RUN_LOADING,
    RUN_DEPENDENTS,
    RUN_INDEXING,
    RUN_COMPARING,
    RUN_LANES,
    RUN_CLOSING,
    RUN_RECORDING,
    RUN_OVER,
};

#define RUN_TO_END (SM_TO(RUN_CLOSING) | SM_TO(RUN_RECORDING))

static const struct sm_state run_states[] = {
    [RUN_PLANNING] = {"planning", SM_TO(RUN_ENTERING) | SM_TO(RUN_LOADING) | RUN_TO_END},
    [RUN_ENTERING] = {"entering", SM_TO(RUN_LOADING) | RUN_TO_END},
    [RUN_LOADING] = {"loading", SM_TO(RUN_DEPENDENTS) | SM_TO(RUN_INDEXING) | RUN_TO_END},
    [RUN_DEPENDENTS] = {"dependents", SM_TO(RUN_INDEXING) | RUN_TO_END},
    [RUN_INDEXING] = {"indexing", SM_TO(RUN_COMPARING) | SM_TO(RUN_LANES) | RUN_TO_END},
    [RUN_COMPARING] = {"comparing", SM_TO(RUN_LOADING) | RUN_TO_END},
    [RUN_LANES] = {"lanes", RUN_TO_END},
    [RUN_CLOSING] = {"closing", SM_TO(RUN_RECORDING)},
    [RUN_RECORDING] = {"recording", SM_TO(RUN_OVER)},
    [RUN_OVER] = {"over", 0},
};

enum {
    RUN_DEPENDENT_ROWS = 1000000, /* schemas of one dependent that are looked at before an undo */
    RUN_COMPARE_AGAIN_MS = 1000,  /* between comparisons of which others hold a part */
};

static void run_check(const struct run_full *run)
{
    assert((run->active == 0) == list_is_empty(&run->lanes));
    assert(run->sm.state == RUN_LANES || run->active == 0);
    assert(run->sm.state != RUN_OVER || (!run->op.active && !run->row.op.active));
}

static void run_move(struct run_full *run, int next)
{
    sm_move(&run->sm, next);
    run_check(run);
}

static void run_advance(struct run_full *run);

static void run_answer(struct run_full *run)
{
    struct list *node;

    run_move(run, RUN_RECORDING);
    run->rc = 0;
    engine_emit(run->pub.engine, RUN_EVENT_RUN_ENDED, run, NULL);
    while ((node = list_pop_front(&run->waiters)) != NULL) {
        struct run_waiter *waiter = container_of(node, struct run_waiter, link);

        waiter->ended(waiter, &run->pub);
    }
    run->done(&run->pub);
}

/* The answer is complete; whoever reads that the run is under way must learn its end first. */
static void run_end(struct run_full *run)
{
    sched_undefer(&run->task);
    run->pub.ended_us = clock_wall_us();
    if (run_row_is_begun(run))
        run_move(run, RUN_CLOSING);
    else
        run_answer(run);
}

/* Ends without lanes. A stop is the reason even where it showed as a canceled operation. */
static bool run_fail(struct run_full *run, int rc, const struct err *err)
{
    if (run->pub.err.code == 0) {
        if (run->stop != 0)
            err_set(&run->pub.err, run->stop, "%s", err_code_text(run->stop));
        else if (err != NULL && err->code != 0)
            run->pub.err = *err;
        else
            err_set(&run->pub.err, rc, "%s", err_code_text(rc));
    }
    run_end(run);
    return true;
}

static bool run_is_over(struct run_full *run)
{
    struct engine *engine = run->pub.engine;

    run_move(run, RUN_OVER);
    list_remove(&run->link);
    map_remove_str(&engine->runs_by_id, run->pub.id);
    run_unref(run);
    engine_check_idle(engine);
    return false;
}

/* Writes the next chunk of skips; what the state database does not take is only counted in the log.
 * True: nothing is left to wait for. */
static bool run_record_skips(struct run_full *run)
{
    struct store *store = run->pub.engine->store;
    size_t left;

    if (run->skips_over || run->op.active)
        return run->skips_over;
    run->skips_over = true;
    if (run->rc != 0) {
        log_write(LOG_WARN, "skipped migrations were not recorded", LOG_STR("run_id", run->pub.id),
                  LOG_INT("count", run->skip_count - run->skip_at),
                  LOG_STR("reason", err_text(&run->op.err)));
        return true;
    }
    run->skip_at += run->skip_chunk;
    left = run->skip_count - run->skip_at;
    run->skip_chunk = left < RUN_SKIPS_PER_WRITE ? left : RUN_SKIPS_PER_WRITE;
    if (left == 0)
        return true;
    run->skips_over = false;
    run->rc = store->ops->write(store, &run->op, run->skips + run->skip_at, run->skip_chunk);
    return run->rc != 0 ? run_record_skips(run) : false;
}

static bool run_record(struct run_full *run)
{
    bool skips_over;

    run_row_end(run);
    skips_over = run_record_skips(run);
    return skips_over && run_row_is_over(run) ? run_is_over(run) : false;
}

static bool run_close(struct run_full *run)
{
    run_row_end(run);
    if (!run_row_is_over(run) && !run_row_is_late(run))
        return false;
    run_answer(run);
    return true;
}

static bool run_start_loading(struct run_full *run)
{
    run_move(run, RUN_LOADING);
    run->rc = run_load(run);
    return run->rc != 0;
}

static bool run_on_planned(struct run_full *run)
{
    const struct run_record *record = &run->request.record;
    struct err err = {0};
    int rc;

    if (run->rc != 0 || run->stop != 0)
        return run_fail(run, run->rc, &run->op.err);
    rc = run_check_places(run, &err);
    if (rc != 0)
        return run_fail(run, rc, &err);
    if (record->kind == NULL || !record->first || run->request.dry_run)
        return run_start_loading(run);
    run_move(run, RUN_ENTERING);
    run->rc = run_row_begin(run);
    return run->rc != 0 ? run_fail(run, run->rc, &run->row.op.err) : false;
}

/* What the row says already must be true: it is on record, and now known. */
static bool run_on_entered(struct run_full *run)
{
    if (run_row_is_beginning(run))
        return false;
    if (!run_row_is_begun(run))
        return run_fail(run, run->row.op.err.code, &run->row.op.err);
    crash_point("run_entered");
    if (run->request.record.recorded != NULL)
        run->request.record.recorded(&run->pub);
    if (run->stop != 0)
        return run_fail(run, run->stop, NULL);
    return run_start_loading(run);
}

static bool run_later(struct run_full *run)
{
    sched_defer(run->pub.engine->sched, &run->task);
    return false;
}

static bool run_end_dependents(struct run_full *run)
{
    if (run->blockers.len == 0 && run->blockers.rc == 0) {
        run_move(run, RUN_INDEXING);
        return true;
    }
    err_set(&run->pub.err, ERR_CONFLICT,
            "applied migrations depend on %s%s%s%s; undo them first or set ignore_dependencies",
            run->request.migration->id, run->request.hides_dependents ? "" : ": ",
            run->request.hides_dependents ? "" : buf_str(&run->blockers),
            run->blockers.rc != 0 ? ", ..." : "");
    return run_fail(run, ERR_CONFLICT, NULL);
}

static bool run_start_dependents(struct run_full *run)
{
    run_move(run, RUN_DEPENDENTS);
    if (run_find_dependents(run) != 0)
        return run_fail(run, ERR_NOMEM, NULL);
    run->rc = 0;
    return true;
}

static bool run_next_dependent(struct run_full *run)
{
    struct store *store = run->pub.engine->store;

    if (run->rc != 0)
        return run_fail(run, run->rc, &run->op.err);
    if (run->dependent_asked) {
        if (!run_check_dependent(run))
            return run_later(run);
        arena_free(&run->dependent_rows.arena);
        run->dependent_asked = false;
        run->dependent_row = 0;
        run->dependent_at++;
    }
    if (run->stop != 0)
        return run_fail(run, run->stop, NULL);
    while (run->dependent_at < run->dependent_count && run_dependent_has_choice(run))
        run->dependent_at++;
    if (run->dependent_at == run->dependent_count)
        return run_end_dependents(run);
    run->dependent_asked = true;
    run->rc = store->ops->get_executions(store, &run->op,
                                         run->dependents[run->dependent_at].migration->id, NULL,
                                         RUN_DEPENDENT_ROWS, &run->dependent_rows);
    return run->rc != 0;
}

/* --- before an undo says that there is nothing to undo --- */

/* Once more while others are about to put right what it found, as long as a step waits for them. */
static bool run_compare(struct run_full *run)
{
    struct engine *engine = run->pub.engine;
    const char *connection = run->request.migration->connection;
    uint64_t now = engine->sched->now_ms;
    struct err err;

    if (!run->has_compared)
        run->comparing_since_ms = now;
    if (run->has_compared && now - run->comparing_since_ms >= engine->config.lock_wait_ms) {
        err_set(&err, ERR_LOCKED, "what is applied on connection %s is being changed; try again",
                connection);
        return run_fail(run, ERR_LOCKED, &err);
    }
    run_move(run, RUN_COMPARING);
    run->rc = compare_start(&run->compare, engine, connection,
                            run->has_compared ? RUN_COMPARE_AGAIN_MS : 0, &run->op);
    return run->rc != 0;
}

/* The state has by now what the journal had. */
static bool run_on_compared(struct run_full *run)
{
    if (run->rc != 0 || run->stop != 0)
        return run_fail(run, run->rc, &run->op.err);
    run->has_compared = true;
    run_forget_applied(run);
    return run_start_loading(run);
}

static bool run_end_indexing(struct run_full *run)
{
    bool has_asked = run->has_compared && run->compare.left == 0;

    if (run->stop == 0 && !has_asked && run_lacks_proof(run))
        return run_compare(run);
    run_move(run, RUN_LANES);
    return true;
}

/* Lanes that never start still need their result. */
static void run_refuse_lane(struct run_full *run, size_t index, int rc)
{
    struct run_lane_result *lane = &run->pub.lanes[index];

    if (lane->err.code == 0)
        err_set(&lane->err, rc, "%s", err_code_text(rc));
    if (rc == ERR_HALTED) {
        lane->counts.not_run++;
        run->pub.counts.not_run++;
    }
    run_note_lane_end(run, lane);
}

/* How many lanes are started in one turn: each clears room for its steps. */
static size_t run_lanes_of_a_turn(const struct run_full *run)
{
    size_t lanes = RUN_STEPS_PER_SLICE / (run->graph.count + 1) + 1;

    return lanes < RUN_LANES_PER_SLICE ? lanes : RUN_LANES_PER_SLICE;
}

static bool run_start_lanes(struct run_full *run)
{
    size_t budget = run_lanes_of_a_turn(run);

    if (run->op.active)
        return false; /* the next lane's plan is being made */
    while (run->next_lane < run->pub.lane_count && run->active < run->limit && budget-- > 0) {
        if (run->stop == 0 && !run_prepare_plan(run))
            return false;
        if (run->stop != 0)
            run_refuse_lane(run, run->next_lane, run->stop);
        else if (lane_start(run, run->next_lane) != 0)
            run_refuse_lane(run, run->next_lane, ERR_NOMEM);
        run->next_lane++;
    }
    if (run->next_lane < run->pub.lane_count && run->active < run->limit)
        return run_later(run);
    if (run->next_lane < run->pub.lane_count || run->active > 0)
        return false;
    if (run->stop != 0 && run->stop != ERR_HALTED && !run->did_something)
        return run_fail(run, run->stop, NULL);
    run_end(run);
    return true;
}

/* true: call again; false: suspended, or `run` may be gone */
static bool run_once(struct run_full *run)
{
    switch ((enum run_state)run->sm.state) {
    case RUN_PLANNING:
        return run_on_planned(run);
    case RUN_ENTERING:
        return run_on_entered(run);
    case RUN_LOADING:
        if (run->rc != 0 || run->stop != 0)
            return run_fail(run, run->rc, &run->op.err);
        if (run->request.kind == RUN_DOWN)
            return run_start_dependents(run);
        run_move(run, RUN_INDEXING);
        return true;
    case RUN_DEPENDENTS:
        return run_next_dependent(run);
    case RUN_INDEXING:
        if (run_index_rows(run))
            return run_later(run);
        return run_end_indexing(run);
    case RUN_COMPARING:
        return run_on_compared(run);
    case RUN_LANES:
        return run_start_lanes(run);
    case RUN_CLOSING:
        return run_close(run);
    case RUN_RECORDING:
        return run_record(run);
    case RUN_OVER:
        return false;
    }
    assert(false);
    return false;
}

static void run_advance(struct run_full *run)
{
    while (run_once(run))
        continue;
}

static void run_on_op(struct op *op, int rc)
{
    struct run_full *run = container_of(op, struct run_full, op);

    run->rc = rc;
    run_advance(run);
}

static void run_on_task(struct task *task)
{
    run_advance(container_of(task, struct run_full, task));
}

void run_init_machine(struct run_full *run)
{
    op_init(&run->op, run_on_op);
    run->task.run = run_on_task;
    sm_init(&run->sm, run_states, "run", RUN_PLANNING);
}

void run_on_lane_done(struct run_full *run, struct list *lane_link)
{
    list_remove(lane_link);
    run->active--;
    run_later(run); /* not at once: the lane may have ended inside lane_start() */
}

void run_stop(struct run_full *run, int why, bool hard)
{
    if (run->sm.state >= RUN_CLOSING || (run->stop != 0 && (run->hard || !hard)))
        return;
    if (run->stop == 0 || run->stop == ERR_HALTED) /* what somebody asks for counts more */
        run->stop = why;
    run->hard = hard;
    op_cancel(&run->op);
    list_foreach_safe(node, &run->lanes)
        lane_stop(node, hard);
}

bool run_cancel(struct run *run, int why)
{
    if (run_has_ended(run))
        return false;
    run_stop(container_of(run, struct run_full, pub), why, true);
    return true;
}

void run_on_row(struct run_full *run)
{
    if (run->sm.state == RUN_ENTERING || run->sm.state == RUN_CLOSING ||
        run->sm.state == RUN_RECORDING)
        run_advance(run);
}

/* --- what others see --- */

static const struct run_full *run_full_of(const struct run *run)
{
    return (const struct run_full *)(const void *)((const char *)run -
                                                   offsetof(struct run_full, pub));
}

bool run_has_ended(const struct run *run)
{
    return run_full_of(run)->sm.state >= RUN_CLOSING;
}

enum store_run_status run_status(const struct run *run)
{
    bool failed = run->err.code != 0 || run->lanes_failed > 0;

    if (!run_has_ended(run))
        return STORE_RUN_RUNNING;
    if (!failed)
        return STORE_RUN_SUCCEEDED;
    if (run_full_of(run)->stop == 0 || run_full_of(run)->stop == ERR_HALTED)
        return STORE_RUN_FAILED;
    return STORE_RUN_CANCELED;
}

struct run *run_find(const struct engine *engine, const char *id)
{
    struct run_full *run = map_get_str(&engine->runs_by_id, id);

    return run != NULL ? &run->pub : NULL;
}

void run_wait(struct run *run, struct run_waiter *waiter)
{
    assert(!run_has_ended(run));
    list_push_back(&container_of(run, struct run_full, pub)->waiters, &waiter->link);
}

void run_unwait(struct run_waiter *waiter)
{
    if (list_is_linked(&waiter->link))
        list_remove(&waiter->link);
}
