#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "base/mem.h"
#include "io/work.h"
#include "store/postgresql_private.h"

enum {
    READ_JSON_MAX = 64 * 1024 * 1024,
    READ_NUMBER_SIZE = 24,
    READ_PING_TIMEOUT_MS = 2000,
};

/*
 *  QUERYING ─> CONVERTING (on the thread pool) ─> (done)
 */
struct pgstore_read {
    struct request *request;
    struct store_pg *pg;
    struct pgstore_call call;
    struct op step;
    struct buf pairs, connections; /* values of PGSTORE_APPLIED */
    char limit[READ_NUMBER_SIZE];
};

void pgstore_read_free(void *state)
{
    struct pgstore_read *read = state;

    pg_results_free(&read->call.results);
    buf_free(&read->connections);
    buf_free(&read->pairs);
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
    core_end_read(request);
}

/* --- from rows to a result --- */

static int read_add_rows(struct rows *rows, struct pgstore_cursor *cursor, struct request *request)
{
    int count = PQntuples(cursor->result);
    int rc = 0;

    for (cursor->row = 0; cursor->row < count && rc == 0; cursor->row++) {
        switch (request->kind) {
        case REQUEST_APPLIED:
        case REQUEST_EXECUTIONS:
            rc = rows_add_execution(rows, request->out.executions);
            break;
        case REQUEST_STATUSES:
            rc = rows_add_status(rows, request->out.statuses);
            break;
        case REQUEST_HISTORY:
        case REQUEST_SKIPPED:
            rc = rows_add_event(rows, request->out.events);
            break;
        case REQUEST_PREPARE:
        case REQUEST_PING:
        case REQUEST_WRITE:
        case REQUEST_SYNC:
            break;
        }
    }
    return rc;
}

static struct arena *read_arena(struct request *request)
{
    switch (request->kind) {
    case REQUEST_APPLIED:
    case REQUEST_EXECUTIONS:
        return &request->out.executions->arena;
    case REQUEST_STATUSES:
        return &request->out.statuses->arena;
    case REQUEST_HISTORY:
    case REQUEST_SKIPPED:
        return &request->out.events->arena;
    case REQUEST_PREPARE:
    case REQUEST_PING:
    case REQUEST_WRITE:
    case REQUEST_SYNC:
        break;
    }
    return NULL;
}

static int read_convert_on_thread(void *arg, struct err *err)
{
    struct pgstore_read *read = arg;
    struct request *request = read->request;
    struct pgstore_cursor cursor = {.result = read->call.results.results[0]};
    const struct rows_source source = {pgstore_text, pgstore_integer, &cursor};
    struct rows rows;
    int rc;

    rows_init(&rows, read_arena(request), &source);
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

static int read_fill_call(struct pgstore_read *read)
{
    switch (read->request->kind) {
    case REQUEST_APPLIED:
        read->call.sql = PGSTORE_APPLIED;
        return read_put_scopes(read);
    case REQUEST_EXECUTIONS:
        read_choose(read, PGSTORE_EXECUTIONS_OF, PGSTORE_EXECUTIONS_RECENT, true);
        return 0;
    case REQUEST_STATUSES:
        read_choose(read, PGSTORE_STATUS_OF, PGSTORE_STATUS_ALL, false);
        return 0;
    case REQUEST_HISTORY:
        read_choose(read, PGSTORE_HISTORY_OF, PGSTORE_HISTORY_RECENT, true);
        return 0;
    case REQUEST_SKIPPED:
        read_choose(read, PGSTORE_SKIPPED_OF, PGSTORE_SKIPPED_RECENT, true);
        return 0;
    case REQUEST_PREPARE:
    case REQUEST_PING:
    case REQUEST_WRITE:
    case REQUEST_SYNC:
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
