#include "api/rpc.h"

/* WatchRun: the events of one run, from the window that events.h keeps. */

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
    Migration__RunEvent message = MIGRATION__RUN_EVENT__INIT;
    char at[RPC_TIME_SIZE];

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
    Migration__RunEvent message = MIGRATION__RUN_EVENT__INIT;

    message.event = rpc_text("reset");
    message.run_id = rpc_text(rpc->reader.run_id);
    message.json = rpc_text(why);
    return watch_send(rpc, &message);
}

static enum events_taken watch_on_events(struct events_reader *reader,
                                         const struct event *const *events, size_t count)
{
    struct rpc *rpc = container_of(reader, struct rpc, reader);
    enum events_taken taken = EVENTS_MORE;

    if (!grant_is_alive(rpc->grant)) {
        watch_end(rpc, GRPC_UNAUTHENTICATED, "the token does not count any more");
        return EVENTS_CLOSED;
    }
    for (size_t i = 0; i < count; i++) {
        enum events_taken last = watch_send_event(rpc, events[i]);

        if (last == EVENTS_CLOSED)
            return last;
        if (events[i]->ends_run) {
            watch_end(rpc, GRPC_OK, NULL);
            return EVENTS_CLOSED;
        }
        taken = last == EVENTS_BLOCKED ? last : taken;
    }
    return taken;
}

static enum events_taken watch_on_lost(struct events_reader *reader)
{
    struct rpc *rpc = container_of(reader, struct rpc, reader);
    const struct run *run = run_find(rpc->api->config.engine, reader->run_id);
    enum events_taken taken =
        watch_send_reset(rpc, "events between the last one and the next are not kept any more");
    struct events_place place;

    if (taken == EVENTS_CLOSED || (run != NULL && !run_has_ended(run)))
        return taken;
    events_find_run(&rpc->api->events, reader->run_id, &place);
    if (place.ended)
        return taken;
    watch_end(rpc, GRPC_OK, NULL); /* what was lost was the last of it */
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

static void release_show(struct rpc *rpc)
{
    ops_show_free(&rpc->out.show);
}

int rpc_start_watch(struct rpc *rpc)
{
    const Migration__WatchRunRequest *asked = (const void *)rpc->request;
    const struct ops_show_request request = {
        .id = asked->run_id, .grant = rpc->grant, .limit = 1, .lanes_after = -1, .steps_after = -1};
    int rc = rpc_check_run_id(rpc, asked->run_id);

    if (rc != 0)
        return rc;
    rc = ops_show_start(&rpc->api->ops, &rpc->op, &request, &rpc->out.show);
    if (rc == 0)
        rpc->release = release_show;
    return rc;
}

static void watch_begin(struct rpc *rpc, const struct events_place *place)
{
    enum events_taken taken = EVENTS_MORE;
    struct err err;

    if (place->connection == NULL || !place->whole)
        taken = watch_send_reset(rpc, "the first events of the run are not kept any more");
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

void rpc_answer_watch(struct rpc *rpc)
{
    const Migration__WatchRunRequest *asked = (const void *)rpc->request;
    const struct run *run = run_find(rpc->api->config.engine, asked->run_id);
    struct events_place place;

    events_find_run(&rpc->api->events, asked->run_id, &place);
    if (!rpc->out.show.found) {
        rpc_fail(rpc, GRPC_NOT_FOUND, "run not found");
        return;
    }
    if (run == NULL && place.connection == NULL) {
        rpc_fail(rpc, GRPC_FAILED_PRECONDITION,
                 "this server has no events of the run: it runs elsewhere, or has ended and its "
                 "events are not kept any more; GetRun tells where it stands");
        return;
    }
    rpc->reader = (struct events_reader){
        .run_id = asked->run_id,
        .grant = rpc->grant,
        .next = place.connection != NULL ? place.first : rpc->api->events.next,
        .on_events = watch_on_events,
        .on_lost = watch_on_lost,
        .on_beat = watch_on_beat,
    };
    grpc_set_data(rpc->call, rpc);
    grpc_set_endless(rpc->call);
    grpc_on_drain(rpc->call, watch_on_drain);
    grpc_on_gone(rpc->call, watch_on_gone);
    watch_begin(rpc, &place);
}
