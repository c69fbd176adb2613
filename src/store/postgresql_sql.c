#include "store/postgresql_private.h"

/* --- writes --- */

#define EXECUTION_UPSERT(which)                                                               \
    "INSERT INTO @.migrations_executions AS old (migration_id, schema, version, connection,"  \
    " backend, status, applied, applied_at, created_at, updated_at, checksum, run_id)"        \
    " SELECT id, schema, version, connection, backend, status, applied, applied_at, at, at,"  \
    " checksum, run FROM k WHERE " which " ORDER BY id, schema, version, connection, backend" \
    " ON CONFLICT (migration_id, schema, version, connection, backend) DO UPDATE SET"         \
    " status = excluded.status, applied = excluded.applied,"                                  \
    " applied_at = excluded.applied_at, updated_at = excluded.updated_at,"                    \
    " run_id = excluded.run_id, checksum = COALESCE(excluded.checksum, old.checksum)"

/*
 * One batch: $1 migrations, $2 callers, $3 records, each a JSON array. All of it sees the state
 * before the statement; what the records do to each other is worked out from their numbers.
 *
 * v  the executions as they are now, locked: what is found depends on them, and two servers that
 *    find the same do it one after the other
 * c  the records with a status; taken: the history has the key already, or any end of what is to
 *    be cut off; copy and place count the
 *    key among the records of the same kind and among all
 * w  those with an effect, whether the execution was applied before each, and whether that is
 *    known: from a locked row or from the batch itself
 * y  what was found and is news: it has the key of the run's own record, so that the run changes
 *    nothing if it comes later, and goes without a run where the key is taken
 * h  history rows that were new: a record whose row is there already has had its effect
 * f  the new records with an effect
 * k  the last effect on each execution; a failure or something found never overwrites what another
 *    server has applied meanwhile
 * g  the last effect on each list row; status NULL leaves the status as it is
 * p  keeps the last 5 skips
 *
 * Every batch takes its locks in the order v, h and the rest, which the counts of v and h see to:
 * otherwise two servers that write about the same migration would stop each other.
 *
 * Two servers that find an execution applied of which there is no row have nothing to lock. The
 * key in the history leaves one of the rows; both are written only if the history had one with it
 * although the execution was gone.
 */
static const char pgstore_sql_write[] =
    "m AS MATERIALIZED (SELECT * FROM json_to_recordset($1::json) AS x (i int, id text,"
    " schema text, version text, name text, connection text, backend text, up text, down text)),"
    " r AS MATERIALIZED (SELECT x.n, m.id, x.s AS schema, m.version, m.connection, m.backend,"
    " x.st AS status, x.ef AS effect, x.b AS base, x.fo AS found, x.er AS error,"
    " left(c.by, 255) AS by, left(COALESCE(x.me, c.method), 20) AS method, c.context, x.run,"
    " x.tr AS attempts, x.ms AS duration, x.ck AS checksum, timestamp 'epoch' + x.at * interval '1 microsecond' AS at"
    " FROM json_to_recordset($3::json) AS x (n int, m int, c int, s text, st text, ef text,"
    " b boolean, fo boolean, er text, me text, run text, ck text, tr int, ms bigint,"
    " at bigint)"
    " JOIN m ON m.i = x.m"
    " JOIN json_to_recordset($2::json) AS c (i int, by text, method text, context text)"
    " ON c.i = x.c),"
    " v AS MATERIALIZED (SELECT migration_id AS id, schema, version, connection, backend,"
    " x.applied FROM @.migrations_executions x JOIN (SELECT DISTINCT id AS migration_id, schema,"
    " version, connection, backend FROM r WHERE effect IS NOT NULL) q"
    " USING (migration_id, schema, version, connection, backend)"
    " ORDER BY 1, 2, 3, 4, 5 FOR UPDATE OF x),"
    " c AS MATERIALIZED (SELECT r.*, EXISTS (SELECT 1 FROM @.migrations_history t"
    " WHERE t.run_id = r.run AND t.migration_id = r.id AND t.schema = r.schema"
    " AND (t.status = r.status OR (r.effect IS NULL AND r.status = 'failed'"
    " AND t.status <> 'pending'))) AS taken,"
    " row_number() OVER (PARTITION BY id, schema, status, run, found ORDER BY n) AS copy,"
    " row_number() OVER (PARTITION BY id, schema, status, run ORDER BY n) AS place"
    " FROM r WHERE status IS NOT NULL),"
    " w AS MATERIALIZED (SELECT c.*, COALESCE(max(CASE effect WHEN 'A' THEN n * 2 + 1"
    " WHEN 'R' THEN n * 2 END) OVER earlier % 2 = 1, v.applied, false) AS was,"
    " v.applied IS NOT NULL OR (effect IN ('A', 'R') AND NOT found)"
    " OR count(*) FILTER (WHERE effect IN ('A', 'R') AND NOT found) OVER earlier > 0 AS known"
    " FROM c LEFT JOIN v USING (id, schema, version, connection, backend)"
    " WHERE effect IS NOT NULL AND (found OR run IS NULL OR (copy = 1 AND NOT taken))"
    " WINDOW earlier AS (PARTITION BY c.id, c.schema, c.version, c.connection, c.backend"
    " ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),";

