#include <string.h>

#include "api/http_answer.h"
#include "api/http_handlers.h"
#include "base/json.h"
#include "base/mem.h"

/*
 * Server-Sent Events (WHATWG HTML, section 9.2): a stream of the events of all runs, or of one.
 *
 * A run's stream ends behind the event that ends the run; a client that comes back for more is told
 * with 204 that there is nothing left. `reset` says that events are missing between the last one
 * and the next, and why.
 */
enum {
    EVENTS_PENDING_MAX = 64 * 1024, /* bytes that may wait for a slow client */
    EVENTS_FRAMES_MAX = 4 * 1024 * 1024,
    RESET_JSON_MAX = 4096,
};

/* A client that listens; it lives as long as its call. */
struct listening {
    struct events_reader reader;
    struct call *call;
    struct events *events;
    bool attached;
};

static void listening_end(struct listening *listening)
{
    struct call *call = listening->call;

    if (listening->attached)
        events_detach(listening->events, &listening->reader);
    http_stream_end(call->request);
    mem_free(listening);
    call_end(call);
}

/* --- frames --- */

/* "event: ...\ndata: ...\nid: ...\n\n"; JSON has no line breaks of its own. */
static void frame_put(struct buf *out, const struct events *events, uint64_t seq, const char *name,
                      const char *json)
{
    char id[EVENT_ID_SIZE];

    events_format_id(events, seq, id);
    buf_printf(out, "id: %s\nevent: %s\ndata: ", id, name);
    buf_puts(out, json);
    buf_puts(out, "\n\n");
}

static void frame_put_reset(struct buf *out, const struct events *events, uint64_t before,
                            const char *run_id, const char *reason)
{
    struct buf json;

    buf_init(&json, RESET_JSON_MAX);
    if (event_put_reset(&json, run_id, reason) == 0)
        frame_put(out, events, before, "reset", buf_str(&json));
    else
        out->rc = json.rc;
    buf_free(&json);
}

/* Takes over what is in `out`. A stream that cannot be written to any more is ended. */
static enum events_taken listening_send(struct listening *listening, struct buf *out)
{
    int rc = out->rc;

    if (rc == 0)
        rc = http_stream_write(listening->call->request, out->data, out->len);
    buf_free(out);
    if (rc < 0) {
        listening_end(listening);
        return EVENTS_CLOSED;
    }
    return rc == 1 ? EVENTS_BLOCKED : EVENTS_MORE;
}

/* --- what the reader is told --- */

static enum events_taken listening_on_events(struct events_reader *reader,
                                             const struct event *const *events, size_t count)
{
    struct listening *listening = container_of(reader, struct listening, reader);
    bool whole = !grant_is_partial(reader->grant);
    bool is_over = false;
    struct buf out;
    enum events_taken taken;

    if (!grant_is_alive(reader->grant)) {
        listening_end(listening);
        return EVENTS_CLOSED;
    }
    buf_init(&out, EVENTS_FRAMES_MAX);
    for (size_t i = 0; i < count; i++) {
        frame_put(&out, listening->events, events[i]->seq, events[i]->name,
                  whole ? events[i]->json : events[i]->json_part);
        is_over |= reader->run_id != NULL && events[i]->ends_run;
    }
    taken = listening_send(listening, &out);
    if (taken == EVENTS_CLOSED || !is_over)
        return taken;
    listening_end(listening);
    return EVENTS_CLOSED;
}

static enum events_taken listening_on_lost(struct events_reader *reader)
{
    struct listening *listening = container_of(reader, struct listening, reader);
    enum events_taken taken;
    struct buf out;

    buf_init(&out, EVENTS_FRAMES_MAX);
    frame_put_reset(&out, listening->events, reader->next - 1, reader->run_id,
                    "events between the last one and the next are not kept any more");
    taken = listening_send(listening, &out);
    if (taken == EVENTS_CLOSED ||
        !ops_watch_is_over(&listening->call->api->ops, listening->events, reader->run_id))
        return taken;
    listening_end(listening);
    return EVENTS_CLOSED;
}

static enum events_taken listening_on_beat(struct events_reader *reader)
{
    struct listening *listening = container_of(reader, struct listening, reader);
    struct buf out;

