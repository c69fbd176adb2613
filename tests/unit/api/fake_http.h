#ifndef BFM_TESTS_API_FAKE_HTTP_H
#define BFM_TESTS_API_FAKE_HTTP_H

/* http/http.h without a network: the test makes requests and keeps what was answered. Included by
 * one file of a program, whose definitions stand in for those of bfm_http; decoding stays real. */
#include <strings.h>

#include "http/http.h"
#include "unit/api/fixture.h"

struct http_request {
    const char *method, *path, *query, *body;
    const char *header_names[4], *header_values[4];
    struct arena arena;
    void *data, *context;
    void (*drain)(struct http_request *request);

    /* the answer */
    int status;
    unsigned answers;
    bool streaming;
    bool aborted; /* the peer saw it break off */
    unsigned writes;
    unsigned behind_every; /* every nth write says that the peer is behind; 0: never */
    unsigned gone_at;      /* the nth write says that the peer is gone; 0: never */
    bool behind;
    struct timer drain_timer;
    struct buf headers, text;
};

const char *http_method(const struct http_request *request)
{
    return request->method;
}

const char *http_path(const struct http_request *request)
{
    return request->path;
}

const char *http_query(const struct http_request *request)
{
    return request->query != NULL ? request->query : "";
}

const char *http_header(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(request->header_names); i++)
        if (request->header_names[i] != NULL && strcasecmp(request->header_names[i], name) == 0)
            return request->header_values[i];
    return NULL;
}

size_t http_header_count(const struct http_request *request, const char *name)
{
    return http_header(request, name) != NULL;
}

const char *http_body(const struct http_request *request, size_t *len)
{
    *len = request->body != NULL ? strlen(request->body) : 0;
    return request->body != NULL ? request->body : "";
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

int http_add_header(struct http_request *request, const char *name, const char *value)
{
    mem_fail_pause(1);
    buf_printf(&request->headers, "%s: %s\n", name, value);
    mem_fail_pause(0);
    return 0;
}

/* Whether the test waits in loop_run() for an answer. */
static bool fake_waiting;

static inline void fake_answered(struct http_request *request)
{
    request->answers++;
    if (fake_waiting)
        loop_stop(loop);
}

static inline void fake_keep(struct http_request *request, const void *data, size_t len)
{
    mem_fail_pause(1);
    assert_int_equal(buf_append(&request->text, data, len), 0);
    mem_fail_pause(0);
}

void http_respond(struct http_request *request, int status, const void *body, size_t len)
{
    assert_false(request->streaming);
    request->status = status;
    fake_keep(request, body, len);
    fake_answered(request);
}

void http_respond_buf(struct http_request *request, int status, struct buf *body)
{
    assert_int_equal(body->rc, 0);
    http_respond(request, status, body->data, body->len);
    buf_free(body);
}

static inline void fake_on_drain(struct timer *timer)
{
    struct http_request *request = container_of(timer, struct http_request, drain_timer);

    request->behind = false;
    request->drain(request);
}

int http_stream_begin(struct http_request *request, int status,
                      void (*drain)(struct http_request *request))
{
    assert_false(request->streaming);
    request->streaming = true;
    request->status = status;
    request->drain = drain;
    return 0;
}

int http_stream_open(struct http_request *request, int status, size_t max_pending,
                     void (*drain)(struct http_request *request))
{
    assert_true(max_pending > 0);
    return http_stream_begin(request, status, drain);
}

void http_on_gone(struct http_request *request, void (*gone)(struct http_request *request))
{
    (void)request;
    assert_non_null(gone);
}

int http_stream_write(struct http_request *request, const void *data, size_t len)
{
    assert_true(request->streaming);
    assert_false(request->behind); /* it was told to wait */
    request->writes++;
    if (request->gone_at > 0 && request->writes >= request->gone_at)
        return ERR_IO;
    fake_keep(request, data, len);
    if (request->behind_every == 0 || request->writes % request->behind_every != 0)
        return 0;
    request->behind = true;
    request->drain_timer.fire = fake_on_drain;
    sched_start_timer(loop_sched(loop), &request->drain_timer, 1);
    return 1;
}

void http_stream_end(struct http_request *request)
{
    assert_true(request->streaming);
    sched_stop_timer(loop_sched(loop), &request->drain_timer);
    fake_answered(request);
}

void http_stream_abort(struct http_request *request)
{
    assert_true(request->streaming);
    request->aborted = true;
    http_stream_end(request);
}

int http_status(const struct http_request *request)
{
    return request->status;
}

uint64_t http_body_sent(const struct http_request *request)
{
    return request->text.len;
}

uint64_t http_elapsed_us(const struct http_request *request)
{
    (void)request;
    return 1;
}

static inline void fake_request_free(struct http_request *request)
{
    arena_free(&request->arena);
    buf_free(&request->headers);
    buf_free(&request->text);
}

#endif
