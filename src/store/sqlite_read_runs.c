#include <string.h>

#include "base/json.h"
#include "store/sqlite_private.h"

enum {
    SQLITE_IDS_MAX = 64 * 1024 * 1024, /* bytes of IDs that count among the tenants' */
};

/* The filter by which the rows are found is the first that is set, so that there is an index for
 * it; the others are looked at in each row found. */
#define SQL_RUNS(found)                                                                     \
    "SELECT id, kind, connection, status, request, executed_by, execution_method,"          \
    " execution_context, server_id, retry_of, error_message, lanes, lanes_failed, applied," \
    " skipped, failed, not_run, started_at, ended_at FROM bfm_runs WHERE " found            \
    " AND (?2 IS NULL OR id < ?2) AND (?3 IS NULL OR +connection = ?3)"                     \
    " AND (?4 IS NULL OR +executed_by = ?4) AND (?5 IS NULL OR +status = ?5)"               \
    " AND (?6 IS NULL OR +kind = ?6) ORDER BY id DESC LIMIT ?7"

static const char sql_runs_all[] = SQL_RUNS("?1 IS NULL");
static const char sql_runs_before[] = SQL_RUNS("?1 IS NULL AND id < ?2");
static const char sql_runs_id[] = SQL_RUNS("id = ?1");
static const char sql_runs_connection[] = SQL_RUNS("connection = ?1");
static const char sql_runs_by[] = SQL_RUNS("executed_by = ?1");
static const char sql_runs_status[] = SQL_RUNS("status = ?1");
static const char sql_runs_kind[] = SQL_RUNS("kind = ?1");

static const char sql_lanes[] =
    "SELECT number, schema, failed, error_message, applied, skipped, failed_steps, not_run,"
    " duration_ms FROM bfm_run_lanes WHERE run_id = ?1 AND number > ?2 ORDER BY number LIMIT ?3";

/* The newest row of each step. */
static const char sql_steps[] =
    "SELECT h.id, h.migration_id, h.schema, h.version, h.connection, h.backend, h.status,"
    " h.error_message, h.attempts, h.duration_ms, COALESCE(h.applied_at, h.created_at),"
    " (SELECT COALESCE(b.applied_at, b.created_at) FROM migrations_history b"
    " WHERE b.run_id = h.run_id AND b.migration_id = h.migration_id AND b.schema = h.schema"
    " AND b.status = 'pending') FROM migrations_history h WHERE h.run_id = ?1 AND h.id > ?2"
    " AND NOT EXISTS (SELECT 1 FROM migrations_history n WHERE n.run_id = h.run_id"
    " AND n.migration_id = h.migration_id AND n.schema = h.schema AND n.id > h.id)"
    " ORDER BY h.id LIMIT ?3";

/*
 * ?1 connection, ?2 the schema to begin behind or the only one, ?3 limit, ?4 newest version that
 * counts, ?5 JSON array of the IDs that count, NULL for all.
 *
 * All rows are counted with a covering index (b), and those of migrations that do not count, which
 * are few, are found by their IDs and taken off (x).
 */
#define SQL_TENANTS(is)                                                                       \
    "WITH x AS MATERIALIZED (SELECT e.schema AS schema,"                                      \
    " count(*) FILTER (WHERE e.applied AND l.schema <> '') AS fixed,"                         \
    " count(*) FILTER (WHERE e.applied AND e.version <= ?4) AS counted,"                      \
    " count(*) FILTER (WHERE NOT e.applied AND e.status = 'failed' AND e.version <= ?4)"      \
    " AS failed FROM migrations_list l CROSS JOIN migrations_executions e"                    \
    " ON e.migration_id = l.migration_id AND +e.connection = ?1 AND e.schema " is " ?2"       \
    " WHERE l.connection = ?1 AND (l.schema <> '' OR (?5 IS NOT NULL"                         \
    " AND l.migration_id NOT IN (SELECT value FROM json_each(?5)))) GROUP BY e.schema)"       \
    " SELECT b.schema, b.version, b.applied - COALESCE(x.fixed, 0),"                          \
    " b.counted - COALESCE(x.counted, 0), b.failed - COALESCE(x.failed, 0), b.last_run FROM"  \
    " (SELECT schema, max(version) FILTER (WHERE applied) AS version,"                        \
    " count(*) FILTER (WHERE applied) AS applied,"                                            \
    " count(*) FILTER (WHERE applied AND version <= ?4) AS counted,"                          \
    " count(*) FILTER (WHERE NOT applied AND status = 'failed' AND version <= ?4) AS failed," \
    " max(updated_at) AS last_run FROM migrations_executions WHERE connection = ?1"           \
    " AND schema " is " ?2 GROUP BY schema ORDER BY schema LIMIT ?3) b LEFT JOIN x"           \
    " ON x.schema = b.schema ORDER BY b.schema"

static const char sql_tenants[] = SQL_TENANTS(">");
static const char sql_tenant[] = SQL_TENANTS("=");

static int64_t sqlite_read_limit(size_t limit)
{
    return limit < INT32_MAX ? (int64_t)limit : INT32_MAX;
}

