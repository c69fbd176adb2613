#include "api/http_pump.h"

#include "api/http_answer.h"
#include "base/log.h"

enum {
    PUMP_PIECES = 4096,          /* per turn */
    PUMP_SLICE = 64 * 1024,      /* bytes per turn; a piece may reach beyond it */
    PUMP_MAX = 64 * 1024 * 1024, /* of one slice with its last piece: a script's text fits */
};

/* Fills the buffer with one slice; false: the answer is complete. */
static bool pump_fill(struct pump *pump)
{
    for (int i = 0; i < PUMP_PIECES && pump->buf.len < PUMP_SLICE; i++)
        if (!pump->more(pump, &pump->buf) || pump->buf.rc != 0)
            return false;
    return true;
}

static void pump_finish(struct pump *pump)
{
    buf_free(&pump->buf);
    pump->done(pump);
}

static void pump_end(struct pump *pump)
{
    http_stream_end(pump->request);
    pump_finish(pump);
}

/* Too late for another status: the peer sees an answer that breaks off. */
static void pump_abort(struct pump *pump)
{
    log_write(LOG_ERROR, "answer cut short", LOG_STR("path", http_path(pump->request)),
              LOG_STR("reason", err_code_text(pump->buf.rc)));
    http_stream_abort(pump->request);
    pump_finish(pump);
}

static void pump_on_drain(struct http_request *request)
{
    struct pump *pump = http_data(request);

    if (!pump->waiting)
        return;
    pump->waiting = false;
    sched_defer(pump->sched, &pump->task);
}

/* Sends what there is; false: the peer is gone. */
static bool pump_flush(struct pump *pump)
{
    int rc = http_stream_write(pump->request, pump->buf.data, pump->buf.len);

    buf_truncate(&pump->buf, 0);
    pump->waiting = rc == 1;
    return rc >= 0;
}

/* Sends a slice and waits for the next turn, or for the peer, or ends. */
static void pump_go_on(struct pump *pump, bool more)
{
    if (!pump_flush(pump) || !more)
        pump_end(pump);
    else if (!pump->waiting)
        sched_defer(pump->sched, &pump->task);
}

static void pump_on_task(struct task *task)
{
    struct pump *pump = container_of(task, struct pump, task);
    bool more = pump_fill(pump);

    if (pump->buf.rc != 0)
        pump_abort(pump);
    else
        pump_go_on(pump, more);
}

void pump_start(struct pump *pump, struct http_request *request, struct sched *sched)
{
    bool more;

    pump->request = request;
    pump->sched = sched;
    pump->task.run = pump_on_task;
    buf_init(&pump->buf, PUMP_MAX);
    more = pump_fill(pump);
    http_add_header(request, "Content-Type", pump->type != NULL ? pump->type : ANSWER_JSON);
    if (pump->buf.rc == 0 && more) {
        (void)http_stream_begin(request, pump->status, pump_on_drain); /* the write fails too */
        pump_go_on(pump, true);
        return;
    }
    if (pump->buf.rc == 0)
        http_respond_buf(request, pump->status, &pump->buf);
    else
        answer_nomem(request);
    pump_finish(pump);
}
