/* What an up would do, step by step, and why: a dry run that is asked to explain itself. */
#include <string.h>

#include "api/http_answer.h"
#include "api/http_handlers.h"
#include "api/http_json.h"
#include "base/json.h"

static void release_plan(struct call *call)
{
    ops_run_free(&call->out.run);
}

static bool param_has_name(const char *text, size_t len, const char *name)
{
    size_t wanted = strlen(name);

    return len >= wanted && memcmp(text, name, wanted) == 0 &&
           (len == wanted || text[wanted] == '=');
}

/* Every value of a query parameter, in order. The query was decoded once before, as a whole. */
static int read_params(struct call *call, const char *name, size_t max, const char *const **out,
                       size_t *count)
{
    const char *query = http_query(call->request);
    size_t wanted = 0, skip = strlen(name) + 1;
    const char **values;

    for (const char *at = query; *at != '\0'; at += strcspn(at, "&"), at += *at == '&')
        wanted += param_has_name(at, strcspn(at, "&"), name);
    if (wanted > max)
        return op_refuse(&call->op, ERR_INVALID, "parameter \"%s\" is given more than %zu times",
                         name, max);
    values = arena_calloc(&call->arena, wanted + 1, sizeof(*values));
    *count = 0;
    for (const char *at = query; values != NULL && *at != '\0';) {
        size_t len = strcspn(at, "&");

        if (param_has_name(at, len, name) && len > skip)
            values[*count] = http_decode(&call->arena, at + skip, len - skip, true);
        if (param_has_name(at, len, name) && len > skip && values[(*count)++] == NULL)
            values = NULL;
        at += len + (at[len] == '&');
    }
    *out = values;
    return values != NULL ? 0 : op_refuse(&call->op, ERR_NOMEM, "out of memory");
}

static int read_bool(struct call *call, const char *name, bool *out)
{
    const char *text = call_param(call, name);

    *out = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    if (!*out && text[0] != '\0' && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
        return op_refuse(&call->op, ERR_INVALID, "parameter \"%s\" must be true or false", name);
    return 0;
}

static int read_plan(struct call *call, struct ops_up_request *up)
{
    struct plan_filter *target = &call->target;
    int rc;

    target->backend = call_param(call, "backend");
    target->connection = "";
    target->schema = call_param(call, "declared_schema");
    target->version = call_param(call, "version");
    rc = read_params(call, "tables", OPS_TABLES_MAX, &target->tables, &target->table_count);
    if (rc == 0)
        rc = read_params(call, "tags", OPS_TAGS_MAX, &target->tags, &target->tag_count);
    if (rc == 0)
        rc = read_params(call, "schema", OPS_SCHEMAS_MAX, &up->schemas, &up->schema_count);
    if (rc == 0)
        rc = read_bool(call, "ignore_dependencies", &up->ignore_dependencies);
    return rc;
}

int start_plan(struct call *call)
{
    struct ops_up_request *up = &call->in.up;
    int rc;

    *up = (struct ops_up_request){.connection = call_param(call, "connection"),
                                  .target = &call->target,
                                  .dry_run = true,
                                  .explain = true,
                                  .caller = call->caller,
                                  .grant = call->grant};
    if (up->connection[0] == '\0')
        return op_refuse(&call->op, ERR_INVALID, "parameter \"connection\" is required");
    rc = read_plan(call, up);
    if (rc == 0)
        rc = ops_up_start(&call->api->ops, &call->op, up, &call->out.run);
    if (rc == 0)
        call->release = release_plan;
    return rc;
}

enum {
    PLAN_HEAD,
    PLAN_LANES,
    PLAN_ERRORS,
    PLAN_END,
};

static void put_step(const struct run_item *item, struct buf *out)
{
    bool planned = item->kind == RUN_ITEM_DRY_RUN || item->kind == RUN_ITEM_SKIPPED;

    buf_putc(out, '{');
    json_put_member(out, "migration_id", item->migration->id);
    json_put_member(out, "schema", item->schema);
    json_put_member(out, "action", ops_run_item_action(item));
    json_put_bool(out, "applied", item->kind == RUN_ITEM_SKIPPED);
    json_put_bool(out, "dependency", item->dependency);
    if (planned && item->reason != NULL)
        json_put_member(out, "reason", item->reason);
    if (item->err != NULL)
        json_put_member(out, "error", err_text(item->err));
    buf_putc(out, '}');
}

static void begin_lane(const struct run_lane_result *lane, bool first, struct buf *out)
{
    buf_puts(out, first ? "{" : ",{");
    json_put_member(out, "schema", lane->requested != NULL ? lane->requested : "");
    if (lane->err.code != 0)
        json_put_member(out, "error", err_text(&lane->err));
    buf_puts(out, ",\"steps\":[");
}

static bool more_of_lanes(struct call *call, struct buf *out)
{
    struct call_cursor *cursor = &call->cursor;
    const struct run *run = call->out.run.run;
    const struct run_lane_result *lane;

    if (cursor->run.lane == run->lane_count) {
        cursor->stage = PLAN_ERRORS;
        cursor->run = (struct ops_cursor){0};
        cursor->count = 0;
        buf_puts(out, "],\"errors\":[");
        return true;
    }
    lane = &run->lanes[cursor->run.lane];
    if (cursor->run.item == 0)
        begin_lane(lane, cursor->run.lane == 0, out);
    if (cursor->run.item < lane->count) {
        buf_puts(out, cursor->run.item > 0 ? "," : "");
        put_step(&lane->items[cursor->run.item++], out);
    }
    if (cursor->run.item == lane->count) {
        buf_puts(out, "]}");
        cursor->run.lane++;
        cursor->run.item = 0;
    }
    return true;
}

static bool more_of_errors(struct call *call, struct buf *out)
{
    struct call_cursor *cursor = &call->cursor;

    switch (ops_run_next_line(&call->out.run, OPS_LINES_ERRORS, &cursor->run, &cursor->line)) {
    case OPS_NEXT_END:
        cursor->stage = PLAN_END;
        break;
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

static bool more_of_plan(struct pump *pump, struct buf *out)
{
    struct call *call = container_of(pump, struct call, pump);

    switch (call->cursor.stage) {
    case PLAN_HEAD:
        buf_putc(out, '{');
        json_put_member(out, "connection", call->in.up.connection);
        json_put_int(out, "to_run", (int64_t)call->out.run.applied);
        json_put_int(out, "applied", (int64_t)call->out.run.skipped);
        buf_puts(out, ",\"schemas\":[");
        call->cursor.stage = PLAN_LANES;
        return true;
    case PLAN_LANES:
        return more_of_lanes(call, out);
    case PLAN_ERRORS:
        return more_of_errors(call, out);
    default:
        buf_puts(out, "]}");
        return false;
    }
}

void answer_plan(struct call *call)
{
    const struct ops_run *run = &call->out.run;
    struct err err;

    if (run->run == NULL) {
        err_set(&err, ERR_NOT_FOUND, "connection %s not found", call->in.up.connection);
        call_fail(call, &err);
    } else if (run->failure.code != 0) {
        err = run->failure;
        call_fail(call, &err);
    } else {
        call_pump(call, 200, more_of_plan);
    }
}
