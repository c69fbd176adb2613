#include "store/postgresql_private.h"

/* --- writes --- */

/* Around a number of microseconds. */
#define EPOCH        "timestamp 'epoch' + "
#define MICROSECONDS " * interval '1 microsecond'"

/*
 * In front of the writes of a batch, or alone: $4 runs, $5 lanes, each a JSON array.
 *
 * ra  the answer kept for the key that stands for a run
 * rs  a run that is under way brings the row of its server, so that nobody takes the server for
 *     dead before its first beat
 */
const char pgstore_sql_put_runs[] =
    "WITH ru AS MATERIALIZED (SELECT * FROM json_to_recordset($4::json) AS x (n int, id text,"
    " kind text, connection text, status text, request text, by text, method text, context text,"
    " server text, retry text, error text, lanes bigint, lanes_failed bigint, applied bigint,"
    " skipped bigint, failed bigint, not_run bigint, started bigint, ended bigint, answer text)),"
    " ra AS (UPDATE @.bfm_idempotency_keys k SET answer = ru.answer FROM ru"
    " WHERE ru.answer IS NOT NULL AND k.run_id = ru.id),"
    " rr AS (INSERT INTO @.bfm_runs AS old (id, kind, connection, status, request, executed_by,"
    " execution_method, execution_context, server_id, retry_of, error_message, lanes, lanes_failed,"
    " applied, skipped, failed, not_run, started_at, ended_at) SELECT DISTINCT ON (id) id, kind,"
    " left(connection, 255), status, request, left(by, 255), left(method, 20), context, server,"
    " retry, error, lanes, lanes_failed, applied, skipped, failed, not_run, " EPOCH
    "started" MICROSECONDS ", " EPOCH "NULLIF(ended, 0)" MICROSECONDS
    " FROM ru ORDER BY id, (status = 'running'), n DESC"
    " ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, connection = excluded.connection,"
    " status = excluded.status, request = excluded.request, executed_by = excluded.executed_by,"
    " execution_method = excluded.execution_method,"
    " execution_context = excluded.execution_context, server_id = excluded.server_id,"
    " retry_of = excluded.retry_of, error_message = excluded.error_message,"
    " lanes = excluded.lanes, lanes_failed = excluded.lanes_failed, applied = excluded.applied,"
    " skipped = excluded.skipped, failed = excluded.failed, not_run = excluded.not_run,"
    " started_at = excluded.started_at, ended_at = excluded.ended_at"
    " WHERE excluded.status <> 'running' OR old.status = 'running'"
    " OR (old.status = 'interrupted' AND old.server_id <> excluded.server_id)),"
    " rl AS (INSERT INTO @.bfm_run_lanes (run_id, number, schema, failed, error_message, applied,"
    " skipped, failed_steps, not_run, duration_ms) SELECT DISTINCT ON (run, number) run, number,"
    " schema, failed, error, applied, skipped, failed_steps, not_run, ms"
    " FROM json_to_recordset($5::json) AS l (n int, run text, number bigint, schema text,"
    " failed boolean, error text, applied bigint, skipped bigint, failed_steps bigint,"
    " not_run bigint, ms bigint) ORDER BY run, number, n DESC"
    " ON CONFLICT (run_id, number) DO UPDATE SET schema = excluded.schema,"
    " failed = excluded.failed, error_message = excluded.error_message,"
    " applied = excluded.applied, skipped = excluded.skipped,"
    " failed_steps = excluded.failed_steps, not_run = excluded.not_run,"
    " duration_ms = excluded.duration_ms),"
    " rs AS (INSERT INTO @.bfm_servers (server_id, started_at, seen_at)"
    " SELECT DISTINCT server, " PGSTORE_NOW_UTC ", " PGSTORE_NOW_UTC " FROM ru"
    " WHERE status = 'running' ORDER BY server ON CONFLICT (server_id) DO NOTHING)";

/* The other parameters need a type, though they have no value. */
const char pgstore_sql_put_runs_alone[] =
    " SELECT 1 FROM (SELECT $1::json, $2::json, $3::json) AS without_records";

#define KEY_LIVES "CASE WHEN old.expires_at > excluded.created_at THEN "

/* $1: claims. A key that is taken is updated to what it is, which shows what another server has
 * committed meanwhile; a claim that comes again, as its answer was lost, finds its own run. */