static const char pgstore_sql_write_middle[] =
    " y AS MATERIALIZED (SELECT n, CASE WHEN NOT taken AND place = 1 THEN run END AS run FROM w"
    " WHERE found AND was <> (effect = 'A')),"
    " h AS (INSERT INTO @.migrations_history (migration_id, schema, version, connection, backend,"
    " status, error_message, executed_by, execution_method, execution_context, applied_at,"
    " created_at, run_id, attempts, duration_ms) SELECT id, schema, version, connection, backend,"
    " status, error, by, method, context, at, " PGSTORE_NOW_UTC ","
    " CASE WHEN found THEN y.run ELSE c.run END, attempts, duration"
    " FROM c LEFT JOIN y USING (n) WHERE (NOT found OR y.n IS NOT NULL)"
    " AND NOT (taken AND effect IS NULL AND status = 'failed')"
    " AND (SELECT count(*) FROM v) >= 0 ORDER BY n"
    " ON CONFLICT (run_id, migration_id, schema, status) WHERE run_id IS NOT NULL DO NOTHING"
    " RETURNING run_id, migration_id, schema, status),"
    " f AS MATERIALIZED (SELECT w.* FROM w LEFT JOIN y USING (n)"
    " WHERE (SELECT count(*) FROM h) >= 0 AND (y.n IS NOT NULL OR (NOT found"
    " AND (w.run IS NULL OR EXISTS (SELECT 1 FROM h WHERE h.run_id = w.run"
    " AND h.migration_id = w.id AND h.schema = w.schema AND h.status = w.status))))),"
    " k AS MATERIALIZED (SELECT DISTINCT ON (id, schema, version, connection, backend) id, schema,"
    " version, connection, backend, CASE effect WHEN 'A' THEN 'applied' WHEN 'R' THEN 'rolled_back'"
    " ELSE 'failed' END AS status, effect = 'A' AS applied, CASE effect WHEN 'A' THEN at END"
    " AS applied_at, at, CASE effect WHEN 'A' THEN checksum END AS checksum, run, known FROM f"
    " WHERE effect IN ('A', 'R') OR (effect = 'F' AND NOT was)"
    " ORDER BY id, schema, version, connection, backend, n DESC),"
    " e AS (" EXECUTION_UPSERT("known") "),"
                                        " e2 AS (" EXECUTION_UPSERT(
                                            "NOT known") " WHERE NOT old.applied),";

