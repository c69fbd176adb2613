#include <string.h>

#include "store/sqlite_private.h"

#define SQL_EXECUTION                                                             \
    "SELECT migration_id, schema, version, connection, backend, status, applied," \
    " checksum, applied_at, created_at, updated_at FROM migrations_executions "

static const char sql_applied_schema[] =
    SQL_EXECUTION "WHERE connection = ?1 AND schema = ?2 AND applied";
static const char sql_applied_all[] = SQL_EXECUTION "WHERE connection = ?1 AND applied";
/* ?3 to ?5: the last row of the page before; the end of time and NULL at the start. */
#define SQL_BEHIND                                                                \
    "updated_at <= ?3 AND (updated_at < ?3 OR (schema, migration_id) > (?4, ?5))" \
    " ORDER BY updated_at DESC, schema, migration_id LIMIT ?2"

static const char sql_executions_of[] = SQL_EXECUTION "WHERE migration_id = ?1 AND " SQL_BEHIND;

/* An ID that is made of the row's own parts; older servers left others behind (bfm-api.md §7). */
#define SQL_IS_BASE_ID                                                       \
    "substr(migration_id, 1, length(version) + 1) = version || '_'"          \
    " AND substr(migration_id, -(length(backend) + length(connection) + 2))" \
    " = '_' || backend || '_' || connection"

static const char sql_executions_recent[] =
    SQL_EXECUTION "WHERE (status <> 'pending' OR applied_at IS NOT NULL OR run_id IS NOT NULL)"
                  " AND " SQL_IS_BASE_ID " AND " SQL_BEHIND;

#define SQL_TERMINAL "('applied', 'success', 'failed', 'rolled_back')"

#define SQL_STATUS(filter)                                                                   \
    "SELECT g.migration_id, g.schema, g.version, g.name, g.connection, g.backend, g.status," \
    " g.error_message, g.checksum, g.executions, g.applied_executions, g.applied_at,"        \
    " g.declared, g.declared_applied, g.declared_applied_at, h.status, h.error_message"      \
    " FROM (SELECT l.migration_id, l.schema, l.version, l.name, l.connection, l.backend,"    \
    " l.status, l.error_message, l.checksum, count(e.migration_id) AS executions,"           \
    " sum(e.applied) AS applied_executions,"                                                 \
    " max(CASE WHEN e.applied THEN e.applied_at END) AS applied_at,"                         \
    " max(CASE WHEN e.schema = l.schema THEN e.status END) AS declared,"                     \
    " max(CASE WHEN e.schema = l.schema THEN e.applied END) AS declared_applied,"            \
    " max(CASE WHEN e.schema = l.schema AND e.applied THEN e.applied_at END)"                \
    " AS declared_applied_at"                                                                \
    " FROM migrations_list l LEFT JOIN migrations_executions e"                              \
    " ON e.migration_id = l.migration_id WHERE " filter " GROUP BY l.migration_id) g"        \
    " LEFT JOIN migrations_history h ON h.id = CASE WHEN g.status IN ('applied', 'success')" \
    " OR (g.status = 'failed' AND g.error_message IS NULL) THEN (SELECT t.id"                \
    " FROM migrations_history t WHERE t.migration_id = g.migration_id"                       \
    " AND t.status IN " SQL_TERMINAL " ORDER BY t.id DESC LIMIT 1) END"                      \
    " ORDER BY g.migration_id"

static const char sql_status_of[] = SQL_STATUS("l.migration_id = ?1");
static const char sql_status_all[] =
    SQL_STATUS("substr(l.migration_id, 1, length(l.version) + 1) = l.version || '_'"
               " AND substr(l.migration_id, -(length(l.backend) + length(l.connection) + 2))"
               " = '_' || l.backend || '_' || l.connection");

#define SQL_HISTORY                                                                 \
    "SELECT id, migration_id, schema, version, connection, backend, status,"        \
    " error_message, executed_by, execution_method, execution_context, applied_at," \
    " created_at FROM migrations_history "

