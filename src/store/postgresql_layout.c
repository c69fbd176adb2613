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

#define COLUMN(table, name)                                                            \
    {                                                                                  \
        table, name, "ALTER TABLE @." table " ADD COLUMN IF NOT EXISTS " name " TEXT;" \
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
    COLUMN("migrations_list", "error_message"),
    COLUMN("migrations_list", "checksum"),
    COLUMN("migrations_list", "definition"),
    COLUMN("migrations_history", "run_id"),
    COLUMN("migrations_executions", "checksum"),
    COLUMN("migrations_executions", "run_id"),
    COLUMN("migrations_skipped", "run_id"),
    INDEX("", "idx_migrations_history_migration_id_id", "migrations_history (migration_id, id)"),
    INDEX("UNIQUE ", "idx_migrations_history_run_id_migration_id_schema_status",
          "migrations_history (run_id, migration_id, schema, status) WHERE run_id IS NOT NULL"),
    INDEX("", "idx_migrations_executions_connection_schema",
          "migrations_executions (connection, schema)"),
    INDEX("", "idx_migrations_executions_updated_at", "migrations_executions (updated_at)"),
    INDEX("", "idx_migrations_dependencies_migration_id", "migrations_dependencies (migration_id)"),
    INDEX("", "idx_migrations_dependencies_dependency_id",
          "migrations_dependencies (dependency_id)"),
    INDEX("", "idx_migrations_skipped_migration_id_schema_connection_id",
          "migrations_skipped (migration_id, schema, connection, id)"),
    INDEX("UNIQUE ", "idx_migrations_skipped_run_id_migration_id_schema_connection",
          "migrations_skipped (run_id, migration_id, schema, connection) WHERE run_id IS NOT NULL"),
};
const size_t pgstore_object_count = ARRAY_SIZE(pgstore_objects);

/* Executions are authoritative per schema; where there is none, history's newest outcome makes one,
 * and where there is no history either, the list does. */
const char pgstore_sql_adopt[] =
    "INSERT INTO @.migrations_executions (migration_id, schema, version, connection, backend,"
    " status, applied, applied_at, created_at, updated_at)"
    " SELECT migration_id, schema, version, connection, backend, 'applied', true,"
    " COALESCE(applied_at, created_at, localtimestamp),"
    " COALESCE(created_at, applied_at, localtimestamp),"
    " COALESCE(applied_at, created_at, localtimestamp) FROM (SELECT DISTINCT ON (migration_id,"
    " schema) * FROM @.migrations_history WHERE status IN ('applied', 'success', 'failed',"
    " 'rolled_back') ORDER BY migration_id, schema, (status = 'failed'), id DESC) h"
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
