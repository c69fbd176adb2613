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

static void release_retry(struct call *call)
{
    ops_run_free(&call->out.run);
    ops_retry_free(&call->retry);
}

int start_retry(struct call *call)
{
    const struct ops_retry_request request = {
        .id = call->id, .caller = call->caller, .how = call->how, .grant = call->grant};
    int rc = check_run_id(call);

    if (rc != 0)
        return rc;
    rc = ops_retry_start(&call->api->ops, &call->op, &request, &call->retry, &call->out.run);
    if (rc == 0)
        call->release = release_retry;
    return rc;
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

static bool more_lines(const struct ops_run *run, struct call_cursor *cursor, enum ops_lines which,
                       struct buf *out, const char *end)
{
    switch (ops_run_next_line(run, which, &cursor->run, &cursor->line)) {
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

static bool more_details(const struct ops_run *run, struct call_cursor *cursor, struct buf *out)
{
    const struct run_item *item;

    if (cursor->count == OPS_DETAILS_MAX)
        return next_stage(cursor, out, "]");
    switch (ops_run_next_detail(run, &cursor->run, &item)) {
    case OPS_NEXT_END:
        return next_stage(cursor, out, "]");
    case OPS_NEXT_NONE:
        break;
    case OPS_NEXT_ITEM:
        buf_puts(out, cursor->count++ > 0 ? "," : "");
        put_detail(run, item, out);
        break;
    }
    return true;
}

static bool more_of(const struct ops_run *run, struct call_cursor *cursor, struct buf *out)
{
    switch (cursor->stage) {
    case RUN_HEAD:
        put_head(run, out);
        return next_stage(cursor, out, "");
    case RUN_APPLIED:
        return more_lines(run, cursor, OPS_LINES_APPLIED, out, "],\"skipped\":[");
    case RUN_SKIPPED:
        return more_lines(run, cursor, OPS_LINES_SKIPPED, out, "],\"errors\":[");
    case RUN_ERRORS:
        return more_lines(run, cursor, OPS_LINES_ERRORS, out, "],\"details\":[");
    case RUN_DETAILS:
        return more_details(run, cursor, out);
    default:
        if (run->run != NULL)
            json_put_member(out, "run_id", run->run->id);
        buf_putc(out, '}');
        return false;
    }
}

static bool more_of_run(struct pump *pump, struct buf *out)
{
    struct call *call = container_of(pump, struct call, pump);

    return more_of(&call->out.run, &call->cursor, out);
}

/* What was the server's fault is tried again, not repeated. */
void keep_run_answer(struct run *run, struct buf *out)
{
    struct call_cursor cursor = {0};
    struct ops_run view;
    int status;

    ops_run_view(run, &view);
    status = answer_run_status(&view);
    buf_init(&cursor.line, out->max);
    if (status < 500) {
        buf_printf(out, "%d ", status);
        while (out->rc == 0 && more_of(&view, &cursor, out))
            continue;
    }
    buf_free(&cursor.line);
    ops_run_unview(&view);
}

void answer_run(struct call *call)
{
    const struct ops_run *run = &call->out.run;
    int status;

    if (run->replayed)
        http_add_header(call->request, "Idempotency-Replayed", "true");
    if (run->accepted) {
        answer_accepted(call);
        return;
    }
    if (run->kept_answer != NULL) {
        answer_kept(call);
        return;
    }
    if (run->rebuild != NULL) {
        answer_rebuilt(call);
        return;
    }
    status = answer_run_status(run);
    if (status == 503)
        answer_add_retry(call->request);
    call_pump(call, status, more_of_run);
}
