#include "store/postgresql_adopt.h"

/*
 * The texts of a conversion. '@' stands for the quoted schema, '~' for its name as a literal. Old
 * tables are kept: bfm_old_migrations (first layout), bfm_old_migrations_list and _history (second
 * layout). bfm_old_ids has every different ID in them with what it stands for; a row without
 * base_id is known to nobody yet, one without imported_at has not been taken over.
 */

const char pgadopt_inspect[] =
    "SELECT count(*) FILTER (WHERE c.relname = 'migrations_list' AND EXISTS (SELECT 1"
    " FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'last_status'"
    " AND NOT a.attisdropped)), count(*) FILTER (WHERE c.relname = 'migrations_history'),"
    " count(*) FILTER (WHERE c.relname = 'bfm_migrations'),"
    " count(*) FILTER (WHERE c.relname = 'bfm_old_ids'),"
    " count(*) FILTER (WHERE c.relname = 'bfm_old_migrations_list'),"
    " count(*) FILTER (WHERE c.relname = 'bfm_old_migrations') FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ~"
    " AND c.relkind IN ('r', 'p');";

const char pgadopt_make_ids[] =
    "CREATE TABLE IF NOT EXISTS @.bfm_old_ids (n BIGSERIAL PRIMARY KEY,"
    " migration_id TEXT NOT NULL, schema TEXT NOT NULL, table_name TEXT NOT NULL,"
    " version TEXT NOT NULL, name TEXT NOT NULL, connection TEXT NOT NULL, backend TEXT NOT NULL,"
    " kind TEXT NOT NULL DEFAULT 'new', base_id TEXT, effective_schema TEXT, declared TEXT,"
    " base_version TEXT, base_name TEXT, base_connection TEXT, base_backend TEXT,"
    " imported_at TIMESTAMPTZ, UNIQUE (migration_id, schema, version, connection, backend));";

/* Indexes keep their names when their table is renamed, and would be in the way of new ones. */
#define RENAME_INDEXES(table)                                                                 \
    "DO $bfm$ DECLARE i record; BEGIN FOR i IN SELECT c.relname FROM pg_catalog.pg_index x"   \
    " JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid JOIN pg_catalog.pg_class t"          \
    " ON t.oid = x.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace"         \
    " WHERE n.nspname = ~ AND t.relname = '" table "' LOOP EXECUTE format('ALTER INDEX %I.%I" \
    " RENAME TO %I', ~, i.relname, left('bfm_old_' || i.relname, 63)); END LOOP; END $bfm$;"

/* An ID of the history has the name and the table that the list has for it. */
const char pgadopt_move_second[] =
    "ALTER TABLE IF EXISTS @.migrations_history RENAME TO bfm_old_migrations_history;"
    "ALTER TABLE @.migrations_list RENAME TO bfm_old_migrations_list;"
    "CREATE TABLE IF NOT EXISTS @.bfm_old_migrations_history (id SERIAL PRIMARY KEY,"
    " migration_id TEXT, schema TEXT, version TEXT, connection TEXT, backend TEXT, status TEXT,"
    " error_message TEXT, executed_by TEXT, execution_method TEXT, execution_context TEXT,"
    " applied_at TIMESTAMP, created_at TIMESTAMP);" RENAME_INDEXES("bfm_old_migrations_list")
        RENAME_INDEXES("bfm_old_migrations_history");

/* A server of the current layout that was started here made its tables for the list as it was. */
const char pgadopt_relink_second[] =
    "DO $bfm$ DECLARE f record; BEGIN FOR f IN SELECT t.relname, k.conname, a.attname"
    " FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class t ON t.oid = k.conrelid"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.conkey[1]"
    " WHERE k.contype = 'f' AND k.confrelid = format('%I.bfm_old_migrations_list', ~)::regclass"
    " AND t.relname IN ('migrations_executions', 'migrations_dependencies', 'migrations_skipped')"
    " LOOP EXECUTE format('ALTER TABLE %I.%I DROP CONSTRAINT %I, ADD CONSTRAINT %I FOREIGN KEY"
    " (%I) REFERENCES %I.migrations_list (migration_id) ON DELETE CASCADE NOT VALID', ~,"
    " f.relname, f.conname, f.conname, f.attname, ~); END LOOP; END $bfm$;";

