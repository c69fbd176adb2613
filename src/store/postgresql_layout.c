#include "base/base.h"
#include "store/postgresql_private.h"

/* The number has no meaning; every server uses the same. */
const char pgstore_sql_lock[] = "SELECT pg_advisory_xact_lock(7090475005982635109);";

#define LIST_KEY \
    "VARCHAR(255) NOT NULL REFERENCES @.migrations_list (migration_id) ON DELETE CASCADE"

static const char layout_list[] = "CREATE TABLE IF NOT EXISTS @.migrations_list ("
                                  " migration_id VARCHAR(255) PRIMARY KEY,"
                                  " schema VARCHAR(255) NOT NULL,"
                                  " version VARCHAR(50) NOT NULL,"
                                  " name VARCHAR(255) NOT NULL,"
                                  " connection VARCHAR(255) NOT NULL,"
                                  " backend VARCHAR(50) NOT NULL,"
                                  " up_sql VARCHAR(255), down_sql VARCHAR(255),"
                                  " dependencies TEXT[], structured_dependencies JSONB,"
                                  " status VARCHAR(50) NOT NULL DEFAULT 'pending',"
                                  " created_at TIMESTAMP, updated_at TIMESTAMP);";

static const char layout_history[] = "CREATE TABLE IF NOT EXISTS @.migrations_history ("
                                     " id SERIAL PRIMARY KEY,"
                                     " migration_id " LIST_KEY ","
                                     " schema VARCHAR(255) NOT NULL,"
                                     " version VARCHAR(50) NOT NULL,"
                                     " connection VARCHAR(255) NOT NULL,"
                                     " backend VARCHAR(50) NOT NULL,"
                                     " status VARCHAR(20) NOT NULL,"
                                     " error_message TEXT,"
                                     " executed_by VARCHAR(255),"
                                     " execution_method VARCHAR(20) NOT NULL DEFAULT 'api',"
                                     " execution_context TEXT,"
                                     " applied_at TIMESTAMP, created_at TIMESTAMP);";

static const char layout_executions[] =
    "CREATE TABLE IF NOT EXISTS @.migrations_executions ("
    " migration_id " LIST_KEY ","
    " schema VARCHAR(255) NOT NULL,"
    " version VARCHAR(50) NOT NULL,"
    " connection VARCHAR(255) NOT NULL,"
    " backend VARCHAR(50) NOT NULL,"
    " status VARCHAR(20) NOT NULL,"
    " applied BOOLEAN NOT NULL DEFAULT false,"
    " applied_at TIMESTAMP,"
    " actions TEXT,"
    " created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL,"
    " PRIMARY KEY (migration_id, schema, version, connection, backend));";

static const char layout_dependencies[] =
    "CREATE TABLE IF NOT EXISTS @.migrations_dependencies ("
    " id SERIAL PRIMARY KEY,"
    " migration_id " LIST_KEY ","
    " dependency_id " LIST_KEY ","
    " connection VARCHAR(255) NOT NULL,"
    " schema TEXT[] NOT NULL,"
    " target VARCHAR(255) NOT NULL,"
    " target_type VARCHAR(20) NOT NULL DEFAULT 'name',"
    " requires_table VARCHAR(255), requires_schema VARCHAR(255),"
    " created_at TIMESTAMP);";

static const char layout_skipped[] =
    "CREATE TABLE IF NOT EXISTS @.migrations_skipped ("
    " id SERIAL PRIMARY KEY,"
    " migration_id " LIST_KEY ","
    " schema VARCHAR(255) NOT NULL,"
    " connection VARCHAR(255) NOT NULL,"
    " version VARCHAR(50) NOT NULL,"
    " backend VARCHAR(50) NOT NULL,"
    " executed_by VARCHAR(255),"
    " execution_method VARCHAR(20) NOT NULL DEFAULT 'api',"
    " execution_context TEXT,"
    " skipped_at TIMESTAMP NOT NULL, created_at TIMESTAMP NOT NULL);";

static const char layout_runs[] =
    "CREATE TABLE IF NOT EXISTS @.bfm_runs ("
    " id TEXT COLLATE \"C\" PRIMARY KEY," /* IDs of runs sort by time */
    " kind TEXT NOT NULL, connection TEXT NOT NULL, status TEXT NOT NULL,"
    " request TEXT, executed_by TEXT, execution_method TEXT, execution_context TEXT,"
    " server_id TEXT, retry_of TEXT, error_message TEXT,"
    " lanes BIGINT, lanes_failed BIGINT, applied BIGINT, skipped BIGINT, failed BIGINT,"
    " not_run BIGINT, started_at TIMESTAMP, ended_at TIMESTAMP);";

static const char layout_run_lanes[] =
    "CREATE TABLE IF NOT EXISTS @.bfm_run_lanes ("
    " run_id TEXT COLLATE \"C\" NOT NULL, number BIGINT NOT NULL, schema TEXT NOT NULL,"
    " failed BOOLEAN NOT NULL, error_message TEXT, applied BIGINT, skipped BIGINT,"
    " failed_steps BIGINT, not_run BIGINT, duration_ms BIGINT, PRIMARY KEY (run_id, number));";

