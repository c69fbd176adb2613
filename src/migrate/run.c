/* clang-format off */
/*
 * A run: one request from what is applied to what became of every step.
 *
 *   LOADING ──> DEPENDENTS ──> INDEXING ──> LANES ──> RECORDING ──> OVER
 *      │ │           │          ^   │                  ^
 *      │ └── up ─────┼──────────┘   │                  │
 *      └── failed ───┴──────────────┴──────────────────┘
 *
 *   LOADING     waits for the state database: applied executions of all lanes in one look-up
 *   DEPENDENTS  undo only: waits for the executions of each migration that depends on this one
 *   INDEXING    turns rows into bits, a slice per turn
 *   LANES       lanes run in parallel up to `limit`; a slice of them is started per turn
 *   RECORDING   the caller has its answer (done() was called); rows of skipped steps are written behind it
 *   OVER        nothing is held; memory goes with the last reference
 */
/* clang-format on */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "migrate/run_internal.h"

enum run_state {
    RUN_LOADING,
    RUN_DEPENDENTS,
    RUN_INDEXING,
    RUN_LANES,
    RUN_RECORDING,
    RUN_OVER,
};

static const struct sm_state run_states[] = {
    [RUN_LOADING] = {"loading", SM_TO(RUN_DEPENDENTS) | SM_TO(RUN_INDEXING) | SM_TO(RUN_RECORDING)},
    [RUN_DEPENDENTS] = {"dependents", SM_TO(RUN_INDEXING) | SM_TO(RUN_RECORDING)},
    [RUN_INDEXING] = {"indexing", SM_TO(RUN_LANES) | SM_TO(RUN_RECORDING)},
    [RUN_LANES] = {"lanes", SM_TO(RUN_RECORDING)},
    [RUN_RECORDING] = {"recording", SM_TO(RUN_OVER)},
    [RUN_OVER] = {"over", 0},
};

enum {
    RUN_DEPENDENT_ROWS = 1000000, /* schemas of one dependent that are looked at before an undo */
};

static void run_check(const struct run_full *run)
{
    assert((run->active == 0) == list_is_empty(&run->lanes));
    assert(run->sm.state == RUN_LANES || run->active == 0);
    assert(run->sm.state != RUN_OVER || !run->op.active);
}

static void run_move(struct run_full *run, int next)
{
    sm_move(&run->sm, next);
    run_check(run);
}

static void run_advance(struct run_full *run);

/* The answer is complete. */
static void run_answer(struct run_full *run)
{
    run_move(run, RUN_RECORDING);
    sched_undefer(&run->task);
    run->rc = 0;
    run->pub.ended_us = clock_wall_us();
    engine_emit(run->pub.engine, RUN_EVENT_RUN_ENDED, run, NULL);
    run->done(&run->pub);
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
    run_answer(run);
    return true;
}

static bool run_is_over(struct run_full *run)
{
    struct engine *engine = run->pub.engine;

    run_move(run, RUN_OVER);
    list_remove(&run->link);
    run_unref(run);
    engine_check_idle(engine);
    return false;
}

/* Writes the next chunk of skips; what the state database does not take is only counted in the log.
 */
static bool run_record(struct run_full *run)
{
    struct store *store = run->pub.engine->store;
    size_t left;

    if (run->rc != 0) {
        log_write(LOG_WARN, "skipped migrations were not recorded", LOG_STR("run_id", run->pub.id),
                  LOG_INT("count", run->skip_count - run->skip_at),
                  LOG_STR("reason", err_text(&run->op.err)));
        return run_is_over(run);
    }
    run->skip_at += run->skip_chunk;
    left = run->skip_count - run->skip_at;
    run->skip_chunk = left < RUN_SKIPS_PER_WRITE ? left : RUN_SKIPS_PER_WRITE;
    if (left == 0)
        return run_is_over(run);
    run->rc = store->ops->write(store, &run->op, run->skips + run->skip_at, run->skip_chunk);
    return run->rc != 0;
}

static bool run_later(struct run_full *run)
{
    sched_defer(run->pub.engine->sched, &run->task);
    return false;
}

/* Whether an applied row of a dependent stands in the way of the undo in one of the lanes
 * (bfm-api.md §6.3). */
static bool run_row_blocks_undo(const struct run_full *run, const struct migration *dependent,
                                const struct store_execution *row)
{
    if (!row->applied || strcmp(row->connection, dependent->connection) != 0)
        return false;
    return run->undoes_declared || map_get_str(&run->lane_by_schema, row->schema) != NULL ||
           (run->own_schema != NULL && strcmp(run->own_schema, row->schema) == 0);
}

/* Notes the schema of the lane that asked for none, and whether a fixed migration is undone where
 * it is declared: then rows of any schema may depend on it. */
