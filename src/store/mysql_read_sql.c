#include <stdint.h>

#include "store/mysql_private.h"

/* Reads about single migrations: the columns are those of rows.h. */

#define READ_EXECUTION(hint)                                                           \
    "SELECT e.migration_id, e.`schema`, e.version, e.connection, e.backend, e.status," \
    " e.applied, e.checksum, " MYSTORE_US("e.applied_at") ", " MYSTORE_US(             \
        "e.created_at") ", " MYSTORE_US("e.updated_at") " FROM @.migrations_executions e" hint

/* By the schemas, however many rows the server thinks there are. */
static const char read_sql_applied[] =
    READ_EXECUTION(" FORCE INDEX (PRIMARY)") " WHERE e.applied AND (e.connection, e.`schema`) IN (";
static const char read_sql_applied_all[] =
    READ_EXECUTION("") " WHERE e.applied AND CRC32(e.`schema`) % ";

/* A piece brings no more rows than fit: so many schemas of those asked for, or such a part of all.
 */
enum {
    READ_SCHEMAS = 4 * MYSTORE_KEYS_MAX,
    READ_PARTS = 8,
};

static const char read_sql_executions[] = READ_EXECUTION("") " WHERE ";

#define READ_RECENT(row)                                                                         \
    "(" row "status <> 'pending' OR " row "applied_at IS NOT NULL OR " row "run_id IS NOT NULL)" \
    " AND " MYSTORE_IS_BASE_ID(row)

#define READ_TERMINAL "('applied', 'success', 'failed', 'rolled_back')"

/* The limit keeps the inner part apart, so that the newest row is looked up once for each row. */
static const char read_sql_statuses[] =
    "SELECT l.migration_id, l.`schema`, l.version, l.name, l.connection, l.backend, l.status,"
    " l.error_message, l.checksum, COALESCE(e.executions, 0), COALESCE(e.applied_executions, 0),"
    " " MYSTORE_US(
        "e.applied_at") ", d.status, d.applied,"
                        " IF(d.applied, " MYSTORE_US(
                            "d.applied_at") ", NULL), h.status, h.error_message"
                                            " FROM (SELECT k.*, CASE WHEN k.status IN ('applied', 'success') OR (k.status = 'failed'"
                                            " AND k.error_message IS NULL) THEN (SELECT t.id FROM @.migrations_history t"
                                            " WHERE t.migration_id = k.migration_id AND t.status IN " READ_TERMINAL
                                            " ORDER BY t.id DESC LIMIT 1) END AS newest FROM @.migrations_list k WHERE ";
static const char read_sql_statuses_of[] =
    " LIMIT 9223372036854775807) l LEFT JOIN (SELECT migration_id, COUNT(*) AS executions,"
    " SUM(applied) AS applied_executions, MAX(IF(applied, applied_at, NULL)) AS applied_at"
    " FROM @.migrations_executions WHERE ";
static const char read_sql_statuses_end[] =
    " GROUP BY migration_id) e ON e.migration_id = l.migration_id"
    " LEFT JOIN @.migrations_executions d ON d.migration_id = l.migration_id"
    " AND d.`schema` = l.`schema` LEFT JOIN @.migrations_history h ON h.id = l.newest"
    " ORDER BY l.migration_id";

static const char read_sql_history[] =
    "SELECT id, migration_id, `schema`, version, connection, backend, status, error_message,"
    " executed_by, execution_method, execution_context, " MYSTORE_US(
        "applied_at") ","
                      " " MYSTORE_US("created_at") " FROM @.migrations_history WHERE id < ";

/* Rows that wait to be pruned are not shown. */
static const char read_sql_skipped[] =
    "SELECT id, migration_id, `schema`, version, connection, backend, NULL, NULL, executed_by,"
    " execution_method, execution_context, " MYSTORE_US("skipped_at") ", " MYSTORE_US(
        "created_at") " FROM @.migrations_skipped s WHERE (SELECT COUNT(*)"
                      " FROM @.migrations_skipped n WHERE n.migration_id = s.migration_id"
                      " AND n.`schema` = s.`schema` AND n.connection = s.connection AND n.id > s.id) < 5 AND id < ";

/* --- applied --- */

static void read_put_scopes(struct mystore_script *script, const struct request *request)
{
    size_t count = 0;

    mystore_rows_begin(script, read_sql_applied, ")", MYSTORE_KEYS_MAX);
    for (size_t i = 0; i < request->scope_count; i++) {
        const struct store_scope *scope = &request->scopes[i];

        for (size_t at = 0; scope->schemas != NULL && at < scope->schema_count; at++) {
            mystore_row_begin(script);
            mystore_row_text(script, scope->connection);
            mystore_row_text(script, scope->schemas[at]);
            mystore_row_end(script);
            if (++count % READ_SCHEMAS == 0) {
                mystore_rows_end(script);
                mystore_break(script);
            }
        }
    }
    mystore_rows_end(script);
}

