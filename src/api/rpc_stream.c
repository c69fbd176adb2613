#include <stdio.h>

#include "api/rpc.h"

/*
 * StreamMigrate: for each migration "running", then what became of it. Nothing is queued for the
 * reader: what is sent is read off the run's own list of results, as far as the reader lets it; so
 * a slow one neither holds the run up nor costs memory.
 */
enum {
    STREAM_STEPS = 256, /* messages per turn */
    STREAM_TEXT_MAX = 64,
};

static const char stream_success[] = "Migration completed successfully";

static struct run *stream_run(struct rpc *rpc)
{
    return rpc->out.run.run;
}

/* Sends one message about the ID in rpc->line. False: the reader has to read first, or is gone. */
static bool stream_put(struct rpc *rpc, Migration__MigrateProgress *message, size_t done,
                       size_t planned)
{
    int rc;

    message->migration_id = rpc_text(buf_str(&rpc->line));
    message->progress = (int32_t)(done * 100 / (planned > 0 ? planned : 1));
    buf_truncate(&rpc->buf, 0);
    rc = rpc->line.rc != 0 ? rpc->line.rc : rpc_put(&rpc->buf, &message->base);
    if (rc == 0)
        rc = grpc_send(rpc->call, buf_str(&rpc->buf), rpc->buf.len);
    if (rc < 0) {
        rpc->gone = true;
        rpc->rc = rc;
    }
    return rc == 0;
}

static bool stream_send(struct rpc *rpc, Migration__MigrateProgress *message,
                        const struct run_lane_result *lane, size_t done,
                        const struct migration *migration, const char *schema)
{
    buf_truncate(&rpc->line, 0);
    ops_run_put_id(OPS_UP, lane->requested, migration, schema, &rpc->line);
    message->run_id = stream_run(rpc)->request->dry_run ? message->run_id : stream_run(rpc)->id;
    return stream_put(rpc, message, done, lane->planned);
}

static void fill_running(struct rpc *rpc, size_t planned, char text[STREAM_TEXT_MAX],
                         Migration__MigrateProgress *message)
{
    snprintf(text, STREAM_TEXT_MAX, "Executing migration %zu of %zu", rpc->cursor.item + 1,
             planned);
    message->status = rpc_text("running");
    message->message = text;
    rpc->announced = true;
}

static bool stream_announce(struct rpc *rpc, const struct run_lane_result *lane,
                            const struct migration *migration, const char *schema)
{
    Migration__MigrateProgress message;
    char text[STREAM_TEXT_MAX];

    migration__migrate_progress__init(&message);
    fill_running(rpc, lane->planned, text, &message);
    return stream_send(rpc, &message, lane, rpc->cursor.item + 1, migration, schema);
}

static bool stream_report(struct rpc *rpc, const struct run_lane_result *lane,
                          const struct run_item *item)
{
    Migration__MigrateProgress message;

    migration__migrate_progress__init(&message);
    message.status = rpc_text("success");
    message.message = rpc_text(stream_success);
    if (item->kind == RUN_ITEM_SKIPPED || item->kind == RUN_ITEM_NOT_APPLIED) {
        message.status = rpc_text("skipped");
        message.message = rpc_text("Migration already applied");
    } else if (item->kind == RUN_ITEM_FAILED || item->kind == RUN_ITEM_NOT_RUN) {
        message.status = rpc_text("failed");
        message.message = rpc_text(item->err != NULL ? err_text(item->err) : "failed");
    }
    message.attempts = (int32_t)item->attempts;
    message.duration_ms = (int64_t)item->duration_ms;
    rpc->announced = false;
    rpc->cursor.item++;
    return stream_send(rpc, &message, lane, rpc->cursor.item, item->migration, item->schema);
}

/* --- of a run that ended long ago, on another server, or before a restart --- */

static bool again_announce(struct rpc *rpc, Migration__MigrateProgress *message, size_t count)
{
    char text[STREAM_TEXT_MAX];

    fill_running(rpc, count, text, message);
    return stream_put(rpc, message, rpc->cursor.item + 1, count);
}

static bool again_report(struct rpc *rpc, Migration__MigrateProgress *message,
                         const struct store_run_step *step, size_t count)
{
    message->status = rpc_text("success");
    message->message = rpc_text(stream_success);
    if (!ops_run_again_is_done(step)) {
        message->status = rpc_text("failed");
        message->message = rpc_text(ops_run_again_error(step));
    }
    message->attempts = (int32_t)step->attempts;
    message->duration_ms = step->duration_ms;
    rpc->announced = false;
    rpc->cursor.item++;
    return stream_put(rpc, message, rpc->cursor.item, count);
}