const char pgadopt_fill_second[] =
    "INSERT INTO @.bfm_old_ids (migration_id, schema, version, connection, backend, name,"
    " table_name) SELECT r.migration_id, r.schema, r.version, r.connection, r.backend,"
    " COALESCE(l.name, ''), COALESCE(l.table_name, '') FROM (SELECT migration_id,"
    " COALESCE(schema, '') AS schema, COALESCE(version, '') AS version,"
    " COALESCE(connection, '') AS connection, COALESCE(backend, '') AS backend, 0 AS place"
    " FROM @.bfm_old_migrations_list UNION SELECT migration_id, COALESCE(schema, ''),"
    " COALESCE(version, ''), COALESCE(connection, ''), COALESCE(backend, ''), 1"
    " FROM @.bfm_old_migrations_history) r LEFT JOIN @.bfm_old_migrations_list l"
    " ON l.migration_id = r.migration_id WHERE r.migration_id IS NOT NULL ORDER BY r.place,"
    " r.migration_id, r.schema ON CONFLICT DO NOTHING;"
    "SELECT setval(pg_get_serial_sequence(format('%I.migrations_history', ~), 'id'),"
    " GREATEST((SELECT max(id) FROM @.bfm_old_migrations_history), 1));";

const char pgadopt_move_first[] =
    "ALTER TABLE @.bfm_migrations RENAME TO bfm_old_migrations;" RENAME_INDEXES(
        "bfm_old_migrations");

const char pgadopt_fill_first[] =
    "INSERT INTO @.bfm_old_ids (migration_id, schema, version, connection, backend, name,"
    " table_name) SELECT DISTINCT ON (migration_id) migration_id, COALESCE(schema, ''),"
    " COALESCE(version, ''), COALESCE(connection, ''), COALESCE(backend, ''), '',"
    " COALESCE(table_name, '') FROM @.bfm_old_migrations WHERE migration_id IS NOT NULL"
    " ORDER BY migration_id ON CONFLICT DO NOTHING;";

const char pgadopt_schemas[] = "SELECT DISTINCT schema FROM @.bfm_old_ids WHERE schema <> ''";

const char pgadopt_page[] =
    "SELECT n, migration_id, schema, table_name, version, name, connection, backend"
    " FROM @.bfm_old_ids WHERE base_id IS NULL AND kind <> 'junk' AND n > $1::bigint"
    " ORDER BY n LIMIT $2::bigint";

const char pgadopt_save[] =
    "UPDATE @.bfm_old_ids o SET kind = x.kind, base_id = x.id, effective_schema = x.schema,"
    " declared = x.declared, base_version = x.version, base_name = x.name,"
    " base_connection = x.connection, base_backend = x.backend"
    " FROM json_to_recordset($1::json) AS x (n bigint, kind text, id text, schema text,"
    " declared text, version text, name text, connection text, backend text) WHERE o.n = x.n";

/* --- taking over --- */

#define IS_NEW "i.imported_at IS NULL AND i.base_id IS NOT NULL AND i.kind IN ('up', 'undo')"
#define IS_ID(r)                                                                    \
    "i.migration_id = " r ".migration_id AND i.schema = COALESCE(" r ".schema, '')" \
    " AND i.version = COALESCE(" r ".version, '') AND i.connection = COALESCE(" r   \
    ".connection, '') AND i.backend = COALESCE(" r ".backend, '')"
/* What a row of an undo says is about the undo. */
#define OUTCOME(status)                                                           \
    "CASE WHEN " status " IN ('success', 'applied') THEN CASE i.kind WHEN 'undo'" \
    " THEN 'rolled_back' ELSE 'applied' END ELSE " status " END"
#define IS_TERMINAL(status) status " IN ('success', 'applied', 'failed', 'rolled_back')"