static const char pgstore_sql_write_rest[] =
    " g AS MATERIALIZED (SELECT id, (array_agg(CASE effect WHEN 'A' THEN 'applied'"
    " WHEN 'R' THEN 'rolled_back' ELSE 'failed' END ORDER BY n DESC)"
    " FILTER (WHERE effect IN ('A', 'R') OR (effect = 'F' AND NOT was)))[1] AS status,"
    " (array_agg(CASE WHEN effect IN ('F', 'U') THEN error END ORDER BY n DESC))[1] AS error,"
    " (array_agg(checksum ORDER BY n DESC) FILTER (WHERE effect = 'A'"
    " AND checksum IS NOT NULL))[1] AS checksum, max(at) AS at FROM f WHERE base GROUP BY id),"
    " u AS (INSERT INTO @.migrations_list AS old (migration_id, schema, version, name, connection,"
    " backend, up_sql, down_sql, created_at, status, error_message, checksum, updated_at)"
    " SELECT m.id, m.schema, m.version, m.name, m.connection, m.backend, m.up, m.down, " PGSTORE_NOW_UTC
    ","
    " COALESCE(g.status, 'pending'), g.error, g.checksum, g.at FROM g JOIN m ON m.id = g.id"
    " ORDER BY m.id ON CONFLICT (migration_id) DO UPDATE SET"
    " status = CASE excluded.status WHEN 'pending' THEN old.status ELSE excluded.status END,"
    " error_message = excluded.error_message,"
    " checksum = COALESCE(excluded.checksum, old.checksum), updated_at = excluded.updated_at),"
    " l AS (INSERT INTO @.migrations_list (migration_id, schema, version, name, connection,"
    " backend, up_sql, down_sql, created_at, updated_at) SELECT m.id, m.schema, m.version, m.name,"
    " m.connection, m.backend, m.up, m.down, " PGSTORE_NOW_UTC ", " PGSTORE_NOW_UTC " FROM m"
    " WHERE NOT EXISTS (SELECT 1 FROM g WHERE g.id = m.id) ORDER BY m.id"
    " ON CONFLICT (migration_id) DO NOTHING),"
    " s AS (INSERT INTO @.migrations_skipped (migration_id, schema, version, connection, backend,"
    " executed_by, execution_method, execution_context, skipped_at, created_at, run_id)"
    " SELECT id, schema, version, connection, backend, by, method, context, at, " PGSTORE_NOW_UTC
    ", run"
    " FROM r WHERE status IS NULL ORDER BY n"
    " ON CONFLICT (run_id, migration_id, schema, connection) WHERE run_id IS NOT NULL DO NOTHING"
    " RETURNING migration_id, schema, connection),"
    " p AS (DELETE FROM @.migrations_skipped WHERE id IN (SELECT o.id FROM (SELECT migration_id,"
    " schema, connection, count(*) AS fresh FROM s GROUP BY 1, 2, 3) k CROSS JOIN LATERAL"
    " (SELECT t.id FROM @.migrations_skipped t WHERE t.migration_id = k.migration_id"
    " AND t.schema = k.schema AND t.connection = k.connection ORDER BY t.id DESC"
    " OFFSET greatest(5 - k.fresh, 0)) o))"
    " SELECT 1";

/* --- reads: the columns are those of rows.h --- */

#define EXECUTION_COLUMNS                                                                           \
    "e.migration_id, e.schema, e.version, e.connection, e.backend, e.status,"                       \
    " e.applied::int, e.checksum, " PGSTORE_MICROSECONDS("e.applied_at") ", " PGSTORE_MICROSECONDS( \
        "e.created_at") ", " PGSTORE_MICROSECONDS("e.updated_at")

/* $1: pairs of connection and schema; $2: connections of which all schemas are wanted. */
static const char pgstore_sql_applied[] =
    "SELECT " EXECUTION_COLUMNS " FROM json_to_recordset($1::json) AS w (c text, s text)"
    " JOIN @.migrations_executions e ON e.connection = w.c AND e.schema COLLATE \"C\" = w.s WHERE e.applied"
    " UNION ALL SELECT " EXECUTION_COLUMNS " FROM @.migrations_executions e WHERE e.applied"
    " AND e.connection IN (SELECT json_array_elements_text($2::json))";

/* Behind the last row of the page before, of which all are NULL at the start. */
#define BEHIND(at, schema, id, limit)                                                     \
    "(" at "::bigint IS NULL OR (e.updated_at <= " EPOCH at MICROSECONDS                  \
    " AND (e.updated_at < " EPOCH at MICROSECONDS                                         \
    " OR (e.schema COLLATE \"C\", e.migration_id COLLATE \"C\") > (" schema "::text, " id \
    "::text)))) ORDER BY e.updated_at DESC, e.schema COLLATE \"C\","                      \
    " e.migration_id COLLATE \"C\" LIMIT " limit "::bigint"
