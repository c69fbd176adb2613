/* From a checked request to a run: on record, under its key, waited for or not. */
#include <stdio.h>

#include "api/ops_request.h"
#include "base/crash.h"

enum {
    BEGIN_REQUEST_MAX = 64 * 1024 * 1024, /* bytes of a recorded request: what a body can hold */
};

/* What the token may not touch is found out when the run is planned: then the request is refused.
 */
static void begin_end(struct ops_run *run)
{
    if (run->run != NULL && run->run->err.code == ERR_FORBIDDEN) {
        op_fail(run->op, &run->run->err);
        return;
    }
    ops_run_judge(run);
    op_finish(run->op, 0);
}

static void begin_on_done(struct run *done)
{
    struct ops_run *run = done->data;

    if (run == NULL) /* accepted, and nobody waits */
        run_free(done);
    else
        begin_end(run);
}

static void begin_on_recorded(struct run *started)
{
    struct ops_run *run = started->data;

    started->data = NULL;
    run->run = NULL;
    run->accepted = true;
    run->run_status = STORE_RUN_RUNNING;
    snprintf(run->run_id, sizeof(run->run_id), "%s", started->id);
    op_finish(run->op, 0);
}

static void begin_on_task(struct task *task)
{
    begin_end(container_of(task, struct ops_run, task));
}

/* A connection that nobody knows is an outcome with one line, not a refusal. */
static int begin_unknown(struct ops_run *run, struct err *err)
{
    run->lone_error = arena_strdup(&run->arena, err_text(err));
    if (run->lone_error == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    run->task.run = begin_on_task;
    sched_defer(loop_sched(run->ops->loop), &run->task);
    return 0;
}

/* --- the key --- */

static void begin_drop(struct ops_run *run)
{
    run_free(run->run);
    run->run = NULL;
}

static void begin_replay(struct ops_run *run)
{
    struct ops_replay *replay = &run->replay;

    run->replayed = true;
    run->run_status = replay->status;
    snprintf(run->run_id, sizeof(run->run_id), "%s", replay->run_id);
    begin_drop(run);
    switch (replay->outcome) {
    case OPS_REPLAY_ANSWER:
        run->kept_answer = replay->answer;
        break;
    case OPS_REPLAY_RUN:
        run->run = replay->run;
        replay->run = NULL;
        ops_run_judge(run);
        break;
    case OPS_REPLAY_GOES_ON:
        run->accepted = true;
        break;
    case OPS_REPLAY_REBUILD:
    case OPS_REPLAY_NEW:
    case OPS_REPLAY_MISMATCH:
        ops_run_rebuild(run, replay);
        break;
    }
    op_finish(run->op, 0);
}

static void begin_on_replay(struct op *step, int rc)
{
    struct ops_run *run = container_of(step, struct ops_run, step);
    struct err err = step->err;

    if (rc == 0 && run->replay.outcome == OPS_REPLAY_MISMATCH)
        rc =
            err_set(&err, ERR_MISMATCH, "this Idempotency-Key was used for another request before");
    if (rc == 0 && run->replay.outcome != OPS_REPLAY_NEW) {
        begin_replay(run);
        return;
    }
    if (rc == 0) {
        crash_point("key_claimed");
        rc = run_go(run->run, run->replay.run_id, &err);
    }
    if (rc != 0)
        op_fail(run->op, &err);
}

static int begin_claim(struct ops_run *run, struct err *err)
{
    const struct ops_replay_request request = {.owner = run->owner,
                                               .key = run->how.key,
                                               .fingerprint = run->how.fingerprint,
                                               .run_id = run->run->id,
                                               .wait = !run->how.async};
    int rc;

    op_init(&run->step, begin_on_replay);
    rc = ops_replay_start(run->ops, &run->step, &request, &run->replay);
    if (rc != 0)
        *err = run->step.err;
    return rc;
}

/* --- */

static int begin_create(struct ops_run *run, struct run_request *request, struct err *err)
{
    const struct ops_run_how *how = &run->how;
    bool has_key = how->key != NULL;
    struct buf text;
    int rc;

    request->limits_failures = how->failures.limited;
    request->max_failures = how->failures.max;
    buf_init(&text, BEGIN_REQUEST_MAX);
    if (!request->dry_run)
        ops_request_put(request, &text);
    request->record = (struct run_record){
        .kind = ops_run_kind_name(run->kind),
        .request = buf_str(&text),
        .retry_of = how->retry_of,
        .first = how->async || has_key,
        .recorded = how->async ? begin_on_recorded : NULL,
        .answer = has_key && !how->async ? how->answer : NULL,
    };
    if (text.rc != 0)
        rc = err_set(err, text.rc, "%s", err_code_text(text.rc));
    else
        rc = run_create(run->ops->engine, request, begin_on_done, run, &run->run, err);
    buf_free(&text);
    if (rc != 0)
        run->run = NULL;
    return rc;
}

int ops_run_begin(struct ops_run *run, struct run_request *request, struct err *err)
{
    int rc = begin_create(run, request, err);

    if (rc != 0)
        return rc == ERR_NOT_FOUND ? begin_unknown(run, err) : rc;
    if (run->how.key != NULL && !request->dry_run)
        rc = begin_claim(run, err);
    else
        rc = run_go(run->run, NULL, err);
    if (rc != 0)
        begin_drop(run);
    return rc;
}

void ops_run_cancel_op(struct op *op)
{
    struct ops_run *run = op->impl;

    if (run->step.active)
        op_cancel(&run->step);
    else if (run->run != NULL)
        run_cancel(run->run, ERR_CANCELED);
}
