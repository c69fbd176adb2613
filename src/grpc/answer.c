#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "grpc/conn.h"

/* The answer's side of a call: headers, messages, trailers. */

enum {
    ANSWER_HEADERS_MAX = GRPC_METADATA_MAX + 6, /* of ours, with those of the status */
    ANSWER_PATIENCE = 4,         /* times max_pending: more may not wait for a reader */
    ANSWER_READ_MIN = 16 * 1024, /* bytes that were read are kept until there are so many */
};

struct answer_headers {
    nghttp2_nv list[ANSWER_HEADERS_MAX];
    size_t count;
};

static void headers_add(struct answer_headers *headers, const char *name, const char *value)
{
    assert(headers->count < ANSWER_HEADERS_MAX);
    headers->list[headers->count++] = (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .value = (uint8_t *)(uintptr_t)value,
        .namelen = strlen(name),
        .valuelen = strlen(value),
    };
}

static void headers_add_answer(struct answer_headers *headers, const struct grpc_call *call)
{
    headers_add(headers, ":status", "200");
    headers_add(headers, "content-type", "application/grpc");
    headers_add(headers, "grpc-accept-encoding", "identity,gzip");
    if (call->compresses)
        headers_add(headers, "grpc-encoding", "gzip");
    for (const struct grpc_metadata *item = call->answer_metadata; item != NULL; item = item->next)
        headers_add(headers, item->name, item->value);
}

static void headers_add_status(struct answer_headers *headers, const struct grpc_call *call,
                               char number[4])
{
    snprintf(number, 4, "%d", (int)call->status);
    headers_add(headers, "grpc-status", number);
    if (call->failure != NULL)
        headers_add(headers, "grpc-message", call->failure);
}

static size_t answer_pending(const struct grpc_call *call)
{
    return call->out.len - call->out_at;
}

static void answer_await_reader(struct grpc_call *call)
{
    sched_start_timer(call->sched, &call->stall_timer, call->server->config.write_timeout_ms);
}

static bool answer_is_complete(const struct grpc_call *call)
{
    return call->concluded || call->finished;
}

static int answer_put_trailers(struct grpc_call *call)
{
    struct answer_headers headers = {.count = 0};
    char number[4];

    headers_add_status(&headers, call, number);
    sched_stop_timer(call->sched, &call->stall_timer);
    call->closing = true;
    call->end_ns = clock_monotonic_ns();
    return nghttp2_submit_trailer(call->conn->session, call->stream_id, headers.list,
                                  headers.count);
}

/* Forgets what was read, and goes on waiting for the reader while there is more. */
static void answer_on_read(struct grpc_call *call)
{
    size_t pending = answer_pending(call);

    grpc_budget_set_answer(call, pending);
    if (pending == 0) {
        buf_free(&call->out);
        call->out_at = 0;
        sched_stop_timer(call->sched, &call->stall_timer);
    } else {
        if (call->out_at >= ANSWER_READ_MIN && call->out_at >= pending) {
            buf_drop(&call->out, call->out_at);
            call->out_at = 0;
        }
        answer_await_reader(call);
    }
    if (call->waiting && answer_pending(call) <= call->server->config.max_pending / 2)
        grpc_call_notify(call);
}

