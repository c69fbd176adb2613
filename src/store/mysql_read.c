#include "base/mem.h"
#include "io/work.h"
#include "store/mysql_private.h"

enum {
    READ_NO_TABLE = 1146, /* the server's numbers for what is not there */
    READ_NO_DATABASE = 1049,
    READ_PING_TIMEOUT_MS = 2000,
};

void mystore_read_free(void *state)
{
    struct mystore_read *read = state;

    mystore_call_free(&read->call);
    mem_free(read);
}

void mystore_read_cancel(struct request *request)
{
    struct mystore_read *read = request->state;

    op_cancel(&read->step);
}

static void read_end(struct mystore_read *read, int rc)
{
    struct request *request = read->request;
    unsigned error = read->call.error;

    request->rc = rc;
    if (rc != 0)
        request->op->err = read->step.err;
    if (rc != 0 && request->kind == REQUEST_PING &&
        (error == READ_NO_TABLE || error == READ_NO_DATABASE))
        request->rc = core_report_lost(&request->op->err);
    core_end_read(request);
}

/* --- from rows to a result --- */

static void read_put_in_order(struct request *request)
{
    if (request->kind == REQUEST_APPLIED)
        rows_order_executions(request->out.executions);
    if (request->kind == REQUEST_RUNS)
        rows_order_runs(request->out.runs, request->limit);
}

static int read_convert_on_thread(void *arg, struct err *err)
{
    struct mystore_read *read = arg;
    struct request *request = read->request;
    struct mystore_cursor cursor = {.call = &read->call};
    const struct rows_source source = {mystore_text, mystore_integer, &cursor};
    struct rows rows;

    rows_init(&rows, core_result_arena(request), &source);
    while (mystore_next(&cursor))
        if (core_add_row(request, &rows) != 0)
            return err_set(err, ERR_NOMEM, "out of memory");
    read_put_in_order(request);
    return 0;
}

static void read_on_converted(struct op *op, int rc)
{
    read_end(container_of(op, struct mystore_read, step), rc);
}

static void read_on_queried(struct op *op, int rc)
{
    struct mystore_read *read = container_of(op, struct mystore_read, step);

    if (rc == 0 && read->request->kind != REQUEST_PING) {
        op_init(&read->step, read_on_converted);
        rc = work_start(read->my->loop, &read->step, read_convert_on_thread, read);
        if (rc == 0)
            return;
    }
    read_end(read, rc);
}

/* --- the statements --- */

/* Costs no row, but every table must be there and readable. */
static void read_put_ping(struct mystore_script *script)
{
    const char *before = "SELECT 1 FROM @.";

    for (size_t i = 0; i < mystore_object_count; i++) {
        if (mystore_objects[i].column != NULL || mystore_objects[i].index != NULL)
            continue;
        mystore_sql(script, before);
        mystore_sql(script, mystore_objects[i].table);
        mystore_sql(script, " WHERE FALSE");
        before = " UNION ALL SELECT 1 FROM @.";
    }
}

void mystore_put_limit(struct mystore_script *script, size_t limit)
{
    mystore_sql(script, " LIMIT ");
    mystore_put_number(script, limit < INT64_MAX ? (int64_t)limit : INT64_MAX);
}

static void read_fill(struct mystore_read *read)
{
    struct mystore_script *script = &read->call.script;
    const struct request *request = read->request;

    switch (request->kind) {
    case REQUEST_APPLIED:
    case REQUEST_EXECUTIONS:
    case REQUEST_STATUSES:
    case REQUEST_HISTORY:
    case REQUEST_SKIPPED:
        mystore_read_put_basic(script, request);
        return;
    case REQUEST_RUNS:
    case REQUEST_RUN_LANES:
    case REQUEST_RUN_STEPS:
    case REQUEST_TENANTS:
        mystore_read_put_about_runs(script, request);
        return;
    case REQUEST_STANDING:
    case REQUEST_UNENDED:
        mystore_read_put_standing(script, request);
        return;
    case REQUEST_LEDGER:
        mystore_read_put_ledger(script, request);
        return;
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
    read_put_ping(script);
    read->call.timeout_ms = READ_PING_TIMEOUT_MS;
}

void mystore_read_run(struct store_my *my, struct request *request)
{
    struct mystore_read *read = mem_calloc(1, sizeof(*read));
    int rc;

    if (read == NULL) {
        request->rc = err_set(&request->op->err, ERR_NOMEM, "out of memory");
        core_end_read(request);
        return;
    }
    read->request = request;
    read->my = my;
    request->state = read;
    mystore_call_init(&read->call, my);
    read->call.repeatable = true;
    op_init(&read->step, read_on_queried);
    read_fill(read);
    if (read->call.script.piece.len == 0 && read->call.script.count == 0)
        mystore_sql(&read->call.script, "DO 0"); /* nothing is asked about */
    rc = mystore_script_close(&read->call.script, &read->step.err);
    if (rc == 0)
        rc = mystore_call_start(&read->call, &read->step);
    if (rc != 0)
        read_end(read, rc);
}