const char pgstore_sql_claim[] =
    "WITH x AS MATERIALIZED (SELECT n, owner, key, print, run, " EPOCH "now" MICROSECONDS
    " AS now, " EPOCH "until" MICROSECONDS
    " AS until FROM json_to_recordset($1::json) AS x (n int, owner text, key text,"
    " print text, run text, now bigint, until bigint)),"
    " c AS (INSERT INTO @.bfm_idempotency_keys AS old (owner, key, fingerprint, run_id, created_at,"
    " expires_at) SELECT DISTINCT ON (owner, key) owner, key, print, run, now, until FROM x"
    " ORDER BY owner, key, n ON CONFLICT (owner, key) DO UPDATE SET"
    " fingerprint = " KEY_LIVES "old.fingerprint ELSE excluded.fingerprint END,"
    " run_id = " KEY_LIVES "old.run_id ELSE excluded.run_id END,"
    " created_at = " KEY_LIVES "old.created_at ELSE excluded.created_at END,"
    " answer = " KEY_LIVES "old.answer ELSE excluded.answer END,"
    " expires_at = " KEY_LIVES "old.expires_at ELSE excluded.expires_at END"
    " RETURNING owner, key, fingerprint, run_id, answer)"
    " SELECT x.n, c.fingerprint, c.run_id, (c.run_id = x.run)::int, COALESCE(c.answer, '') FROM x"
    " JOIN c ON c.owner = x.owner AND c.key = x.key ORDER BY x.n";

/*
 * $1 the server, $2 now, $3 microseconds after which a silent server is dead, $4 whether this one
 * says goodbye, $5 how many rows of each kind are changed at most, $6 when a run ended that is
 * kept, NULL: all are. Who is dead is told by the clock of the database, as those of the servers
 * may differ. Rows that another server is at work on are left to it.
 *
 * o  runs that are too old, with all of their lanes: together no more rows than $5, but one run in
 *    any case. An array, so that lanes are looked up by their key, however many there are
 */
const char pgstore_sql_beat[] =
    "WITH s AS (INSERT INTO @.bfm_servers (server_id, started_at, seen_at)"
    " SELECT $1, " PGSTORE_NOW_UTC ", " PGSTORE_NOW_UTC " WHERE NOT $4::boolean"
    " ON CONFLICT (server_id) DO UPDATE SET seen_at = excluded.seen_at),"
    " g AS (DELETE FROM @.bfm_servers WHERE server_id IN (SELECT server_id FROM @.bfm_servers"
    " WHERE (server_id = $1 AND $4::boolean) OR (server_id <> $1"
    " AND seen_at < " PGSTORE_NOW_UTC " - interval '1 day')"
    " ORDER BY server_id LIMIT $5::bigint FOR UPDATE SKIP LOCKED)),"
    " i AS (UPDATE @.bfm_runs SET status = 'interrupted',"
    " ended_at = " EPOCH "$2::bigint" MICROSECONDS " WHERE id IN (SELECT id FROM @.bfm_runs r"
    " WHERE status = 'running' AND CASE WHEN server_id = $1 THEN $4::boolean ELSE NOT EXISTS"
    " (SELECT 1 FROM @.bfm_servers o WHERE o.server_id = r.server_id"
    " AND o.seen_at >= " PGSTORE_NOW_UTC " - $3::bigint * interval '1 microsecond') END"
    " ORDER BY id LIMIT $5::bigint FOR UPDATE SKIP LOCKED) RETURNING 1),"
    " k AS (DELETE FROM @.bfm_idempotency_keys WHERE (owner, key) IN (SELECT owner, key"
    " FROM @.bfm_idempotency_keys WHERE expires_at <= " EPOCH "$2::bigint" MICROSECONDS
    " ORDER BY expires_at LIMIT $5::bigint FOR UPDATE SKIP LOCKED)),"
    " o AS (DELETE FROM @.bfm_runs WHERE id IN (SELECT id FROM @.bfm_runs WHERE id IN (SELECT id"
    " FROM (SELECT id, sum(lanes + 1) OVER (ORDER BY ended_at, id) - lanes AS place"
    " FROM (SELECT id, ended_at, COALESCE(lanes, 0) AS lanes FROM @.bfm_runs"
    " WHERE status <> 'running' AND ended_at < " EPOCH "$6::bigint" MICROSECONDS
    " ORDER BY ended_at, id LIMIT $5::bigint) r) r WHERE place <= $5::bigint)"
    " ORDER BY id FOR UPDATE SKIP LOCKED) RETURNING id),"
    " l AS (DELETE FROM @.bfm_run_lanes WHERE run_id = ANY (ARRAY(SELECT id FROM o)))"
    " SELECT count(*) FROM i";

/* --- reads: the columns are those of rows.h --- */

#define RUN_COLUMNS                                                                       \
    "r.id, r.kind, r.connection, r.status, r.request, r.executed_by, r.execution_method," \
    " r.execution_context, r.server_id, r.retry_of, r.error_message, r.lanes,"            \
    " r.lanes_failed, r.applied, r.skipped, r.failed, r.not_run, " PGSTORE_MICROSECONDS(  \
        "r.started_at") ", " PGSTORE_MICROSECONDS("r.ended_at")

/* A parameter that is NULL does not restrict: each statement is planned with its values. */
#define RUN_FILTER                                                                        \
    " ($1::text IS NULL OR r.id = $1) AND ($2::text IS NULL OR r.connection = $2)"        \
    " AND ($3::text IS NULL OR r.kind = $3) AND ($4::text IS NULL OR r.executed_by = $4)" \
    " AND ($5::text IS NULL OR r.status = $5) AND ($6::text IS NULL OR r.id < $6)"

