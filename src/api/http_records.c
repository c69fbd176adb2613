#include "api/http_handlers.h"
#include "api/http_json.h"
#include "api/pages.h"
#include "base/json.h"

enum {
    RECORDS_STATUS_MAX = 1024 * 1024, /* an error message is the longest part */
};

static void release_lookup(struct call *call)
{
    ops_lookup_free(&call->out.lookup);
}

static int lookup_start(struct call *call, const struct ops_lookup_request *request)
{
    int rc = ops_lookup_start(&call->api->ops, &call->op, request, &call->out.lookup);

    if (rc == 0)
        call->release = release_lookup;
    return rc;
}

/* --- state --- */

int start_state(struct call *call)
{
    struct ops_lookup_request request = {
        .kind = OPS_LOOKUP_STATE, .id = call->id, .limit = 1, .grant = call->grant};

    return lookup_start(call, &request);
}

void answer_status_of(struct call *call)
{
    struct ops_status status;
    struct buf body;

    ops_lookup_status(&call->out.lookup, &status);
    buf_init(&body, RECORDS_STATUS_MAX);
    buf_putc(&body, '{');
    json_put_member(&body, "migration_id", call->id);
    json_put_member(&body, "status", status.status);
    json_put_bool(&body, "applied", status.applied);
    json_put_some_time(&body, "applied_at", status.applied_at_us);
    json_put_some(&body, "error_message", status.error_message);
    buf_putc(&body, '}');
    call_answer(call, 200, &body);
}

void answer_applied(struct call *call)
{
    struct ops_status status;
    struct buf body;

    ops_lookup_status(&call->out.lookup, &status);
    buf_init(&body, RECORDS_STATUS_MAX);
    buf_putc(&body, '{');
    json_put_bool(&body, "applied", status.applied);
    buf_putc(&body, '}');
    call_answer(call, 200, &body);
}

/* --- pages of rows --- */

static int rows_start(struct call *call, enum ops_lookup_kind kind, size_t default_limit)
{
    bool has_cursor = call_param(call, "cursor")[0] != '\0';
    struct ops_lookup_request request = {
        .kind = kind,
        .id = call->id[0] != '\0' ? call->id : NULL,
        .limit = call->limit > 0 ? call->limit : default_limit,
        .paged = call->limit > 0 || has_cursor,
        .grant = call->grant,
    };
    int rc = 0;

    if (has_cursor)
        rc = page_read_rows(call_param(call, "cursor"), &call->arena, &request);
    if (rc != 0)
        return call_refuse_cursor(call, rc);
    return lookup_start(call, &request);
}

static void put_place(struct call *call, struct buf *out)
{
    struct buf *cursor = &call->cursor.line;

    page_put_rows(&call->out.lookup, cursor);
    json_put_some_of(out, "next_cursor", cursor);
}

/* --- rows --- */

int start_history(struct call *call)
{
    return rows_start(call, OPS_LOOKUP_HISTORY, OPS_HISTORY_DEFAULT);
}

int start_executions(struct call *call)
{
    size_t limit = call->id[0] != '\0' ? OPS_ROWS_MAX : OPS_RECENT_DEFAULT;

    return rows_start(call, OPS_LOOKUP_EXECUTIONS, limit);
}

int start_skipped(struct call *call)
{
    return rows_start(call, OPS_LOOKUP_SKIPPED, OPS_SKIPPED_DEFAULT);
}

/* What a row says about its migration, under the same keys everywhere. */
struct row_names {
    const char *migration_id, *schema, *table, *version, *connection, *backend;
};

static void put_names(const struct row_names *names, struct buf *out)
{
    json_put_member(out, "migration_id", names->migration_id);
    json_put_member(out, "schema", names->schema);
    if (names->table != NULL)
        json_put_member(out, "table", names->table);
    json_put_member(out, "version", names->version);
    json_put_member(out, "connection", names->connection);
    json_put_member(out, "backend", names->backend);
}

static void put_event_names(const struct store_event_row *row, const char *table, struct buf *out)
{
    struct row_names names = {row->migration_id, row->schema,     table,
                              row->version,      row->connection, row->backend};

    put_names(&names, out);
}