    if (!grant_is_alive(reader->grant)) {
        listening_end(listening);
        return EVENTS_CLOSED;
    }
    buf_init(&out, EVENTS_FRAMES_MAX);
    buf_puts(&out, ": still here\n\n");
    return listening_send(listening, &out);
}

/* --- what the connection tells --- */

static void listening_on_drain(struct http_request *request)
{
    struct listening *listening = http_data(request);

    if (listening->attached)
        events_resume(listening->events, &listening->reader);
}

/* The client went away, or the server is about to. */
static void listening_on_gone(struct http_request *request)
{
    static const char last[] = "event: shutdown\ndata: {\"reason\":\"the server is stopping\"}\n\n";
    struct listening *listening = http_data(request);
    const struct api_hooks *hooks = &listening->call->api->config.hooks;

    if (hooks->stopping(hooks->arg))
        (void)http_stream_write(request, last, sizeof(last) - 1);
    listening_end(listening);
}

/* --- the beginning --- */

static const char *listening_last_id(struct call *call)
{
    const char *header = http_header(call->request, "Last-Event-ID");

    return header != NULL ? header : call_param(call, "last_event_id");
}

static void listening_begin(struct listening *listening)
{
    struct call *call = listening->call;
    const struct ops_watch *begin = &call->out.watch;
    enum events_taken taken;
    struct err err;
    struct buf out;

    buf_init(&out, EVENTS_FRAMES_MAX);
    buf_puts(&out, "retry: 2000\n\n");
    if (begin->reset != NULL)
        frame_put_reset(&out, listening->events, begin->next - 1, listening->reader.run_id,
                        begin->reset);
    taken = listening_send(listening, &out);
    if (taken == EVENTS_CLOSED)
        return;
    if (begin->ends || strcmp(http_method(call->request), "HEAD") == 0 ||
        events_attach(listening->events, &listening->reader, &err) != 0) {
        listening_end(listening);
        return;
    }
    listening->attached = true;
    if (taken == EVENTS_BLOCKED)
        events_block(listening->events, &listening->reader);
}

static void listening_start(struct call *call)
{
    struct events *events = &call->api->events;
    struct listening *listening = mem_calloc(1, sizeof(*listening));
    struct err err = {0};

    if (listening == NULL) {
        err_set(&err, ERR_NOMEM, "out of memory");
        call_fail(call, &err);
        return;
    }
    *listening = (struct listening){
        .call = call,
        .events = events,
        .reader = {.run_id = call->id[0] != '\0' ? call->id : NULL,
                   .grant = call->grant,
                   .next = call->out.watch.next,
                   .on_events = listening_on_events,
                   .on_lost = listening_on_lost,
                   .on_beat = listening_on_beat},
    };
    http_add_header(call->request, "Content-Type", "text/event-stream");
    http_add_header(call->request, "Cache-Control", "no-store");
    http_add_header(call->request, "X-Accel-Buffering", "no");
    http_set_data(call->request, listening);
    http_on_gone(call->request, listening_on_gone);
    if (http_stream_open(call->request, 200, EVENTS_PENDING_MAX, listening_on_drain) != 0)
        listening_end(listening);
    else
        listening_begin(listening);
}

static void release_watch(struct call *call)
{
    ops_watch_free(&call->out.watch);
}

int start_events(struct call *call)
{
    const struct ops_watch_request request = {
        .run_id = call->id[0] != '\0' ? call->id : NULL,
        .last_id = listening_last_id(call),
        .grant = call->grant,
    };
    int rc = request.run_id != NULL ? check_run_id(call) : 0;

    if (rc != 0)
        return rc;
    rc =
        ops_watch_start(&call->api->ops, &call->api->events, &call->op, &request, &call->out.watch);
    if (rc == 0)
        call->release = release_watch;
    return rc;
}

void answer_events(struct call *call)
{
    struct err err = {0};

    if (call->out.watch.nothing) {
        http_respond(call->request, 204, NULL, 0);
        call_end(call);
    } else if (call->api->events.readers >= EVENTS_READERS_MAX) {
        err_set(&err, ERR_LIMIT, "too many clients listen to events; try again later");
        answer_unavailable(call->request, &err);
        call_end(call);
    } else {
        listening_start(call);
    }
}
