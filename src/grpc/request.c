#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "grpc/conn.h"

/* The request's side of a call: headers, messages, deadline, and its end. */

enum {
    REQUEST_HEADER_COST = 32, /* of each header, beside its bytes: RFC 9113, 6.5.2 */
};

static const char content_type[] = "application/grpc";
static const char request_crowd[] = "the server holds too many requests";

static void call_on_deadline(struct timer *timer)
{
    struct grpc_call *call = container_of(timer, struct grpc_call, deadline_timer);

    grpc_call_conclude(call, GRPC_DEADLINE_EXCEEDED, "the deadline of the call has passed");
}

/* Without the rest of its headers nothing else may come on the connection. */
static void call_on_late(struct timer *timer)
{
    struct grpc_call *call = container_of(timer, struct grpc_call, arrival_timer);

    if (call->opened)
        grpc_call_conclude(call, GRPC_CANCELLED, "the request did not arrive in time");
    else
        grpc_conn_drop(call->conn, false);
}

struct grpc_call *grpc_call_create(struct grpc_conn *conn, int32_t stream_id)
{
    struct grpc_server *server = conn->server;
    struct grpc_call *call = mem_calloc(1, sizeof(*call));

    if (call == NULL)
        return NULL;
    call->server = server;
    call->conn = conn;
    call->sched = loop_sched(server->loop);
    call->stream_id = stream_id;
    call->start_ns = clock_monotonic_ns();
    call->deadline_timer.fire = call_on_deadline;
    call->arrival_timer.fire = call_on_late;
    call->stall_timer.fire = grpc_call_on_stall;
    arena_init(&call->arena);
    grpc_inbox_init(&call->inbox, server->config.max_message);
    buf_init(&call->message, server->config.max_message);
    buf_init(&call->out, SIZE_MAX / 2);
    list_push_back(&conn->calls, &call->link);
    conn->call_count++;
    server->call_count++;
    grpc_budget_set_request(call, GRPC_CALL_COST);
    sched_start_timer(call->sched, &call->arrival_timer, server->config.request_timeout_ms);
    grpc_conn_on_calls(conn);
    return call;
}

int grpc_call_add_header(struct grpc_call *call, const uint8_t *name, size_t name_len,
                         const uint8_t *value, size_t value_len)
{
    struct grpc_metadata *item;

    call->header_bytes += name_len + value_len + REQUEST_HEADER_COST;
    if (call->header_bytes > call->server->config.max_headers) {
        call->too_large = true;
        return 0;
    }
    item = arena_alloc(&call->arena, sizeof(*item));
    if (item == NULL)
        return ERR_NOMEM;
    *item = (struct grpc_metadata){
        .next = call->metadata,
        .name = arena_strndup(&call->arena, (const char *)name, name_len),
        .value = arena_strndup(&call->arena, (const char *)value, value_len),
        .name_len = name_len,
        .value_len = value_len,
    };
    if (item->name == NULL || item->value == NULL)
        return ERR_NOMEM;
    call->metadata = item;
    return 0;
}

const char *grpc_metadata(const struct grpc_call *call, const char *name)
{
    const char *found = NULL;

    for (const struct grpc_metadata *item = call->metadata; item != NULL; item = item->next)
        if (strcmp(item->name, name) == 0)
            found = item->value;
    return found;
}

size_t grpc_metadata_count(const struct grpc_call *call, const char *name)
{
    size_t count = 0;

    for (const struct grpc_metadata *item = call->metadata; item != NULL; item = item->next)
        count += strcmp(item->name, name) == 0;
    return count;
}

void grpc_limit_message(struct grpc_call *call, size_t max)
{
    if (max < call->inbox.max)
        call->inbox.max = max;
}

const struct grpc_method *grpc_method(const struct grpc_call *call)
{
    return call->method;
}

const char *grpc_path(const struct grpc_call *call)
{
    const char *path = grpc_metadata(call, ":path");

    return path != NULL ? path : "";
}

