#include "base/base.h"
#include "store/mysql_private.h"

/* Texts are compared byte by byte, blanks at their end included. */
#define TABLE(name, columns)                                                                 \
    {                                                                                        \
        name, NULL, NULL,                                                                    \
            "CREATE TABLE IF NOT EXISTS @." name " (" columns ") ENGINE = InnoDB ROW_FORMAT" \
            " = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE #;"                            \
    }
#define COLUMN(table, name, type)                                                  \
    {                                                                              \
        table, name, NULL, "ALTER TABLE @." table " ADD COLUMN " name " " type ";" \
    }
#define INDEX(unique, name, table, on)                                              \
    {                                                                               \
        table, NULL, name, "CREATE " unique "INDEX " name " ON @." table " " on ";" \
    }

#define LAYOUT_LIST                                                                         \
    "migration_id VARCHAR(255) NOT NULL PRIMARY KEY, `schema` VARCHAR(255) NOT NULL,"       \
    " version VARCHAR(50) NOT NULL, name VARCHAR(255) NOT NULL,"                            \
    " connection VARCHAR(255) NOT NULL, backend VARCHAR(50) NOT NULL,"                      \
    " up_sql TEXT, down_sql TEXT, dependencies LONGTEXT, structured_dependencies LONGTEXT," \
    " status VARCHAR(50) NOT NULL DEFAULT 'pending', created_at DATETIME(6),"               \
    " updated_at DATETIME(6)"

#define LAYOUT_HISTORY                                                                   \
    "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, migration_id VARCHAR(255) NOT NULL," \
    " `schema` VARCHAR(255) NOT NULL, version VARCHAR(50) NOT NULL,"                     \
    " connection VARCHAR(255) NOT NULL, backend VARCHAR(50) NOT NULL,"                   \
    " status VARCHAR(20) NOT NULL, error_message LONGTEXT, executed_by VARCHAR(255),"    \
    " execution_method VARCHAR(20) NOT NULL DEFAULT 'api', execution_context LONGTEXT,"  \
    " applied_at DATETIME(6), created_at DATETIME(6)"

/* The identity of an execution is the ID and the schema; the rest of the row is part of the ID.
 * What is asked about most often are all rows of a schema: they are beside each other. */
#define LAYOUT_EXECUTIONS                                                            \
    "migration_id VARCHAR(255) NOT NULL, `schema` VARCHAR(255) NOT NULL,"            \
    " version VARCHAR(50) NOT NULL, connection VARCHAR(255) NOT NULL,"               \
    " backend VARCHAR(50) NOT NULL, status VARCHAR(20) NOT NULL,"                    \
    " applied TINYINT NOT NULL DEFAULT 0, applied_at DATETIME(6), actions LONGTEXT," \
    " created_at DATETIME(6) NOT NULL, updated_at DATETIME(6) NOT NULL,"             \
    " PRIMARY KEY (`schema`, migration_id)"

#define LAYOUT_DEPENDENCIES                                                              \
    "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, migration_id VARCHAR(255) NOT NULL," \
    " dependency_id VARCHAR(255) NOT NULL, connection VARCHAR(255) NOT NULL,"            \
    " `schema` LONGTEXT NOT NULL, target VARCHAR(255) NOT NULL,"                         \
    " target_type VARCHAR(20) NOT NULL DEFAULT 'name', requires_table VARCHAR(255),"     \
    " requires_schema VARCHAR(255), created_at DATETIME(6)"

#define LAYOUT_SKIPPED                                                                   \
    "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, migration_id VARCHAR(255) NOT NULL," \
    " `schema` VARCHAR(255) NOT NULL, connection VARCHAR(255) NOT NULL,"                 \
    " version VARCHAR(50) NOT NULL, backend VARCHAR(50) NOT NULL,"                       \
    " executed_by VARCHAR(255), execution_method VARCHAR(20) NOT NULL DEFAULT 'api',"    \
    " execution_context LONGTEXT, skipped_at DATETIME(6) NOT NULL,"                      \
    " created_at DATETIME(6) NOT NULL"

#define LAYOUT_RUNS                                                                        \
    "id VARCHAR(64) NOT NULL PRIMARY KEY, kind VARCHAR(20) NOT NULL,"                      \
    " connection VARCHAR(255) NOT NULL, status VARCHAR(20) NOT NULL, request LONGTEXT,"    \
    " executed_by VARCHAR(255), execution_method VARCHAR(20), execution_context LONGTEXT," \
    " server_id VARCHAR(255), retry_of VARCHAR(64), error_message LONGTEXT, lanes BIGINT," \
    " lanes_failed BIGINT, applied BIGINT, skipped BIGINT, failed BIGINT, not_run BIGINT," \
    " started_at DATETIME(6), ended_at DATETIME(6)"

#define LAYOUT_LANES                                                                    \
    "run_id VARCHAR(64) NOT NULL, number BIGINT NOT NULL, `schema` LONGTEXT NOT NULL,"  \
    " failed TINYINT NOT NULL, error_message LONGTEXT, applied BIGINT, skipped BIGINT," \
    " failed_steps BIGINT, not_run BIGINT, duration_ms BIGINT, PRIMARY KEY (run_id, number)"

