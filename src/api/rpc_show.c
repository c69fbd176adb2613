#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/cursor.h"
#include "api/rpc.h"

/* Whole runs: list, one of them, cancel. */

int rpc_check_run_id(struct rpc *rpc, const char *id)
{
    if (ops_runs_is_id(id))
        return 0;
    return op_refuse(&rpc->op, ERR_NOT_FOUND, "run not found: %.60s", id);
}

/* What is summed up over schemas is left out for those who do not see all of them. */
static void put_summary(const struct rpc *rpc, const struct store_run *row, struct buf *out)
{
    Migration__RunSummary item;
    char started[RPC_TIME_SIZE], ended[RPC_TIME_SIZE];

    migration__run_summary__init(&item);
    item.run_id = rpc_text(row->id);
    item.kind = rpc_text(row->kind);
    item.connection = rpc_text(row->connection);
    item.executed_by = rpc_text(row->executed_by);
    item.execution_method = rpc_text(row->execution_method);
    item.retry_of = rpc_text(row->retry_of);
    item.server_id = rpc_text(row->server_id);
    item.status = rpc_text(store_run_status_name(row->status));
    item.started_at = rpc_time(row->started_at_us, started);
    item.ended_at = rpc_time(row->ended_at_us, ended);
    if (row->ended_at_us != 0)
        item.duration_ms = (row->ended_at_us - row->started_at_us) / 1000;
    if (!grant_is_partial(rpc->grant)) {
        item.error = rpc_text(row->error);
        item.lanes = row->counts.lanes;
        item.lanes_failed = row->counts.lanes_failed;
        item.applied = row->counts.applied;
        item.skipped = row->counts.skipped;
        item.failed = row->counts.failed;
        item.not_run = row->counts.not_run;
    }
    rpc_put_message(out, 1, &item.base);
}

static void release_runs(struct rpc *rpc)
{
    ops_runs_free(&rpc->out.runs);
}

int rpc_start_run_list(struct rpc *rpc)
{
    const Migration__ListRunsRequest *asked = (const void *)rpc->request;
    const struct store_run_filter filter = {
        .id = "",
        .connection = asked->connection,
        .status = asked->status,
        .kind = asked->kind,
        .executed_by = asked->executed_by,
        .before_id = asked->cursor,
    };
    size_t limit;
    int rc = rpc_read_limit(rpc, asked->limit, OPS_RUNS_MAX, OPS_RUNS_DEFAULT, &limit);

    if (rc == 0 && asked->cursor[0] != '\0' && !ops_runs_is_id(asked->cursor))
        rc = rpc_refuse_cursor(rpc, "cursor", ERR_INVALID);
    if (rc != 0)
        return rc;
    rc = ops_runs_start(&rpc->api->ops, &rpc->op, &filter, rpc->grant, limit, &rpc->out.runs);
    if (rc == 0)
        rpc->release = release_runs;
    return rc;
}

static bool more_of_run_list(struct rpc *rpc, struct buf *out)
{
    const struct ops_runs *runs = &rpc->out.runs;

    if (rpc->at < runs->count) {
        put_summary(rpc, &runs->rows[rpc->at++], out);
        return true;
    }
    if (runs->next_cursor[0] != '\0')
        rpc_put_string(out, 2, runs->next_cursor);
    return false;
}

void rpc_answer_run_list(struct rpc *rpc)
{
    rpc_pump(rpc, more_of_run_list);
}

/* --- one run --- */

static void release_show(struct rpc *rpc)
{
    ops_show_free(&rpc->out.show);
}

/* A number that an answer gave as cursor; -1, the start, if there is none. */
static int read_cursor(struct rpc *rpc, const char *name, const char *text, int64_t *out)
{
    *out = -1;
    if (text[0] != '\0' && cursor_read_number(text, INT64_MAX, out) != 0)
        return rpc_refuse_cursor(rpc, name, ERR_INVALID);
    return 0;
}

int rpc_start_show(struct rpc *rpc)
{
    const Migration__GetRunRequest *asked = (const void *)rpc->request;
    struct ops_show_request request = {.id = asked->run_id, .grant = rpc->grant};
    int rc = rpc_check_run_id(rpc, asked->run_id);

    if (rc == 0)
        rc = rpc_read_limit(rpc, asked->limit, OPS_RUNS_MAX, OPS_RUNS_DEFAULT, &request.limit);
    if (rc == 0)
        rc = read_cursor(rpc, "lanes_cursor", asked->lanes_cursor, &request.lanes_after);
    if (rc == 0)
        rc = read_cursor(rpc, "steps_cursor", asked->steps_cursor, &request.steps_after);
    if (rc != 0)
        return rc;
    rc = ops_show_start(&rpc->api->ops, &rpc->op, &request, &rpc->out.show);
    if (rc == 0)
        rpc->release = release_show;
    return rc;
}

