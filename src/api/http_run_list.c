#include "api/http_handlers.h"
#include "api/http_json.h"
#include "base/json.h"

static void release_run_list(struct call *call)
{
    ops_runs_free(&call->out.run_list);
}

static size_t page_limit(const struct call *call)
{
    size_t limit = call->limit > 0 ? call->limit : OPS_RUNS_DEFAULT;

    return limit < OPS_RUNS_MAX ? limit : OPS_RUNS_MAX;
}

int check_run_id(struct call *call)
{
    if (ops_runs_is_id(call->id))
        return 0;
    return op_refuse(&call->op, ERR_NOT_FOUND, "run not found: %.60s", call->id);
}

int start_run_list(struct call *call)
{
    struct store_run_filter filter = {
        .id = "",
        .connection = call_param(call, "connection"),
        .kind = call_param(call, "kind"),
        .executed_by = call_param(call, "executed_by"),
        .status = call_param(call, "status"),
        .before_id = call_param(call, "cursor"),
    };
    int rc;

    if (filter.before_id[0] != '\0' && !ops_runs_is_id(filter.before_id))
        return call_refuse_cursor(call, ERR_INVALID);
    rc = ops_runs_start(&call->api->ops, &call->op, &filter, call->grant, page_limit(call),
                        &call->out.run_list);
    if (rc == 0)
        call->release = release_run_list;
    return rc;
}

static void put_counts(const struct store_run_counts *counts, struct buf *out)
{
    json_put_key(out, "counts");
    buf_putc(out, '{');
    json_put_int(out, "lanes", counts->lanes);
    json_put_int(out, "lanes_failed", counts->lanes_failed);
    json_put_int(out, "applied", counts->applied);
    json_put_int(out, "skipped", counts->skipped);
    json_put_int(out, "failed", counts->failed);
    json_put_int(out, "not_run", counts->not_run);
    buf_putc(out, '}');
}

void put_run(const struct store_run *run, bool with_sums, struct buf *out)
{
    json_put_member(out, "run_id", run->id);
    json_put_member(out, "kind", run->kind);
    json_put_member(out, "status", store_run_status_name(run->status));
    json_put_member(out, "connection", run->connection);
    json_put_member(out, "executed_by", run->executed_by);
    json_put_member(out, "execution_method", run->execution_method);
    json_put_member(out, "server_id", run->server_id);
    json_put_some(out, "retry_of", run->retry_of);
    if (with_sums) {
        json_put_some(out, "error", run->error);
        put_counts(&run->counts, out);
    }
    json_put_time(out, "started_at", run->started_at_us);
    json_put_some_time(out, "ended_at", run->ended_at_us);
    if (run->ended_at_us != 0)
        json_put_int(out, "duration_ms", (run->ended_at_us - run->started_at_us) / 1000);
}

static bool more_of_run_list(struct pump *pump, struct buf *out)
{
    struct call *call = container_of(pump, struct call, pump);
    const struct ops_runs *runs = &call->out.run_list;
    struct call_cursor *cursor = &call->cursor;
    const struct store_run *run;

    if (cursor->stage++ == 0) {
        buf_puts(out, "{\"items\":[");
        return true;
    }
    if (cursor->at == runs->count) {
        buf_putc(out, ']');
        json_put_some(out, "next_cursor", runs->next_cursor);
        buf_putc(out, '}');
        return false;
    }
    run = &runs->rows[cursor->at++];
    buf_puts(out, cursor->count++ > 0 ? ",{" : "{");
    put_run(run, !grant_is_partial(call->grant), out);
    buf_putc(out, '}');
    return true;
}

void answer_run_list(struct call *call)
{
    call_pump(call, 200, more_of_run_list);
}

/* --- cancel --- */

static void release_cancel(struct call *call)
{
    ops_cancel_free(&call->out.cancel);
}

int start_cancel(struct call *call)
{
    int rc = check_run_id(call);

    if (rc != 0)
        return rc;
    rc = ops_cancel_start(&call->api->ops, &call->op, call->id, call->grant, &call->out.cancel);
    if (rc == 0)
        call->release = release_cancel;
    return rc;
}

void answer_cancel(struct call *call)
{
    const struct ops_cancel *cancel = &call->out.cancel;
    struct buf body;

    buf_init(&body, 1024);
    buf_putc(&body, '{');
    json_put_member(&body, "run_id", call->id);
    json_put_member(&body, "status",
                    cancel->canceling ? "canceling" : store_run_status_name(cancel->status));
    buf_putc(&body, '}');
    call_answer(call, cancel->canceling ? 202 : 200, &body);
}