static const char layout_keys[] =
    "CREATE TABLE IF NOT EXISTS @.bfm_idempotency_keys ("
    " owner TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL, run_id TEXT NOT NULL,"
    " created_at TIMESTAMP NOT NULL, expires_at TIMESTAMP NOT NULL, answer TEXT,"
    " PRIMARY KEY (owner, key));";

static const char layout_servers[] =
    "CREATE TABLE IF NOT EXISTS @.bfm_servers ("
    " server_id TEXT PRIMARY KEY, started_at TIMESTAMP NOT NULL, seen_at TIMESTAMP NOT NULL);";

static const char layout_ledger[] =
    "CREATE TABLE IF NOT EXISTS @.bfm_ledger ("
    " connection TEXT COLLATE \"C\" NOT NULL, schema TEXT COLLATE \"C\" NOT NULL,"
    " migration_id TEXT COLLATE \"C\" NOT NULL, checksum TEXT NOT NULL, run_id TEXT NOT NULL,"
    " undo BOOLEAN NOT NULL, complete BOOLEAN NOT NULL, started BOOLEAN NOT NULL,"
    " done BIGINT NOT NULL, applied_at TIMESTAMP, revision BIGINT NOT NULL,"
    " PRIMARY KEY (connection, schema, migration_id));";

#define COLUMN(table, name, type)                                                          \
    {                                                                                      \
        table, name, "ALTER TABLE @." table " ADD COLUMN IF NOT EXISTS " name " " type ";" \
    }
#define INDEX(unique, name, on)                                                  \
    {                                                                            \
        name, NULL, "CREATE " unique "INDEX IF NOT EXISTS " name " ON @." on ";" \
    }

/* In this order: tables before what refers to them, columns before their indexes. Columns are this
 * server's own, nullable, so that older servers go on inserting beside it. */
const struct pgstore_object pgstore_objects[] = {
    {"", NULL, "CREATE SCHEMA IF NOT EXISTS @;"},
    {"migrations_list", NULL, layout_list},
    {"migrations_history", NULL, layout_history},
    {"migrations_executions", NULL, layout_executions},
    {"migrations_dependencies", NULL, layout_dependencies},
    {"migrations_skipped", NULL, layout_skipped},
    {"bfm_runs", NULL, layout_runs},
    {"bfm_run_lanes", NULL, layout_run_lanes},
    {"bfm_idempotency_keys", NULL, layout_keys},
    {"bfm_servers", NULL, layout_servers},
    {"bfm_ledger", NULL, layout_ledger},
    COLUMN("migrations_list", "error_message", "TEXT"),
    COLUMN("migrations_list", "checksum", "TEXT"),
    COLUMN("migrations_list", "definition", "TEXT"),
    COLUMN("migrations_history", "run_id", "TEXT"),
    COLUMN("migrations_history", "attempts", "INTEGER"),
    COLUMN("migrations_history", "duration_ms", "BIGINT"),
    COLUMN("migrations_executions", "checksum", "TEXT"),
    COLUMN("migrations_executions", "run_id", "TEXT"),
    COLUMN("migrations_skipped", "run_id", "TEXT"),
    INDEX("", "idx_migrations_history_migration_id_id", "migrations_history (migration_id, id)"),
    INDEX("", "idx_migrations_history_migration_id_schema_id",
          "migrations_history (migration_id, schema, id)"),
    INDEX("UNIQUE ", "idx_migrations_history_run_id_migration_id_schema_status",
          "migrations_history (run_id, migration_id, schema, status) WHERE run_id IS NOT NULL"),
    INDEX("", "idx_migrations_history_run_id_id",
          "migrations_history (run_id, id) WHERE run_id IS NOT NULL"),
    INDEX("", "idx_migrations_executions_connection_schema_version",
          "migrations_executions (connection, schema COLLATE \"C\", version COLLATE \"C\")"
          " INCLUDE (applied, status, updated_at)"),
    INDEX("", "idx_migrations_executions_updated_at", "migrations_executions (updated_at)"),
    INDEX("", "idx_migrations_dependencies_migration_id", "migrations_dependencies (migration_id)"),
    INDEX("", "idx_migrations_dependencies_dependency_id",
          "migrations_dependencies (dependency_id)"),
    INDEX("", "idx_migrations_skipped_migration_id_schema_connection_id",
          "migrations_skipped (migration_id, schema, connection, id)"),
    INDEX("UNIQUE ", "idx_migrations_skipped_run_id_migration_id_schema_connection",
          "migrations_skipped (run_id, migration_id, schema, connection) WHERE run_id IS NOT NULL"),
    INDEX("", "idx_bfm_runs_connection_id", "bfm_runs (connection, id)"),
    INDEX("", "idx_bfm_runs_status_id", "bfm_runs (status, id)"),
    INDEX("", "idx_bfm_runs_kind_id", "bfm_runs (kind, id)"),
    INDEX("", "idx_bfm_runs_executed_by_id", "bfm_runs (executed_by, id)"),
    INDEX("", "idx_bfm_runs_ended_at", "bfm_runs (ended_at) WHERE status <> 'running'"),
    INDEX("", "idx_bfm_idempotency_keys_expires_at", "bfm_idempotency_keys (expires_at)"),
    INDEX("", "idx_bfm_idempotency_keys_run_id", "bfm_idempotency_keys (run_id)"),
};
const size_t pgstore_object_count = ARRAY_SIZE(pgstore_objects);

