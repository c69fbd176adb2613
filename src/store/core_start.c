#include "store/core.h"
#include "store/record.h"

/* The start calls, but for those about whole runs. */

int core_start_result(struct store *store, struct op *op, struct request *request)
{
    core_zero_result(request);
    return core_start(store, op, request);
}

int core_prepare(struct store *store, struct op *op)
{
    return core_start(store, op, &(struct request){.kind = REQUEST_PREPARE});
}

int core_report_lost(struct err *err)
{
    err->code = ERR_NOT_FOUND;
    return err_prefix(err,
                      "a table of the state is gone; it is made again and filled from what the "
                      "targets know (restore a backup to have its history back, and see that "
                      "BfM's role may create tables)");
}

int core_ping(struct store *store, struct op *op)
{
    return core_start(store, op, &(struct request){.kind = REQUEST_PING});
}

/* Skips are worth less than the memory of a server that cannot write them down in time. */
static bool core_is_full(const struct store_core *core, size_t records, size_t bytes)
{
    return core->queued_records > 0 && (core->queued_records + records > CORE_QUEUE_RECORDS ||
                                        core->queued_bytes + bytes > CORE_QUEUE_BYTES);
}

int core_write(struct store *store, struct op *op, const struct store_record *records, size_t count)
{
    const struct store_core *core = container_of(store, struct store_core, store);
    bool only_skips;
    size_t bytes = record_weigh(records, count, &only_skips);

    if (only_skips && core_is_full(core, count, bytes))
        return op_refuse(op, ERR_LIMIT,
                         "too much waits for the state database; skips are not recorded now");
    return core_start(store, op,
                      &(struct request){.kind = REQUEST_WRITE,
                                        .records = records,
                                        .record_count = count,
                                        .rows = count,
                                        .bytes = bytes,
                                        .only_skips = only_skips});
}

int core_sync(struct store *store, struct op *op, const struct registry *registry)
{
    return core_start(store, op, &(struct request){.kind = REQUEST_SYNC, .registry = registry});
}

int core_get_applied(struct store *store, struct op *op, const struct store_scope *scopes,
                     size_t scope_count, struct store_executions *out)
{
    return core_start_result(store, op,
                             &(struct request){.kind = REQUEST_APPLIED,
                                               .scopes = scopes,
                                               .scope_count = scope_count,
                                               .out.executions = out});
}

int core_get_executions(struct store *store, struct op *op, const char *migration_id,
                        const struct store_cursor *after, size_t limit,
                        struct store_executions *out)
{
    return core_start_result(store, op,
                             &(struct request){.kind = REQUEST_EXECUTIONS,
                                               .migration_id = migration_id,
                                               .cursor = after,
                                               .limit = limit,
                                               .out.executions = out});
}

int core_get_statuses(struct store *store, struct op *op, const char *migration_id,
                      struct store_statuses *out)
{
    return core_start_result(store, op,
                             &(struct request){.kind = REQUEST_STATUSES,
                                               .migration_id = migration_id,
                                               .out.statuses = out});
}

static int core_get_events(struct store *store, struct op *op, enum request_kind kind,
                           const char *migration_id, int64_t before_id, size_t limit,
                           struct store_event_rows *out)
{
    return core_start_result(store, op,
                             &(struct request){.kind = kind,
                                               .migration_id = migration_id,
                                               .before_id = before_id,
                                               .limit = limit,
                                               .out.events = out});
}

int core_get_history(struct store *store, struct op *op, const char *migration_id,
                     int64_t before_id, size_t limit, struct store_event_rows *out)
{
    return core_get_events(store, op, REQUEST_HISTORY, migration_id, before_id, limit, out);
}

int core_get_skipped(struct store *store, struct op *op, const char *migration_id,
                     int64_t before_id, size_t limit, struct store_event_rows *out)
{
    return core_get_events(store, op, REQUEST_SKIPPED, migration_id, before_id, limit, out);
}