const char pgadopt_import_list[] =
    "INSERT INTO @.migrations_list (migration_id, schema, version, name, connection, backend,"
    " created_at, updated_at) SELECT DISTINCT ON (i.base_id) i.base_id, i.declared,"
    " i.base_version, i.base_name, i.base_connection, i.base_backend, localtimestamp,"
    " localtimestamp FROM @.bfm_old_ids i WHERE " IS_NEW
    " ORDER BY i.base_id, i.declared = '', i.n ON CONFLICT DO NOTHING;";

const char pgadopt_import_second[] =
    "UPDATE @.migrations_list l SET status = CASE o.last_status WHEN 'success' THEN 'applied'"
    " ELSE COALESCE(o.last_status, 'pending') END, error_message = o.last_error_message,"
    " created_at = COALESCE(o.first_seen_at, l.created_at),"
    " updated_at = COALESCE(o.last_updated_at, l.updated_at)"
    " FROM @.bfm_old_migrations_list o JOIN @.bfm_old_ids i ON " IS_ID(
        "o") " WHERE " IS_NEW
             " AND i.base_id = o.migration_id AND l.migration_id = i.base_id AND l.checksum IS NULL"
             " AND l.status = 'pending';"
             "INSERT INTO @.migrations_history (id, migration_id, schema, version, connection, backend,"
             " status, error_message, executed_by, execution_method, execution_context, applied_at,"
             " created_at) SELECT h.id, i.base_id, i.effective_schema, i.base_version, i.base_connection,"
             " i.base_backend, COALESCE(" OUTCOME(
                 "h.status") ", 'pending'), h.error_message,"
                             " h.executed_by, COALESCE(h.execution_method, 'api'), h.execution_context, h.applied_at,"
                             " h.created_at FROM @.bfm_old_migrations_history h JOIN @.bfm_old_ids i ON " IS_ID(
                                 "h") " WHERE " IS_NEW " ORDER BY h.id ON CONFLICT DO NOTHING;";

/* The newest outcome that is no failure decides, as a failed run changes nothing: that of the
 * history, and where it has none that of the list. Only where the list knows of an undo and the
 * history has no other trace of it than a record of the kind that says nothing are both right. */
const char pgadopt_judge_second[] =
    "WITH h AS (SELECT DISTINCT ON (i.base_id, i.effective_schema) i.base_id, i.effective_schema,"
    " " OUTCOME(
        "h.status") " AS status, COALESCE(h.applied_at, h.created_at) AS at, h.id"
                    " FROM @.bfm_old_migrations_history h JOIN @.bfm_old_ids i ON " IS_ID("h") " WHERE " IS_NEW " AND " IS_TERMINAL(
                        "h.status") " ORDER BY i.base_id, i.effective_schema, h.status = 'failed', h.id DESC),"
                                    " l AS (SELECT DISTINCT ON (i.base_id, i.effective_schema) i.base_id, i.effective_schema,"
                                    " " OUTCOME(
                                        "o.last_status") " AS status, COALESCE(o.last_applied_at, o.last_updated_at) AS at"
                                                         " FROM @.bfm_old_migrations_list o JOIN @.bfm_old_ids i ON " IS_ID(
                                                             "o") " WHERE " IS_NEW
                                                                  " AND " IS_TERMINAL(
                                                                      "o.last_status") " ORDER BY i.base_id, i.effective_schema,"
                                                                                       " o.last_status = 'failed', COALESCE(o.last_applied_at, o.last_updated_at) DESC NULLS LAST,"
                                                                                       " o.id DESC),"
                                                                                       " b AS (SELECT base_id, effective_schema, CASE"
                                                                                       " WHEN h.status = 'applied' AND l.status = 'rolled_back' AND EXISTS (SELECT 1"
                                                                                       " FROM @.bfm_old_migrations_history d JOIN @.bfm_old_ids i ON " IS_ID(
                                                                                           "d") " WHERE i.kind = 'junk' AND i.base_id = h.base_id AND i.effective_schema = h.effective_schema"
                                                                                                " AND d.id > h.id) THEN 'rolled_back'"
                                                                                                " WHEN h.status IN ('applied', 'rolled_back') THEN h.status"
                                                                                                " ELSE COALESCE(l.status, h.status) END AS status,"
                                                                                                " CASE WHEN h.status = 'applied' THEN h.at ELSE COALESCE(l.at, h.at) END AS at"
                                                                                                " FROM h FULL JOIN l USING (base_id, effective_schema)) ";

