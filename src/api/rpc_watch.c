#include "api/rpc.h"

/* WatchRun and WatchEvents: the events of one run, or of all, from the window that events.h keeps.
 */

enum {
    WATCH_RESET_MAX = 4096,
};

static void watch_end(struct rpc *rpc, enum grpc_status status, const char *text)
{
    if (rpc->listening)
        events_detach(&rpc->api->events, &rpc->reader);
    rpc->listening = false;
    rpc_end(rpc, status, text);
}

/* Sends one message. EVENTS_CLOSED: the call is over. */
static enum events_taken watch_send(struct rpc *rpc, const Migration__RunEvent *message)
{
    int rc;

    buf_truncate(&rpc->buf, 0);
    rc = rpc_put(&rpc->buf, &message->base);
    if (rc == 0)
        rc = grpc_send(rpc->call, buf_str(&rpc->buf), rpc->buf.len);
    if (rc >= 0)
        return rc == 1 ? EVENTS_BLOCKED : EVENTS_MORE;
    watch_end(rpc, GRPC_RESOURCE_EXHAUSTED, err_code_text(rc));
    return EVENTS_CLOSED;
}

static enum events_taken watch_send_event(struct rpc *rpc, const struct event *event)
{
    bool whole = !grant_is_partial(rpc->grant);
    Migration__RunEvent message;
    char at[RPC_TIME_SIZE], id[EVENT_ID_SIZE];

    migration__run_event__init(&message);
    events_format_id(&rpc->api->events, event->seq, id);
    message.id = id;
    message.seq = (int64_t)event->seq;
    message.event = rpc_text(event->name);
    message.run_id = rpc_text(event->run_id);
    message.connection = rpc_text(event->connection);
    message.migration_id = rpc_text(event->migration_id);
    message.schema = rpc_text(event->schema);
    message.at = rpc_time(event->at_us, at);
    message.json = rpc_text(whole ? event->json : event->json_part);
    return watch_send(rpc, &message);
}

/* Says that events are missing in front of the next one. */
static enum events_taken watch_send_reset(struct rpc *rpc, const char *why)
{
    const struct events_reader *reader = &rpc->reader;
    Migration__RunEvent message;
    char id[EVENT_ID_SIZE];
    struct buf json;
    enum events_taken taken;

    migration__run_event__init(&message);
    buf_init(&json, WATCH_RESET_MAX);
    if (event_put_reset(&json, reader->run_id, why) != 0) {
        buf_free(&json);
        watch_end(rpc, GRPC_RESOURCE_EXHAUSTED, err_code_text(ERR_NOMEM));
        return EVENTS_CLOSED;
    }
    events_format_id(&rpc->api->events, reader->next - 1, id);
    message.id = id;
    message.event = rpc_text("reset");
    message.run_id = rpc_text(reader->run_id);
    message.json = rpc_text(buf_str(&json));
    taken = watch_send(rpc, &message);
    buf_free(&json);
    return taken;
}

static enum events_taken watch_on_events(struct events_reader *reader,
                                         const struct event *const *events, size_t count)
{
    struct rpc *rpc = container_of(reader, struct rpc, reader);

    if (!grant_is_alive(rpc->grant)) {
        watch_end(rpc, GRPC_UNAUTHENTICATED, "the token does not count any more");
        return EVENTS_CLOSED;
    }
    for (size_t i = 0; i < count; i++) {
        enum events_taken taken = watch_send_event(rpc, events[i]);

        if (taken == EVENTS_CLOSED)
            return taken;
        if (reader->run_id != NULL && events[i]->ends_run) {
            watch_end(rpc, GRPC_OK, NULL);
            return EVENTS_CLOSED;
        }
        if (taken == EVENTS_BLOCKED) { /* the rest of the batch is given once more */
            reader->next = events[i]->seq + 1;
            return taken;
        }
    }
    return EVENTS_MORE;
}