/* "application/grpc", alone or with a "+subtype" or parameters behind. */
static bool request_is_grpc(const struct grpc_call *call)
{
    const char *type = grpc_metadata(call, "content-type");
    size_t len = sizeof(content_type) - 1;

    return type != NULL && strncmp(type, content_type, len) == 0 &&
           strchr("+;", type[len]) != NULL; /* finds the end, too */
}

static bool request_starts_deadline(struct grpc_call *call)
{
    const char *timeout = grpc_metadata(call, "grpc-timeout");
    uint64_t ms;

    if (timeout == NULL)
        return true;
    if (!grpc_parse_timeout(timeout, &ms))
        return false;
    sched_start_timer(call->sched, &call->deadline_timer, ms);
    return true;
}

static bool request_knows_encoding(struct grpc_call *call)
{
    const char *encoding = grpc_metadata(call, "grpc-encoding");
    const char *accepted = grpc_metadata(call, "grpc-accept-encoding");

    call->compresses = accepted != NULL && grpc_accepts(accepted, "gzip");
    call->inbox.may_be_compressed = encoding != NULL && strcmp(encoding, "gzip") == 0;
    return encoding == NULL || call->inbox.may_be_compressed || strcmp(encoding, "identity") == 0;
}

/* Counts what the call holds by now; false where that is too much of all calls together. */
static bool request_count(struct grpc_call *call)
{
    return grpc_budget_set_request(call, GRPC_CALL_COST + call->header_bytes +
                                             call->inbox.bytes.len + call->message.len);
}

static bool request_find(struct grpc_call *call)
{
    const struct grpc_handlers *handlers = &call->server->handlers;

    call->method = handlers->find(handlers->arg, grpc_path(call));
    if (call->method == NULL) {
        grpc_call_conclude(call, GRPC_UNIMPLEMENTED, "unknown service or method");
        return false;
    }
    return handlers->admit == NULL || handlers->admit(handlers->arg, call);
}

/* Whether the handler may have it; else it is answered. */
static bool request_check(struct grpc_call *call)
{
    const char *method = grpc_metadata(call, ":method");

    if (call->too_large) {
        grpc_call_conclude(call, GRPC_RESOURCE_EXHAUSTED, "the headers are too large");
    } else if (!request_count(call)) {
        grpc_call_conclude(call, GRPC_RESOURCE_EXHAUSTED, request_crowd);
    } else if (method == NULL || strcmp(method, "POST") != 0) {
        grpc_call_refuse_http(call, "405");
    } else if (!request_is_grpc(call)) {
        grpc_call_refuse_http(call, "415");
    } else if (!request_knows_encoding(call)) {
        grpc_call_conclude(call, GRPC_UNIMPLEMENTED, "grpc-encoding is neither identity nor gzip");
    } else if (!request_starts_deadline(call)) {
        grpc_call_conclude(call, GRPC_INVALID_ARGUMENT,
                           "grpc-timeout is not up to eight digits and one of H M S m u n");
    } else {
        return request_find(call);
    }
    return false;
}

static void request_begin(struct grpc_call *call)
{
    call->begun = true;
    call->method->begin(call->server->handlers.arg, call);
}

void grpc_call_open(struct grpc_call *call)
{
    const struct grpc_handlers *handlers = &call->server->handlers;

    call->opened = true;
    if (handlers->opened != NULL)
        handlers->opened(handlers->arg, call);
    if (!request_check(call) || !call->method->client_streams)
        return;
    sched_stop_timer(call->sched, &call->arrival_timer);
    request_begin(call);
}

/* Nobody reads what the client still sends. */
static bool request_is_over(const struct grpc_call *call)
{
    return call->concluded || call->finished || call->method == NULL;
}

static void request_take_message(struct grpc_call *call, struct buf *message)
{
    if (call->method->client_streams) {
        if (call->on_message != NULL)
            call->on_message(call, message->len > 0 ? message->data : "", message->len);
    } else if (call->has_message) {
        grpc_call_conclude(call, GRPC_INTERNAL, "more than one message was sent");
    } else {
        buf_free(&call->message);
        call->message = *message;
        buf_init(message, message->max);
        call->has_message = true;
    }
}