static ssize_t answer_read(nghttp2_session *session, int32_t stream_id, uint8_t *data, size_t len,
                           uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct grpc_call *call = source->ptr;
    size_t ready = answer_pending(call);

    (void)session;
    (void)stream_id;
    (void)arg;
    if (ready == 0 && !answer_is_complete(call)) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (ready > len)
        ready = len;
    if (ready > 0)
        memcpy(data, call->out.data + call->out_at, ready);
    call->out_at += ready;
    if (ready > 0)
        answer_on_read(call);
    if (answer_pending(call) > 0 || !answer_is_complete(call))
        return (ssize_t)ready;
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    if (answer_put_trailers(call) != 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return (ssize_t)ready;
}

/* A connection without memory for an answer ends, in the next turn. */
static void answer_check(struct grpc_call *call, int rc)
{
    if (rc != 0)
        call->conn->doomed = true;
    grpc_conn_wake(call->conn);
}

/* Headers, with messages to follow. */
static void answer_respond(struct grpc_call *call)
{
    nghttp2_data_provider provider = {.source.ptr = call, .read_callback = answer_read};
    struct answer_headers headers = {.count = 0};

    headers_add_answer(&headers, call);
    call->responded = true;
    answer_check(call, nghttp2_submit_response(call->conn->session, call->stream_id, headers.list,
                                               headers.count, &provider));
}

static void answer_resume(struct grpc_call *call)
{
    int rc = 0;

    if (call->deferred)
        rc = nghttp2_session_resume_data(call->conn->session, call->stream_id);
    call->deferred = false;
    answer_check(call, rc == NGHTTP2_ERR_NOMEM ? rc : 0); /* else the stream is on its way out */
}

/* Status without any message: headers and trailers in one. */
static void answer_only_status(struct grpc_call *call)
{
    struct answer_headers headers = {.count = 0};
    char number[4];

    call->compresses = false;
    headers_add_answer(&headers, call);
    headers_add_status(&headers, call, number);
    call->responded = call->closing = true;
    call->end_ns = clock_monotonic_ns();
    answer_check(call, nghttp2_submit_response(call->conn->session, call->stream_id, headers.list,
                                               headers.count, NULL));
}

/* The end waits for a window, too, if the reader has used up the last one. */
static void answer_close(struct grpc_call *call)
{
    if (!call->stall_timer.armed)
        answer_await_reader(call);
    answer_resume(call);
}

static void answer_end(struct grpc_call *call, enum grpc_status status, const char *message)
{
    struct buf failure;

    call->status = status;
    if (message != NULL && message[0] != '\0') {
        buf_init(&failure, GRPC_FAILURE_MAX * 3);
        grpc_put_failure(&failure, message);
        call->failure = buf_take(&failure); /* without memory the code says enough */
        buf_free(&failure);
    }
    if (!call->responded)
        answer_only_status(call);
    else
        answer_close(call);
}

void grpc_call_conclude(struct grpc_call *call, enum grpc_status status, const char *message)
{
    if (answer_is_complete(call) || call->conn == NULL)
        return;
    call->concluded = true;
    call->gone = call->begun;
    call->finished = !call->begun;
    grpc_call_stop_timers(call);
    answer_end(call, status, message);
    if (call->gone)
        grpc_call_notify(call);
    else
        grpc_call_forget_request(call);
}

void grpc_call_refuse_http(struct grpc_call *call, const char *status)
{
    struct answer_headers headers = {.count = 0};

    call->concluded = call->finished = call->responded = call->closing = true;
    call->status = GRPC_UNKNOWN;
    call->end_ns = clock_monotonic_ns();
    headers_add(&headers, ":status", status);
    headers_add(&headers, "content-length", "0");
    answer_check(call, nghttp2_submit_response(call->conn->session, call->stream_id, headers.list,
                                               headers.count, NULL));
}

int grpc_add_metadata(struct grpc_call *call, const char *name, const char *value)
{
    struct grpc_metadata *item;

    if (strncmp(name, "grpc-", 5) == 0)
        return ERR_INVALID;
    for (const char *at = name; *at != '\0'; at++)
        if (!islower((unsigned char)*at) && !isdigit((unsigned char)*at) && *at != '-')
            return ERR_INVALID;
    for (const char *at = value; *at != '\0'; at++)
        if (*at < ' ' || *at > '~')
            return ERR_INVALID;
    if (call->answer_metadata_count == GRPC_METADATA_MAX)
        return ERR_LIMIT;
    item = arena_alloc(&call->arena, sizeof(*item));
    if (item == NULL)
        return ERR_NOMEM;
    *item = (struct grpc_metadata){.next = call->answer_metadata,
                                   .name = arena_strdup(&call->arena, name),
                                   .value = arena_strdup(&call->arena, value)};
    if (item->name == NULL || item->value == NULL)
        return ERR_NOMEM;
    call->answer_metadata = item;
    call->answer_metadata_count++;
    return 0;
}

int grpc_send(struct grpc_call *call, const void *data, size_t len)
{
    size_t max;
    int rc;

    if (call->gone || call->conn == NULL)
        return ERR_IO;
    max = call->server->config.max_pending;
    if (answer_pending(call) > max * ANSWER_PATIENCE) {
        grpc_call_conclude(call, GRPC_RESOURCE_EXHAUSTED, "the reader is too slow");
        return ERR_IO;
    }
    if (!grpc_budget_has_room(call, len)) {
        grpc_call_conclude(call, GRPC_RESOURCE_EXHAUSTED,
                           "too many answers wait for their readers");
        return ERR_IO;
    }
    rc = grpc_put_message(&call->out, data, len, call->compresses);
    if (rc != 0)
        return rc;
    grpc_budget_set_answer(call, answer_pending(call));
    if (!call->stall_timer.armed)
        answer_await_reader(call);
    if (!call->responded)
        answer_respond(call);
    else
        answer_resume(call);
    call->waiting = answer_pending(call) > max;
    return call->waiting;
}

void grpc_finish(struct grpc_call *call, enum grpc_status status, const char *message)
{
    sched_undefer(&call->task); /* nothing is told any more, whoever asked for it before */
    if (call->conn == NULL) {
        grpc_call_free(call);
        return;
    }
    call->finished = true;
    grpc_call_stop_timers(call);
    if (!call->concluded)
        answer_end(call, status, message);
    grpc_call_forget_request(call);
}

/* The reader opened no window for too long: the stream is given up, and what it held with it. */
void grpc_call_on_stall(struct timer *timer)
{
    struct grpc_call *call = container_of(timer, struct grpc_call, stall_timer);

    call->concluded = call->closing = true;
    call->status = GRPC_RESOURCE_EXHAUSTED;
    call->end_ns = clock_monotonic_ns();
    grpc_call_stop_timers(call);
    answer_check(call, nghttp2_submit_rst_stream(call->conn->session, NGHTTP2_FLAG_NONE,
                                                 call->stream_id, NGHTTP2_ENHANCE_YOUR_CALM));
}

enum grpc_status grpc_call_status(const struct grpc_call *call)
{
    return call->status;
}

uint64_t grpc_elapsed_us(const struct grpc_call *call)
{
    uint64_t end = call->end_ns != 0 ? call->end_ns : clock_monotonic_ns();

    return (end - call->start_ns) / 1000;
}

void grpc_call_free(struct grpc_call *call)
{
    struct grpc_server *server = call->server;

    if (call->opened && server->handlers.closed != NULL)
        server->handlers.closed(server->handlers.arg, call);
    sched_undefer(&call->task);
    grpc_budget_set_request(call, 0);
    grpc_inbox_free(&call->inbox);
    buf_free(&call->message);
    buf_free(&call->out);
    mem_free(call->failure);
    arena_free(&call->arena);
    mem_free(call);
    grpc_server_on_call_freed(server);
}