#define INSERT_EXECUTIONS(from)                                                                \
    "INSERT INTO @.migrations_executions (migration_id, schema, version, connection, backend," \
    " status, applied, applied_at, created_at, updated_at) SELECT b.base_id,"                  \
    " b.effective_schema, m.version, m.connection, m.backend, b.status, b.status = 'applied'," \
    " CASE b.status WHEN 'applied' THEN COALESCE(b.at, localtimestamp) END,"                   \
    " COALESCE(b.at, localtimestamp), COALESCE(b.at, localtimestamp) FROM " from               \
    " JOIN @.migrations_list m ON m.migration_id = b.base_id WHERE b.effective_schema <> ''"   \
    " ON CONFLICT DO NOTHING;"

const char pgadopt_insert_second[] = INSERT_EXECUTIONS("b");

/* What newer servers recorded of the same wins. Rows of the first layout are older than any other,
 * and the numbers say so. */
const char pgadopt_import_first[] = INSERT_EXECUTIONS(
    "(SELECT DISTINCT ON (i.base_id, i.effective_schema) i.base_id, i.effective_schema,"
    " " OUTCOME(
        "o.status") " AS status, COALESCE(o.applied_at, o.created_at) AS at"
                    " FROM @.bfm_old_migrations o JOIN @.bfm_old_ids i ON " IS_ID("o") " WHERE " IS_NEW " AND " IS_TERMINAL(
                        "o.status") " AND NOT EXISTS (SELECT 1 FROM @.migrations_history t"
                                    " WHERE t.migration_id = i.base_id AND t.schema = i.effective_schema"
                                    " AND t.status IN ('success', 'applied', 'rolled_back'))"
                                    " ORDER BY i.base_id, i.effective_schema, o.status = 'failed',"
                                    " COALESCE(o.applied_at, o.created_at) DESC NULLS LAST, o.id DESC) b") "INSERT INTO @.migrations_history (id, migration_id, schema, version, connection, backend,"
                                                                                                           " status, error_message, execution_method, applied_at, created_at) SELECT o.id - 1073741824,"
                                                                                                           " i.base_id, i.effective_schema, i.base_version, i.base_connection, i.base_backend,"
                                                                                                           " COALESCE(" OUTCOME(
                                                                                                               "o.status") ", 'pending'), o.error_message, 'api', o.applied_at,"
                                                                                                                           " o.created_at FROM @.bfm_old_migrations o JOIN @.bfm_old_ids i ON " IS_ID(
                                                                                                                               "o") " WHERE " IS_NEW
                                                                                                                                    " AND NOT EXISTS (SELECT 1 FROM @.migrations_history t"
                                                                                                                                    " WHERE t.migration_id = i.base_id AND t.schema = i.effective_schema"
                                                                                                                                    " AND t.id > -536870912 AND t.status <> 'pending') ON CONFLICT DO NOTHING;";

const char pgadopt_finish[] =
    "UPDATE @.migrations_list l SET status = e.status FROM (SELECT DISTINCT ON (m.migration_id)"
    " m.migration_id, e.status FROM @.migrations_list m JOIN @.migrations_executions e"
    " ON e.migration_id = m.migration_id AND (m.schema = '' OR e.schema = m.schema)"
    " WHERE m.checksum IS NULL AND EXISTS (SELECT 1 FROM @.bfm_old_ids i"
    " WHERE i.base_id = m.migration_id AND " IS_NEW ")"
    " ORDER BY m.migration_id, e.applied DESC, e.updated_at DESC) e"
    " WHERE e.migration_id = l.migration_id AND l.status <> e.status;"
    "SELECT count(*) FROM @.bfm_old_ids i WHERE " IS_NEW ";"
    "UPDATE @.bfm_old_ids i SET imported_at = now() WHERE " IS_NEW ";";

const char pgadopt_unknown[] =
    "SELECT migration_id, kind, count(*) OVER () FROM @.bfm_old_ids WHERE base_id IS NULL"
    " AND kind <> 'junk' ORDER BY n LIMIT 10;";