static void put_history_row(struct call *call, const struct store_event_row *row, struct buf *out)
{
    buf_putc(out, '{');
    put_event_names(row, ops_lookup_table(&call->out.lookup, row->migration_id), out);
    json_put_time(out, "applied_at", row->at_us);
    json_put_member(out, "status", ops_event_status(row));
    json_put_member(out, "error_message", row->error_message);
    json_put_member(out, "executed_by", row->executed_by);
    json_put_member(out, "execution_method", row->execution_method);
    json_put_member(out, "execution_context", row->execution_context);
    buf_putc(out, '}');
}

static void put_skipped_row(const struct store_event_row *row, struct buf *out)
{
    buf_putc(out, '{');
    json_put_int(out, "id", row->id);
    put_event_names(row, NULL, out);
    json_put_member(out, "executed_by", row->executed_by);
    json_put_member(out, "execution_method", row->execution_method);
    json_put_member(out, "execution_context", row->execution_context);
    json_put_time(out, "skipped_at", row->at_us);
    json_put_time(out, "created_at", row->created_at_us);
    buf_putc(out, '}');
}

static void put_execution_row(const struct store_execution *row, struct buf *out)
{
    struct row_names names = {row->migration_id, row->schema,     NULL,
                              row->version,      row->connection, row->backend};

    buf_putc(out, '{');
    json_put_int(out, "id", ops_execution_id(row));
    put_names(&names, out);
    json_put_member(out, "status", row->status);
    json_put_bool(out, "applied", row->applied);
    json_put_some_time(out, "applied_at", row->applied_at_us);
    json_put_time(out, "created_at", row->created_at_us);
    json_put_time(out, "updated_at", row->updated_at_us);
    buf_putc(out, '}');
}

/* `{"migration_id":"...","<list>":[` */
static bool put_rows_head(struct call *call, const char *list, struct buf *out)
{
    buf_putc(out, '{');
    if (call->id[0] != '\0')
        json_put_member(out, "migration_id", call->id);
    json_put_key(out, list);
    buf_putc(out, '[');
    return true;
}

/* Whether a row follows; the end of the list is written here. */
static bool next_row(struct call *call, enum ops_next next, struct buf *out)
{
    if (next == OPS_NEXT_END) {
        buf_putc(out, ']');
        put_place(call, out);
        buf_putc(out, '}');
    } else if (next == OPS_NEXT_ITEM) {
        buf_puts(out, call->cursor.count++ > 0 ? "," : "");
    }
    return next == OPS_NEXT_ITEM;
}

static bool more_of_history(struct pump *pump, struct buf *out)
{
    struct call *call = container_of(pump, struct call, pump);
    const struct store_event_row *row;
    enum ops_next next;

    if (call->cursor.stage++ == 0)
        return put_rows_head(call, "history", out);
    next = ops_lookup_next_event(&call->out.lookup, &call->cursor.at, &row);
    if (next_row(call, next, out))
        put_history_row(call, row, out);
    return next != OPS_NEXT_END;
}

static bool more_of_skipped(struct pump *pump, struct buf *out)
{
    struct call *call = container_of(pump, struct call, pump);
    const struct store_event_row *row;
    enum ops_next next;

    if (call->cursor.stage++ == 0)
        return put_rows_head(call, "skipped", out);
    next = ops_lookup_next_event(&call->out.lookup, &call->cursor.at, &row);
    if (next_row(call, next, out))
        put_skipped_row(row, out);
    return next != OPS_NEXT_END;
}

static bool more_of_executions(struct pump *pump, struct buf *out)
{
    struct call *call = container_of(pump, struct call, pump);
    const struct store_execution *row;
    enum ops_next next;

    if (call->cursor.stage++ == 0)
        return put_rows_head(call, "executions", out);
    next = ops_lookup_next_execution(&call->out.lookup, &call->cursor.at, &row);
    if (next_row(call, next, out))
        put_execution_row(row, out);
    return next != OPS_NEXT_END;
}

void answer_history(struct call *call)
{
    struct err err;

    if (call->out.lookup.resolve.found) {
        call_pump(call, 200, more_of_history);
        return;
    }
    err_set(&err, ERR_NOT_FOUND, "migration not found");
    call_fail(call, &err);
}

void answer_executions(struct call *call)
{
    call_pump(call, 200, more_of_executions);
}

void answer_skipped(struct call *call)
{
    call_pump(call, 200, more_of_skipped);
}