static void run_note_undo(struct run_full *run)
{
    const struct migration *migration = run->request.migration;

    for (size_t i = 0; i < run->pub.lane_count; i++) {
        const char *requested = run->pub.lanes[i].requested;
        const char *schema = run_effective_schema(run, &run->graph.nodes[0], requested);

        if (requested == NULL)
            run->own_schema = schema;
        if (schema != NULL && migration_is_fixed(migration) &&
            strcmp(migration->schema, schema) == 0)
            run->undoes_declared = true;
    }
}

/* Adds the dependent to the reason of the refusal if it is applied where it matters; one slice of
 * its rows. False: there is more. */
static bool run_check_dependent(struct run_full *run)
{
    const struct migration *dependent = run->dependents[run->dependent_at];
    size_t end = run->dependent_row + RUN_ROWS_PER_SLICE;

    for (; run->dependent_row < run->dependent_rows.count; run->dependent_row++) {
        const struct store_execution *row = &run->dependent_rows.rows[run->dependent_row];

        if (run->dependent_row == end)
            return false;
        if (!run_row_blocks_undo(run, dependent, row))
            continue;
        if (run->blockers.len > 0)
            buf_puts(&run->blockers, ", ");
        buf_printf(&run->blockers, "%s (schema %s)", dependent->id, row->schema);
        return true;
    }
    return true;
}

static bool run_end_dependents(struct run_full *run)
{
    if (run->blockers.len == 0 && run->blockers.rc == 0) {
        run_move(run, RUN_INDEXING);
        return true;
    }
    err_set(&run->pub.err, ERR_CONFLICT,
            "applied migrations depend on %s: %s%s; undo them first or set ignore_dependencies",
            run->request.migration->id, buf_str(&run->blockers),
            run->blockers.rc != 0 ? ", ..." : "");
    return run_fail(run, ERR_CONFLICT, NULL);
}

static bool run_start_dependents(struct run_full *run)
{
    run_move(run, RUN_DEPENDENTS);
    run_note_undo(run);
    if (!run->request.ignore_dependencies &&
        plan_dependents(run->registry, run->request.migration, &run->arena, &run->dependents,
                        &run->dependent_count) != 0)
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
    if (run->dependent_at == run->dependent_count)
        return run_end_dependents(run);
    run->dependent_asked = true;
    run->rc = store->ops->get_executions(store, &run->op, run->dependents[run->dependent_at]->id,
                                         RUN_DEPENDENT_ROWS, &run->dependent_rows);
    return run->rc != 0;
}

/* Lanes that never start still need their result. */
static void run_refuse_lane(struct run_full *run, size_t index, int rc)
{
    struct run_lane_result *lane = &run->pub.lanes[index];

    if (lane->err.code == 0)
        err_set(&lane->err, rc, "%s", err_code_text(rc));
}

static bool run_start_lanes(struct run_full *run)
{
    size_t budget = RUN_LANES_PER_SLICE;

    while (run->next_lane < run->pub.lane_count && run->active < run->limit && budget-- > 0) {
        size_t index = run->next_lane++;

        if (run->stop != 0)
            run_refuse_lane(run, index, run->stop);
        else if (lane_start(run, index) != 0)
            run_refuse_lane(run, index, ERR_NOMEM);
    }
    if (run->next_lane < run->pub.lane_count && run->active < run->limit)
        return run_later(run);
    if (run->next_lane < run->pub.lane_count || run->active > 0)
        return false;
    if (run->stop != 0 && !run->did_something)
        return run_fail(run, run->stop, NULL);
    run_answer(run);
    return true;
}

/* true: call again; false: suspended, or `run` may be gone */
static bool run_once(struct run_full *run)
{
    switch ((enum run_state)run->sm.state) {
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
        run_move(run, RUN_LANES);
        return true;
    case RUN_LANES:
        return run_start_lanes(run);
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
    sm_init(&run->sm, run_states, "run", RUN_LOADING);
}

void run_on_lane_done(struct run_full *run, struct list *lane_link)
{
    list_remove(lane_link);
    run->active--;
    run_later(run); /* not at once: the lane may have ended inside lane_start() */
}

void run_stop(struct run_full *run, int why, bool hard)
{
    if (run->sm.state >= RUN_RECORDING || (run->stop != 0 && (run->hard || !hard)))
        return;
    if (run->stop == 0)
        run->stop = why;
    run->hard = hard;
    if (run->sm.state < RUN_INDEXING)
        op_cancel(&run->op);
    list_foreach_safe(node, &run->lanes)
        lane_stop(node, hard);
}

void run_cancel(struct run *run, int why)
{
    run_stop(container_of(run, struct run_full, pub), why, true);
}
