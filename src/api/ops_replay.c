/*
 * From a key to the run that it stands for.
 *
 *   CLAIMING ──> (new)
 *      │
 *      v
 *   LOOKING ──> SLEEPING ──> LOOKING      under way on another server
 *      │  │──> WAITING                    under way here: its end is told
 *      │  └──> CLAIMING ──> LOOKING       it has ended: once more for the answer kept with the key
 *      v
 *   STEPS ──> LANES ──> (rebuild)         no answer was kept
 *     └──> (new)                          it never began: its server died, or could do nothing
 */
#include "api/ops_replay.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

enum {
    REPLAY_CLAIMING,
    REPLAY_LOOKING,
    REPLAY_WAITING,
    REPLAY_SLEEPING,
    REPLAY_STEPS,
    REPLAY_LANES,
};

enum {
    REPLAY_LOOK_AGAIN_MS = 200,
    REPLAY_LOOK_SELDOM_MS = 1000, /* after some seconds */
    REPLAY_SOON_MS = 3000,
    REPLAY_BEGIN_MS =
        20 * 1000, /* a server that claimed a key and began nothing for so long is dead */
};

#define REPLAY_KEEP_US (INT64_C(24) * 60 * 60 * 1000 * 1000)

void ops_replay_free(struct ops_replay *replay)
{
    run_unwait(&replay->waiter);
    if (replay->run != NULL)
        run_free(replay->run);
    arena_free(&replay->arena);
    arena_free(&replay->claim.arena);
    arena_free(&replay->row.arena);
    arena_free(&replay->lanes.arena);
    arena_free(&replay->steps.arena);
    *replay = (struct ops_replay){0};
}

static int replay_end(struct ops_replay *replay, enum ops_replay_outcome outcome)
{
    replay->outcome = outcome;
    op_finish(replay->op, 0);
    return 0;
}

static uint64_t replay_waited_ms(const struct ops_replay *replay)
{
    return loop_sched(replay->ops->loop)->now_ms - replay->since_ms;
}

/* --- each starts an operation on replay->step, or ends with 0; refusals are in step.err --- */

static int replay_claim(struct ops_replay *replay)
{
    struct store *store = replay->ops->store;

    arena_free(&replay->claim.arena);
    replay->stage = REPLAY_CLAIMING;
    replay->key.now_us = clock_wall_us();
    replay->key.expires_at_us = replay->key.now_us + REPLAY_KEEP_US;
    return store->ops->claim_key(store, &replay->step, &replay->key, &replay->claim);
}

static int replay_look(struct ops_replay *replay)
{
    struct store *store = replay->ops->store;

    arena_free(&replay->row.arena);
    replay->stage = REPLAY_LOOKING;
    replay->filter = (struct store_run_filter){.id = replay->run_id};
    return store->ops->get_runs(store, &replay->step, &replay->filter, 1, &replay->row);
}

static int replay_sleep(struct ops_replay *replay)
{
    struct sched *sched = loop_sched(replay->ops->loop);
    uint64_t ms =
        replay_waited_ms(replay) < REPLAY_SOON_MS ? REPLAY_LOOK_AGAIN_MS : REPLAY_LOOK_SELDOM_MS;

    if (replay->ops->engine->stopping)
        return op_refuse(&replay->step, ERR_SHUTDOWN, "%s", err_code_text(ERR_SHUTDOWN));
    replay->stage = REPLAY_SLEEPING;
    return op_sleep_start(&replay->sleep, sched, &replay->step, ms);
}

static int replay_ask_steps(struct ops_replay *replay)
{
    struct store *store = replay->ops->store;

    replay->stage = REPLAY_STEPS;
    return store->ops->get_run_steps(store, &replay->step, replay->run_id, -1, OPS_REPLAY_LINES_MAX,
                                     &replay->steps);
}

/* --- a run of this process --- */

static int replay_take_run(struct ops_replay *replay, struct run *run)
{
    run_hold(run);
    replay->run = run;
    replay->status = run_status(run);
    return replay_end(replay, OPS_REPLAY_RUN);
}

static void replay_on_ended(struct run_waiter *waiter, struct run *run)
{
    replay_take_run(container_of(waiter, struct ops_replay, waiter), run);
}

/* As replay_did_nothing(), before its row says so. */
static bool replay_run_did_nothing(const struct run *run)
{
    const struct run_counts *counts = &run->counts;

    return run_has_ended(run) && run->err.code != 0 &&
           counts->applied + counts->skipped + counts->failed == 0;
}

static int replay_meet_run(struct ops_replay *replay, struct run *run)
{
    if (replay_run_did_nothing(run))
        return replay_sleep(replay); /* it is tried again once its end is on record */
    replay->status = run_status(run);
    if (!replay->request.wait)
        return replay_end(replay, OPS_REPLAY_GOES_ON);
    if (run_has_ended(run))
        return replay_take_run(replay, run);
    replay->stage = REPLAY_WAITING;
    replay->waiter.ended = replay_on_ended;
    run_wait(run, &replay->waiter);
    return 0;
}

/* --- what was found --- */

/* Nothing was done under the key: it is the caller's, unless another one who waited was quicker. */
static int replay_take_over(struct ops_replay *replay)
{
    struct run *run = run_find(replay->ops->engine, replay->run_id);

    return run != NULL ? replay_meet_run(replay, run) : replay_end(replay, OPS_REPLAY_NEW);
}

