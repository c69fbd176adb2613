#include "server/event_log.h"

#include "base/log.h"

static const char *event_log_message(const struct run_event *event)
{
    bool is_undo = event->run->request->kind == RUN_DOWN;

    switch (event->kind) {
    case RUN_EVENT_QUEUED:
        return "migration queued";
    case RUN_EVENT_RUNNING:
        return "migration running";
    case RUN_EVENT_ATTEMPT:
        return "migration is tried again";
    case RUN_EVENT_APPLIED:
        return is_undo ? "migration undone" : "migration applied";
    case RUN_EVENT_SKIPPED:
        return "migration skipped";
    case RUN_EVENT_FAILED:
        return "migration failed";
    case RUN_EVENT_RUN_STARTED:
        return "run started";
    case RUN_EVENT_RUN_ENDED:
        return "run ended";
    }
    return "event";
}

static enum log_level event_log_level(enum run_event_kind kind)
{
    if (kind == RUN_EVENT_FAILED)
        return LOG_ERROR;
    if (kind == RUN_EVENT_ATTEMPT)
        return LOG_WARN;
    if (kind == RUN_EVENT_QUEUED || kind == RUN_EVENT_RUNNING || kind == RUN_EVENT_SKIPPED)
        return LOG_DEBUG;
    return LOG_INFO;
}

static struct log_field event_log_text(const char *key, const char *text)
{
    return text != NULL && text[0] != '\0' ? LOG_STR(key, text) : (struct log_field){0};
}

static struct log_field event_log_number(const char *key, bool known, int64_t number)
{
    return known ? LOG_INT(key, number) : (struct log_field){0};
}

static void event_log_run(const struct run_event *event, enum log_level level)
{
    const struct store_caller *caller = &event->run->request->caller;
    const struct run_counts *counts = &event->run->counts;
    bool has_ended = event->kind == RUN_EVENT_RUN_ENDED;

    log_write(
        level, event_log_message(event), LOG_STR("run_id", event->run->id),
        LOG_INT("lanes", event->run->lane_count),
        event_log_text("status", has_ended ? store_run_status_name(run_status(event->run)) : NULL),
        event_log_number("applied", has_ended, counts->applied),
        event_log_number("skipped", has_ended, counts->skipped),
        event_log_number("failed", has_ended, counts->failed),
        event_log_number("not_run", has_ended, counts->not_run),
        event_log_text("request_id", caller->request_id),
        event_log_text("trace_id", caller->trace_id), event_log_text("span_id", caller->span_id));
}

static void event_log_on_event(struct engine_listener *listener, const struct run_event *event)
{
    const struct store_caller *caller = &event->run->request->caller;
    const struct migration *migration = event->migration;
    bool is_attempt = event->kind == RUN_EVENT_ATTEMPT;
    enum log_level level = event_log_level(event->kind);

    (void)listener;
    if (!log_is_on(level))
        return;
    if (migration == NULL) {
        event_log_run(event, level);
        return;
    }
    log_write(level, event_log_message(event), LOG_STR("run_id", event->run->id),
              LOG_STR("migration", migration->id), LOG_STR("connection", migration->connection),
              event_log_text("schema", event->schema), LOG_INT("attempts", event->attempts),
              LOG_INT("duration_ms", event->duration_ms),
              event_log_text("reason", is_attempt ? run_event_reason(event->err) : NULL),
              event_log_text("sqlstate", event->err != NULL ? event->err->sqlstate : NULL),
              event_log_text("error", event->err != NULL ? err_text(event->err) : NULL),
              event_log_text("request_id", caller->request_id),
              event_log_text("trace_id", caller->trace_id),
              event_log_text("span_id", caller->span_id));
}

void event_log_start(struct engine_listener *listener, struct engine *engine)
{
    listener->on_event = event_log_on_event;
    engine_listen(engine, listener);
}