static void put_lane(const struct rpc *rpc, const struct ops_show_lane *from, struct buf *out)
{
    const struct store_run_lane *row = &from->row;
    Migration__RunLane item;

    migration__run_lane__init(&item);
    item.number = row->number;
    item.schema = rpc_text(row->schema);
    item.status = rpc_text(ops_show_lane_status(from));
    item.duration_ms = row->duration_ms;
    item.current_migration_id = rpc_text(from->migration_id);
    item.current_state = rpc_text(from->waits_for);
    item.current_schema = rpc_text(from->migration_schema);
    if (ops_show_has_sums(rpc->grant, from)) {
        item.error = rpc_text(row->error);
        item.applied = row->applied;
        item.skipped = row->skipped;
        item.failed = row->failed_steps;
        item.not_run = row->not_run;
    }
    rpc_put_message(out, 2, &item.base);
}

static void put_step(const struct store_run_step *from, struct buf *out)
{
    Migration__RunStep item;
    char started[RPC_TIME_SIZE], ended[RPC_TIME_SIZE];

    migration__run_step__init(&item);
    item.migration_id = rpc_text(from->migration_id);
    item.schema = rpc_text(from->schema);
    item.version = rpc_text(from->version);
    item.connection = rpc_text(from->connection);
    item.backend = rpc_text(from->backend);
    item.status = rpc_text(strcmp(from->status, "success") == 0 ? "applied" : from->status);
    item.error = rpc_text(from->error_message);
    item.attempts = from->attempts;
    item.duration_ms = from->duration_ms;
    item.started_at = rpc_time(from->started_at_us, started);
    item.ended_at = rpc_time(from->ended_at_us, ended);
    rpc_put_message(out, 3, &item.base);
}

static void put_number(struct buf *out, unsigned field, int64_t number)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRId64, number);
    rpc_put_string(out, field, text);
}

static void put_show_end(const struct rpc *rpc, const struct ops_show *show, struct buf *out)
{
    if (show->more_lanes)
        put_number(out, 4, show->lanes[show->lane_count - 1].row.number);
    if (show->more_steps)
        put_number(out, 5, show->steps[show->step_count - 1].id);
    if (!grant_is_partial(rpc->grant))
        rpc_put_string(out, 6, show->run.request);
    rpc_put_string(out, 7, show->run.execution_context);
}

static bool more_of_show(struct rpc *rpc, struct buf *out)
{
    const struct ops_show *show = &rpc->out.show;
    size_t at = rpc->at++;

    if (at == 0) {
        put_summary(rpc, &show->run, out);
    } else if (--at < show->lane_count) {
        if (grant_sees(rpc->grant, NULL, show->lanes[at].row.schema))
            put_lane(rpc, &show->lanes[at], out);
    } else if ((at -= show->lane_count) < show->step_count) {
        if (grant_sees(rpc->grant, show->steps[at].connection, show->steps[at].schema))
            put_step(&show->steps[at], out);
    } else {
        put_show_end(rpc, show, out);
        return false;
    }
    return true;
}

void rpc_answer_show(struct rpc *rpc)
{
    if (rpc->out.show.found)
        rpc_pump(rpc, more_of_show);
    else
        rpc_fail(rpc, GRPC_NOT_FOUND, "run not found");
}

/* --- cancel --- */

static void release_cancel(struct rpc *rpc)
{
    ops_cancel_free(&rpc->out.cancel);
}

int rpc_start_cancel(struct rpc *rpc)
{
    const Migration__CancelRunRequest *asked = (const void *)rpc->request;
    int rc = rpc_check_run_id(rpc, asked->run_id);

    if (rc != 0)
        return rc;
    rc = ops_cancel_start(&rpc->api->ops, &rpc->op, asked->run_id, rpc->grant, &rpc->out.cancel);
    if (rc == 0)
        rpc->release = release_cancel;
    return rc;
}

void rpc_answer_cancel(struct rpc *rpc)
{
    Migration__CancelRunResponse answer;

    migration__cancel_run_response__init(&answer);
    answer.canceling = rpc->out.cancel.canceling;
    answer.status = rpc_text(store_run_status_name(rpc->out.cancel.status));
    rpc_answer(rpc, &answer.base);
}