static void read_put_all_schemas(struct mystore_script *script, const char *connection)
{
    for (int part = 0; part < READ_PARTS; part++) {
        mystore_sql(script, read_sql_applied_all);
        mystore_put_number(script, READ_PARTS);
        mystore_sql(script, " = ");
        mystore_put_number(script, part);
        mystore_sql(script, " AND e.connection = ");
        mystore_put_text(script, connection);
        mystore_sql(script, ";");
        mystore_break(script);
    }
}

static void read_put_applied(struct mystore_script *script, const struct request *request)
{
    mystore_sql(script, MYSTORE_BEGIN_READ);
    read_put_scopes(script, request);
    for (size_t i = 0; i < request->scope_count; i++)
        if (request->scopes[i].schemas == NULL)
            read_put_all_schemas(script, request->scopes[i].connection);
    mystore_sql(script, MYSTORE_COMMIT);
}

/* --- executions --- */

static void read_put_which(struct mystore_script *script, const struct request *request)
{
    if (request->migration_id == NULL) {
        mystore_sql(script, READ_RECENT("e."));
        return;
    }
    mystore_sql(script, "e.migration_id = ");
    mystore_put_text(script, request->migration_id);
}

/* Not before the last row of the page before. */
static void read_put_from(struct mystore_script *script, const struct store_cursor *cursor)
{
    if (cursor == NULL)
        return;
    mystore_sql(script, " AND e.updated_at <= ");
    mystore_put_time(script, cursor->updated_at_us);
    mystore_sql(script, " AND (e.updated_at < ");
    mystore_put_time(script, cursor->updated_at_us);
    mystore_sql(script, " OR e.`schema` > ");
    mystore_put_text(script, cursor->schema);
    mystore_sql(script, " OR (e.`schema` = ");
    mystore_put_text(script, cursor->schema);
    mystore_sql(script, " AND e.migration_id > ");
    mystore_put_text(script, cursor->migration_id);
    mystore_sql(script, "))");
}

/* Not older than the last row of the page, which an index by time finds: the order of the page has
 * no index. */
static void read_put_to(struct mystore_script *script, const struct request *request)
{
    if (request->limit == 0 || request->limit > INT32_MAX)
        return;
    mystore_sql(script,
                " AND e.updated_at >= COALESCE((SELECT t.updated_at FROM (SELECT e.updated_at"
                " FROM @.migrations_executions e WHERE ");
    read_put_which(script, request);
    read_put_from(script, request->cursor);
    mystore_sql(script, " ORDER BY e.updated_at DESC LIMIT 1 OFFSET ");
    mystore_put_number(script, (int64_t)request->limit - 1);
    mystore_sql(script, ") t), '1000-01-01')");
}

static void read_put_executions(struct mystore_script *script, const struct request *request)
{
    mystore_sql(script, read_sql_executions);
    read_put_which(script, request);
    read_put_from(script, request->cursor);
    if (request->migration_id == NULL)
        read_put_to(script, request);
    mystore_sql(script, " ORDER BY e.updated_at DESC, e.`schema`, e.migration_id");
    mystore_put_limit(script, request->limit);
}

/* --- the others --- */

static void read_put_one(struct mystore_script *script, const char *column, const char *id)
{
    mystore_sql(script, column);
    mystore_put_text(script, id);
}

static void read_put_statuses(struct mystore_script *script, const char *id)
{
    mystore_sql(script, read_sql_statuses);
    if (id != NULL)
        read_put_one(script, "k.migration_id = ", id);
    else
        mystore_sql(script, MYSTORE_IS_BASE_ID("k."));
    mystore_sql(script, read_sql_statuses_of);
    if (id != NULL)
        read_put_one(script, "migration_id = ", id);
    else
        mystore_sql(script, "TRUE");
    mystore_sql(script, read_sql_statuses_end);
}

static void read_put_events(struct mystore_script *script, const struct request *request)
{
    mystore_sql(script, request->kind == REQUEST_HISTORY ? read_sql_history : read_sql_skipped);
    mystore_put_number(script, request->before_id > 0 ? request->before_id : INT64_MAX);
    if (request->migration_id != NULL)
        read_put_one(script, " AND migration_id = ", request->migration_id);
    mystore_sql(script, " ORDER BY id DESC");
    mystore_put_limit(script, request->limit);
}

void mystore_read_put_basic(struct mystore_script *script, const struct request *request)
{
    if (request->kind == REQUEST_APPLIED)
        read_put_applied(script, request);
    else if (request->kind == REQUEST_EXECUTIONS)
        read_put_executions(script, request);
    else if (request->kind == REQUEST_STATUSES)
        read_put_statuses(script, request->migration_id);
    else
        read_put_events(script, request);
}