#define LINK(table, column)                                                               \
    {                                                                                     \
        table, column,                                                                    \
            "ALTER TABLE @." table " DROP CONSTRAINT IF EXISTS " table "_" column "_fkey" \
            ", ADD CONSTRAINT " table "_" column "_fkey FOREIGN KEY (" column ")"         \
            " REFERENCES @.migrations_list (migration_id) ON DELETE CASCADE NOT VALID;"   \
    }

const struct pgstore_object pgstore_links[] = {
    LINK("migrations_history", "migration_id"),
    LINK("migrations_executions", "migration_id"),
    LINK("migrations_dependencies", "migration_id"),
    LINK("migrations_dependencies", "dependency_id"),
    LINK("migrations_skipped", "migration_id"),
};
const size_t pgstore_link_count = ARRAY_SIZE(pgstore_links);

/* A row's own migration, where its ID is that of one with the row's schema in front: some older
 * servers record so. */
#define OF_SCHEMA(row)                                              \
    " LEFT JOIN @.migrations_list s ON " row ".migration_id = " row \
    ".schema || '_' || s.migration_id AND " PGSTORE_IS_BASE_ID("s") " "

/* Executions are authoritative per schema; where there is none, history's newest outcome makes one,
 * and where there is no history either, the list does. */
const char pgstore_sql_adopt[] =
    "INSERT INTO @.migrations_executions (migration_id, schema, version, connection, backend,"
    " status, applied, applied_at, created_at, updated_at) SELECT s.migration_id, e.schema,"
    " s.version, s.connection, s.backend, e.status, e.applied, e.applied_at, e.created_at,"
    " e.updated_at FROM @.migrations_executions e" OF_SCHEMA(
        "e") "WHERE s.migration_id IS NOT NULL"
             " ON CONFLICT DO NOTHING;"
             "INSERT INTO @.migrations_executions (migration_id, schema, version, connection, backend,"
             " status, applied, applied_at, created_at, updated_at)"
             " SELECT migration_id, schema, version, connection, backend, 'applied', true,"
             " COALESCE(applied_at, created_at, localtimestamp),"
             " COALESCE(created_at, applied_at, localtimestamp),"
             " COALESCE(applied_at, created_at, localtimestamp) FROM (SELECT DISTINCT ON (c.migration_id,"
             " c.schema) c.* FROM (SELECT COALESCE(s.migration_id, h.migration_id) AS migration_id,"
             " h.schema, COALESCE(s.version, h.version) AS version, COALESCE(s.connection, h.connection)"
             " AS connection, COALESCE(s.backend, h.backend) AS backend, h.status, h.applied_at,"
             " h.created_at, h.id FROM @.migrations_history h" OF_SCHEMA(
                 "h") "WHERE h.status IN"
                      " ('applied', 'success', 'failed', 'rolled_back')) c"
                      " ORDER BY c.migration_id, c.schema, (c.status = 'failed'), c.id DESC) h"
                      " WHERE status IN ('applied', 'success') AND NOT EXISTS (SELECT 1 FROM @.migrations_executions"
                      " e WHERE e.migration_id = h.migration_id AND e.schema = h.schema)"
                      " AND " PGSTORE_IS_BASE_ID(
                          "h") " ON CONFLICT DO NOTHING;"
                               "INSERT INTO @.migrations_executions (migration_id, schema, version, connection, backend,"
                               " status, applied, applied_at, created_at, updated_at)"
                               " SELECT migration_id, schema, version, connection, backend, 'applied', true,"
                               " COALESCE(updated_at, created_at, localtimestamp),"
                               " COALESCE(created_at, updated_at, localtimestamp),"
                               " COALESCE(updated_at, created_at, localtimestamp) FROM @.migrations_list l"
                               " WHERE schema <> '' AND status IN ('applied', 'success') AND NOT EXISTS (SELECT 1"
                               " FROM @.migrations_executions e WHERE e.migration_id = l.migration_id) AND NOT EXISTS (SELECT"
                               " 1 FROM @.migrations_history h WHERE h.migration_id = l.migration_id)"
                               " AND " PGSTORE_IS_BASE_ID("l") " ON CONFLICT DO NOTHING;";
