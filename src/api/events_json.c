#include <string.h>

#include "api/events.h"
#include "api/http_json.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

enum {
    EVENT_JSON_MAX = 64 * 1024,
    EVENT_JSON_USUAL = 512, /* room for most of them at once */
};

static const char *event_name(const struct run_event *from)
{
    switch (from->kind) {
    case RUN_EVENT_QUEUED:
        return "queued";
    case RUN_EVENT_RUNNING:
        return "running";
    case RUN_EVENT_ATTEMPT:
        return "attempt";
    case RUN_EVENT_APPLIED:
        return from->run->request->kind == RUN_DOWN ? "rolled_back" : "applied";
    case RUN_EVENT_SKIPPED:
        return "skipped";
    case RUN_EVENT_FAILED:
        return "failed";
    case RUN_EVENT_RUN_STARTED:
        return "run_started";
    case RUN_EVENT_RUN_ENDED:
        return "run_ended";
    }
    return "event";
}

static const char *event_connection(const struct run_event *from)
{
    const struct run_request *request = from->run->request;

    if (from->migration != NULL)
        return from->migration->connection;
    return request->kind == RUN_DOWN ? request->migration->connection : request->connection;
}

/* --- JSON --- */

/* How often and how long it ran: nothing to say before it did. */
static bool event_has_figures(const struct run_event *from)
{
    return from->kind != RUN_EVENT_QUEUED && from->kind != RUN_EVENT_RUNNING;
}

static void event_put_figures(unsigned attempts, uint64_t duration_ms, struct buf *out)
{
    json_put_int(out, "attempts", attempts);
    json_put_int(out, "duration_ms", (int64_t)duration_ms);
}

static void event_put_place(const char *migration_id, const char *schema, struct buf *out)
{
    json_put_member(out, "migration_id", migration_id);
    json_put_member(out, "schema", schema);
}

static void event_put_step(const struct run_event *from, struct buf *out)
{
    const struct err *err = from->err;

    event_put_place(from->migration->id, from->schema, out);
    if (event_has_figures(from))
        event_put_figures(from->attempts, from->duration_ms, out);
    if (err == NULL)
        return;
    if (from->kind == RUN_EVENT_ATTEMPT)
        json_put_member(out, "reason", run_event_reason(err));
    json_put_member(out, "error", err_text(err));
    json_put_some(out, "sqlstate", err->sqlstate);
    if (err->statement > 0)
        json_put_int(out, "statement", err->statement);
    if (err->line > 0)
        json_put_int(out, "line", err->line);
}

static void event_put_counts(const struct run *run, struct buf *out)
{
    json_put_int(out, "lanes", (int64_t)run->lane_count);
    json_put_int(out, "lanes_failed", (int64_t)run->lanes_failed);
    json_put_int(out, "applied", run->counts.applied);
    json_put_int(out, "skipped", run->counts.skipped);
    json_put_int(out, "failed", run->counts.failed);
    json_put_int(out, "not_run", run->counts.not_run);
}

static void event_put_run(const struct run_event *from, bool whole, struct buf *out)
{
    const struct run *run = from->run;
    const char *kind = run->request->record.kind;

    json_put_some(out, "kind", kind != NULL ? kind : "");
    json_put_bool(out, "dry_run", run->request->dry_run);
    json_put_member(out, "executed_by", run->request->caller.executed_by);
    if (from->kind == RUN_EVENT_RUN_STARTED) {
        if (whole)
            json_put_int(out, "lanes", (int64_t)run->lane_count);
        return;
    }
    json_put_int(out, "duration_ms", (run->ended_us - run->started_us) / 1000);
    if (!whole)
        return;
    json_put_member(out, "status", store_run_status_name(run_status(run)));
    event_put_counts(run, out);
    if (run->err.code != 0)
        json_put_member(out, "error", err_text(&run->err));
}

static void event_put_head(uint64_t seq, const char *name, int64_t at_us, const char *run_id,
                           const char *connection, struct buf *out)
{
    buf_putc(out, '{');
    json_put_int(out, "seq", (int64_t)seq);
    json_put_member(out, "event", name);
    json_put_time(out, "at", at_us);
    json_put_member(out, "run_id", run_id);
    json_put_member(out, "connection", connection);
}

