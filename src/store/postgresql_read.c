#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "io/work.h"
#include "store/postgresql_private.h"

#define READ_NO_TABLE "42P01" /* undefined_table */

enum {
    READ_JSON_MAX = 64 * 1024 * 1024,
    READ_PING_TIMEOUT_MS = 2000,
};

void pgstore_read_free(void *state)
{
    struct pgstore_read *read = state;

    pg_results_free(&read->call.results);
    buf_free(&read->connections);
    buf_free(&read->pairs);
    mem_free(read->text);
    mem_free(read);
}

void pgstore_read_cancel(struct request *request)
{
    struct pgstore_read *read = request->state;

    op_cancel(&read->step);
}

static void read_end(struct pgstore_read *read, int rc)
{
    struct request *request = read->request;

    request->rc = rc;
    if (rc != 0)
        request->op->err = read->step.err;
    if (request->kind == REQUEST_PING && strcmp(read->step.err.sqlstate, READ_NO_TABLE) == 0)
        request->rc = core_report_lost(&request->op->err);
    core_end_read(request);
}

/* --- from rows to a result --- */

static int read_add_rows(struct rows *rows, struct pgstore_cursor *cursor, struct request *request)
{
    int count = PQntuples(cursor->result);
    int rc = 0;

    for (cursor->row = 0; cursor->row < count && rc == 0; cursor->row++)
        rc = core_add_row(request, rows);
    return rc;
}

static int read_convert_on_thread(void *arg, struct err *err)
{
    struct pgstore_read *read = arg;
    struct request *request = read->request;
    const struct pg_results *results = &read->call.results;
    struct pgstore_cursor cursor = {.result = results->results[results->count - 1]};
    const struct rows_source source = {pgstore_text, pgstore_integer, &cursor};
    struct rows rows;
    int rc;

    rows_init(&rows, core_result_arena(request), &source);
    rc = read_add_rows(&rows, &cursor, request);
    if (rc != 0)
        return err_set(err, rc, "out of memory");
    if (request->kind == REQUEST_APPLIED)
        rows_order_executions(request->out.executions);
    pg_results_free(&read->call.results); /* here, as there may be many pieces to free */
    return 0;
}

static void read_on_converted(struct op *op, int rc)
{
    read_end(container_of(op, struct pgstore_read, step), rc);
}

static void read_on_queried(struct op *op, int rc)
{
    struct pgstore_read *read = container_of(op, struct pgstore_read, step);

    if (rc == 0 && read->request->kind != REQUEST_PING) {
        op_init(&read->step, read_on_converted);
        rc = work_start(read->pg->loop, &read->step, read_convert_on_thread, read);
        if (rc == 0)
            return;
    }
    read_end(read, rc);
}

/* --- the statement and its values --- */

static void read_put_scope(struct pgstore_read *read, const struct store_scope *scope)
{
    struct buf *pairs = &read->pairs, *connections = &read->connections;

    if (scope->schemas == NULL) {
        buf_puts(connections, connections->len > 1 ? "," : "");
        json_put_string(connections, scope->connection);
        return;
    }
    for (size_t i = 0; i < scope->schema_count; i++) {
        buf_puts(pairs, pairs->len > 1 ? ",{" : "{");
        json_put_member(pairs, "c", scope->connection);
        json_put_member(pairs, "s", scope->schemas[i]);
        buf_putc(pairs, '}');
    }
}

static int read_put_scopes(struct pgstore_read *read)
{
    const struct request *request = read->request;

    buf_putc(&read->pairs, '[');
    buf_putc(&read->connections, '[');
    for (size_t i = 0; i < request->scope_count; i++)
        read_put_scope(read, &request->scopes[i]);
    buf_putc(&read->pairs, ']');
    buf_putc(&read->connections, ']');
    if (read->pairs.rc != 0 || read->connections.rc != 0)
        return err_set(&read->step.err, ERR_NOMEM, "out of memory");
    read->call.values[0] = read->pairs.data;
    read->call.values[1] = read->connections.data;
    read->call.value_count = 2;
    return 0;
}