static enum events_taken watch_on_lost(struct events_reader *reader)
{
    struct rpc *rpc = container_of(reader, struct rpc, reader);
    enum events_taken taken =
        watch_send_reset(rpc, "events between the last one and the next are not kept any more");

    if (taken == EVENTS_CLOSED ||
        !ops_watch_is_over(&rpc->api->ops, &rpc->api->events, reader->run_id))
        return taken;
    watch_end(rpc, GRPC_OK, NULL);
    return EVENTS_CLOSED;
}

static enum events_taken watch_on_beat(struct events_reader *reader)
{
    struct rpc *rpc = container_of(reader, struct rpc, reader);

    if (grant_is_alive(rpc->grant))
        return EVENTS_MORE;
    watch_end(rpc, GRPC_UNAUTHENTICATED, "the token does not count any more");
    return EVENTS_CLOSED;
}

static void watch_on_drain(struct grpc_call *call)
{
    struct rpc *rpc = grpc_data(call);

    if (rpc->listening)
        events_resume(&rpc->api->events, &rpc->reader);
}

static void watch_on_gone(struct grpc_call *call)
{
    watch_end(grpc_data(call), GRPC_UNAVAILABLE, "the server is stopping");
}

/* --- the beginning --- */

static void release_watch(struct rpc *rpc)
{
    ops_watch_free(&rpc->out.watch);
}

static int watch_start(struct rpc *rpc, const char *run_id, const char *last_id)
{
    const struct ops_watch_request request = {
        .run_id = run_id, .last_id = last_id, .grant = rpc->grant};
    struct api *api = rpc->api;
    int rc = ops_watch_start(&api->ops, &api->events, &rpc->op, &request, &rpc->out.watch);

    if (rc == 0)
        rpc->release = release_watch;
    return rc;
}

int rpc_start_watch(struct rpc *rpc)
{
    const Migration__WatchRunRequest *asked = (const void *)rpc->request;
    int rc = rpc_check_run_id(rpc, asked->run_id);

    return rc == 0 ? watch_start(rpc, asked->run_id, asked->last_event_id) : rc;
}

int rpc_start_watch_all(struct rpc *rpc)
{
    const Migration__WatchEventsRequest *asked = (const void *)rpc->request;

    return watch_start(rpc, NULL, asked->last_event_id);
}

static void watch_begin(struct rpc *rpc)
{
    const struct ops_watch *watch = &rpc->out.watch;
    enum events_taken taken = EVENTS_MORE;
    struct err err;

    if (watch->reset != NULL)
        taken = watch_send_reset(rpc, watch->reset);
    if (taken == EVENTS_CLOSED)
        return;
    if (events_attach(&rpc->api->events, &rpc->reader, &err) != 0) {
        rpc_fail(rpc, GRPC_RESOURCE_EXHAUSTED, err_text(&err));
        return;
    }
    rpc->listening = true;
    if (taken == EVENTS_BLOCKED)
        events_block(&rpc->api->events, &rpc->reader);
}

/* GetRun tells where a run stands that this server has no events of. */
static void watch_refuse(struct rpc *rpc)
{
    struct err err;

    err_set(&err, ERR_CONFLICT, "%s; GetRun tells where it stands", rpc->out.watch.reset);
    rpc_fail_err(rpc, &err);
}

void rpc_answer_watch(struct rpc *rpc)
{
    const struct ops_watch *watch = &rpc->out.watch;

    if (watch->nothing) {
        rpc_end(rpc, GRPC_OK, NULL);
        return;
    }
    if (watch->ends) {
        watch_refuse(rpc);
        return;
    }
    rpc->reader = (struct events_reader){
        .run_id = watch->request.run_id,
        .grant = rpc->grant,
        .next = watch->next,
        .on_events = watch_on_events,
        .on_lost = watch_on_lost,
        .on_beat = watch_on_beat,
    };
    grpc_set_data(rpc->call, rpc);
    grpc_set_endless(rpc->call);
    grpc_on_drain(rpc->call, watch_on_drain);
    grpc_on_gone(rpc->call, watch_on_gone);
    watch_begin(rpc);
}
