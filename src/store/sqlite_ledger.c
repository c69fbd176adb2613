#include "store/sqlite_private.h"

#define SQL_LEDGER                                                                              \
    "SELECT connection, schema, migration_id, checksum, run_id, undo, complete, started, done," \
    " applied_at, revision FROM bfm_ledger WHERE connection = ?1"

static const char sql_ledger_of[] = SQL_LEDGER " AND schema = ?2 AND migration_id = ?3 LIMIT ?4";
static const char sql_ledger_all[] =
    SQL_LEDGER " AND (schema, migration_id) > (?2, ?3) ORDER BY schema, migration_id LIMIT ?4";

static const char sql_ledger_insert[] =
    "INSERT INTO bfm_ledger (connection, schema, migration_id, checksum, run_id, undo, complete,"
    " started, done, applied_at, revision) VALUES (?1, ?2, ?3, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
    " ON CONFLICT (connection, schema, migration_id) DO NOTHING";
static const char sql_ledger_update[] =
    "UPDATE bfm_ledger SET checksum = ?5, run_id = ?6, undo = ?7, complete = ?8, started = ?9,"
    " done = ?10, applied_at = ?11, revision = ?12"
    " WHERE connection = ?1 AND schema = ?2 AND migration_id = ?3 AND revision = ?4";
static const char sql_ledger_delete[] =
    "DELETE FROM bfm_ledger"
    " WHERE connection = ?1 AND schema = ?2 AND migration_id = ?3 AND revision = ?4";

int sqlite_read_ledger(struct sqlite *db, struct rows *rows, struct request *request)
{
    const struct ledger_query *query = request->ledger_query;
    bool one = query->migration_id != NULL;
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(db, one ? sql_ledger_of : sql_ledger_all, &stmt, &request->op->err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, query->connection);
    sqlite_bind_text(stmt, 2, one ? query->schema : query->after_schema);
    sqlite_bind_text(stmt, 3, one ? query->migration_id : query->after_id);
    sqlite_bind_int(stmt, 4, query->limit < INT32_MAX ? (int64_t)query->limit : INT32_MAX);
    return sqlite_read_rows(stmt, rows, request);
}

static void sqlite_ledger_bind_row(struct sqlite_stmt *stmt, const struct ledger_row *row)
{
    sqlite_bind_text(stmt, 5, row->checksum);
    sqlite_bind_text(stmt, 6, row->run_id);
    sqlite_bind_int(stmt, 7, row->undo);
    sqlite_bind_int(stmt, 8, row->complete);
    sqlite_bind_int(stmt, 9, row->started);
    sqlite_bind_int(stmt, 10, row->done);
    if (row->applied_at_us > 0)
        sqlite_bind_int(stmt, 11, row->applied_at_us);
    sqlite_bind_int(stmt, 12, row->revision);
}

int sqlite_write_swap(struct sqlite_write *write, const struct request *request, struct err *err)
{
    const struct ledger_change *change = request->change;
    const char *sql = change->remove          ? sql_ledger_delete
                      : change->expected == 0 ? sql_ledger_insert
                                              : sql_ledger_update;
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(write->db, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, change->row.connection);
    sqlite_bind_text(stmt, 2, change->row.schema);
    sqlite_bind_text(stmt, 3, change->row.migration_id);
    if (sql != sql_ledger_insert)
        sqlite_bind_int(stmt, 4, change->expected);
    if (!change->remove)
        sqlite_ledger_bind_row(stmt, &change->row);
    rc = sqlite_run(stmt, err);
    if (rc == 0)
        *request->out.swapped = sqlite_changes(write->db) > 0;
    return rc;
}