#define EPOCH        "timestamp 'epoch' + "
#define MICROSECONDS "::bigint * interval '1 microsecond'"

static const char pgstore_sql_executions_of[] =
    "SELECT " EXECUTION_COLUMNS " FROM @.migrations_executions e WHERE e.migration_id = $1"
    " AND " BEHIND("$3", "$4", "$5", "$2");

static const char pgstore_sql_executions_recent[] =
    "SELECT " EXECUTION_COLUMNS " FROM @.migrations_executions e"
    " WHERE (e.status <> 'pending' OR e.applied_at IS NOT NULL OR e.run_id IS NOT NULL)"
    " AND " PGSTORE_IS_BASE_ID("e") " AND " BEHIND("$2", "$3", "$4", "$1");

#define STATUS(filter)                                                                                                                            \
    "SELECT g.migration_id, g.schema, g.version, g.name, g.connection, g.backend, g.status,"                                                      \
    " g.error_message, g.checksum, g.executions, g.applied_executions,"                                                                           \
    " " PGSTORE_MICROSECONDS(                                                                                                                     \
        "g.applied_at") ", g.declared, g.declared_applied::int,"                                                                                  \
                        " " PGSTORE_MICROSECONDS(                                                                                                 \
                            "g.declared_applied_at") ", h.status, h.error_message"                                                                \
                                                     " FROM (SELECT l.migration_id, l.schema, l.version, l.name, l.connection, l.backend,"        \
                                                     " l.status, l.error_message, l.checksum, count(e.migration_id) AS executions,"               \
                                                     " count(*) FILTER (WHERE e.applied) AS applied_executions,"                                  \
                                                     " max(e.applied_at) FILTER (WHERE e.applied) AS applied_at,"                                 \
                                                     " max(e.status) FILTER (WHERE e.schema = l.schema) AS declared,"                             \
                                                     " bool_or(e.applied) FILTER (WHERE e.schema = l.schema) AS declared_applied,"                \
                                                     " max(e.applied_at) FILTER (WHERE e.schema = l.schema AND e.applied) AS declared_applied_at" \
                                                     " FROM @.migrations_list l LEFT JOIN @.migrations_executions e"                              \
                                                     " ON e.migration_id = l.migration_id WHERE " filter                                          \
                                                     " GROUP BY l.migration_id) g"                                                                \
                                                     " LEFT JOIN LATERAL (SELECT t.status, t.error_message FROM @.migrations_history t"           \
                                                     " WHERE t.migration_id = g.migration_id AND (g.status IN ('applied', 'success')"             \
                                                     " OR (g.status = 'failed' AND g.error_message IS NULL))"                                     \
                                                     " AND t.status IN ('applied', 'success', 'failed', 'rolled_back')"                           \
                                                     " ORDER BY t.id DESC LIMIT 1) h ON true ORDER BY g.migration_id COLLATE \"C\""

static const char pgstore_sql_status_of[] = STATUS("l.migration_id = $1");
static const char pgstore_sql_status_all[] = STATUS(PGSTORE_IS_BASE_ID("l"));

#define HISTORY                                                                             \
    "SELECT id, migration_id, schema, version, connection, backend, status, error_message," \
    " executed_by, execution_method, execution_context, " PGSTORE_MICROSECONDS(             \
        "applied_at") ", " PGSTORE_MICROSECONDS("created_at") " FROM @.migrations_history "

static const char pgstore_sql_history_of[] =
    HISTORY "WHERE migration_id = $1 AND id < $3::bigint ORDER BY id DESC LIMIT $2::bigint";
static const char pgstore_sql_history_recent[] =
    HISTORY "WHERE id < $2::bigint ORDER BY id DESC LIMIT $1::bigint";

