#include <string.h>

#include "api/cursor.h"
#include "api/http_handlers.h"
#include "api/http_json.h"
#include "base/json.h"

static void release_show(struct call *call)
{
    ops_show_free(&call->out.show);
}

/* A number that an answer gave as cursor; -1, the start, if there is none. */
static int read_cursor(struct call *call, const char *name, int64_t *out)
{
    const char *text = call_param(call, name);

    *out = -1;
    if (text[0] != '\0' && cursor_read_number(text, INT64_MAX, out) != 0)
        return op_refuse(&call->op, ERR_INVALID, "parameter \"%s\" is no cursor of an answer",
                         name);
    return 0;
}

int start_show(struct call *call)
{
    struct ops_show_request request = {
        .id = call->id, .grant = call->grant, .limit = OPS_RUNS_DEFAULT};
    int rc = check_run_id(call);

    if (rc == 0)
        rc = read_cursor(call, "lanes_cursor", &request.lanes_after);
    if (rc == 0)
        rc = read_cursor(call, "steps_cursor", &request.steps_after);
    if (rc != 0)
        return rc;
    if (call->limit > 0)
        request.limit = call->limit < OPS_RUNS_MAX ? call->limit : OPS_RUNS_MAX;
    rc = ops_show_start(&call->api->ops, &call->op, &request, &call->out.show);
    if (rc == 0)
        call->release = release_show;
    return rc;
}

enum {
    SHOW_HEAD,
    SHOW_LANES,
    SHOW_STEPS,
    SHOW_END,
};

static void put_head(const struct call *call, struct buf *out)
{
    const struct store_run *run = &call->out.show.run;

    buf_putc(out, '{');
    put_run(run, !grant_is_partial(call->grant), out);
    if (!grant_is_partial(call->grant)) {
        json_put_key(out, "request");
        buf_puts(out, run->request);
    }
    json_put_member(out, "execution_context", run->execution_context);
    buf_puts(out, ",\"lanes\":[");
}

static void put_lane(const struct ops_show_lane *lane, bool with_sums, struct buf *out)
{
    const struct store_run_lane *row = &lane->row;

    buf_putc(out, '{');
    json_put_int(out, "number", row->number);
    json_put_member(out, "schema", row->schema);
    json_put_member(out, "status", ops_show_lane_status(lane));
    if (with_sums) {
        json_put_some(out, "error", row->error);
        json_put_int(out, "applied", row->applied);
        json_put_int(out, "skipped", row->skipped);
        json_put_int(out, "failed", row->failed_steps);
        json_put_int(out, "not_run", row->not_run);
    }
    json_put_int(out, "duration_ms", row->duration_ms);
    if (lane->migration_id != NULL) {
        buf_puts(out, ",\"current\":{");
        json_put_member(out, "migration_id", lane->migration_id);
        json_put_member(out, "schema", lane->migration_schema);
        json_put_member(out, "state", lane->waits_for);
        buf_putc(out, '}');
    }
    buf_putc(out, '}');
}

static void put_step(const struct store_run_step *step, struct buf *out)
{
    buf_putc(out, '{');
    json_put_member(out, "migration_id", step->migration_id);
    json_put_member(out, "schema", step->schema);
    json_put_member(out, "version", step->version);
    json_put_member(out, "connection", step->connection);
    json_put_member(out, "backend", step->backend);
    json_put_member(out, "status", strcmp(step->status, "success") == 0 ? "applied" : step->status);
    json_put_some(out, "error", step->error_message);
    json_put_int(out, "attempts", step->attempts);
    json_put_int(out, "duration_ms", step->duration_ms);
    json_put_some_time(out, "started_at", step->started_at_us);
    json_put_some_time(out, "ended_at", step->ended_at_us);
    buf_putc(out, '}');
}

static bool next_part(struct call_cursor *cursor, struct buf *out, const char *text)
{
    cursor->stage++;
    cursor->at = 0;
    cursor->count = 0;
    buf_puts(out, text);
    return true;
}

static bool more_of_lanes(struct call *call, struct buf *out)
{
    const struct ops_show *show = &call->out.show;
    struct call_cursor *cursor = &call->cursor;
    const struct ops_show_lane *lane;

    if (cursor->at == show->lane_count)
        return next_part(cursor, out, "],\"steps\":[");
    lane = &show->lanes[cursor->at++];
    if (!grant_sees(call->grant, NULL, lane->row.schema))
        return true;
    buf_puts(out, cursor->count++ > 0 ? "," : "");
    put_lane(lane, ops_show_has_sums(call->grant, lane), out);
    return true;
}

static bool more_of_steps(struct call *call, struct buf *out)
{
    const struct ops_show *show = &call->out.show;
    struct call_cursor *cursor = &call->cursor;
    const struct store_run_step *step;

    if (cursor->at == show->step_count)
        return next_part(cursor, out, "]");
    step = &show->steps[cursor->at++];
    if (!grant_sees(call->grant, step->connection, step->schema))
        return true;
    buf_puts(out, cursor->count++ > 0 ? "," : "");
    put_step(step, out);
    return true;
}

/* Cursors only where there is more. */
static void put_cursors(const struct ops_show *show, struct buf *out)
{
    if (show->more_lanes)
        buf_printf(out, ",\"lanes_next_cursor\":\"%lld\"",
                   (long long)show->lanes[show->lane_count - 1].row.number);
    if (show->more_steps)
        buf_printf(out, ",\"steps_next_cursor\":\"%lld\"",
                   (long long)show->steps[show->step_count - 1].id);
}

static bool more_of_show(struct pump *pump, struct buf *out)
{
    struct call *call = container_of(pump, struct call, pump);

    switch (call->cursor.stage) {
    case SHOW_HEAD:
        put_head(call, out);
        return next_part(&call->cursor, out, "");
    case SHOW_LANES:
        return more_of_lanes(call, out);
    case SHOW_STEPS:
        return more_of_steps(call, out);
    default:
        put_cursors(&call->out.show, out);
        buf_putc(out, '}');
        return false;
    }
}

void answer_show(struct call *call)
{
    struct err err;

    if (call->out.show.found) {
        call_pump(call, 200, more_of_show);
        return;
    }
    err_set(&err, ERR_NOT_FOUND, "run not found: %.60s", call->id);
    call_fail(call, &err);
}
