#include "api/rpc.h"
#include "base/log.h"

/* What is said of a call in the log and counted in the figures, once it is over. */

/* One that is there twice says nothing. */
static const char *note_metadata(const struct grpc_call *call, const char *name)
{
    return grpc_metadata_count(call, name) == 1 ? grpc_metadata(call, name) : NULL;
}

void rpc_opened(void *arg, struct grpc_call *call)
{
    struct rpc_note *note = arena_calloc(grpc_arena(call), 1, sizeof(*note));

    (void)arg;
    if (note == NULL)
        return;
    trace_begin(&note->trace, note_metadata(call, "x-request-id"),
                note_metadata(call, "traceparent"));
    grpc_set_context(call, note);
    grpc_add_metadata(call, "x-request-id", note->trace.request_id);
}

/* Never the path of the call where it is unknown: clients make up as many of those as they like. */
static const char *note_method(const struct grpc_call *call)
{
    const struct grpc_method *method = grpc_method(call);

    return method != NULL ? method->path : "other";
}

static void note_count(struct api_metrics *metrics, const struct grpc_call *call)
{
    const char *method = note_method(call);

    if (metrics->calls.info == NULL)
        return;
    metric_add(metric_get(&metrics->calls, method, grpc_status_name(grpc_call_status(call)), NULL),
               1);
    metric_observe(&metrics->call_durations,
                   metric_get(&metrics->call_durations, method, NULL, NULL), grpc_elapsed_us(call));
}

static bool note_is_quiet(const struct grpc_call *call)
{
    const struct grpc_method *method = grpc_method(call);

    return method != NULL && !method->client_streams &&
           (rpc_method_of(method)->flags & RPC_QUIET) != 0;
}

static struct log_field note_text(const char *key, const char *text)
{
    return text != NULL && text[0] != '\0' ? LOG_STR(key, text) : (struct log_field){0};
}

void rpc_closed(void *arg, const struct grpc_call *call)
{
    static const struct rpc_note none;
    struct api *api = arg;
    const struct rpc_note *note = grpc_context(call) != NULL ? grpc_context(call) : &none;
    enum log_level level = api->config.access_log_level;

    if (note->is_guest)
        api->guests--;
    note_count(&api->metrics, call);
    if (!log_is_on(level) || note_is_quiet(call))
        return;
    log_write(level, "call", LOG_STR("method", note_method(call)),
              LOG_STR("status", grpc_status_name(grpc_call_status(call))),
              LOG_INT("duration_us", grpc_elapsed_us(call)),
              note_text("request_id", note->trace.request_id), note_text("token", note->token),
              note_text("trace_id", note->trace.trace_id),
              note_text("span_id", note->trace.span_id));
}