static size_t again_count(const struct rpc *rpc)
{
    const struct ops_replay *again = rpc->out.run.rebuild;

    return again != NULL ? again->steps.count : 0;
}

/* From what is on record: nothing of what was skipped. */
static bool stream_step_again(struct rpc *rpc)
{
    Migration__MigrateProgress message;
    size_t count = again_count(rpc);
    const struct store_run_step *step;

    migration__migrate_progress__init(&message);
    if (rpc->cursor.item == count)
        return false;
    step = &rpc->out.run.rebuild->steps.rows[rpc->cursor.item];
    buf_truncate(&rpc->line, 0);
    ops_run_again_put_id(&rpc->out.run, OPS_UP, step, &rpc->line);
    message.run_id = rpc->out.run.run_id;
    return rpc->announced ? again_report(rpc, &message, step, count)
                          : again_announce(rpc, &message, count);
}

/* --- */

/* The next message, if there is one by now. False: not now. */
static bool stream_step(struct rpc *rpc)
{
    const struct run *run = stream_run(rpc);
    const struct run_lane_result *lane;

    if (run == NULL)
        return stream_step_again(rpc);
    if (rpc->cursor.lane == run->lane_count)
        return false;
    lane = &run->lanes[rpc->cursor.lane];
    if (rpc->cursor.item < lane->count) {
        const struct run_item *item = &lane->items[rpc->cursor.item];

        return rpc->announced ? stream_report(rpc, lane, item)
                              : stream_announce(rpc, lane, item->migration, item->schema);
    }
    if (rpc->over) {
        rpc->cursor.lane++;
        rpc->cursor.item = 0;
        return true;
    }
    if (lane->current == NULL || rpc->announced)
        return false;
    return stream_announce(rpc, lane, lane->current, lane->current_schema);
}

static void stream_end(struct rpc *rpc)
{
    enum grpc_status status;
    struct err why;

    if (rpc->rc == ERR_NOMEM || rpc->rc == ERR_LIMIT) {
        rpc_fail(rpc, GRPC_RESOURCE_EXHAUSTED, err_code_text(rpc->rc));
        return;
    }
    status = rpc_run_verdict(&rpc->out.run, &why);
    rpc_end(rpc, status, status != GRPC_OK ? err_text(&why) : NULL);
}

static bool stream_is_sent(struct rpc *rpc)
{
    const struct run *run = stream_run(rpc);

    if (rpc->gone)
        return true;
    return run != NULL ? rpc->cursor.lane == run->lane_count : rpc->cursor.item == again_count(rpc);
}

static void stream_on_task(struct task *task)
{
    struct rpc *rpc = container_of(task, struct rpc, task);
    bool more = true;

    for (int i = 0; i < STREAM_STEPS && more && !rpc->gone; i++)
        more = stream_step(rpc);
    if (rpc->over && stream_is_sent(rpc))
        stream_end(rpc);
    else if (more && !rpc->gone)
        sched_defer(loop_sched(rpc->api->config.loop), task);
}

static void stream_go_on(struct rpc *rpc)
{
    sched_defer(loop_sched(rpc->api->config.loop), &rpc->task);
}

static void stream_on_event(struct engine_listener *listener, const struct run_event *event)
{
    struct rpc *rpc = container_of(listener, struct rpc, listener);

    if (event->run == stream_run(rpc))
        stream_go_on(rpc);
}

static void stream_on_drain(struct grpc_call *call)
{
    stream_go_on(grpc_data(call));
}

/* The run goes on without its reader. */
static void stream_on_gone(struct grpc_call *call)
{
    struct rpc *rpc = grpc_data(call);

    rpc->gone = true;
    stream_go_on(rpc);
}

static void stream_release(struct rpc *rpc)
{
    engine_unlisten(&rpc->listener);
    ops_run_free(&rpc->out.run);
}

int rpc_start_stream(struct rpc *rpc)
{
    int rc = rpc_start_migrate_streamed(rpc);

    if (rc != 0)
        return rc;
    rpc->task.run = stream_on_task;
    rpc->listener.on_event = stream_on_event;
    engine_listen(rpc->api->config.engine, &rpc->listener);
    rpc->release = stream_release;
    grpc_set_data(rpc->call, rpc);
    grpc_on_drain(rpc->call, stream_on_drain);
    grpc_on_gone(rpc->call, stream_on_gone);
    return 0;
}

void rpc_answer_stream(struct rpc *rpc)
{
    rpc_tell_replayed(rpc);
    rpc->over = true;
    stream_go_on(rpc);
}