static const char sql_history_of[] =
    SQL_HISTORY "WHERE migration_id = ?1 AND id < ?3 ORDER BY id DESC LIMIT ?2";
static const char sql_history_recent[] = SQL_HISTORY "WHERE id < ?3 ORDER BY id DESC LIMIT ?2";

/* Rows that wait to be pruned are not shown. */
#define SQL_SKIPPED(filter)                                                            \
    "SELECT id, migration_id, schema, version, connection, backend, NULL, NULL,"       \
    " executed_by, execution_method, execution_context, skipped_at, created_at"        \
    " FROM migrations_skipped s WHERE " filter                                         \
    "(SELECT count(*) FROM migrations_skipped n WHERE n.migration_id = s.migration_id" \
    " AND n.schema = s.schema AND n.connection = s.connection AND n.id > s.id) < 5"    \
    " AND id < ?3 ORDER BY id DESC LIMIT ?2"

static const char sql_skipped_of[] = SQL_SKIPPED("migration_id = ?1 AND ");
static const char sql_skipped_recent[] = SQL_SKIPPED("");

/* Reads a page of the file, if there is one, and misses no table. */
static const char sql_ping[] =
    "SELECT count(*) FROM (SELECT 1 FROM migrations_list LIMIT 1) WHERE NOT EXISTS ("
    "SELECT 1 FROM migrations_history WHERE false"
    " UNION ALL SELECT 1 FROM migrations_executions WHERE false"
    " UNION ALL SELECT 1 FROM migrations_dependencies WHERE false"
    " UNION ALL SELECT 1 FROM migrations_skipped WHERE false"
    " UNION ALL SELECT 1 FROM bfm_runs WHERE false"
    " UNION ALL SELECT 1 FROM bfm_run_lanes WHERE false"
    " UNION ALL SELECT 1 FROM bfm_idempotency_keys WHERE false"
    " UNION ALL SELECT 1 FROM bfm_servers WHERE false"
    " UNION ALL SELECT 1 FROM bfm_ledger WHERE false"
    ")";

static const char *sqlite_read_text(void *arg, int column)
{
    return sqlite_text(arg, column);
}

static int64_t sqlite_read_integer(void *arg, int column)
{
    return sqlite_int(arg, column);
}

int sqlite_read_rows(struct sqlite_stmt *stmt, struct rows *rows, struct request *request)
{
    struct err *err = &request->op->err;
    bool row;
    int rc;

    rows->source.arg = stmt;
    while ((rc = sqlite_step(stmt, &row, err)) == 0 && row) {
        rc = core_add_row(request, rows);
        if (rc != 0) {
            sqlite_reset(stmt);
            return err_set(err, rc, "out of memory");
        }
    }
    return rc;
}

static int sqlite_read_scope(struct sqlite *db, struct rows *rows, struct request *request,
                             const struct store_scope *scope)
{
    const char *sql = scope->schemas != NULL ? sql_applied_schema : sql_applied_all;
    size_t count = scope->schemas != NULL ? scope->schema_count : 1;
    struct sqlite_stmt *stmt;
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = sqlite_prepare(db, sql, &stmt, &request->op->err);
        if (rc != 0)
            return rc;
        sqlite_bind_text(stmt, 1, scope->connection);
        if (scope->schemas != NULL)
            sqlite_bind_text(stmt, 2, scope->schemas[i]);
        rc = sqlite_read_rows(stmt, rows, request);
    }
    return rc;
}

static int sqlite_read_applied(struct sqlite *db, struct rows *rows, struct request *request)
{
    int rc = 0;

    for (size_t i = 0; i < request->scope_count && rc == 0; i++)
        rc = sqlite_read_scope(db, rows, request, &request->scopes[i]);
    if (rc == 0)
        rows_order_executions(request->out.executions);
    return rc;
}

