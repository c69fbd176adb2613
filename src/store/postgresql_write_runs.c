#include <inttypes.h>

#include "base/json.h"
#include "store/postgresql_private.h"

static void put_run_text(struct buf *json, const char *key, const char *text)
{
    if (text != NULL)
        json_put_member(json, key, text);
}

static void put_run_number(struct buf *json, const char *key, int64_t number)
{
    buf_printf(json, ",\"%s\":%" PRId64, key, number);
}

static void put_run_open(struct buf *json, size_t number)
{
    buf_printf(json, "%s{\"n\":%zu", number == 0 ? "[" : ",", number);
}

static void put_run_counts(struct buf *json, const struct store_run_counts *counts)
{
    put_run_number(json, "lanes", counts->lanes);
    put_run_number(json, "lanes_failed", counts->lanes_failed);
    put_run_number(json, "applied", counts->applied);
    put_run_number(json, "skipped", counts->skipped);
    put_run_number(json, "failed", counts->failed);
    put_run_number(json, "not_run", counts->not_run);
}

static void put_run_row(struct buf *json, size_t number, const struct store_run *run)
{
    put_run_open(json, number);
    put_run_text(json, "id", run->id);
    put_run_text(json, "kind", run->kind);
    put_run_text(json, "connection", run->connection);
    put_run_text(json, "status", store_run_status_name(run->status));
    put_run_text(json, "request", run->request);
    put_run_text(json, "by", run->executed_by);
    put_run_text(json, "method", run->execution_method);
    put_run_text(json, "context", run->execution_context);
    put_run_text(json, "server", run->server_id);
    put_run_text(json, "retry", run->retry_of);
    put_run_text(json, "error", run->error);
    put_run_counts(json, &run->counts);
    put_run_number(json, "started", run->started_at_us);
    put_run_number(json, "ended", run->ended_at_us);
    put_run_text(json, "answer", run->answer);
    buf_putc(json, '}');
}

static void put_run_lane(struct buf *json, size_t number, const char *run_id,
                         const struct store_run_lane *lane)
{
    put_run_open(json, number);
    put_run_text(json, "run", run_id);
    put_run_text(json, "schema", lane->schema);
    put_run_text(json, "error", lane->error);
    buf_printf(json, ",\"failed\":%s", lane->failed ? "true" : "false");
    put_run_number(json, "number", lane->number);
    put_run_number(json, "applied", lane->applied);
    put_run_number(json, "skipped", lane->skipped);
    put_run_number(json, "failed_steps", lane->failed_steps);
    put_run_number(json, "not_run", lane->not_run);
    put_run_number(json, "ms", lane->duration_ms);
    buf_putc(json, '}');
}

void pgstore_put_run(struct pgstore_write *write, const struct request *request)
{
    put_run_row(&write->runs, write->run_count++, request->run);
    for (size_t i = 0; i < request->lane_count; i++)
        put_run_lane(&write->lanes, write->lane_count++, request->run->id, &request->lanes[i]);
}