/* $1 id, $2 connection, $3 kind, $4 executed_by, $5 status, $6 cursor, $7 limit. */
const char pgstore_sql_runs[] = "SELECT " RUN_COLUMNS " FROM @.bfm_runs r WHERE" RUN_FILTER
                                " ORDER BY r.id DESC LIMIT $7::bigint";

/* $8: the connections that may be seen. Each is looked up by itself, so that few rows are read
 * however many runs there are. */
const char pgstore_sql_runs_seen[] =
    "SELECT " RUN_COLUMNS " FROM (SELECT DISTINCT json_array_elements_text($8::json) AS c) w"
    " CROSS JOIN LATERAL (SELECT * FROM @.bfm_runs r WHERE r.connection = w.c AND" RUN_FILTER
    " ORDER BY r.id DESC LIMIT $7::bigint) r ORDER BY r.id DESC LIMIT $7::bigint";

const char pgstore_sql_run_lanes[] =
    "SELECT number, schema, failed::int, error_message, applied, skipped, failed_steps, not_run,"
    " duration_ms FROM @.bfm_run_lanes WHERE run_id = $1 AND number > $2::bigint ORDER BY number"
    " LIMIT $3::bigint";

#define STEP_AT       PGSTORE_MICROSECONDS("COALESCE(h.applied_at, h.created_at)")
#define STEP_BEGUN_AT PGSTORE_MICROSECONDS("COALESCE(b.applied_at, b.created_at)")

/* The newest row of each step. */
const char pgstore_sql_run_steps[] =
    "SELECT h.id, h.migration_id, h.schema, h.version, h.connection, h.backend, h.status,"
    " h.error_message, h.attempts, h.duration_ms, " STEP_AT ","
    " (SELECT " STEP_BEGUN_AT
    " FROM @.migrations_history b WHERE b.run_id = h.run_id AND b.migration_id = h.migration_id"
    " AND b.schema = h.schema AND b.status = 'pending')"
    " FROM @.migrations_history h WHERE h.run_id = $1 AND h.id > $2::bigint"
    " AND NOT EXISTS (SELECT 1 FROM @.migrations_history n WHERE n.run_id = h.run_id"
    " AND n.migration_id = h.migration_id AND n.schema = h.schema AND n.id > h.id)"
    " ORDER BY h.id LIMIT $3::bigint";

#define LAST_RUN_AT PGSTORE_MICROSECONDS("max(updated_at)")

/*
 * $c connection, $r which schemas ("> literal", "= literal"), $l limit, $u newest version that
 * counts, $i whether the ID is not among those that count.
 *
 * All rows are counted with a covering index (b), and those of migrations that do not count, which
 * are few, are found by their IDs and taken off (x): to look at each row's ID would take twice as
 * long. The settings see to it that the index is read, though the wider table is estimated to be
 * cheaper, and that the plan is not compiled, for the same estimate's sake.
 */
const char pgstore_sql_tenants[] =
    "SET LOCAL enable_seqscan = off; SET LOCAL jit = off;"
    "SELECT b.schema, b.version, b.applied - COALESCE(x.fixed, 0),"
    " b.counted - COALESCE(x.counted, 0), b.failed - COALESCE(x.failed, 0), b.last_run"
    " FROM (SELECT schema::text COLLATE \"C\" AS schema,"
    " max(version COLLATE \"C\") FILTER (WHERE applied) AS version,"
    " count(*) FILTER (WHERE applied) AS applied,"
    " count(*) FILTER (WHERE applied AND version COLLATE \"C\" <= $u) AS counted,"
    " count(*) FILTER (WHERE NOT applied AND status = 'failed' AND version COLLATE \"C\" <= $u)"
    " AS failed, " LAST_RUN_AT " AS last_run FROM @.migrations_executions"
    " WHERE connection = $c AND schema COLLATE \"C\" $r"
    " GROUP BY schema::text COLLATE \"C\" ORDER BY schema::text COLLATE \"C\"$l) b"
    " LEFT JOIN (SELECT e.schema::text COLLATE \"C\" AS schema,"
    " count(*) FILTER (WHERE e.applied AND l.schema <> '') AS fixed,"
    " count(*) FILTER (WHERE e.applied AND e.version COLLATE \"C\" <= $u) AS counted,"
    " count(*) FILTER (WHERE NOT e.applied AND e.status = 'failed'"
    " AND e.version COLLATE \"C\" <= $u) AS failed"
    " FROM (SELECT migration_id, schema FROM @.migrations_list WHERE connection = $c"
    " AND (schema <> '' OR $i)) l CROSS JOIN LATERAL (SELECT * FROM @.migrations_executions t"
    " WHERE t.migration_id = l.migration_id AND t.connection = $c AND t.schema COLLATE \"C\" $r"
    " OFFSET 0) e GROUP BY e.schema::text COLLATE \"C\") x ON x.schema = b.schema"
    " ORDER BY b.schema";
