#include <assert.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/conn.h"

enum {
    REQUEST_ANSWER_HEADERS_MAX = 64 * 1024,
};

struct http_request *http_request_create(struct http_conn *conn)
{
    const struct http_config *config = &conn->server->config;
    struct http_request *request = mem_calloc(1, sizeof(*request));

    if (request == NULL)
        return NULL;
    request->message = http_message_create(config->max_headers, config->max_body);
    if (request->message == NULL) {
        mem_free(request);
        return NULL;
    }
    request->conn = conn;
    request->start_ns = clock_monotonic_ns();
    arena_init(&request->arena);
    buf_init(&request->headers, REQUEST_ANSWER_HEADERS_MAX);
    return request;
}

void http_request_free(struct http_request *request)
{
    if (request->held) {
        request->ended = true;
        return;
    }
    http_message_free(request->message);
    buf_free(&request->headers);
    arena_free(&request->arena);
    mem_free(request);
}

void http_request_begin(struct http_request *request)
{
    const struct http_server *server = request->conn->server;

    if (request->begun || server->config.begin == NULL)
        return;
    request->begun = true;
    server->config.begin(server->arg, request);
    request->headers_begun = request->headers.len;
}

static void request_tell_gone(struct http_request *request)
{
    void (*gone)(struct http_request *) = request->gone;

    request->gone = NULL; /* at most once */
    if (gone != NULL)
        gone(request);
}

static void request_release(struct http_request *request)
{
    request->held = false;
    if (request->ended)
        http_request_free(request);
}

void http_request_orphan(struct http_request *request)
{
    request->conn = NULL;
    request->held = true;
    request_tell_gone(request);
    if (request->waiting && !request->ended) {
        request->waiting = false;
        request->drain(request);
    }
    request_release(request);
}

void http_request_ask_end(struct http_request *request)
{
    request->held = true;
    request_tell_gone(request);
    request_release(request);
}

const char *http_method(const struct http_request *request)
{
    return request->message->method;
}

const char *http_path(const struct http_request *request)
{
    return request->message->path;
}

const char *http_query(const struct http_request *request)
{
    return request->message->query;
}

const char *http_header(const struct http_request *request, const char *name)
{
    return http_message_field(request->message, name);
}

size_t http_header_count(const struct http_request *request, const char *name)
{
    return http_message_field_count(request->message, name);
}

const char *http_body(const struct http_request *request, size_t *len)
{
    *len = request->message->body.len;
    return buf_str(&request->message->body);
}

struct arena *http_arena(struct http_request *request)
{
    return &request->arena;
}

void http_set_data(struct http_request *request, void *data)
{
    request->data = data;
}

void *http_data(const struct http_request *request)
{
    return request->data;
}

void http_set_context(struct http_request *request, void *context)
{
    request->context = context;
}

void *http_context(const struct http_request *request)
{
    return request->context;
}

void http_on_gone(struct http_request *request, void (*gone)(struct http_request *request))
{
    request->gone = gone;
}

int http_status(const struct http_request *request)
{
    return request->status;
}

uint64_t http_body_sent(const struct http_request *request)
{
    return request->body_sent;
}

uint64_t http_elapsed_us(const struct http_request *request)
{
    return (clock_monotonic_ns() - request->start_ns) / 1000;
}
