#include <string.h>

#include "store/record.h"
#include "store/sqlite_private.h"

enum {
    SQLITE_WRITE_SKIPS = 5,   /* kept of each (migration, schema, connection) */
    SQLITE_WRITE_SURPLUS = 8, /* rows pruned at once; there is one, unless somebody else wrote */
};

/* What is there of a key in migrations_skipped. */
struct sqlite_skips {
    bool known; /* the record itself */
    int64_t surplus[SQLITE_WRITE_SURPLUS];
    size_t surplus_count;
};

static const char sql_list_insert[] =
    "INSERT INTO migrations_list (migration_id, schema, version, name, connection, backend,"
    " up_sql, down_sql, created_at, updated_at)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9) ON CONFLICT (migration_id) DO NOTHING";

static const char sql_history_insert[] =
    "INSERT INTO migrations_history (migration_id, schema, version, connection, backend, status,"
    " error_message, executed_by, execution_method, execution_context, applied_at, created_at,"
    " run_id, attempts, duration_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, substr(?8, 1, 255),"
    " substr(?9, 1, 20), ?10, ?11, ?12, ?13, ?14, ?15)"
    " ON CONFLICT (run_id, migration_id, schema, status) WHERE run_id IS NOT NULL"
    " DO NOTHING";

#define SQL_EXECUTION_INSERT                                                                   \
    "INSERT INTO migrations_executions (migration_id, schema, version, connection, backend,"   \
    " status, applied, applied_at, created_at, updated_at, checksum, run_id)"                  \
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11)"                               \
    " ON CONFLICT (migration_id, schema, version, connection, backend) DO UPDATE SET"          \
    " status = excluded.status, applied = excluded.applied, applied_at = excluded.applied_at," \
    " updated_at = excluded.updated_at, run_id = excluded.run_id,"                             \
    " checksum = COALESCE(excluded.checksum, checksum)"

static const char sql_execution_set[] = SQL_EXECUTION_INSERT;
static const char sql_execution_fail[] = SQL_EXECUTION_INSERT " WHERE NOT applied";

static const char sql_execution_is_applied[] =
    "SELECT 1 FROM migrations_executions WHERE migration_id = ?1 AND schema = ?2"
    " AND version = ?3 AND connection = ?4 AND backend = ?5 AND applied";

static const char sql_history_has_end[] =
    "SELECT 1 FROM migrations_history WHERE run_id = ?1 AND migration_id = ?2 AND schema = ?3"
    " AND status <> 'pending'";

static const char sql_list_set[] =
    "UPDATE migrations_list SET status = ?2, error_message = ?3, checksum = COALESCE(?4, checksum),"
    " updated_at = ?5 WHERE migration_id = ?1";

static const char sql_list_error[] =
    "UPDATE migrations_list SET error_message = ?2, updated_at = ?3 WHERE migration_id = ?1";

static const char sql_skipped_insert[] =
    "INSERT INTO migrations_skipped (migration_id, schema, version, connection, backend,"
    " executed_by, execution_method, execution_context, skipped_at, created_at, run_id)"
    " VALUES (?1, ?2, ?3, ?4, ?5, substr(?6, 1, 255), substr(?7, 1, 20), ?8, ?9, ?10, ?11)";

static const char sql_skipped_known[] =
    "SELECT id, run_id FROM migrations_skipped WHERE migration_id = ?1 AND schema = ?2"
    " AND connection = ?3 ORDER BY id DESC";

static const char sql_skipped_delete[] = "DELETE FROM migrations_skipped WHERE id = ?1";

void sqlite_bind_migration(struct sqlite_stmt *stmt, const struct migration *migration)
{
    sqlite_bind_text(stmt, 1, migration->id);
    sqlite_bind_text(stmt, 2, migration->schema);
    sqlite_bind_text(stmt, 3, migration->version);
    sqlite_bind_text(stmt, 4, migration->name);
    sqlite_bind_text(stmt, 5, migration->connection);
    sqlite_bind_text(stmt, 6, backend_kind_name(migration->backend));
    sqlite_bind_text(stmt, 7, migration->up.file);
    sqlite_bind_text(stmt, 8, migration->down.file);
}

/* A record needs its row in migrations_list; sync() may not have been there yet. */
static int sqlite_write_list_row(struct sqlite_write *write, const struct store_record *record,
                                 struct err *err)
{
    const struct migration *migration = record->migration;
    struct sqlite_stmt *stmt;
    int rc;

    if (map_get(&write->listed, &record->migration, sizeof(void *)) != NULL)
        return 0;
    rc = sqlite_prepare(write->db, sql_list_insert, &stmt, err);
    if (rc != 0)
        return rc;
    sqlite_bind_migration(stmt, migration);
    sqlite_bind_int(stmt, 9, write->now_us);
    rc = sqlite_run(stmt, err);
    if (rc == 0 && map_put(&write->listed, &record->migration, sizeof(void *), &write->listed) != 0)
        rc = err_set(err, ERR_NOMEM, "out of memory");
    return rc;
}

