#include <string.h>

#include "store/mysql_private.h"

/* Reads about runs and of tenants: the columns are those of rows.h. */

static const char runs_sql_select[] =
    "SELECT id, kind, connection, status, request, executed_by, execution_method,"
    " execution_context, server_id, retry_of, error_message, lanes, lanes_failed, applied, skipped,"
    " failed, not_run, " MYSTORE_US("started_at") ", " MYSTORE_US("ended_at") " FROM @.bfm_runs"
                                                                              " WHERE TRUE";

static const char runs_sql_lanes[] =
    "SELECT number, `schema`, failed, error_message, applied, skipped, failed_steps, not_run,"
    " duration_ms FROM @.bfm_run_lanes WHERE run_id = ";

/* The newest row of each step. */
static const char runs_sql_steps[] =
    "SELECT h.id, h.migration_id, h.`schema`, h.version, h.connection, h.backend, h.status,"
    " h.error_message, h.attempts, h.duration_ms, " MYSTORE_US("COALESCE(h.applied_at, h.created_at)") ", (SELECT " MYSTORE_US(
        "COALESCE(b.applied_at, b.created_at)") " FROM @.migrations_history b"
                                                " WHERE b.run_id = h.run_id AND b.migration_id = h.migration_id AND b.`schema` = h.`schema`"
                                                " AND b.status = 'pending') FROM @.migrations_history h WHERE NOT EXISTS (SELECT 1"
                                                " FROM @.migrations_history n WHERE n.run_id = h.run_id AND n.migration_id = h.migration_id"
                                                " AND n.`schema` = h.`schema` AND n.id > h.id) AND h.run_id = ";

/*
 * All rows are counted with a covering index (b), and those of migrations that do not count, which
 * are few, are found by their IDs and taken off (x). '$' stands for the newest version that counts,
 * '%' for which rows of a table, and '^' for the limit.
 */
static const char tenants_sql[] =
    "SELECT b.`schema`, b.version, b.applied - COALESCE(x.fixed, 0),"
    " b.counted - COALESCE(x.counted, 0), b.failed - COALESCE(x.failed, 0), " MYSTORE_US(
        "b.last_run") " FROM (SELECT e.`schema`, MAX(IF(e.applied, e.version, NULL)) AS version,"
                      " SUM(e.applied) AS applied, SUM(e.applied AND e.version <= $) AS counted,"
                      " SUM(NOT e.applied AND e.status = 'failed' AND e.version <= $) AS failed,"
                      " MAX(e.updated_at) AS last_run FROM @.migrations_executions e"
                      " FORCE INDEX (idx_migrations_executions_connection_schema_version)"
                      " WHERE % GROUP BY e.`schema` ORDER BY e.`schema`^) b"
                      " LEFT JOIN (SELECT e.`schema`, SUM(e.applied AND l.`schema` <> '') AS fixed,"
                      " SUM(e.applied AND e.version <= $) AS counted,"
                      " SUM(NOT e.applied AND e.status = 'failed' AND e.version <= $) AS failed"
                      " FROM @.migrations_list l STRAIGHT_JOIN @.migrations_executions e FORCE INDEX (idx_migrations_executions_migration_id_applied)"
                      " ON e.migration_id = l.migration_id WHERE % AND l.connection = ";

/* --- runs --- */

static void runs_put_filter(struct mystore_script *script, const char *sql, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return;
    mystore_sql(script, sql);
    mystore_put_text(script, value);
}

/* Those of one connection, of which there is an index, or of all with NULL. */
static void runs_put_of(struct mystore_script *script, const struct request *request,
                        const char *connection)
{
    const struct store_run_filter *filter = request->run_filter;

    mystore_sql(script, runs_sql_select);
    runs_put_filter(script, " AND id = ", filter->id);
    runs_put_filter(script, " AND connection = ", filter->connection);
    runs_put_filter(script, " AND kind = ", filter->kind);
    runs_put_filter(script, " AND executed_by = ", filter->executed_by);
    runs_put_filter(script, " AND status = ", filter->status);
    runs_put_filter(script, " AND id < ", filter->before_id);
    if (connection != NULL) {
        mystore_sql(script, " AND connection = ");
        mystore_put_text(script, connection);
    }
    mystore_sql(script, " ORDER BY id DESC");
    mystore_put_limit(script, request->limit);
    mystore_sql(script, ";");
}

