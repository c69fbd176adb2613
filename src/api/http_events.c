#include <stdio.h>
#include <string.h>

#include "api/http_answer.h"
#include "api/http_handlers.h"
#include "api/http_json.h"
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
    buf_putc(&json, '{');
    json_put_member(&json, "reason", reason);
    if (run_id != NULL)
        json_put_member(&json, "run_id", run_id);
    buf_putc(&json, '}');
    if (json.rc == 0)
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

/* Whether no event of the reader's run is there or will come: what was lost was the last of it. */
static bool listening_is_over(const struct listening *listening)
{
    const char *run_id = listening->reader.run_id;
    const struct run *run =
        run_id != NULL ? run_find(listening->call->api->config.engine, run_id) : NULL;
    struct events_place place;

    if (run_id == NULL || (run != NULL && !run_has_ended(run)))
        return false;
    events_find_run(listening->events, run_id, &place);
    return !place.ended;
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
    if (taken == EVENTS_CLOSED || !listening_is_over(listening))
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

/* Where the stream begins. */
struct beginning {
    uint64_t next;
    const char *reset; /* NULL, or what is missing in front of it */
    bool nothing;      /* there is nothing to come: the client need not ask again */
    bool ends;         /* behind the reset */
};

static const char *listening_last_id(struct call *call)
{
    const char *header = http_header(call->request, "Last-Event-ID");

    return header != NULL ? header : call_param(call, "last_event_id");
}

static void begin_all(struct call *call, struct beginning *begin)
{
    const struct events *events = &call->api->events;
    const char *last = listening_last_id(call);
    uint64_t seq;

    begin->next = events->next;
    if (last[0] == '\0')
        return;
    if (events_parse_id(events, last, &seq))
        begin->next = seq + 1;
    else
        begin->reset = "the last event was of another server or of before a restart";
}

/* What is left of a run that this server does not have: `out.runs` has its row. */
static void begin_past_run(struct call *call, bool comes_back, struct beginning *begin)
{
    bool is_running = call->out.runs.rows[0].status == STORE_RUN_RUNNING;

    begin->next = call->api->events.next;
    begin->ends = true;
    begin->nothing = comes_back && !is_running;
    begin->reset = is_running ? "the run is under way on another server"
                              : "the run has ended and its events are not kept any more";
}

static void begin_run(struct call *call, struct beginning *begin)
{
    const struct events *events = &call->api->events;
    const char *last = listening_last_id(call);
    struct events_place place;
    uint64_t seq = 0;
    bool resumes = events_parse_id(events, last, &seq);

    events_find_run(events, call->id, &place);
    if (call->out.runs.count > 0) {
        begin_past_run(call, last[0] != '\0', begin);
        return;
    }
    begin->next = place.connection != NULL ? place.first : events->next;
    if (resumes)
        begin->next = seq + 1;
    else if (last[0] != '\0')
        begin->reset = "the last event was of another server or of before a restart";
    else if (place.connection != NULL && !place.whole)
        begin->reset = "the first events of the run are not kept any more";
    begin->nothing = resumes && place.ended && seq >= place.last;
}

static void listening_begin(struct listening *listening, const struct beginning *begin)
{
    struct call *call = listening->call;
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

static void listening_start(struct call *call, const struct beginning *begin)
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
                   .next = begin->next,
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
        listening_begin(listening, begin);
}

static void listening_answer(struct call *call, const struct beginning *begin)
{
    struct err err = {0};

    if (begin->nothing) {
        http_respond(call->request, 204, NULL, 0);
        call_end(call);
    } else if (call->api->events.readers >= EVENTS_READERS_MAX) {
        err_set(&err, ERR_LIMIT, "too many clients listen to events; try again later");
        answer_unavailable(call->request, &err);
        call_end(call);
    } else {
        listening_start(call, begin);
    }
}

void answer_events(struct call *call)
{
    struct beginning begin = {0};

    begin_all(call, &begin);
    listening_answer(call, &begin);
}

/* --- of one run --- */

static void release_runs(struct call *call)
{
    arena_free(&call->out.runs.arena);
}

/* The connection of a run that this server has, NULL if it has none of it. */
static const char *find_here(const struct call *call)
{
    const struct run *run = run_find(call->api->config.engine, call->id);
    struct events_place place;
    struct store_run row;

    if (run == NULL) {
        events_find_run(&call->api->events, call->id, &place);
        return place.connection;
    }
    run_describe(run, &row);
    return row.connection;
}

int start_run_events(struct call *call)
{
    struct store *store = call->api->config.store;
    int rc = check_run_id(call);

    if (rc != 0)
        return rc;
    if (find_here(call) != NULL) {
        op_begin(&call->op, call, NULL);
        op_finish_later(&call->op, loop_sched(call->api->config.loop), 0);
        return 0;
    }
    call->in.run_filter = (struct store_run_filter){.id = call->id};
    call->release = release_runs;
    return store->ops->get_runs(store, &call->op, &call->in.run_filter, 1, &call->out.runs);
}

void answer_run_events(struct call *call)
{
    const char *connection = find_here(call);
    struct beginning begin = {0};
    struct err err = {0};

    if (connection == NULL && call->out.runs.count > 0)
        connection = call->out.runs.rows[0].connection;
    if (connection == NULL || !grant_sees(call->grant, connection, NULL)) {
        err_set(&err, ERR_NOT_FOUND, "run not found: %s", call->id);
        call_fail(call, &err);
        return;
    }
    begin_run(call, &begin);
    listening_answer(call, &begin);
}