/* A claim without a run: its server died in between, or is just about to begin. */
static int replay_on_nothing(struct ops_replay *replay)
{
    if (replay->is_own || replay_waited_ms(replay) >= REPLAY_BEGIN_MS)
        return replay_end(replay, OPS_REPLAY_NEW);
    return replay_sleep(replay);
}

static bool replay_did_nothing(const struct store_run *row)
{
    const struct store_run_counts *counts = &row->counts;

    if (row->status == STORE_RUN_INTERRUPTED)
        return true; /* its counts were never written: the steps tell */
    return row->error[0] != '\0' && counts->applied + counts->skipped + counts->failed == 0;
}

static int replay_on_row(struct ops_replay *replay)
{
    struct run *run = run_find(replay->ops->engine, replay->run_id);
    const struct store_run *row = replay->row.rows;

    if (run != NULL)
        return replay_meet_run(replay, run);
    if (replay->row.count == 0)
        return replay_on_nothing(replay);
    replay->status = row->status;
    if (row->status == STORE_RUN_RUNNING)
        return replay->request.wait ? replay_sleep(replay) : replay_end(replay, OPS_REPLAY_GOES_ON);
    if (replay_did_nothing(row))
        return replay_ask_steps(replay);
    if (!replay->request.wait)
        return replay_end(replay, OPS_REPLAY_GOES_ON);
    if (replay->asked_again)
        return replay_ask_steps(replay);
    replay->asked_again = true;
    return replay_claim(replay);
}

static int replay_on_steps(struct ops_replay *replay)
{
    struct store *store = replay->ops->store;

    if (replay->steps.count == 0 && replay_did_nothing(replay->row.rows))
        return replay_take_over(replay);
    if (!replay->request.wait)
        return replay_end(replay, OPS_REPLAY_GOES_ON);
    replay->stage = REPLAY_LANES;
    return store->ops->get_run_lanes(store, &replay->step, replay->run_id, -1, OPS_REPLAY_LINES_MAX,
                                     &replay->lanes);
}

/* The fingerprint is followed by the server that claimed the key. */
static int replay_on_claim(struct ops_replay *replay)
{
    const struct store_key_claim *claim = &replay->claim;
    size_t len = strlen(replay->request.fingerprint);

    if (claim->claimed) {
        snprintf(replay->run_id, sizeof(replay->run_id), "%s", replay->request.run_id);
        return replay_end(replay, OPS_REPLAY_NEW);
    }
    if (strncmp(claim->fingerprint, replay->request.fingerprint, len) != 0 ||
        claim->fingerprint[len] != ' ')
        return replay_end(replay, OPS_REPLAY_MISMATCH);
    replay->is_own =
        strcmp(claim->fingerprint + len + 1, replay->ops->engine->config.server_id) == 0;
    snprintf(replay->run_id, sizeof(replay->run_id), "%s", claim->run_id);
    replay->answer = claim->answer;
    if (claim->answer[0] != '\0')
        return replay_end(replay, OPS_REPLAY_ANSWER);
    return replay_look(replay);
}

static int replay_go_on(struct ops_replay *replay)
{
    switch (replay->stage) {
    case REPLAY_CLAIMING:
        return replay_on_claim(replay);
    case REPLAY_SLEEPING:
        return replay_look(replay);
    case REPLAY_LOOKING:
        return replay_on_row(replay);
    case REPLAY_STEPS:
        return replay_on_steps(replay);
    default:
        return replay_end(replay, OPS_REPLAY_REBUILD);
    }
}

static void replay_on_step(struct op *step, int rc)
{
    struct ops_replay *replay = container_of(step, struct ops_replay, step);

    if (rc == 0)
        rc = replay_go_on(replay);
    if (rc != 0)
        op_fail(replay->op, &step->err);
}

static void replay_cancel(struct op *op)
{
    struct ops_replay *replay = op->impl;

    if (replay->stage != REPLAY_WAITING) {
        op_cancel(&replay->step);
        return;
    }
    run_unwait(&replay->waiter);
    op_finish_later(op, loop_sched(replay->ops->loop), ERR_CANCELED);
}

int ops_replay_start(struct ops *ops, struct op *op, const struct ops_replay_request *request,
                     struct ops_replay *out)
{
    int rc;

    *out = (struct ops_replay){.ops = ops,
                               .op = op,
                               .request = *request,
                               .answer = "",
                               .since_ms = loop_sched(ops->loop)->now_ms};
    snprintf(out->run_id, sizeof(out->run_id), "%s", request->run_id);
    op_init(&out->step, replay_on_step);
    out->key = (struct store_key){
        .owner = request->owner,
        .key = request->key,
        .fingerprint =
            arena_printf(&out->arena, "%s %s", request->fingerprint, ops->engine->config.server_id),
        .run_id = arena_strdup(&out->arena, request->run_id),
    };
    if (out->key.fingerprint == NULL || out->key.run_id == NULL)
        rc = op_refuse(&out->step, ERR_NOMEM, "out of memory");
    else
        rc = replay_claim(out);
    if (rc != 0) {
        struct err err = out->step.err;

        ops_replay_free(out);
        return op_refuse(op, rc, "%s", err_text(&err));
    }
    op_begin(op, out, replay_cancel);
    return 0;
}
