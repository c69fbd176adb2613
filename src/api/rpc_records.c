#include "api/pages.h"
#include "api/rpc.h"

/* Rows of what ran: history, executions, skips. */

static void release_lookup(struct rpc *rpc)
{
    ops_lookup_free(&rpc->out.lookup);
}

static int rows_start(struct rpc *rpc, enum ops_lookup_kind kind, const char *id, int32_t limit,
                      size_t otherwise, const char *cursor)
{
    struct ops_lookup_request request = {
        .kind = kind,
        .id = id[0] != '\0' ? id : NULL,
        .paged = limit > 0 || cursor[0] != '\0',
        .grant = rpc->grant,
    };
    int rc = rpc_read_limit(rpc, limit, OPS_LIMIT_MAX, otherwise, &request.limit);

    if (rc != 0)
        return rc;
    if (cursor[0] != '\0')
        rc = page_read_rows(cursor, grpc_arena(rpc->call), &request);
    if (rc != 0)
        return rpc_refuse_cursor(rpc, "cursor", rc);
    rc = ops_lookup_start(&rpc->api->ops, &rpc->op, &request, &rpc->out.lookup);
    if (rc == 0)
        rpc->release = release_lookup;
    return rc;
}

int rpc_start_history(struct rpc *rpc)
{
    const Migration__GetMigrationHistoryRequest *asked = (const void *)rpc->request;

    if (asked->migration_id[0] == '\0')
        return op_refuse(&rpc->op, ERR_INVALID, "migration_id is required");
    return rows_start(rpc, OPS_LOOKUP_HISTORY, asked->migration_id, asked->limit,
                      OPS_HISTORY_DEFAULT, asked->cursor);
}

int rpc_start_executions(struct rpc *rpc)
{
    const Migration__ListExecutionsRequest *asked = (const void *)rpc->request;
    size_t all = asked->migration_id[0] != '\0' ? OPS_ROWS_MAX : OPS_RECENT_DEFAULT;

    return rows_start(rpc, OPS_LOOKUP_EXECUTIONS, asked->migration_id, asked->limit, all,
                      asked->cursor);
}

int rpc_start_skipped(struct rpc *rpc)
{
    const Migration__ListSkippedRequest *asked = (const void *)rpc->request;

    return rows_start(rpc, OPS_LOOKUP_SKIPPED, asked->migration_id, asked->limit,
                      OPS_SKIPPED_DEFAULT, asked->cursor);
}

static void put_id_once(struct rpc *rpc, struct buf *out)
{
    if (rpc->stage++ == 0 && rpc->out.lookup.request.id != NULL)
        rpc_put_string(out, 1, rpc->out.lookup.request.id);
}

/* Whether there may be more; behind the last row the cursor is written. */
static bool rows_go_on(struct rpc *rpc, enum ops_next next, struct buf *out)
{
    if (next != OPS_NEXT_END)
        return true;
    page_put_rows(&rpc->out.lookup, &rpc->line);
    rpc_put_some_of(out, 3, &rpc->line);
    return false;
}

static void put_history(struct rpc *rpc, const struct store_event_row *row, struct buf *out)
{
    Migration__MigrationHistoryItem item;
    char at[RPC_TIME_SIZE];

    migration__migration_history_item__init(&item);
    item.migration_id = rpc_text(row->migration_id);
    item.schema = rpc_text(row->schema);
    item.table = rpc_text(ops_lookup_table(&rpc->out.lookup, row->migration_id));
    item.version = rpc_text(row->version);
    item.connection = rpc_text(row->connection);
    item.backend = rpc_text(row->backend);
    item.applied_at = rpc_time(row->at_us, at);
    item.status = rpc_text(ops_event_status(row));
    item.error_message = rpc_text(row->error_message);
    item.executed_by = rpc_text(row->executed_by);
    item.execution_method = rpc_text(row->execution_method);
    item.execution_context = rpc_text(row->execution_context);
    rpc_put_message(out, 2, &item.base);
}

static void put_skipped(const struct store_event_row *row, struct buf *out)
{
    Migration__SkippedItem item;
    char at[RPC_TIME_SIZE], created[RPC_TIME_SIZE];

    migration__skipped_item__init(&item);
    item.id = row->id;
    item.migration_id = rpc_text(row->migration_id);
    item.schema = rpc_text(row->schema);
    item.version = rpc_text(row->version);
    item.connection = rpc_text(row->connection);
    item.backend = rpc_text(row->backend);
    item.executed_by = rpc_text(row->executed_by);
    item.execution_method = rpc_text(row->execution_method);
    item.execution_context = rpc_text(row->execution_context);
    item.skipped_at = rpc_time(row->at_us, at);
    item.created_at = rpc_time(row->created_at_us, created);
    rpc_put_message(out, 2, &item.base);
}

static void put_execution(const struct store_execution *row, struct buf *out)
{
    Migration__ExecutionItem item;
    char applied[RPC_TIME_SIZE], created[RPC_TIME_SIZE], updated[RPC_TIME_SIZE];

    migration__execution_item__init(&item);
    item.id = ops_execution_id(row);
    item.migration_id = rpc_text(row->migration_id);
    item.schema = rpc_text(row->schema);
    item.version = rpc_text(row->version);
    item.connection = rpc_text(row->connection);
    item.backend = rpc_text(row->backend);
    item.status = rpc_text(row->status);
    item.applied = row->applied;
    item.applied_at = rpc_time(row->applied_at_us, applied);
    item.created_at = rpc_time(row->created_at_us, created);
    item.updated_at = rpc_time(row->updated_at_us, updated);
    rpc_put_message(out, 2, &item.base);
}

static bool more_of_history(struct rpc *rpc, struct buf *out)
{
    const struct store_event_row *row;
    enum ops_next next = ops_lookup_next_event(&rpc->out.lookup, &rpc->at, &row);

    put_id_once(rpc, out);
    if (next == OPS_NEXT_ITEM)
        put_history(rpc, row, out);
    return rows_go_on(rpc, next, out);
}

static bool more_of_skipped(struct rpc *rpc, struct buf *out)
{
    const struct store_event_row *row;
    enum ops_next next = ops_lookup_next_event(&rpc->out.lookup, &rpc->at, &row);

    put_id_once(rpc, out);
    if (next == OPS_NEXT_ITEM)
        put_skipped(row, out);
    return rows_go_on(rpc, next, out);
}

static bool more_of_executions(struct rpc *rpc, struct buf *out)
{
    const struct store_execution *row;
    enum ops_next next = ops_lookup_next_execution(&rpc->out.lookup, &rpc->at, &row);

    put_id_once(rpc, out);
    if (next == OPS_NEXT_ITEM)
        put_execution(row, out);
    return rows_go_on(rpc, next, out);
}

void rpc_answer_history(struct rpc *rpc)
{
    if (rpc->out.lookup.resolve.found)
        rpc_pump(rpc, more_of_history);
    else
        rpc_fail(rpc, GRPC_NOT_FOUND, "migration not found");
}

void rpc_answer_skipped(struct rpc *rpc)
{
    rpc_pump(rpc, more_of_skipped);
}

void rpc_answer_executions(struct rpc *rpc)
{
    rpc_pump(rpc, more_of_executions);
}
