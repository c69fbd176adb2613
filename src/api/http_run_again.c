/* Answers about a run that goes on without the request, or that an earlier request started. */
#include <stdlib.h>
#include <string.h>

#include "api/http_answer.h"
#include "api/http_handlers.h"
#include "api/http_json.h"
#include "api/ops_request.h"
#include "base/json.h"

enum {
    AGAIN_BODY_MAX = 64 * 1024 * 1024, /* of steps and lanes that are limited in number */
    AGAIN_SHORT_MAX = 4096,
    AGAIN_LINE_MAX = 64 * 1024,
};

static void add_location(struct call *call, const char *id)
{
    char *location = arena_printf(&call->arena, "/api/v1/runs/%s", id);

    if (location != NULL)
        http_add_header(call->request, "Location", location);
}

void answer_accepted(struct call *call)
{
    const struct ops_run *run = &call->out.run;
    struct buf body;

    add_location(call, run->run_id);
    buf_init(&body, AGAIN_SHORT_MAX);
    buf_putc(&body, '{');
    json_put_member(&body, "run_id", run->run_id);
    json_put_member(&body, "status", store_run_status_name(run->run_status));
    buf_putc(&body, '}');
    call_answer(call, 202, &body);
}

void answer_kept(struct call *call)
{
    const char *text = call->out.run.kept_answer;
    char *end;
    long status = strtol(text, &end, 10);
    struct buf body;

    buf_init(&body, AGAIN_BODY_MAX);
    buf_puts(&body, *end == ' ' ? end + 1 : "{}");
    call_answer(call, status >= 200 && status < 500 ? (int)status : 200, &body);
}

/* --- made again from what is on record --- */

static const struct store_run_lane *find_lane(const struct ops_replay *again, const char *schema)
{
    for (size_t i = 0; i < again->lanes.count; i++)
        if (strcmp(again->lanes.rows[i].schema, schema) == 0)
            return &again->lanes.rows[i];
    return NULL;
}

static void put_step_id(const struct ops_run *run, const struct store_run_step *step,
                        bool asked_for_schemas, struct buf *line)
{
    const struct migration *migration =
        registry_find(run->ops->engine->registry, step->migration_id);

    if (migration != NULL)
        ops_run_put_id(run->kind, asked_for_schemas ? step->schema : NULL, migration, step->schema,
                       line);
    else
        buf_printf(line, "%s%s%s", step->schema, step->schema[0] != '\0' ? "_" : "",
                   step->migration_id);
}

static bool step_is_done(const struct store_run_step *step)
{
    return strcmp(step->status, "applied") == 0 || strcmp(step->status, "success") == 0 ||
           strcmp(step->status, "rolled_back") == 0;
}

static void put_line(const struct buf *line, size_t *count, struct buf *out)
{
    if ((*count)++ > 0)
        buf_putc(out, ',');
    json_put_string_n(out, buf_str(line), line->len);
    if (line->rc != 0)
        out->rc = line->rc;
}

/* The steps that took effect, or those that did not. */
static size_t put_steps(const struct ops_run *run, bool done, struct buf *out)
{
    const struct ops_replay *again = run->rebuild;
    bool asked = again->lanes.count == 0 || find_lane(again, "") == NULL;
    struct buf line;
    size_t count = 0;

    buf_init(&line, AGAIN_LINE_MAX);
    for (size_t i = 0; i < again->steps.count && out->rc == 0; i++) {
        const struct store_run_step *step = &again->steps.rows[i];

        if (step_is_done(step) != done)
            continue;
        buf_truncate(&line, 0);
        put_step_id(run, step, asked, &line);
        if (!done)
            buf_printf(&line, ": %s",
                       step->error_message[0] != '\0' ? step->error_message
                                                      : "its end is not known here");
        put_line(&line, &count, out);
    }
    buf_free(&line);
    return count;
}

static size_t put_lane_errors(const struct ops_run *run, size_t count, struct buf *out)
{
    const struct ops_replay *again = run->rebuild;
    struct buf line;

    buf_init(&line, AGAIN_LINE_MAX);
    for (size_t i = 0; i < again->lanes.count && out->rc == 0; i++) {
        const struct store_run_lane *lane = &again->lanes.rows[i];

        buf_truncate(&line, 0);
        if (lane->error[0] != '\0')
            buf_printf(&line, "schema %s: %s", lane->schema, lane->error);
        else if (lane->not_run > 0)
            buf_printf(&line, "schema %s: %lld migrations were not run", lane->schema,
                       (long long)lane->not_run);
        else
            continue;
        put_line(&line, &count, out);
    }
    buf_free(&line);
    return count;
}

/* At least one line for a run that did not succeed. */
static size_t put_run_error(const struct store_run *row, size_t count, struct buf *out)
{
    const char *text = row->error;

    if (row->status == STORE_RUN_INTERRUPTED)
        text = "the run was interrupted: its server ended; POST /api/v1/runs/{id}/retry runs what "
               "is left";
    if (text[0] == '\0' && (count > 0 || row->status == STORE_RUN_SUCCEEDED))
        return count;
    if (text[0] == '\0')
        text = store_run_status_name(row->status);
    if (count++ > 0)
        buf_putc(out, ',');
    json_put_string(out, text);
    return count;
}

void answer_rebuilt(struct call *call)
{
    struct ops_run *run = &call->out.run;
    const struct store_run *row = run->rebuild->row.rows;
    struct buf body;
    size_t errors;

    (void)ops_run_kind_parse(row->kind, &run->kind);
    buf_init(&body, AGAIN_BODY_MAX);
    buf_putc(&body, '{');
    json_put_bool(&body, "success", row->status == STORE_RUN_SUCCEEDED);
    buf_puts(&body, ",\"applied\":[");
    put_steps(run, true, &body);
    buf_puts(&body, "],\"skipped\":[],\"errors\":[");
    errors = put_steps(run, false, &body);
    errors = put_lane_errors(run, errors, &body);
    errors = put_run_error(row, errors, &body);
    buf_puts(&body, "],\"details\":[]");
    json_put_int(&body, "skipped_count", row->counts.skipped);
    json_put_bool(&body, "rebuilt", true);
    json_put_member(&body, "run_id", row->id);
    buf_putc(&body, '}');
    call_answer(call, errors > 0 && run->kind != OPS_ROLLBACK ? 206 : 200, &body);
}