static void runs_put(struct mystore_script *script, const struct request *request)
{
    const struct store_run_filter *filter = request->run_filter;

    if (filter->connections == NULL) {
        runs_put_of(script, request, NULL);
        return;
    }
    mystore_sql(script, MYSTORE_BEGIN_READ);
    for (size_t i = 0; i < filter->connection_count; i++) {
        runs_put_of(script, request, filter->connections[i]);
        mystore_break(script);
    }
    mystore_sql(script, MYSTORE_COMMIT);
}

static void runs_put_lanes_of(struct mystore_script *script, const struct request *request)
{
    mystore_sql(script, runs_sql_lanes);
    mystore_put_text(script, request->run_id);
    mystore_sql(script, " AND number > ");
    mystore_put_number(script, request->after);
    mystore_sql(script, " ORDER BY number");
    mystore_put_limit(script, request->limit);
}

static void runs_put_steps_of(struct mystore_script *script, const struct request *request)
{
    mystore_sql(script, runs_sql_steps);
    mystore_put_text(script, request->run_id);
    mystore_sql(script, " AND h.id > ");
    mystore_put_number(script, request->after);
    mystore_sql(script, " ORDER BY h.id");
    mystore_put_limit(script, request->limit);
}

/* --- tenants --- */

static void tenants_put_rows(struct mystore_script *script,
                             const struct store_tenant_filter *filter)
{
    const char *after = filter->after_schema != NULL ? filter->after_schema : "";

    mystore_sql(script, "e.connection = ");
    mystore_put_text(script, filter->connection);
    mystore_sql(script, filter->schema != NULL ? " AND e.`schema` = " : " AND e.`schema` > ");
    mystore_put_text(script, filter->schema != NULL ? filter->schema : after);
}

static void tenants_put_mark(struct mystore_script *script, char mark,
                             const struct store_tenant_filter *filter)
{
    if (mark == '$')
        mystore_put_text(script, filter->upto_version != NULL ? filter->upto_version : "~");
    else if (mark == '%')
        tenants_put_rows(script, filter);
    else if (filter->limit > 0)
        mystore_put_limit(script, filter->limit);
}

/* Up to the next mark, which is behind what is returned. */
static const char *tenants_put_part(struct mystore_script *script, const char *sql)
{
    struct buf *part = &script->clean;
    size_t len = strcspn(sql, "$%^");

    buf_truncate(part, 0);
    buf_append(part, sql, len);
    if (part->rc != 0)
        script->rc = part->rc;
    mystore_sql(script, buf_str(part));
    return sql + len;
}

static void tenants_put_uncounted(struct mystore_script *script,
                                  const struct store_tenant_filter *filter)
{
    mystore_sql(script, " AND (l.`schema` <> ''");
    if (filter->migration_ids != NULL)
        mystore_sql(script, filter->id_count > 0 ? " OR l.migration_id NOT IN (" : " OR TRUE");
    for (size_t i = 0; filter->migration_ids != NULL && i < filter->id_count; i++) {
        mystore_sql(script, i > 0 ? ", " : "");
        mystore_put_text(script, filter->migration_ids[i]);
    }
    mystore_sql(script, filter->migration_ids != NULL && filter->id_count > 0 ? "))" : ")");
}

static void tenants_put(struct mystore_script *script, const struct request *request)
{
    const struct store_tenant_filter *filter = request->tenant_filter;
    const char *at = tenants_put_part(script, tenants_sql);

    while (*at != '\0') {
        tenants_put_mark(script, *at, filter);
        at = tenants_put_part(script, at + 1);
    }
    mystore_put_text(script, filter->connection);
    tenants_put_uncounted(script, filter);
    mystore_sql(script, " GROUP BY e.`schema`) x ON x.`schema` = b.`schema` ORDER BY b.`schema`");
}

void mystore_read_put_about_runs(struct mystore_script *script, const struct request *request)
{
    if (request->kind == REQUEST_RUNS)
        runs_put(script, request);
    else if (request->kind == REQUEST_TENANTS)
        tenants_put(script, request);
    else if (request->kind == REQUEST_RUN_LANES)
        runs_put_lanes_of(script, request);
    else
        runs_put_steps_of(script, request);
}