static void event_put(const struct run_event *from, bool whole, struct buf *out)
{
    event_put_head(from->seq, event_name(from), clock_wall_us(), from->run->id,
                   event_connection(from), out);
    if (from->migration != NULL)
        event_put_step(from, out);
    else
        event_put_run(from, whole, out);
    buf_putc(out, '}');
}

/* --- the block --- */

static const char *event_copy(char **at, const char *text, size_t len)
{
    char *copy = *at;

    memcpy(copy, text, len);
    copy[len] = '\0';
    *at += len + 1;
    return copy;
}

/* Steps that went well are many, and most are never read: their text is made for the first reader.
 */
static bool event_is_plain(const struct run_event *from)
{
    return from->migration != NULL && from->err == NULL && from->kind != RUN_EVENT_ATTEMPT;
}

int event_render(struct event *event)
{
    struct buf out;
    int rc;

    buf_init(&out, EVENT_JSON_MAX);
    buf_reserve(&out, EVENT_JSON_USUAL);
    event_put_head(event->seq, event->name, event->at_us, event->run_id, event->connection, &out);
    event_put_place(event->migration_id, event->schema, &out);
    if (event->has_figures)
        event_put_figures(event->attempts, event->duration_ms, &out);
    rc = buf_putc(&out, '}');
    event->rendered = rc == 0 ? mem_strndup(buf_str(&out), out.len) : NULL;
    event->size += event->rendered != NULL ? out.len : 0;
    event->json = event->json_part = event->rendered;
    buf_free(&out);
    return event->rendered != NULL ? 0 : ERR_NOMEM;
}

static struct event *event_assemble(const struct run_event *from, const struct buf *json,
                                    const struct buf *part)
{
    const char *connection = event_connection(from);
    const char *schema = from->migration != NULL ? from->schema : NULL;
    const char *migration_id = from->migration != NULL ? from->migration->id : "";
    size_t schema_size = schema != NULL ? strlen(schema) + 1 : 0;
    size_t size = sizeof(struct event) + strlen(from->run->id) + 1 + strlen(connection) + 1 +
                  schema_size + strlen(migration_id) + 1 + json->len + 1 + part->len + 1;
    struct event *event = mem_alloc(size);
    char *at;

    if (event == NULL)
        return NULL;
    at = (char *)(event + 1);
    *event = (struct event){
        .seq = from->seq,
        .size = size,
        .name = event_name(from),
        .begins_run = from->kind == RUN_EVENT_RUN_STARTED,
        .ends_run = from->kind == RUN_EVENT_RUN_ENDED,
        .at_us = clock_wall_us(),
        .has_figures = event_has_figures(from),
        .attempts = from->attempts,
        .duration_ms = from->duration_ms,
    };
    event->run_id = event_copy(&at, from->run->id, strlen(from->run->id));
    event->connection = event_copy(&at, connection, strlen(connection));
    if (schema != NULL)
        event->schema = event_copy(&at, schema, schema_size - 1);
    event->migration_id = event_copy(&at, migration_id, strlen(migration_id));
    if (json->len == 0)
        return event;
    event->json = event_copy(&at, buf_str(json), json->len);
    event->json_part = part->len > 0 ? event_copy(&at, buf_str(part), part->len) : event->json;
    return event;
}

struct event *event_make(const struct run_event *from)
{
    struct event *event = NULL;
    struct buf json, part;

    buf_init(&json, EVENT_JSON_MAX);
    buf_init(&part, EVENT_JSON_MAX);
    if (!event_is_plain(from))
        event_put(from, true, &json);
    if (from->migration == NULL)
        event_put(from, false, &part);
    if (json.rc == 0 && part.rc == 0)
        event = event_assemble(from, &json, &part);
    buf_free(&json);
    buf_free(&part);
    return event;
}

int event_put_reset(struct buf *out, const char *run_id, const char *reason)
{
    buf_putc(out, '{');
    json_put_member(out, "reason", reason);
    if (run_id != NULL)
        json_put_member(out, "run_id", run_id);
    return buf_putc(out, '}');
}
