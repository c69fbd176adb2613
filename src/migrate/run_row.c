/*
 * The run's row in the state database (store/runs.h).
 *
 *   NONE ──> BEGINNING ──> BEGUN ──> ENDING ──> ENDED
 *    │ ^         │ failed            ^ ^  │
 *    │ └─────────┘                   │ │  └──> LOST (the server stops)
 *    └───────────────────────────────┘ v
 *                                    PAUSING
 *
 * BEGINNING  waits for the row that says `running`; a step's first record starts in the same turn
 *            and so travels with it
 * ENDING     waits for the row that says how it ended, lanes first, a chunk at a time
 * PAUSING    waits before the same is offered again: it is not given up while the server lives
 */
#include <assert.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "migrate/run_internal.h"

enum {
    ROW_LANES_PER_WRITE = 1000,
    ROW_ANSWER_MAX = 64 * 1024,
    ROW_PAUSE_MAX_MS = 5000,
};

enum row_state {
    ROW_NONE,
    ROW_BEGINNING,
    ROW_BEGUN,
    ROW_ENDING,
    ROW_PAUSING,
    ROW_ENDED,
    ROW_LOST,
};

static const struct sm_state row_states[] = {
    [ROW_NONE] = {"none", SM_TO(ROW_BEGINNING) | SM_TO(ROW_ENDING)},
    [ROW_BEGINNING] = {"beginning", SM_TO(ROW_BEGUN) | SM_TO(ROW_NONE)},
    [ROW_BEGUN] = {"begun", SM_TO(ROW_ENDING)},
    [ROW_ENDING] = {"ending",
                    SM_TO(ROW_ENDING) | SM_TO(ROW_PAUSING) | SM_TO(ROW_ENDED) | SM_TO(ROW_LOST)},
    [ROW_PAUSING] = {"pausing", SM_TO(ROW_ENDING) | SM_TO(ROW_LOST)},
    [ROW_ENDED] = {"ended", 0},
    [ROW_LOST] = {"lost", 0},
};

static void row_on_op(struct op *op, int rc);

void run_row_init(struct run_full *run)
{
    op_init(&run->row.op, row_on_op);
    buf_init(&run->row.answer, ROW_ANSWER_MAX);
    sm_init(&run->row.sm, row_states, "row", ROW_NONE);
}

void run_row_free(struct run_full *run)
{
    buf_free(&run->row.answer);
    mem_free(run->row.lanes);
}

static bool row_is_kept(const struct run_full *run)
{
    return run->request.record.kind != NULL && !run->request.dry_run;
}

/* --- what is written --- */

static struct store_run_counts row_counts(const struct run *run)
{
    return (struct store_run_counts){
        .lanes = (int64_t)run->lane_count,
        .lanes_failed = (int64_t)run->lanes_failed,
        .applied = run->counts.applied,
        .skipped = run->counts.skipped,
        .failed = run->counts.failed,
        .not_run = run->counts.not_run,
    };
}

void run_describe(const struct run *run, struct store_run *out)
{
    const struct run_request *request = run->request;
    const struct run_record *record = &request->record;
    const char *server = run->engine->config.server_id;
    enum store_run_status status = run_status(run);

    *out = (struct store_run){
        .id = run->id,
        .kind = record->kind != NULL ? record->kind : "",
        .connection =
            request->kind == RUN_DOWN ? request->migration->connection : request->connection,
        .status = status,
        .request = record->request != NULL ? record->request : "{}",
        .executed_by = request->caller.executed_by,
        .execution_method = request->caller.execution_method,
        .execution_context = request->caller.execution_context,
        .server_id = server != NULL ? server : "",
        .retry_of = record->retry_of != NULL ? record->retry_of : "",
        .error = run->err.code != 0 ? err_text(&run->err) : "",
        .counts = row_counts(run),
        .started_at_us = run->started_us,
        .ended_at_us = status != STORE_RUN_RUNNING ? run->ended_us : 0,
    };
}

bool run_lane_failed(const struct run_lane_result *lane)
{
    return lane->err.code != 0 || lane->counts.failed > 0 || lane->counts.not_run > 0;
}

static const char *row_lane_error(const struct run_lane_result *lane)
{
    if (lane->err.code != 0)
        return err_text(&lane->err);
    return lane->untried != NULL ? err_text(lane->untried) : "";
}

void run_describe_lane(const struct run *run, size_t index, struct store_run_lane *out)
{
    const struct run_lane_result *lane = &run->lanes[index];
    uint64_t end = lane->ended ? lane->ended_ms : run->engine->sched->now_ms;

    *out = (struct store_run_lane){
        .number = (int64_t)index,
        .schema = lane->requested != NULL ? lane->requested : "",
        .failed = run_lane_failed(lane),
        .error = row_lane_error(lane),
        .applied = lane->counts.applied,
        .skipped = lane->counts.skipped,
        .failed_steps = lane->counts.failed,
        .not_run = lane->counts.not_run,
        .duration_ms = lane->started ? (int64_t)(end - lane->started_ms) : 0,
    };
}

