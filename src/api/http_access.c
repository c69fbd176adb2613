/* What is said of a request in the log and counted in the figures, once it is over. */
#include "api/http_access.h"

#include <string.h>

#include "api/http_call.h"
#include "base/log.h"

struct access_note *access_note(const struct http_request *request)
{
    return http_context(request);
}

void access_note_route(struct http_request *request, const struct route *route)
{
    struct access_note *note = access_note(request);

    if (note != NULL)
        note->route = route;
}

void access_note_static(struct http_request *request)
{
    struct access_note *note = access_note(request);

    if (note != NULL)
        note->is_static = true;
}

void access_note_token(struct http_request *request, const char *name)
{
    struct access_note *note = access_note(request);

    if (note != NULL) /* the grant may be gone by the end */
        note->token = arena_strdup(http_arena(request), name);
}

const struct trace *access_trace(const struct http_request *request)
{
    static const struct trace none;
    const struct access_note *note = access_note(request);

    return note != NULL ? &note->trace : &none;
}

/* --- the beginning --- */

/* One that is there twice says nothing. */
static const char *access_header(const struct http_request *request, const char *name)
{
    return http_header_count(request, name) == 1 ? http_header(request, name) : NULL;
}

void api_begin(void *arg, struct http_request *request)
{
    struct access_note *note = arena_calloc(http_arena(request), 1, sizeof(*note));

    (void)arg;
    if (note == NULL)
        return;
    trace_begin(&note->trace, access_header(request, "X-Request-ID"),
                access_header(request, "traceparent"));
    http_set_context(request, note);
    http_add_header(request, "X-Request-ID", note->trace.request_id);
}

/* --- the end --- */

/* The pattern, never a path: clients make up as many of those as they like. */
static const char *access_route(const struct access_note *note)
{
    if (note != NULL && note->route != NULL)
        return note->route->pattern;
    return note != NULL && note->is_static ? "static" : "other";
}

static const char *access_method(const struct http_request *request)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH"};
    const char *method = http_method(request);

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (strcmp(method, known[i]) == 0)
            return known[i];
    return "other";
}

/* Of three digits, always; by hand, as this happens with every request. */
static const char *access_status(const struct http_request *request, char out[4])
{
    int status = http_status(request);

    if (status == 0)
        return "gone";
    for (size_t i = 3; i-- > 0; status /= 10)
        out[i] = (char)('0' + status % 10);
    out[3] = '\0';
    return out;
}

static void access_count(struct api_metrics *metrics, const struct http_request *request)
{
    const char *route, *method;
    char status[4];

    if (metrics->requests.info == NULL)
        return;
    route = access_route(access_note(request));
    method = access_method(request);
    metric_add(metric_get(&metrics->requests, route, method, access_status(request, status)), 1);
    metric_observe(&metrics->durations, metric_get(&metrics->durations, route, method, NULL),
                   http_elapsed_us(request));
}

/* Probes and scrapes come all the time, and say nothing unless they are refused. */
static bool access_is_quiet(const struct access_note *note, int status)
{
    return note != NULL && note->route != NULL && (note->route->flags & ROUTE_QUIET) != 0 &&
           status != 401 && status != 403;
}

static struct log_field access_text(const char *key, const char *text)
{
    return text != NULL && text[0] != '\0' ? LOG_STR(key, text) : (struct log_field){0};
}

void api_access(void *arg, const struct http_request *request)
{
    struct api *api = arg;
    const struct access_note *note = access_note(request);
    const struct trace *trace = access_trace(request);
    enum log_level level = api->config.access_log_level;

    access_count(&api->metrics, request);
    if (!log_is_on(level) || access_is_quiet(note, http_status(request)))
        return;
    log_write(level, "request", LOG_STR("method", http_method(request)),
              LOG_STR("path", http_path(request)), LOG_STR("route", access_route(note)),
              LOG_INT("status", http_status(request)), LOG_INT("bytes", http_body_sent(request)),
              LOG_INT("duration_us", http_elapsed_us(request)),
              access_text("request_id", trace->request_id),
              access_text("token", note != NULL ? note->token : NULL),
              access_text("trace_id", trace->trace_id), access_text("span_id", trace->span_id));
}