static void request_refuse(struct grpc_call *call, int rc)
{
    if (rc == ERR_LIMIT)
        grpc_call_conclude(call, GRPC_RESOURCE_EXHAUSTED, "the message is larger than is allowed");
    else if (rc == ERR_NOMEM)
        grpc_call_conclude(call, GRPC_RESOURCE_EXHAUSTED, err_code_text(rc));
    else
        grpc_call_conclude(call, GRPC_INTERNAL, "the message is malformed");
}

/* A message that is streamed has to arrive in time as well, once it has begun. */
static void request_await_rest(struct grpc_call *call)
{
    if (request_is_over(call) || !call->method->client_streams)
        return;
    if (grpc_inbox_is_empty(&call->inbox))
        sched_stop_timer(call->sched, &call->arrival_timer);
    else if (!call->arrival_timer.armed)
        sched_start_timer(call->sched, &call->arrival_timer,
                          call->server->config.request_timeout_ms);
}

void grpc_call_receive(struct grpc_call *call, const uint8_t *data, size_t len)
{
    while (len > 0 && !request_is_over(call)) {
        struct buf message;
        size_t taken;
        int rc = grpc_inbox_feed(&call->inbox, data, len, &taken, &message);

        data += taken;
        len -= taken;
        if (rc == 1)
            request_take_message(call, &message);
        buf_free(&message);
        if (rc < 0)
            request_refuse(call, rc);
        else if (!request_count(call))
            grpc_call_conclude(call, GRPC_RESOURCE_EXHAUSTED, request_crowd);
    }
    request_await_rest(call);
}

void grpc_call_half_close(struct grpc_call *call)
{
    call->half_closed = true;
    sched_stop_timer(call->sched, &call->arrival_timer);
    if (request_is_over(call))
        return;
    if (!grpc_inbox_is_empty(&call->inbox)) {
        grpc_call_conclude(call, GRPC_INTERNAL, "the request breaks off in a message");
    } else if (call->method->client_streams) {
        if (call->on_message != NULL)
            call->on_message(call, NULL, 0);
    } else if (!call->has_message) {
        grpc_call_conclude(call, GRPC_INTERNAL, "the request has no message");
    } else {
        request_begin(call);
    }
}

void grpc_call_detach(struct grpc_call *call)
{
    struct grpc_conn *conn = call->conn;

    nghttp2_session_set_stream_user_data(conn->session, call->stream_id, NULL);
    list_remove(&call->link);
    conn->call_count--;
    grpc_budget_set_answer(call, 0);
    call->conn = NULL;
    grpc_call_stop_timers(call);
    sched_stop_timer(call->sched, &call->stall_timer);
    grpc_conn_on_calls(conn);
    if (!call->closing)
        call->status = GRPC_CANCELLED;
    if (call->finished || !call->begun) {
        grpc_call_free(call);
        return;
    }
    call->gone = true;
    buf_free(&call->out);
    grpc_call_notify(call);
}

void grpc_call_stop_timers(struct grpc_call *call)
{
    sched_stop_timer(call->sched, &call->deadline_timer);
    sched_stop_timer(call->sched, &call->arrival_timer);
}

void grpc_call_forget_request(struct grpc_call *call)
{
    grpc_inbox_free(&call->inbox);
    buf_free(&call->message);
    request_count(call);
}

const void *grpc_message(const struct grpc_call *call, size_t *len)
{
    *len = call->message.len;
    return call->message.len > 0 ? call->message.data : "";
}

void grpc_on_message(struct grpc_call *call,
                     void (*message)(struct grpc_call *call, const void *data, size_t len))
{
    call->on_message = message;
}

struct arena *grpc_arena(struct grpc_call *call)
{
    return &call->arena;
}

void grpc_set_data(struct grpc_call *call, void *data)
{
    call->data = data;
}

void *grpc_data(const struct grpc_call *call)
{
    return call->data;
}

void grpc_set_context(struct grpc_call *call, void *context)
{
    call->context = context;
}

void *grpc_context(const struct grpc_call *call)
{
    return call->context;
}
