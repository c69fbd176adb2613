#include "store/sqlite_private.h"

static const char sqlite_schema_tables[] =
    "CREATE TABLE IF NOT EXISTS migrations_list ("
    " migration_id TEXT NOT NULL PRIMARY KEY CHECK (length(migration_id) <= 255),"
    " schema TEXT NOT NULL CHECK (length(schema) <= 255),"
    " version TEXT NOT NULL CHECK (length(version) <= 50),"
    " name TEXT NOT NULL CHECK (length(name) <= 255),"
    " connection TEXT NOT NULL CHECK (length(connection) <= 255),"
    " backend TEXT NOT NULL CHECK (length(backend) <= 50),"
    " up_sql TEXT, down_sql TEXT, dependencies TEXT, structured_dependencies TEXT,"
    " status TEXT NOT NULL DEFAULT 'pending', created_at INTEGER, updated_at INTEGER,"
    " error_message TEXT, checksum TEXT, definition TEXT);"
    "CREATE TABLE IF NOT EXISTS migrations_history ("
    " id INTEGER PRIMARY KEY,"
    " migration_id TEXT NOT NULL REFERENCES migrations_list (migration_id) ON DELETE CASCADE,"
    " schema TEXT NOT NULL CHECK (length(schema) <= 255),"
    " version TEXT NOT NULL, connection TEXT NOT NULL, backend TEXT NOT NULL,"
    " status TEXT NOT NULL, error_message TEXT, executed_by TEXT,"
    " execution_method TEXT NOT NULL DEFAULT 'api', execution_context TEXT,"
    " applied_at INTEGER, created_at INTEGER, run_id TEXT);"
    "CREATE TABLE IF NOT EXISTS migrations_executions ("
    " migration_id TEXT NOT NULL REFERENCES migrations_list (migration_id) ON DELETE CASCADE,"
    " schema TEXT NOT NULL CHECK (length(schema) <= 255),"
    " version TEXT NOT NULL, connection TEXT NOT NULL, backend TEXT NOT NULL,"
    " status TEXT NOT NULL, applied INTEGER NOT NULL DEFAULT 0, applied_at INTEGER, actions TEXT,"
    " created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, checksum TEXT, run_id TEXT,"
    " PRIMARY KEY (migration_id, schema, version, connection, backend));"
    "CREATE TABLE IF NOT EXISTS migrations_dependencies ("
    " id INTEGER PRIMARY KEY,"
    " migration_id TEXT NOT NULL REFERENCES migrations_list (migration_id) ON DELETE CASCADE,"
    " dependency_id TEXT NOT NULL REFERENCES migrations_list (migration_id) ON DELETE CASCADE,"
    " connection TEXT NOT NULL, schema TEXT NOT NULL, target TEXT NOT NULL,"
    " target_type TEXT NOT NULL DEFAULT 'name', requires_table TEXT, requires_schema TEXT,"
    " created_at INTEGER);"
    "CREATE TABLE IF NOT EXISTS migrations_skipped ("
    " id INTEGER PRIMARY KEY,"
    " migration_id TEXT NOT NULL REFERENCES migrations_list (migration_id) ON DELETE CASCADE,"
    " schema TEXT NOT NULL CHECK (length(schema) <= 255), connection TEXT NOT NULL,"
    " version TEXT NOT NULL, backend TEXT NOT NULL, executed_by TEXT,"
    " execution_method TEXT NOT NULL DEFAULT 'api', execution_context TEXT,"
    " skipped_at INTEGER NOT NULL, created_at INTEGER NOT NULL, run_id TEXT);";

static const char sqlite_schema_run_tables[] =
    "CREATE TABLE IF NOT EXISTS bfm_runs ("
    " id TEXT NOT NULL PRIMARY KEY,"
    " kind TEXT NOT NULL, connection TEXT NOT NULL, status TEXT NOT NULL, request TEXT,"
    " executed_by TEXT, execution_method TEXT, execution_context TEXT, server_id TEXT,"
    " retry_of TEXT, error_message TEXT, lanes INTEGER, lanes_failed INTEGER, applied INTEGER,"
    " skipped INTEGER, failed INTEGER, not_run INTEGER, started_at INTEGER, ended_at INTEGER)"
    " WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS bfm_run_lanes ("
    " run_id TEXT NOT NULL, number INTEGER NOT NULL, schema TEXT NOT NULL,"
    " failed INTEGER NOT NULL, error_message TEXT, applied INTEGER, skipped INTEGER,"
    " failed_steps INTEGER, not_run INTEGER, duration_ms INTEGER,"
    " PRIMARY KEY (run_id, number)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS bfm_idempotency_keys ("
    " owner TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL, run_id TEXT NOT NULL,"
    " created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, answer TEXT,"
    " PRIMARY KEY (owner, key)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS bfm_servers ("
    " server_id TEXT NOT NULL PRIMARY KEY, started_at INTEGER NOT NULL, seen_at INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS bfm_ledger ("
    " connection TEXT NOT NULL, schema TEXT NOT NULL, migration_id TEXT NOT NULL,"
    " checksum TEXT NOT NULL, run_id TEXT NOT NULL, undo INTEGER NOT NULL,"
    " complete INTEGER NOT NULL, started INTEGER NOT NULL, done INTEGER NOT NULL,"
    " applied_at INTEGER, revision INTEGER NOT NULL,"
    " PRIMARY KEY (connection, schema, migration_id)) WITHOUT ROWID;";