/* Rows that wait to be pruned are not shown. */
#define SKIPPED(filter, limit, before)                                                                                  \
    "SELECT id, migration_id, schema, version, connection, backend, NULL, NULL,"                                        \
    " executed_by, execution_method, execution_context, " PGSTORE_MICROSECONDS("skipped_at") ", " PGSTORE_MICROSECONDS( \
        "created_at") " FROM @.migrations_skipped s WHERE " filter                                                      \
                      "(SELECT count(*) FROM @.migrations_skipped n WHERE n.migration_id = s.migration_id"              \
                      " AND n.schema = s.schema AND n.connection = s.connection AND n.id > s.id) < 5"                   \
                      " AND id < " before " ORDER BY id DESC LIMIT " limit

static const char pgstore_sql_skipped_of[] =
    SKIPPED("migration_id = $1 AND ", "$2::bigint", "$3::bigint");
static const char pgstore_sql_skipped_recent[] = SKIPPED("", "$1::bigint", "$2::bigint");

/* --- sync --- */

static const char pgstore_sql_known[] = "SELECT migration_id, definition FROM @.migrations_list";

static const char pgstore_sql_sync_list[] =
    "INSERT INTO @.migrations_list (migration_id, schema, version, name, connection, backend,"
    " up_sql, down_sql, dependencies, structured_dependencies, created_at, updated_at)"
    " SELECT id, schema, version, name, connection, backend, up, down,"
    " ARRAY(SELECT json_array_elements_text(simple)), COALESCE(structured::jsonb, 'null'::jsonb),"
    " " PGSTORE_NOW_UTC ", " PGSTORE_NOW_UTC
    " FROM json_to_recordset($1::json) AS x (id text, schema text,"
    " version text, name text, connection text, backend text, up text, down text, simple json,"
    " structured json) ORDER BY id ON CONFLICT (migration_id) DO UPDATE SET"
    " schema = excluded.schema, version = excluded.version, name = excluded.name,"
    " connection = excluded.connection, backend = excluded.backend, up_sql = excluded.up_sql,"
    " down_sql = excluded.down_sql, dependencies = excluded.dependencies,"
    " structured_dependencies = excluded.structured_dependencies, definition = NULL,"
    " updated_at = excluded.updated_at";

/* $1: migrations and their fingerprints; $2: their dependencies. */
static const char pgstore_sql_sync_links[] =
    "WITH x AS MATERIALIZED (SELECT * FROM json_to_recordset($1::json) AS x (id text,"
    " definition text)),"
    " d AS (DELETE FROM @.migrations_dependencies WHERE migration_id IN (SELECT id FROM x)),"
    " i AS (INSERT INTO @.migrations_dependencies (migration_id, dependency_id, connection, schema,"
    " target, target_type, requires_table, requires_schema, created_at) SELECT id, other,"
    " connection, CASE schema WHEN '' THEN '{}' ELSE ARRAY[schema] END, target, type,"
    " NULLIF(rt, ''), NULLIF(rs, ''), " PGSTORE_NOW_UTC
    " FROM json_to_recordset($2::json) AS l (id text,"
    " other text, connection text, schema text, target text, type text, rt text, rs text))"
    " UPDATE @.migrations_list l SET definition = x.definition FROM x WHERE l.migration_id = x.id";

/* Costs no row, but every table must be there and readable. */
static const char pgstore_sql_ping[] =
    "SELECT 1 FROM @.migrations_list WHERE false"
    " UNION ALL SELECT 1 FROM @.migrations_history WHERE false"
    " UNION ALL SELECT 1 FROM @.migrations_executions WHERE false"
    " UNION ALL SELECT 1 FROM @.migrations_dependencies WHERE false"
    " UNION ALL SELECT 1 FROM @.migrations_skipped WHERE false"
    " UNION ALL SELECT 1 FROM @.bfm_runs WHERE false"
    " UNION ALL SELECT 1 FROM @.bfm_run_lanes WHERE false"
    " UNION ALL SELECT 1 FROM @.bfm_idempotency_keys WHERE false"
    " UNION ALL SELECT 1 FROM @.bfm_servers WHERE false"
    " UNION ALL SELECT 1 FROM @.bfm_ledger WHERE false";

/* Tables, indexes and columns of the schema $1; the schema itself with an empty name; '*' is beside
 * a table that this role may alter. */
