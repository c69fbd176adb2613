#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "grpc/conn.h"

/* The request's side of a call: headers, messages, deadline, and its end. */

enum {
    REQUEST_HEADER_COST = 32, /* of each header, beside its bytes: RFC 9113, 6.5.2 */
};

static const char content_type[] = "application/grpc";

static void call_on_deadline(struct timer *timer)
{
    struct grpc_call *call = container_of(timer, struct grpc_call, deadline_timer);

    grpc_call_conclude(call, GRPC_DEADLINE_EXCEEDED, "the deadline of the call has passed");
}

static void call_on_late(struct timer *timer)
{
    struct grpc_call *call = container_of(timer, struct grpc_call, arrival_timer);

    grpc_call_conclude(call, GRPC_CANCELLED, "the request did not arrive in time");
}

struct grpc_call *grpc_call_create(struct grpc_conn *conn, int32_t stream_id)
{
    const struct grpc_server *server = conn->server;
    struct grpc_call *call = mem_calloc(1, sizeof(*call));

    if (call == NULL)
        return NULL;
    call->conn = conn;
    call->sched = loop_sched(server->loop);
    call->handlers = server->handlers;
    call->stream_id = stream_id;
    call->start_ns = clock_monotonic_ns();
    call->deadline_timer.fire = call_on_deadline;
    call->arrival_timer.fire = call_on_late;
    arena_init(&call->arena);
    grpc_inbox_init(&call->inbox, server->config.max_message);
    buf_init(&call->message, server->config.max_message);
    buf_init(&call->out, SIZE_MAX / 2);
    list_push_back(&conn->calls, &call->link);
    conn->call_count++;
    grpc_conn_on_calls(conn);
    return call;
}

int grpc_call_add_header(struct grpc_call *call, const uint8_t *name, size_t name_len,
                         const uint8_t *value, size_t value_len)
{
    struct grpc_metadata *item;

    call->header_bytes += name_len + value_len + REQUEST_HEADER_COST;
    if (call->header_bytes > call->conn->server->config.max_headers) {
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

/* Whether the handler may have it; else it is answered. */
static bool request_check(struct grpc_call *call)
{
    const char *method = grpc_metadata(call, ":method");

    if (call->too_large) {
        grpc_call_conclude(call, GRPC_RESOURCE_EXHAUSTED, "the headers are too large");
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
        call->method = call->handlers.find(call->handlers.arg, grpc_path(call));
        if (call->method != NULL)
            return true;
        grpc_call_conclude(call, GRPC_UNIMPLEMENTED, "unknown service or method");
    }
    return false;
}

static void request_begin(struct grpc_call *call)
{
    call->begun = true;
    call->method->begin(call->handlers.arg, call);
}

void grpc_call_open(struct grpc_call *call)
{
    call->opened = true;
    if (call->handlers.opened != NULL)
        call->handlers.opened(call->handlers.arg, call);
    if (!request_check(call))
        return;
    if (call->method->client_streams)
        request_begin(call);
    else
        sched_start_timer(call->sched, &call->arrival_timer,
                          call->conn->server->config.request_timeout_ms);
}

/* Nobody reads what the client still sends. */
static bool request_is_over(const struct grpc_call *call)
{
    return call->concluded || call->finished || call->method == NULL;
}

/* Keeps the server's count of what is half received; false where it is too much. */
static bool request_count(struct grpc_call *call, size_t bytes)
{
    struct grpc_server *server = call->conn->server;

    server->unfinished = server->unfinished - call->counted + bytes;
    call->counted = bytes;
    return server->unfinished <= server->config.max_unfinished;
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

void grpc_call_receive(struct grpc_call *call, const uint8_t *data, size_t len)
{
    while (len > 0 && !request_is_over(call)) {
        struct buf message;
        size_t taken;
        int rc = grpc_inbox_feed(&call->inbox, data, len, &taken, &message);

        data += taken;
        len -= taken;
        if (rc < 0)
            request_refuse(call, rc);
        else if (!request_count(call, call->inbox.bytes.len + call->message.len))
            grpc_call_conclude(call, GRPC_RESOURCE_EXHAUSTED,
                               "the server holds too many requests that are not complete");
        else if (rc == 1)
            request_take_message(call, &message);
        buf_free(&message);
    }
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
        request_count(call, 0);
        request_begin(call);
    }
}

void grpc_call_detach(struct grpc_call *call)
{
    struct grpc_conn *conn = call->conn;

    request_count(call, 0);
    if (conn->session != NULL)
        nghttp2_session_set_stream_user_data(conn->session, call->stream_id, NULL);
    list_remove(&call->link);
    conn->call_count--;
    call->conn = NULL;
    sched_stop_timer(call->sched, &call->deadline_timer);
    sched_stop_timer(call->sched, &call->arrival_timer);
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

void grpc_call_ask_end(struct grpc_call *call)
{
    if (!call->endless || call->gone)
        return;
    call->ending = true;
    grpc_call_notify(call);
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
