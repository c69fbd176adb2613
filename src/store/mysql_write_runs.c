#include "store/mysql_private.h"
#include "store/text.h"

/* A row that says how the run ended is not replaced by one that says that it runs, unless another
 * server has taken it for dead. `status` and then `server_id` are set last, as they are set in
 * this order and the condition is the same for all. */
#define RUN_REPLACES                                                                  \
    "IF(VALUES(status) <> 'running' OR status = 'running' OR (status = 'interrupted'" \
    " AND server_id <> VALUES(server_id)), "
#define RUN_SET(column) column " = " RUN_REPLACES "VALUES(" column "), " column ")"

static const char runs_sql_put[] =
    "INSERT INTO @.bfm_runs (id, kind, connection, status, request, executed_by, execution_method,"
    " execution_context, server_id, retry_of, error_message, lanes, lanes_failed, applied, skipped,"
    " failed, not_run, started_at, ended_at) VALUES ";
static const char runs_sql_put_tail[] =
    " ON DUPLICATE KEY UPDATE " RUN_SET("kind") ", " RUN_SET("connection") ", " RUN_SET("request") ", " RUN_SET("executed_by") ", " RUN_SET("execution_method") ", " RUN_SET("execution_context") ", " RUN_SET("retry_of") ", " RUN_SET("error_message") ", " RUN_SET("lanes") ", " RUN_SET("lanes_failed") ", " RUN_SET(
        "applied") ", " RUN_SET("skipped") ", " RUN_SET("failed") ", " RUN_SET("not_run") ", " RUN_SET("started_at") ", " RUN_SET("ended_at") ", " RUN_SET("status") ", " RUN_SET("server_id");

static const char runs_sql_lanes[] =
    "INSERT INTO @.bfm_run_lanes (run_id, number, `schema`, failed, error_message, applied,"
    " skipped, failed_steps, not_run, duration_ms) VALUES ";
static const char runs_sql_lanes_tail[] =
    " ON DUPLICATE KEY UPDATE `schema` = VALUES(`schema`), failed = VALUES(failed),"
    " error_message = VALUES(error_message), applied = VALUES(applied),"
    " skipped = VALUES(skipped), failed_steps = VALUES(failed_steps),"
    " not_run = VALUES(not_run), duration_ms = VALUES(duration_ms)";

/* A run that is under way brings the row of its server, so that nobody takes the server for dead
 * before its first beat. */
static const char runs_sql_servers[] =
    "INSERT INTO @.bfm_servers (server_id, started_at, seen_at) VALUES ";
static const char runs_sql_servers_tail[] =
    " ON DUPLICATE KEY UPDATE server_id = VALUES(server_id)";

static const char runs_sql_answer[] = "UPDATE @.bfm_idempotency_keys SET answer = ";

static void runs_put_row(struct mystore_script *script, const struct store_run *run)
{
    const struct store_run_counts *counts = &run->counts;

    mystore_row_begin(script);
    mystore_row_text(script, run->id);
    mystore_row_text(script, run->kind);
    mystore_row_text_cut(script, run->connection, TEXT_NAME_MAX);
    mystore_row_text(script, store_run_status_name(run->status));
    mystore_row_text(script, run->request);
    mystore_row_text_cut(script, run->executed_by, TEXT_NAME_MAX);
    mystore_row_text_cut(script, run->execution_method, TEXT_METHOD_MAX);
    mystore_row_text(script, run->execution_context);
    mystore_row_text(script, run->server_id);
    mystore_row_text(script, run->retry_of);
    mystore_row_text(script, run->error);
    mystore_row_number(script, counts->lanes);
    mystore_row_number(script, counts->lanes_failed);
    mystore_row_number(script, counts->applied);
    mystore_row_number(script, counts->skipped);
    mystore_row_number(script, counts->failed);
    mystore_row_number(script, counts->not_run);
    mystore_row_time(script, run->started_at_us);
    mystore_row_time(script, run->ended_at_us);
    mystore_row_end(script);
}

static void runs_put_lane(struct mystore_script *script, const char *run_id,
                          const struct store_run_lane *lane)
{
    mystore_row_begin(script);
    mystore_row_text(script, run_id);
    mystore_row_number(script, lane->number);
    mystore_row_text(script, lane->schema);
    mystore_row_number(script, lane->failed);
    mystore_row_text(script, lane->error);
    mystore_row_number(script, lane->applied);
    mystore_row_number(script, lane->skipped);
    mystore_row_number(script, lane->failed_steps);
    mystore_row_number(script, lane->not_run);
    mystore_row_number(script, lane->duration_ms);
    mystore_row_end(script);
}

static void runs_put_lanes(struct mystore_script *script, const struct request *request)
{
    for (size_t i = 0; i < request->lane_count; i++)
        runs_put_lane(script, request->run->id, &request->lanes[i]);
}

static void runs_put_server(struct mystore_script *script, const struct request *request)
{
    if (request->run->status != STORE_RUN_RUNNING)
        return;
    mystore_row_begin(script);
    mystore_row_text(script, request->run->server_id);
    mystore_row_sql(script, MYSTORE_NOW);
    mystore_row_sql(script, MYSTORE_NOW);
    mystore_row_end(script);
}

static void runs_put_one(struct mystore_script *script, const struct request *request)
{
    runs_put_row(script, request->run);
}

static void runs_put_answer(struct mystore_script *script, const struct request *request)
{
    if (request->run->answer == NULL)
        return;
    mystore_statement_begin(script);
    mystore_sql(script, runs_sql_answer);
    mystore_put_text(script, request->run->answer);
    mystore_sql(script, " WHERE run_id = ");
    mystore_put_text(script, request->run->id);
    mystore_sql(script, ";");
    mystore_statement_end(script);
}

static void runs_put_each(struct mystore_write *write,
                          void (*put)(struct mystore_script *, const struct request *))
{
    list_foreach(node, write->batch) {
        const struct request *request = container_of(node, struct request, link);

        if (request->kind == REQUEST_PUT_RUN && mystore_write_has_turn(write, node))
            put(&write->call.script, request);
    }
    mystore_rows_end(&write->call.script);
}

void mystore_write_put_runs(struct mystore_write *write)
{
    struct mystore_script *script = &write->call.script;

    mystore_rows_begin(script, runs_sql_put, runs_sql_put_tail, 0);
    runs_put_each(write, runs_put_one);
    mystore_rows_begin(script, runs_sql_lanes, runs_sql_lanes_tail, 0);
    runs_put_each(write, runs_put_lanes);
    mystore_rows_begin(script, runs_sql_servers, runs_sql_servers_tail, 0);
    runs_put_each(write, runs_put_server);
    runs_put_each(write, runs_put_answer);
}