static const char pgstore_sql_inspect[] =
    "SELECT '' AS name, NULL AS attribute FROM pg_catalog.pg_namespace WHERE nspname = $1"
    " UNION ALL SELECT c.relname, NULL FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
    " ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname LIKE ANY (ARRAY['%migrations\\_%', '%bfm\\_%'])"
    " UNION ALL SELECT c.relname, a.attname FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid WHERE n.nspname = $1"
    " AND c.relname LIKE 'migrations\\_%' AND a.attnum > 0 AND NOT a.attisdropped"
    " UNION ALL SELECT c.relname, '*' FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
    " ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname LIKE 'migrations\\_%'"
    " AND pg_catalog.pg_has_role(c.relowner, 'USAGE')";

const char *const pgstore_sql[PGSTORE_SQL_COUNT][PGSTORE_SQL_PARTS] = {
    [PGSTORE_INSPECT] = {pgstore_sql_inspect, "", "", "", ""},
    [PGSTORE_PING] = {pgstore_sql_ping, "", "", "", ""},
    [PGSTORE_WRITE] = {"WITH ", pgstore_sql_write, pgstore_sql_write_middle, pgstore_sql_write_rest,
                       ""},
    [PGSTORE_WRITE_AND_RUNS] = {pgstore_sql_put_runs, ", ", pgstore_sql_write,
                                pgstore_sql_write_middle, pgstore_sql_write_rest},
    [PGSTORE_RUNS_ALONE] = {pgstore_sql_put_runs, pgstore_sql_put_runs_alone, "", "", ""},
    [PGSTORE_CLAIM] = {pgstore_sql_claim, "", "", "", ""},
    [PGSTORE_BEAT] = {pgstore_sql_beat, "", "", "", ""},
    [PGSTORE_RUNS] = {pgstore_sql_runs, "", "", "", ""},
    [PGSTORE_RUNS_SEEN] = {pgstore_sql_runs_seen, "", "", "", ""},
    [PGSTORE_RUN_LANES] = {pgstore_sql_run_lanes, "", "", "", ""},
    [PGSTORE_RUN_STEPS] = {pgstore_sql_run_steps, "", "", "", ""},
    [PGSTORE_STANDING] = {pgstore_sql_standing, "", "", "", ""},
    [PGSTORE_UNENDED] = {pgstore_sql_unended, "", "", "", ""},
    [PGSTORE_APPLIED] = {pgstore_sql_applied, "", "", "", ""},
    [PGSTORE_EXECUTIONS_OF] = {pgstore_sql_executions_of, "", "", "", ""},
    [PGSTORE_EXECUTIONS_RECENT] = {pgstore_sql_executions_recent, "", "", "", ""},
    [PGSTORE_STATUS_OF] = {pgstore_sql_status_of, "", "", "", ""},
    [PGSTORE_STATUS_ALL] = {pgstore_sql_status_all, "", "", "", ""},
    [PGSTORE_HISTORY_OF] = {pgstore_sql_history_of, "", "", "", ""},
    [PGSTORE_HISTORY_RECENT] = {pgstore_sql_history_recent, "", "", "", ""},
    [PGSTORE_SKIPPED_OF] = {pgstore_sql_skipped_of, "", "", "", ""},
    [PGSTORE_SKIPPED_RECENT] = {pgstore_sql_skipped_recent, "", "", "", ""},
    [PGSTORE_KNOWN] = {pgstore_sql_known, "", "", "", ""},
    [PGSTORE_SYNC_LIST] = {pgstore_sql_sync_list, "", "", "", ""},
    [PGSTORE_SYNC_LINKS] = {pgstore_sql_sync_links, "", "", "", ""},
    [PGSTORE_MARK] = {pgstore_sql_mark, "", "", "", ""},
    [PGSTORE_LEDGER_OF] = {pgstore_sql_ledger_of, "", "", "", ""},
    [PGSTORE_LEDGER_ALL] = {pgstore_sql_ledger_all, "", "", "", ""},
    [PGSTORE_SWAP] = {pgstore_sql_swap, "", "", "", ""},
};