#define LAYOUT_KEYS                                                                        \
    "owner VARCHAR(255) NOT NULL, `key` VARCHAR(255) NOT NULL, fingerprint TEXT NOT NULL," \
    " run_id VARCHAR(64) NOT NULL, created_at DATETIME(6) NOT NULL,"                       \
    " expires_at DATETIME(6) NOT NULL, answer LONGTEXT, PRIMARY KEY (owner, `key`)"

#define LAYOUT_SERVERS                                                              \
    "server_id VARCHAR(255) NOT NULL PRIMARY KEY, started_at DATETIME(6) NOT NULL," \
    " seen_at DATETIME(6) NOT NULL"

#define LAYOUT_LEDGER                                                                    \
    "connection VARCHAR(255) NOT NULL, `schema` VARCHAR(255) NOT NULL,"                  \
    " migration_id VARCHAR(255) NOT NULL, checksum TEXT NOT NULL, run_id TEXT NOT NULL," \
    " `undo` TINYINT NOT NULL, complete TINYINT NOT NULL, started TINYINT NOT NULL,"     \
    " done BIGINT NOT NULL, applied_at DATETIME(6), revision BIGINT NOT NULL,"           \
    " PRIMARY KEY (connection, `schema`, migration_id)"

/* In this order: tables before their columns, columns before their indexes. */
const struct mystore_object mystore_objects[] = {
    TABLE("migrations_list", LAYOUT_LIST),
    TABLE("migrations_history", LAYOUT_HISTORY),
    TABLE("migrations_executions", LAYOUT_EXECUTIONS),
    TABLE("migrations_dependencies", LAYOUT_DEPENDENCIES),
    TABLE("migrations_skipped", LAYOUT_SKIPPED),
    TABLE("bfm_runs", LAYOUT_RUNS),
    TABLE("bfm_run_lanes", LAYOUT_LANES),
    TABLE("bfm_idempotency_keys", LAYOUT_KEYS),
    TABLE("bfm_servers", LAYOUT_SERVERS),
    TABLE("bfm_ledger", LAYOUT_LEDGER),
    COLUMN("migrations_list", "error_message", "LONGTEXT"),
    COLUMN("migrations_list", "checksum", "TEXT"),
    COLUMN("migrations_list", "definition", "TEXT"),
    COLUMN("migrations_history", "run_id", "VARCHAR(64)"),
    COLUMN("migrations_history", "attempts", "INT"),
    COLUMN("migrations_history", "duration_ms", "BIGINT"),
    COLUMN("migrations_executions", "checksum", "TEXT"),
    COLUMN("migrations_executions", "run_id", "VARCHAR(64)"),
    COLUMN("migrations_skipped", "run_id", "VARCHAR(64)"),
    INDEX("", "idx_migrations_list_connection", "migrations_list", "(connection)"),
    INDEX("", "idx_migrations_history_migration_id_id", "migrations_history", "(migration_id, id)"),
    INDEX("", "idx_migrations_history_migration_id_schema_id", "migrations_history",
          "(migration_id, `schema`, id)"),
    INDEX("UNIQUE ", "idx_migrations_history_run_id_migration_id_schema_status",
          "migrations_history", "(run_id, migration_id, `schema`, status)"),
    INDEX("", "idx_migrations_history_run_id_id", "migrations_history", "(run_id, id)"),
    INDEX("", "idx_migrations_executions_connection_schema_version", "migrations_executions",
          "(connection, `schema`, version, applied, status, updated_at)"),
    INDEX("", "idx_migrations_executions_migration_id_applied", "migrations_executions",
          "(migration_id, applied, applied_at)"),
    INDEX("", "idx_migrations_executions_updated_at", "migrations_executions", "(updated_at)"),
    INDEX("", "idx_migrations_dependencies_migration_id", "migrations_dependencies",
          "(migration_id)"),
    INDEX("", "idx_migrations_dependencies_dependency_id", "migrations_dependencies",
          "(dependency_id)"),
    INDEX("", "idx_migrations_skipped_migration_id_schema_id", "migrations_skipped",
          "(migration_id, `schema`, id)"),
    INDEX("UNIQUE ", "idx_migrations_skipped_run_id_migration_id_schema", "migrations_skipped",
          "(run_id, migration_id, `schema`)"),
    INDEX("", "idx_bfm_runs_connection_id", "bfm_runs", "(connection, id)"),
    INDEX("", "idx_bfm_runs_status_id", "bfm_runs", "(status, id)"),
    INDEX("", "idx_bfm_runs_kind_id", "bfm_runs", "(kind, id)"),
    INDEX("", "idx_bfm_runs_executed_by_id", "bfm_runs", "(executed_by, id)"),
    INDEX("", "idx_bfm_runs_ended_at_id", "bfm_runs", "(ended_at, id)"),
    INDEX("", "idx_bfm_idempotency_keys_expires_at", "bfm_idempotency_keys", "(expires_at)"),
    INDEX("", "idx_bfm_idempotency_keys_run_id", "bfm_idempotency_keys", "(run_id)"),
};
const size_t mystore_object_count = ARRAY_SIZE(mystore_objects);