/* The lanes worth a row. Out of memory leaves the rest out: the counts still tell. */
static void row_collect_lanes(struct run_full *run)
{
    struct run_row *row = &run->row;
    size_t count = 0;

    for (size_t i = 0; i < run->pub.lane_count; i++)
        count += run_lane_failed(&run->pub.lanes[i]) || run->pub.lanes[i].counts.applied > 0;
    if (count == 0)
        return;
    row->lanes = mem_calloc(count, sizeof(*row->lanes));
    if (row->lanes == NULL) {
        log_write(LOG_WARN, "lanes of a run were not recorded", LOG_STR("run_id", run->pub.id));
        return;
    }
    for (size_t i = 0; i < run->pub.lane_count; i++)
        if (run_lane_failed(&run->pub.lanes[i]) || run->pub.lanes[i].counts.applied > 0)
            run_describe_lane(&run->pub, i, &row->lanes[row->lane_count++]);
}

static void row_make_answer(struct run_full *run)
{
    const struct run_record *record = &run->request.record;

    if (record->answer == NULL)
        return;
    record->answer(&run->pub, &run->row.answer);
    if (run->row.answer.rc != 0)
        buf_free(&run->row.answer);
}

/* --- the machine --- */

static int row_put(struct run_full *run, const struct store_run_lane *lanes, size_t count)
{
    struct store *store = run->pub.engine->store;

    return store->ops->put_run(store, &run->row.op, &run->row.row, lanes, count);
}

int run_row_begin(struct run_full *run)
{
    struct run_row *row = &run->row;
    int rc;

    if (!row_is_kept(run) || row->sm.state != ROW_NONE)
        return 0;
    run_describe(&run->pub, &row->row);
    rc = row_put(run, NULL, 0);
    if (rc == 0)
        sm_move(&row->sm, ROW_BEGINNING);
    return rc;
}

/* A run that has lost its state database still has its end to tell when that comes back. */
static void row_pause(struct run_full *run)
{
    struct run_row *row = &run->row;
    struct engine *engine = run->pub.engine;

    row->pause_ms = row->pause_ms > 0 ? row->pause_ms * 2 : engine->config.settle_retry_ms;
    if (row->pause_ms > ROW_PAUSE_MAX_MS)
        row->pause_ms = ROW_PAUSE_MAX_MS;
    if (!engine->stopping &&
        op_sleep_start(&row->sleep, engine->sched, &row->op, row->pause_ms) == 0) {
        sm_move(&row->sm, ROW_PAUSING);
        return;
    }
    log_write(LOG_WARN, "the end of a run was not recorded", LOG_STR("run_id", run->pub.id),
              LOG_STR("reason", err_text(&row->op.err)));
    sm_move(&row->sm, ROW_LOST);
}

/* Offers the next chunk; the last one says how the run ended. */
static void row_put_end(struct run_full *run)
{
    struct run_row *row = &run->row;
    size_t left = row->lane_count - row->lane_at;

    row->lane_chunk = left < ROW_LANES_PER_WRITE ? left : ROW_LANES_PER_WRITE;
    run_describe(&run->pub, &row->row);
    row->row.answer = row->answer.len > 0 ? row->answer.data : NULL;
    if (row->lane_chunk < left) {
        row->row.status = STORE_RUN_RUNNING;
        row->row.ended_at_us = 0;
    }
    sm_move(&row->sm, ROW_ENDING);
    if (row_put(run, left > 0 ? row->lanes + row->lane_at : NULL, row->lane_chunk) != 0)
        row_pause(run);
}

void run_row_end(struct run_full *run)
{
    struct run_row *row = &run->row;

    if (!row_is_kept(run) || (row->sm.state != ROW_NONE && row->sm.state != ROW_BEGUN))
        return;
    assert(run_has_ended(&run->pub));
    row->offered_since_ms = run->pub.engine->sched->now_ms;
    row_collect_lanes(run);
    row_make_answer(run);
    row_put_end(run);
}

static void row_on_ending(struct run_full *run, int rc)
{
    struct run_row *row = &run->row;

    if (rc != 0) {
        row_pause(run);
        return;
    }
    row->lane_at += row->lane_chunk;
    if (row->lane_at < row->lane_count)
        row_put_end(run);
    else
        sm_move(&row->sm, ROW_ENDED);
}

static void row_on_op(struct op *op, int rc)
{
    struct run_full *run = container_of(op, struct run_full, row.op);

    switch ((enum row_state)run->row.sm.state) {
    case ROW_BEGINNING:
        sm_move(&run->row.sm, rc == 0 ? ROW_BEGUN : ROW_NONE);
        break;
    case ROW_ENDING:
        row_on_ending(run, rc);
        break;
    case ROW_PAUSING:
        row_put_end(run);
        break;
    case ROW_NONE:
    case ROW_BEGUN:
    case ROW_ENDED:
    case ROW_LOST:
        assert(false);
    }
    run_on_row(run);
}

bool run_row_is_begun(const struct run_full *run)
{
    return run->row.sm.state != ROW_NONE;
}

bool run_row_is_beginning(const struct run_full *run)
{
    return run->row.sm.state == ROW_BEGINNING;
}

bool run_row_is_over(const struct run_full *run)
{
    return !row_is_kept(run) || run->row.sm.state >= ROW_ENDED;
}

bool run_row_is_late(const struct run_full *run)
{
    const struct engine *engine = run->pub.engine;

    return run->row.sm.state == ROW_PAUSING &&
           engine->sched->now_ms - run->row.offered_since_ms >= engine->config.settle_give_up_ms;
}