static const char sqlite_schema_indexes[] =
    "CREATE INDEX IF NOT EXISTS idx_migrations_history_migration_id"
    " ON migrations_history (migration_id);"
    "CREATE INDEX IF NOT EXISTS idx_migrations_history_migration_id_schema"
    " ON migrations_history (migration_id, schema);"
    "CREATE UNIQUE INDEX IF NOT EXISTS idx_migrations_history_run_id_migration_id_schema_status"
    " ON migrations_history (run_id, migration_id, schema, status) WHERE run_id IS NOT NULL;"
    "CREATE INDEX IF NOT EXISTS idx_migrations_history_run_id ON migrations_history (run_id)"
    " WHERE run_id IS NOT NULL;"
    "CREATE INDEX IF NOT EXISTS idx_migrations_executions_connection_schema_version"
    " ON migrations_executions (connection, schema, version, applied, status, updated_at);"
    "DROP INDEX IF EXISTS idx_migrations_executions_connection_schema;" /* the one above has it */
    "CREATE INDEX IF NOT EXISTS idx_migrations_executions_updated_at"
    " ON migrations_executions (updated_at);"
    "CREATE INDEX IF NOT EXISTS idx_migrations_dependencies_migration_id"
    " ON migrations_dependencies (migration_id);"
    "CREATE INDEX IF NOT EXISTS idx_migrations_dependencies_dependency_id"
    " ON migrations_dependencies (dependency_id);"
    "CREATE INDEX IF NOT EXISTS idx_migrations_skipped_migration_id_schema_connection_id_run_id"
    " ON migrations_skipped (migration_id, schema, connection, id, run_id);"
    "CREATE INDEX IF NOT EXISTS idx_bfm_runs_connection_id ON bfm_runs (connection, id);"
    "CREATE INDEX IF NOT EXISTS idx_bfm_runs_status_id ON bfm_runs (status, id);"
    "CREATE INDEX IF NOT EXISTS idx_bfm_runs_kind_id ON bfm_runs (kind, id);"
    "CREATE INDEX IF NOT EXISTS idx_bfm_runs_executed_by_id ON bfm_runs (executed_by, id);"
    "CREATE INDEX IF NOT EXISTS idx_bfm_runs_ended_at ON bfm_runs (ended_at)"
    " WHERE status <> 'running';"
    "CREATE INDEX IF NOT EXISTS idx_bfm_idempotency_keys_expires_at"
    " ON bfm_idempotency_keys (expires_at);"
    "CREATE INDEX IF NOT EXISTS idx_bfm_idempotency_keys_run_id ON bfm_idempotency_keys (run_id);";

/* Columns that the tables of an earlier version of this server do not have. */
static const struct sqlite_schema_column {
    const char *there, *add;
} sqlite_schema_columns[] = {
    {"SELECT 1 FROM pragma_table_info('migrations_history') WHERE name = 'attempts'",
     "ALTER TABLE migrations_history ADD COLUMN attempts INTEGER"},
    {"SELECT 1 FROM pragma_table_info('migrations_history') WHERE name = 'duration_ms'",
     "ALTER TABLE migrations_history ADD COLUMN duration_ms INTEGER"},
};

static const char sqlite_schema_old[] =
    "SELECT 1 FROM pragma_table_info('migrations_list') WHERE name = 'last_status'";

/* Whether a query has a row. */
static int sqlite_schema_ask(struct sqlite *db, const char *sql, bool *row, struct err *err)
{
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(db, sql, &stmt, err);

    if (rc == 0)
        rc = sqlite_step(stmt, row, err);
    if (rc == 0 && *row)
        sqlite_reset(stmt);
    return rc;
}

static int sqlite_schema_check(struct sqlite *db, struct err *err)
{
    bool old = false;
    int rc = sqlite_schema_ask(db, sqlite_schema_old, &old, err);

    if (rc != 0 || !old)
        return rc;
    return err_set(err, ERR_STORE,
                   "migrations_list has the layout of an older server (column last_status), which "
                   "is not converted; use another state database");
}

static int sqlite_schema_add_columns(struct sqlite *db, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < ARRAY_SIZE(sqlite_schema_columns) && rc == 0; i++) {
        bool there = false;

        rc = sqlite_schema_ask(db, sqlite_schema_columns[i].there, &there, err);
        if (rc == 0 && !there)
            rc = sqlite_exec(db, sqlite_schema_columns[i].add, err);
    }
    return rc;
}

int sqlite_schema_ensure(struct sqlite *db, struct err *err)
{
    int rc = sqlite_exec(db, "BEGIN IMMEDIATE", err);

    if (rc != 0)
        return rc;
    rc = sqlite_schema_check(db, err);
    if (rc == 0)
        rc = sqlite_exec(db, sqlite_schema_tables, err);
    if (rc == 0)
        rc = sqlite_exec(db, sqlite_schema_run_tables, err);
    if (rc == 0)
        rc = sqlite_schema_add_columns(db, err);
    if (rc == 0)
        rc = sqlite_exec(db, sqlite_schema_indexes, err);
    if (rc == 0)
        rc = sqlite_exec(db, "COMMIT", err);
    if (rc != 0)
        sqlite_rollback(db);
    return rc;
}