static const char *sqlite_read_set(const char *text)
{
    return text != NULL && text[0] != '\0' ? text : NULL;
}

/* Runs of one connection, or of all with NULL. */
static int sqlite_read_runs_of(struct sqlite *db, struct rows *rows, struct request *request,
                               const char *connection)
{
    const struct store_run_filter *filter = request->run_filter;
    const char *id = sqlite_read_set(filter->id), *by = sqlite_read_set(filter->executed_by);
    const char *status = sqlite_read_set(filter->status), *kind = sqlite_read_set(filter->kind);
    const char *before = sqlite_read_set(filter->before_id);
    const struct {
        const char *value, *sql;
    } ways[] = {
        {id, sql_runs_id},     {connection, sql_runs_connection},
        {by, sql_runs_by},     {status, sql_runs_status},
        {kind, sql_runs_kind}, {NULL, sql_runs_all},
    };
    const char *sql = before != NULL ? sql_runs_before : sql_runs_all;
    const char *found = NULL;
    struct sqlite_stmt *stmt;
    int rc;

    for (size_t i = 0; i < ARRAY_SIZE(ways) && found == NULL; i++) {
        found = ways[i].value;
        if (found != NULL)
            sql = ways[i].sql;
    }
    rc = sqlite_prepare(db, sql, &stmt, &request->op->err);
    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, found);
    sqlite_bind_text(stmt, 2, before);
    sqlite_bind_text(stmt, 3, connection);
    sqlite_bind_text(stmt, 4, by);
    sqlite_bind_text(stmt, 5, status);
    sqlite_bind_text(stmt, 6, kind);
    sqlite_bind_int(stmt, 7, sqlite_read_limit(request->limit));
    return sqlite_read_rows(stmt, rows, request);
}

static bool sqlite_read_may_see(const struct store_run_filter *filter, const char *connection)
{
    for (size_t i = 0; i < filter->connection_count; i++)
        if (strcmp(filter->connections[i], connection) == 0)
            return true;
    return filter->connections == NULL;
}

static int sqlite_read_runs(struct sqlite *db, struct rows *rows, struct request *request)
{
    const struct store_run_filter *filter = request->run_filter;
    const char *connection = sqlite_read_set(filter->connection);
    int rc = 0;

    if (connection != NULL && !sqlite_read_may_see(filter, connection))
        return 0;
    if (connection != NULL || filter->connections == NULL)
        return sqlite_read_runs_of(db, rows, request, connection);
    for (size_t i = 0; i < filter->connection_count && rc == 0; i++)
        rc = sqlite_read_runs_of(db, rows, request, filter->connections[i]);
    if (rc == 0)
        rows_order_runs(request->out.runs, request->limit);
    return rc;
}

static int sqlite_read_part(struct sqlite *db, struct rows *rows, struct request *request,
                            const char *sql)
{
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(db, sql, &stmt, &request->op->err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, request->run_id);
    sqlite_bind_int(stmt, 2, request->after);
    sqlite_bind_int(stmt, 3, sqlite_read_limit(request->limit));
    return sqlite_read_rows(stmt, rows, request);
}

static int sqlite_read_tenants_of(struct sqlite *db, struct rows *rows, struct request *request,
                                  const char *ids)
{
    const struct store_tenant_filter *filter = request->tenant_filter;
    const char *schema = filter->schema != NULL ? filter->schema : filter->after_schema;
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(db, filter->schema != NULL ? sql_tenant : sql_tenants, &stmt,
                            &request->op->err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, filter->connection);
    sqlite_bind_text(stmt, 2, schema != NULL ? schema : "");
    sqlite_bind_int(stmt, 3, filter->limit > 0 ? sqlite_read_limit(filter->limit) : -1);
    sqlite_bind_text(stmt, 4, filter->upto_version != NULL ? filter->upto_version : "~");
    sqlite_bind_text(stmt, 5, ids);
    return sqlite_read_rows(stmt, rows, request);
}

static int sqlite_read_tenants(struct sqlite *db, struct rows *rows, struct request *request)
{
    const struct store_tenant_filter *filter = request->tenant_filter;
    struct buf ids;
    int rc = 0;

    buf_init(&ids, SQLITE_IDS_MAX);
    if (filter->migration_ids != NULL)
        rc = json_put_array(&ids, filter->migration_ids, filter->id_count);
    if (rc == 0)
        rc = sqlite_read_tenants_of(db, rows, request, ids.data);
    else
        err_set(&request->op->err, rc, "%s", err_code_text(rc));
    buf_free(&ids);
    return rc;
}

int sqlite_read_about_runs(struct sqlite *db, struct rows *rows, struct request *request)
{
    if (request->kind == REQUEST_RUNS)
        return sqlite_read_runs(db, rows, request);
    if (request->kind == REQUEST_TENANTS)
        return sqlite_read_tenants(db, rows, request);
    return sqlite_read_part(db, rows, request,
                            request->kind == REQUEST_RUN_LANES ? sql_lanes : sql_steps);
}
