#include <string.h>

#include "api/http_answer.h"
#include "api/http_handlers.h"
#include "api/http_json.h"
#include "base/json.h"

static void release_run(struct call *call)
{
    ops_run_free(&call->out.run);
}

static int run_started(struct call *call, int rc)
{
    if (rc == 0)
        call->release = release_run;
    return rc;
}

int start_up(struct call *call)
{
    struct ops *ops = &call->api->ops;

    return run_started(call, ops_up_start(ops, &call->op, &call->in.up, &call->out.run));
}

int start_migrate(struct call *call)
{
    struct ops *ops = &call->api->ops;

    return run_started(call, ops_migrate_start(ops, &call->op, &call->in.migrate, &call->out.run));
}

int start_down(struct call *call)
{
    struct ops *ops = &call->api->ops;

    return run_started(call, ops_down_start(ops, &call->op, &call->in.undo, &call->out.run));
}

int start_rollback(struct call *call)
{
    struct ops *ops = &call->api->ops;

    return run_started(call, ops_rollback_start(ops, &call->op, &call->in.undo, &call->out.run));
}

/* The answer in order: the head, three lists of lines, the details, the end. */
enum {
    RUN_HEAD,
    RUN_APPLIED,
    RUN_SKIPPED,
    RUN_ERRORS,
    RUN_DETAILS,
    RUN_END,
};

static void put_head(const struct ops_run *run, struct buf *out)
{
    bool failed = run->failure.code != 0 || run->errors > 0 || run->nothing_to_undo;

    buf_putc(out, '{');
    if (run->failure.code != 0)
        json_put_member(out, "error", err_text(&run->failure));
    else if (run->nothing_to_undo)
        json_put_member(out, "error", run->message);
    json_put_bool(out, "success", !failed);
    if (run->message != NULL && run->failure.code == 0)
        json_put_member(out, "message", run->message);
    buf_puts(out, ",\"applied\":[");
}

static void put_notices(const char *notices, struct buf *out)
{
    bool first = true;

    json_put_key(out, "notices");
    buf_putc(out, '[');
    while (*notices != '\0') {
        size_t len = strcspn(notices, "\n");

        if (len > 0) {
            buf_puts(out, first ? "" : ",");
            json_put_string_n(out, notices, len);
            first = false;
        }
        notices += len + (notices[len] == '\n');
    }
    buf_putc(out, ']');
}

static void put_detail(const struct ops_run *run, const struct run_item *item, struct buf *out)
{
    const struct err *err = item->err;

    buf_putc(out, '{');
    json_put_member(out, "migration_id", item->migration->id);
    json_put_member(out, "schema", item->schema);
    json_put_member(out, "status", ops_run_item_status(run, item));
    json_put_int(out, "attempts", item->attempts);
    json_put_int(out, "duration_ms", (int64_t)item->duration_ms);
    if (err != NULL && err->sqlstate[0] != '\0')
        json_put_member(out, "sqlstate", err->sqlstate);
    if (err != NULL && err->statement > 0)
        json_put_int(out, "statement", err->statement);
    if (err != NULL && err->line > 0)
        json_put_int(out, "line", err->line);
    if (item->notices != NULL)
        put_notices(item->notices, out);
    buf_putc(out, '}');
}

static bool next_stage(struct call_cursor *cursor, struct buf *out, const char *text)
{
    cursor->stage++;
    cursor->count = 0;
    cursor->run = (struct ops_cursor){0};
    buf_puts(out, text);
    return true;
}

static bool more_lines(struct call *call, enum ops_lines which, struct buf *out, const char *end)
{
    struct call_cursor *cursor = &call->cursor;

    switch (ops_run_next_line(&call->out.run, which, &cursor->run, &cursor->line)) {
    case OPS_NEXT_END:
        return next_stage(cursor, out, end);
    case OPS_NEXT_NONE:
        break;
    case OPS_NEXT_ITEM:
        buf_puts(out, cursor->count++ > 0 ? "," : "");
        json_put_string_n(out, buf_str(&cursor->line), cursor->line.len);
        if (cursor->line.rc != 0)
            out->rc = cursor->line.rc;
        break;
    }
    return true;
}

static bool more_details(struct call *call, struct buf *out)
{
    struct call_cursor *cursor = &call->cursor;
    const struct run_item *item;

    if (cursor->count == OPS_DETAILS_MAX)
        return next_stage(cursor, out, "]");
    switch (ops_run_next_detail(&call->out.run, &cursor->run, &item)) {
    case OPS_NEXT_END:
        return next_stage(cursor, out, "]");
    case OPS_NEXT_NONE:
        break;
    case OPS_NEXT_ITEM:
        buf_puts(out, cursor->count++ > 0 ? "," : "");
        put_detail(&call->out.run, item, out);
        break;
    }
    return true;
}

static bool more_of_run(struct pump *pump, struct buf *out)
{
    struct call *call = container_of(pump, struct call, pump);

    switch (call->cursor.stage) {
    case RUN_HEAD:
        put_head(&call->out.run, out);
        return next_stage(&call->cursor, out, "");
    case RUN_APPLIED:
        return more_lines(call, OPS_LINES_APPLIED, out, "],\"skipped\":[");
    case RUN_SKIPPED:
        return more_lines(call, OPS_LINES_SKIPPED, out, "],\"errors\":[");
    case RUN_ERRORS:
        return more_lines(call, OPS_LINES_ERRORS, out, "],\"details\":[");
    case RUN_DETAILS:
        return more_details(call, out);
    default:
        if (call->out.run.run != NULL)
            json_put_member(out, "run_id", call->out.run.run->id);
        buf_putc(out, '}');
        return false;
    }
}

void answer_run(struct call *call)
{
    const struct ops_run *run = &call->out.run;
    int status = answer_run_status(run);

    if (status == 503)
        answer_add_retry(call->request);
    call_pump(call, status, more_of_run);
}