static const char *sqlite_read_sql(const struct request *request)
{
    bool one = request->migration_id != NULL;

    switch (request->kind) {
    case REQUEST_EXECUTIONS:
        return one ? sql_executions_of : sql_executions_recent;
    case REQUEST_STATUSES:
        return one ? sql_status_of : sql_status_all;
    case REQUEST_HISTORY:
        return one ? sql_history_of : sql_history_recent;
    case REQUEST_SKIPPED:
        return one ? sql_skipped_of : sql_skipped_recent;
    case REQUEST_APPLIED:
    case REQUEST_RUNS:
    case REQUEST_RUN_LANES:
    case REQUEST_RUN_STEPS:
    case REQUEST_TENANTS:
    case REQUEST_STANDING:
    case REQUEST_UNENDED:
    case REQUEST_PREPARE:
    case REQUEST_PING:
    case REQUEST_WRITE:
    case REQUEST_SYNC:
    case REQUEST_PUT_RUN:
    case REQUEST_CLAIM_KEY:
    case REQUEST_BEAT:
    case REQUEST_LEDGER:
    case REQUEST_SWAP_LEDGER:
        break;
    }
    return sql_ping;
}

static void sqlite_read_bind_page(struct sqlite_stmt *stmt, const struct request *request)
{
    const struct store_cursor *cursor = request->cursor;
    int64_t before = request->before_id > 0 ? request->before_id : INT64_MAX;

    sqlite_bind_int(stmt, 2, request->limit < INT32_MAX ? (int64_t)request->limit : INT32_MAX);
    sqlite_bind_int(stmt, 3, cursor != NULL ? cursor->updated_at_us : before);
    if (cursor == NULL)
        return;
    sqlite_bind_text(stmt, 4, cursor->schema);
    sqlite_bind_text(stmt, 5, cursor->migration_id);
}

static int sqlite_read_query(struct sqlite *db, struct rows *rows, struct request *request)
{
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(db, sqlite_read_sql(request), &stmt, &request->op->err);

    if (rc != 0)
        return rc;
    if (request->migration_id != NULL)
        sqlite_bind_text(stmt, 1, request->migration_id);
    if (request->kind != REQUEST_STATUSES && request->kind != REQUEST_PING)
        sqlite_read_bind_page(stmt, request);
    return sqlite_read_rows(stmt, rows, request);
}

static int sqlite_read_ping(struct sqlite *db, struct rows *rows, struct request *request)
{
    int rc = sqlite_read_query(db, rows, request);

    if (rc != 0 && strstr(request->op->err.text, "no such table") != NULL)
        return core_report_lost(&request->op->err);
    return rc;
}

void sqlite_read_run(struct sqlite *db, struct request *request)
{
    struct rows_source source = {.text = sqlite_read_text, .integer = sqlite_read_integer};
    struct rows rows;

    rows_init(&rows, core_result_arena(request), &source);
    switch (request->kind) {
    case REQUEST_APPLIED:
        request->rc = sqlite_read_applied(db, &rows, request);
        return;
    case REQUEST_RUNS:
    case REQUEST_RUN_LANES:
    case REQUEST_RUN_STEPS:
    case REQUEST_TENANTS:
        request->rc = sqlite_read_about_runs(db, &rows, request);
        return;
    case REQUEST_STANDING:
    case REQUEST_UNENDED:
        request->rc = sqlite_read_standing(db, &rows, request);
        return;
    case REQUEST_LEDGER:
        request->rc = sqlite_read_ledger(db, &rows, request);
        return;
    case REQUEST_PING:
        request->rc = sqlite_read_ping(db, &rows, request);
        return;
    case REQUEST_EXECUTIONS:
    case REQUEST_STATUSES:
    case REQUEST_HISTORY:
    case REQUEST_SKIPPED:
    case REQUEST_PREPARE:
    case REQUEST_WRITE:
    case REQUEST_SYNC:
    case REQUEST_PUT_RUN:
    case REQUEST_CLAIM_KEY:
    case REQUEST_BEAT:
    case REQUEST_SWAP_LEDGER:
        break;
    }
    request->rc = sqlite_read_query(db, &rows, request);
}
