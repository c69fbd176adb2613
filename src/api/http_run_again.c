/* Answers about a run that goes on without the request, or that an earlier request started. */
#include <stdlib.h>

#include "api/http_answer.h"
#include "api/http_handlers.h"
#include "api/http_json.h"
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

/* How many there are. */
static size_t put_lines(const struct ops_run *run, enum ops_lines which, struct buf *out)
{
    struct ops_cursor at = {0};
    enum ops_next next;
    struct buf line;
    size_t count = 0;

    buf_init(&line, AGAIN_LINE_MAX);
    while (out->rc == 0 && (next = ops_run_again_line(run, which, &at, &line)) != OPS_NEXT_END) {
        if (next == OPS_NEXT_ITEM) {
            buf_puts(out, count++ > 0 ? "," : "");
            json_put_string_n(out, buf_str(&line), line.len);
        }
        if (line.rc != 0)
            out->rc = line.rc;
    }
    buf_free(&line);
    return count;
}

void answer_rebuilt(struct call *call)
{
    struct ops_run *run = &call->out.run;
    const struct store_run *row = run->rebuild->row.rows;
    struct buf body;
    size_t errors;

    buf_init(&body, AGAIN_BODY_MAX);
    buf_putc(&body, '{');
    json_put_bool(&body, "success", row->status == STORE_RUN_SUCCEEDED);
    buf_puts(&body, ",\"applied\":[");
    put_lines(run, OPS_LINES_APPLIED, &body);
    buf_puts(&body, "],\"skipped\":[],\"errors\":[");
    errors = put_lines(run, OPS_LINES_ERRORS, &body);
    buf_puts(&body, "],\"details\":[]");
    json_put_int(&body, "skipped_count", row->counts.skipped);
    json_put_bool(&body, "rebuilt", true);
    json_put_member(&body, "run_id", row->id);
    buf_putc(&body, '}');
    call_answer(call, errors > 0 && run->kind != OPS_ROLLBACK ? 206 : 200, &body);
}