static void sqlite_write_bind_key(struct sqlite_stmt *stmt, const struct store_record *record)
{
    sqlite_bind_text(stmt, 1, record->migration->id);
    sqlite_bind_text(stmt, 2, record->schema);
    sqlite_bind_text(stmt, 3, record->migration->version);
    sqlite_bind_text(stmt, 4, record->migration->connection);
    sqlite_bind_text(stmt, 5, backend_kind_name(record->migration->backend));
}

static int sqlite_write_history(struct sqlite_write *write, const struct store_record *record,
                                const char *run_id, const char *error, const char *context,
                                struct err *err)
{
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(write->db, sql_history_insert, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_write_bind_key(stmt, record);
    sqlite_bind_text(stmt, 6, record_event(record->event)->status);
    sqlite_bind_text(stmt, 7, error);
    sqlite_bind_text(stmt, 8, record->caller->executed_by);
    sqlite_bind_text(stmt, 9, record_method(record));
    sqlite_bind_text(stmt, 10, context);
    sqlite_bind_int(stmt, 11, record->at_us);
    sqlite_bind_int(stmt, 12, write->now_us);
    sqlite_bind_text(stmt, 13, run_id);
    if (record->attempts > 0)
        sqlite_bind_int(stmt, 14, record->attempts);
    if (record->duration_ms > 0)
        sqlite_bind_int(stmt, 15, record->duration_ms);
    return sqlite_run(stmt, err);
}

static int sqlite_write_execution(struct sqlite_write *write, const struct store_record *record,
                                  const char *sql, const char *status, struct err *err)
{
    bool applied = strcmp(status, "applied") == 0;
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(write->db, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_write_bind_key(stmt, record);
    sqlite_bind_text(stmt, 6, status);
    sqlite_bind_int(stmt, 7, applied);
    if (applied)
        sqlite_bind_int(stmt, 8, record->at_us);
    sqlite_bind_int(stmt, 9, record->at_us);
    sqlite_bind_text(stmt, 10, applied ? record->checksum : NULL);
    sqlite_bind_text(stmt, 11, record->run_id);
    return sqlite_run(stmt, err);
}

static int sqlite_write_list_status(struct sqlite_write *write, const struct store_record *record,
                                    const char *status, const char *error, struct err *err)
{
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(write->db, sql_list_set, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, record->migration->id);
    sqlite_bind_text(stmt, 2, status);
    sqlite_bind_text(stmt, 3, error);
    sqlite_bind_text(stmt, 4, strcmp(status, "applied") == 0 ? record->checksum : NULL);
    sqlite_bind_int(stmt, 5, record->at_us);
    return sqlite_run(stmt, err);
}

static int sqlite_write_list_error(struct sqlite_write *write, const struct store_record *record,
                                   const char *error, struct err *err)
{
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(write->db, sql_list_error, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, record->migration->id);
    sqlite_bind_text(stmt, 2, error);
    sqlite_bind_int(stmt, 3, record->at_us);
    return sqlite_run(stmt, err);
}

static int sqlite_write_failure(struct sqlite_write *write, const struct store_record *record,
                                const char *error, struct err *err)
{
    int rc = sqlite_write_execution(write, record, sql_execution_fail, "failed", err);
    bool was_applied = rc == 0 && sqlite_changes(write->db) == 0;

    if (rc != 0 || !record_is_base(record))
        return rc;
    if (was_applied)
        return sqlite_write_list_error(write, record, error, err);
    return sqlite_write_list_status(write, record, "failed", error, err);
}

static int sqlite_write_outcome(struct sqlite_write *write, const struct store_record *record,
                                const char *status, struct err *err)
{
    int rc = sqlite_write_execution(write, record, sql_execution_set, status, err);

    if (rc == 0 && record_is_base(record))
        rc = sqlite_write_list_status(write, record, status, NULL, err);
    return rc;
}

static int sqlite_write_effect(struct sqlite_write *write, const struct store_record *record,
                               const char *error, struct err *err)
{
    switch (record_event(record->event)->effect) {
    case RECORD_NONE:
        return 0;
    case RECORD_APPLIED:
        return sqlite_write_outcome(write, record, "applied", err);
    case RECORD_ROLLED_BACK:
        return sqlite_write_outcome(write, record, "rolled_back", err);
    case RECORD_FAILED:
        return sqlite_write_failure(write, record, error, err);
    case RECORD_UNDO_FAILED:
        return record_is_base(record) ? sqlite_write_list_error(write, record, error, err) : 0;
    }
    return 0;
}

static int sqlite_write_forget_skip(struct sqlite_write *write, int64_t id, struct err *err)
{
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(write->db, sql_skipped_delete, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_int(stmt, 1, id);
    return sqlite_run(stmt, err);
}

/* The rows of the record's key, newest first: tells whether it is among them, and which of them
 * have to go so that there is room for one more. */
static int sqlite_write_known_skips(struct sqlite_write *write, const struct store_record *record,
                                    struct sqlite_skips *skips, struct err *err)
{
    struct sqlite_stmt *stmt;
    size_t kept = 0;
    bool row;
    int rc = sqlite_prepare(write->db, sql_skipped_known, &stmt, err);

    *skips = (struct sqlite_skips){.known = false};
    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, record->migration->id);
    sqlite_bind_text(stmt, 2, record->schema);
    sqlite_bind_text(stmt, 3, record->migration->connection);
    while ((rc = sqlite_step(stmt, &row, err)) == 0 && row) {
        const char *run_id = sqlite_text(stmt, 1);

        if (run_id != NULL && record->run_id != NULL && strcmp(run_id, record->run_id) == 0)
            skips->known = true;
        if (++kept >= SQLITE_WRITE_SKIPS && skips->surplus_count < ARRAY_SIZE(skips->surplus))
            skips->surplus[skips->surplus_count++] = sqlite_int(stmt, 0);
    }
    return rc;
}

static int sqlite_write_skip(struct sqlite_write *write, const struct store_record *record,
                             const char *context, struct err *err)
{
    struct sqlite_skips skips;
    struct sqlite_stmt *stmt = NULL;
    int rc = sqlite_write_known_skips(write, record, &skips, err);

    if (rc != 0 || skips.known)
        return rc;
    for (size_t i = 0; i < skips.surplus_count && rc == 0; i++)
        rc = sqlite_write_forget_skip(write, skips.surplus[i], err);
    if (rc == 0)
        rc = sqlite_prepare(write->db, sql_skipped_insert, &stmt, err);
    if (rc != 0)
        return rc;
    sqlite_write_bind_key(stmt, record);
    sqlite_bind_text(stmt, 6, record->caller->executed_by);
    sqlite_bind_text(stmt, 7, record_method(record));
    sqlite_bind_text(stmt, 8, context);
    sqlite_bind_int(stmt, 9, record->at_us);
    sqlite_bind_int(stmt, 10, write->now_us);
    sqlite_bind_text(stmt, 11, record->run_id);
    return sqlite_run(stmt, err);
}

static int sqlite_write_is_applied(struct sqlite_write *write, const struct store_record *record,
                                   bool *applied, struct err *err)
{
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(write->db, sql_execution_is_applied, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_write_bind_key(stmt, record);
    rc = sqlite_step(stmt, applied, err);
    if (rc == 0 && *applied)
        sqlite_reset(stmt);
    return rc;
}

/* Only what the state does not say yet. The run's own record, if it comes later, is known by the
 * history row; where an earlier record has the key already, the row goes without a run. */
static int sqlite_write_found(struct sqlite_write *write, const struct store_record *record,
                              const char *error, const char *context, struct err *err)
{
    bool applied;
    int rc = sqlite_write_is_applied(write, record, &applied, err);

    if (rc != 0 || applied == (record_event(record->event)->effect == RECORD_APPLIED))
        return rc;
    rc = sqlite_write_history(write, record, record->run_id, error, context, err);
    if (rc == 0 && sqlite_changes(write->db) == 0)
        rc = sqlite_write_history(write, record, NULL, error, context, err);
    return rc == 0 ? sqlite_write_effect(write, record, error, err) : rc;
}

static int sqlite_write_has_end(struct sqlite_write *write, const struct store_record *record,
                                bool *has_end, struct err *err)
{
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(write->db, sql_history_has_end, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, record->run_id);
    sqlite_bind_text(stmt, 2, record->migration->id);
    sqlite_bind_text(stmt, 3, record->schema);
    rc = sqlite_step(stmt, has_end, err);
    if (rc == 0 && *has_end)
        sqlite_reset(stmt);
    return rc;
}

/* A history row that is there already was written by an earlier try of the same write, and so was
 * everything that goes with it. */
int sqlite_write_record(struct sqlite_write *write, const struct store_record *record,
                        struct err *err)
{
    const char *context = record_clean_text(record->caller->execution_context, &write->context);
    const char *error = record_clean_text(record->error, &write->error);
    bool has_end;
    int rc;

    if (write->context.rc != 0 || write->error.rc != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    rc = sqlite_write_list_row(write, record, err);
    if (rc != 0)
        return rc;
    if (record_event(record->event)->status == NULL)
        return sqlite_write_skip(write, record, context, err);
    if (record_event(record->event)->found)
        return sqlite_write_found(write, record, error, context, err);
    if (record->event == STORE_CUT_OFF) {
        rc = sqlite_write_has_end(write, record, &has_end, err);
        if (rc != 0 || has_end)
            return rc;
    }
    rc = sqlite_write_history(write, record, record->run_id, error, context, err);
    if (rc != 0 || sqlite_changes(write->db) == 0)
        return rc;
    return sqlite_write_effect(write, record, error, err);
}