static void read_choose(struct pgstore_read *read, enum pgstore_sql one, enum pgstore_sql all,
                        bool limited)
{
    struct pgstore_call *call = &read->call;
    const struct request *request = read->request;
    size_t limit = request->limit < INT64_MAX ? request->limit : INT64_MAX;

    call->sql = request->migration_id != NULL ? one : all;
    if (request->migration_id != NULL)
        call->values[call->value_count++] = request->migration_id;
    if (!limited)
        return;
    snprintf(read->limit, sizeof(read->limit), "%zu", limit);
    call->values[call->value_count++] = read->limit;
}

/* Behind the limit: all NULL at the start. */
static void read_put_cursor(struct pgstore_read *read)
{
    const struct store_cursor *cursor = read->request->cursor;
    const char **values = &read->call.values[read->call.value_count];

    read->call.value_count += 3;
    if (cursor == NULL)
        return;
    snprintf(read->after, sizeof(read->after), "%" PRId64, cursor->updated_at_us);
    values[0] = read->after;
    values[1] = cursor->schema;
    values[2] = cursor->migration_id;
}

static void read_put_before(struct pgstore_read *read)
{
    int64_t before = read->request->before_id > 0 ? read->request->before_id : INT64_MAX;

    snprintf(read->after, sizeof(read->after), "%" PRId64, before);
    read->call.values[read->call.value_count++] = read->after;
}

static int read_fill_call(struct pgstore_read *read)
{
    switch (read->request->kind) {
    case REQUEST_APPLIED:
        read->call.sql = PGSTORE_APPLIED;
        return read_put_scopes(read);
    case REQUEST_EXECUTIONS:
        read_choose(read, PGSTORE_EXECUTIONS_OF, PGSTORE_EXECUTIONS_RECENT, true);
        read_put_cursor(read);
        return 0;
    case REQUEST_STATUSES:
        read_choose(read, PGSTORE_STATUS_OF, PGSTORE_STATUS_ALL, false);
        return 0;
    case REQUEST_HISTORY:
        read_choose(read, PGSTORE_HISTORY_OF, PGSTORE_HISTORY_RECENT, true);
        read_put_before(read);
        return 0;
    case REQUEST_SKIPPED:
        read_choose(read, PGSTORE_SKIPPED_OF, PGSTORE_SKIPPED_RECENT, true);
        read_put_before(read);
        return 0;
    case REQUEST_RUNS:
    case REQUEST_RUN_LANES:
    case REQUEST_RUN_STEPS:
    case REQUEST_TENANTS:
        return pgstore_read_fill_about_runs(read);
    case REQUEST_STANDING:
    case REQUEST_UNENDED:
        return pgstore_read_fill_standing(read);
    case REQUEST_LEDGER:
        return pgstore_read_fill_ledger(read);
    case REQUEST_PREPARE:
    case REQUEST_PING:
    case REQUEST_WRITE:
    case REQUEST_SYNC:
    case REQUEST_PUT_RUN:
    case REQUEST_CLAIM_KEY:
    case REQUEST_BEAT:
    case REQUEST_SWAP_LEDGER:
        break;
    }
    read->call.sql = PGSTORE_PING;
    read->call.timeout_ms = READ_PING_TIMEOUT_MS;
    return 0;
}

void pgstore_read_run(struct store_pg *pg, struct request *request)
{
    struct pgstore_read *read = mem_calloc(1, sizeof(*read));
    int rc;

    if (read == NULL) {
        request->rc = err_set(&request->op->err, ERR_NOMEM, "out of memory");
        core_end_read(request);
        return;
    }
    read->request = request;
    read->pg = pg;
    request->state = read;
    buf_init(&read->pairs, READ_JSON_MAX);
    buf_init(&read->connections, READ_JSON_MAX);
    read->call.repeatable = true;
    op_init(&read->step, read_on_queried);
    rc = read_fill_call(read);
    if (rc == 0)
        rc = pgstore_call_start(pg, &read->call, &read->step);
    if (rc != 0)
        read_end(read, rc);
}
