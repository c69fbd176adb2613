#include "store/sqlite_private.h"

#define SQL_WORK(from)                                                    \
    "SELECT h.migration_id, h.schema, h.connection, 0, h.id, h.run_id,"   \
    " COALESCE(h.applied_at, h.created_at), r.status FROM " from          \
    " LEFT JOIN bfm_runs r ON r.id = h.run_id WHERE h.status = 'pending'" \
    " AND h.run_id IS NOT NULL"

#define SQL_NEWEST                                        \
    " AND NOT EXISTS (SELECT 1 FROM migrations_history n" \
    " WHERE n.migration_id = h.migration_id AND n.schema = h.schema AND n.id > h.id)"

#define SQL_APPLIED                                                         \
    "SELECT migration_id, schema, connection, 1, 0, NULL, applied_at, NULL" \
    " FROM migrations_executions WHERE applied AND migration_id = ?1"

static const char sql_standing_in_schema[] = SQL_APPLIED " AND schema = ?2 UNION ALL " SQL_WORK(
    "migrations_history h") " AND h.migration_id = ?1 AND h.schema = ?2" SQL_NEWEST;
static const char sql_standing_anywhere[] = SQL_APPLIED
    " UNION ALL " SQL_WORK("migrations_history h") " AND h.migration_id = ?1" SQL_NEWEST;

static const char sql_unended[] = SQL_WORK(
    "migrations_history h") " AND h.id > ?1 AND NOT EXISTS (SELECT 1 FROM"
                            " migrations_history n WHERE n.run_id = h.run_id AND n.migration_id = h.migration_id"
                            " AND n.schema = h.schema AND n.status <> 'pending') ORDER BY h.id LIMIT ?2";

static int standing_read_place(struct sqlite *db, struct rows *rows, struct request *request,
                               const struct store_place *place)
{
    struct sqlite_stmt *stmt;
    int rc =
        sqlite_prepare(db, place->schema != NULL ? sql_standing_in_schema : sql_standing_anywhere,
                       &stmt, &request->op->err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, place->migration_id);
    if (place->schema != NULL)
        sqlite_bind_text(stmt, 2, place->schema);
    return sqlite_read_rows(stmt, rows, request);
}

static int standing_read_unended(struct sqlite *db, struct rows *rows, struct request *request)
{
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(db, sql_unended, &stmt, &request->op->err);

    if (rc != 0)
        return rc;
    sqlite_bind_int(stmt, 1, request->after);
    sqlite_bind_int(stmt, 2, request->limit < INT32_MAX ? (int64_t)request->limit : INT32_MAX);
    return sqlite_read_rows(stmt, rows, request);
}

int sqlite_read_standing(struct sqlite *db, struct rows *rows, struct request *request)
{
    int rc = 0;

    if (request->kind == REQUEST_UNENDED)
        return standing_read_unended(db, rows, request);
    for (size_t i = 0; i < request->place_count && rc == 0; i++)
        rc = standing_read_place(db, rows, request, &request->places[i]);
    return rc;
}
