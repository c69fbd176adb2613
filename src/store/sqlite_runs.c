#include <string.h>

#include "store/record.h"
#include "store/sqlite_private.h"

enum {
    SQLITE_BEAT_ROWS = 5000,           /* of each kind that one beat changes or removes */
    SQLITE_BEAT_KEEP_S = 24 * 60 * 60, /* of the row of a dead server */
};

static const char sql_run_put[] =
    "INSERT INTO bfm_runs (id, kind, connection, status, request, executed_by, execution_method,"
    " execution_context, server_id, retry_of, error_message, lanes, lanes_failed, applied, skipped,"
    " failed, not_run, started_at, ended_at) VALUES (?1, ?2, substr(?3, 1, 255), ?4, ?5,"
    " substr(?6, 1, 255), substr(?7, 1, 20), ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
    " ?19) ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, connection = excluded.connection,"
    " status = excluded.status, request = excluded.request, executed_by = excluded.executed_by,"
    " execution_method = excluded.execution_method,"
    " execution_context = excluded.execution_context, server_id = excluded.server_id,"
    " retry_of = excluded.retry_of, error_message = excluded.error_message,"
    " lanes = excluded.lanes, lanes_failed = excluded.lanes_failed, applied = excluded.applied,"
    " skipped = excluded.skipped, failed = excluded.failed, not_run = excluded.not_run,"
    " started_at = excluded.started_at, ended_at = excluded.ended_at"
    " WHERE excluded.status <> 'running' OR status = 'running'"
    " OR (status = 'interrupted' AND server_id <> excluded.server_id)";

static const char sql_lane_put[] =
    "INSERT INTO bfm_run_lanes (run_id, number, schema, failed, error_message, applied, skipped,"
    " failed_steps, not_run, duration_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
    " ON CONFLICT (run_id, number) DO UPDATE SET schema = excluded.schema,"
    " failed = excluded.failed, error_message = excluded.error_message,"
    " applied = excluded.applied, skipped = excluded.skipped,"
    " failed_steps = excluded.failed_steps, not_run = excluded.not_run,"
    " duration_ms = excluded.duration_ms";

static const char sql_server_put[] =
    "INSERT INTO bfm_servers (server_id, started_at, seen_at) VALUES (?1, ?2, ?2)"
    " ON CONFLICT (server_id) DO NOTHING";

static const char sql_server_beat[] =
    "INSERT INTO bfm_servers (server_id, started_at, seen_at) VALUES (?1, ?2, ?2)"
    " ON CONFLICT (server_id) DO UPDATE SET seen_at = excluded.seen_at";

static const char sql_server_gone[] = "DELETE FROM bfm_servers WHERE server_id = ?1";

static const char sql_runs_interrupt[] =
    "UPDATE bfm_runs SET status = 'interrupted', ended_at = ?1 WHERE id IN"
    " (SELECT id FROM bfm_runs r WHERE status = 'running' AND NOT EXISTS"
    " (SELECT 1 FROM bfm_servers s"
    " WHERE s.server_id = r.server_id AND s.seen_at >= ?2) LIMIT ?3)";

static const char sql_keys_expire[] =
    "DELETE FROM bfm_idempotency_keys WHERE (owner, key) IN (SELECT owner, key"
    " FROM bfm_idempotency_keys WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";

static const char sql_servers_forget[] =
    "DELETE FROM bfm_servers WHERE server_id IN (SELECT server_id FROM bfm_servers"
    " WHERE seen_at < ?1 LIMIT ?2)";

/* ?1 when a run ended that is kept, ?2 how many rows there may be of runs and lanes together: a run
 * goes with all of its lanes, and one goes however many it has. */
#define OLD_RUNS                                                                              \
    "SELECT id FROM (SELECT id, sum(lanes + 1) OVER (ORDER BY ended_at, id) - lanes AS place" \
    " FROM (SELECT id, ended_at, COALESCE(lanes, 0) AS lanes FROM bfm_runs"                   \
    " WHERE status <> 'running' AND ended_at < ?1 ORDER BY ended_at, id LIMIT ?2)) WHERE place <= ?2"

static const char sql_lanes_forget[] = "DELETE FROM bfm_run_lanes WHERE run_id IN (" OLD_RUNS ")";

static const char sql_runs_forget[] = "DELETE FROM bfm_runs WHERE id IN (" OLD_RUNS ")";

static const char sql_key_get[] =
    "SELECT fingerprint, run_id, expires_at, COALESCE(answer, '') FROM bfm_idempotency_keys"
    " WHERE owner = ?1 AND key = ?2";

static const char sql_key_put[] =
    "INSERT INTO bfm_idempotency_keys (owner, key, fingerprint, run_id, created_at, expires_at)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (owner, key) DO UPDATE SET"
    " fingerprint = excluded.fingerprint, run_id = excluded.run_id,"
    " created_at = excluded.created_at, expires_at = excluded.expires_at, answer = NULL";

static const char sql_key_answer[] =
    "UPDATE bfm_idempotency_keys SET answer = ?2 WHERE run_id = ?1";

/* --- runs --- */

static void sqlite_bind_run(struct sqlite_stmt *stmt, const struct store_run *run)
{
    sqlite_bind_text(stmt, 1, run->id);
    sqlite_bind_text(stmt, 2, run->kind);
    sqlite_bind_text(stmt, 3, run->connection);
    sqlite_bind_text(stmt, 4, store_run_status_name(run->status));
    sqlite_bind_text(stmt, 5, run->request);
    sqlite_bind_text(stmt, 6, run->executed_by);
    sqlite_bind_text(stmt, 7, run->execution_method);
    sqlite_bind_text(stmt, 9, run->server_id);
    sqlite_bind_text(stmt, 10, run->retry_of);
    sqlite_bind_int(stmt, 12, run->counts.lanes);
    sqlite_bind_int(stmt, 13, run->counts.lanes_failed);
    sqlite_bind_int(stmt, 14, run->counts.applied);
    sqlite_bind_int(stmt, 15, run->counts.skipped);
    sqlite_bind_int(stmt, 16, run->counts.failed);
    sqlite_bind_int(stmt, 17, run->counts.not_run);
    sqlite_bind_int(stmt, 18, run->started_at_us);
    sqlite_bind_int(stmt, 19, run->ended_at_us);
}

static int sqlite_put_run_row(struct sqlite_write *write, const struct store_run *run,
                              struct err *err)
{
    const char *context = record_clean_text(run->execution_context, &write->context);
    const char *error = record_clean_text(run->error, &write->error);
    struct sqlite_stmt *stmt;
    int rc;

    if (write->context.rc != 0 || write->error.rc != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    rc = sqlite_prepare(write->db, sql_run_put, &stmt, err);
    if (rc != 0)
        return rc;
    sqlite_bind_run(stmt, run);
    sqlite_bind_text(stmt, 8, context);
    sqlite_bind_text(stmt, 11, error);
    return sqlite_run(stmt, err);
}

static int sqlite_put_lane(struct sqlite_write *write, const char *run_id,
                           const struct store_run_lane *lane, struct err *err)
{
    const char *schema = record_clean_text(lane->schema, &write->context);
    const char *error = record_clean_text(lane->error, &write->error);
    struct sqlite_stmt *stmt;
    int rc;

    if (write->context.rc != 0 || write->error.rc != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    rc = sqlite_prepare(write->db, sql_lane_put, &stmt, err);
    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, run_id);
    sqlite_bind_int(stmt, 2, lane->number);
    sqlite_bind_text(stmt, 3, schema);
    sqlite_bind_int(stmt, 4, lane->failed);
    sqlite_bind_text(stmt, 5, error);
    sqlite_bind_int(stmt, 6, lane->applied);
    sqlite_bind_int(stmt, 7, lane->skipped);
    sqlite_bind_int(stmt, 8, lane->failed_steps);
    sqlite_bind_int(stmt, 9, lane->not_run);
    sqlite_bind_int(stmt, 10, lane->duration_ms);
    return sqlite_run(stmt, err);
}

/* Its clock is that of this machine: all servers of a file are on it. */
static int sqlite_put_server(struct sqlite_write *write, const char *sql, const char *server_id,
                             struct err *err)
{
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(write->db, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, server_id);
    sqlite_bind_int(stmt, 2, write->now_us);
    return sqlite_run(stmt, err);
}

static int sqlite_put_answer(struct sqlite_write *write, const struct store_run *run,
                             struct err *err)
{
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(write->db, sql_key_answer, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, run->id);
    sqlite_bind_text(stmt, 2, run->answer);
    return sqlite_run(stmt, err);
}

/* A run that is under way brings the row of its server, so that nobody takes the server for dead
 * before its first beat. */
int sqlite_write_run(struct sqlite_write *write, const struct request *request, struct err *err)
{
    const struct store_run *run = request->run;
    int rc = sqlite_put_run_row(write, run, err);

    if (rc == 0 && run->status == STORE_RUN_RUNNING)
        rc = sqlite_put_server(write, sql_server_put, run->server_id, err);
    if (rc == 0 && run->answer != NULL)
        rc = sqlite_put_answer(write, run, err);
    for (size_t i = 0; i < request->lane_count && rc == 0; i++)
        rc = sqlite_put_lane(write, run->id, &request->lanes[i], err);
    return rc;
}

/* --- keys --- */

/* Sets *taken and the result if the key stands for something. */
static int sqlite_get_key(struct sqlite_write *write, const struct request *request, bool *taken,
                          struct err *err)
{
    const struct store_key *key = request->key;
    struct store_key_claim *out = request->out.claim;
    struct sqlite_stmt *stmt;
    bool row;
    int rc = sqlite_prepare(write->db, sql_key_get, &stmt, err);

    *taken = false;
    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, key->owner);
    sqlite_bind_text(stmt, 2, key->key);
    rc = sqlite_step(stmt, &row, err);
    if (rc != 0 || !row)
        return rc;
    *taken = sqlite_int(stmt, 2) > key->now_us;
    out->fingerprint = arena_strdup(&out->arena, sqlite_text(stmt, 0));
    out->run_id = arena_strdup(&out->arena, sqlite_text(stmt, 1));
    out->answer = arena_strdup(&out->arena, sqlite_text(stmt, 3));
    sqlite_reset(stmt);
    if (out->fingerprint == NULL || out->run_id == NULL || out->answer == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    return 0;
}

static int sqlite_put_key(struct sqlite_write *write, const struct request *request,
                          struct err *err)
{
    const struct store_key *key = request->key;
    struct store_key_claim *out = request->out.claim;
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(write->db, sql_key_put, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, key->owner);
    sqlite_bind_text(stmt, 2, key->key);
    sqlite_bind_text(stmt, 3, key->fingerprint);
    sqlite_bind_text(stmt, 4, key->run_id);
    sqlite_bind_int(stmt, 5, key->now_us);
    sqlite_bind_int(stmt, 6, key->expires_at_us);
    out->fingerprint = arena_strdup(&out->arena, key->fingerprint);
    out->run_id = arena_strdup(&out->arena, key->run_id);
    out->answer = "";
    if (out->fingerprint == NULL || out->run_id == NULL) {
        sqlite_reset(stmt);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    return sqlite_run(stmt, err);
}

int sqlite_write_claim(struct sqlite_write *write, const struct request *request, struct err *err)
{
    struct store_key_claim *out = request->out.claim;
    bool taken;
    int rc;

    arena_free(&out->arena); /* of an earlier try */
    rc = sqlite_get_key(write, request, &taken, err);
    if (rc == 0 && !taken)
        rc = sqlite_put_key(write, request, err);
    if (rc == 0)
        out->claimed = strcmp(out->run_id, request->key->run_id) == 0;
    return rc;
}

/* --- servers --- */

static int sqlite_interrupt_runs(struct sqlite_write *write, const struct request *request,
                                 struct err *err)
{
    const struct store_beat *beat = request->beat;
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(write->db, sql_runs_interrupt, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_int(stmt, 1, beat->now_us);
    sqlite_bind_int(stmt, 2, write->now_us - beat->dead_after_us);
    sqlite_bind_int(stmt, 3, SQLITE_BEAT_ROWS);
    rc = sqlite_run(stmt, err);
    if (rc == 0)
        request->out.beat->interrupted = sqlite_changes(write->db);
    return rc;
}

static int sqlite_say_goodbye(struct sqlite_write *write, const char *server_id, struct err *err)
{
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(write->db, sql_server_gone, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_text(stmt, 1, server_id);
    return sqlite_run(stmt, err);
}

static int sqlite_forget(struct sqlite_write *write, const char *sql, int64_t before_us,
                         struct err *err)
{
    struct sqlite_stmt *stmt;
    int rc = sqlite_prepare(write->db, sql, &stmt, err);

    if (rc != 0)
        return rc;
    sqlite_bind_int(stmt, 1, before_us);
    sqlite_bind_int(stmt, 2, SQLITE_BEAT_ROWS);
    return sqlite_run(stmt, err);
}

/* Lanes first: what the runs are is asked again. */
static int sqlite_forget_runs(struct sqlite_write *write, const struct store_beat *beat,
                              struct err *err)
{
    int rc;

    if (beat->keep_runs_us == 0)
        return 0;
    rc = sqlite_forget(write, sql_lanes_forget, beat->now_us - beat->keep_runs_us, err);
    return rc != 0 ? rc
                   : sqlite_forget(write, sql_runs_forget, beat->now_us - beat->keep_runs_us, err);
}

int sqlite_write_beat(struct sqlite_write *write, const struct request *request, struct err *err)
{
    const struct store_beat *beat = request->beat;
    int rc;

    if (beat->goodbye)
        rc = sqlite_say_goodbye(write, beat->server_id, err);
    else
        rc = sqlite_put_server(write, sql_server_beat, beat->server_id, err);
    if (rc == 0)
        rc = sqlite_interrupt_runs(write, request, err);
    if (rc == 0)
        rc = sqlite_forget(write, sql_keys_expire, beat->now_us, err);
    if (rc == 0)
        rc = sqlite_forget(write, sql_servers_forget,
                           write->now_us - SQLITE_BEAT_KEEP_S * (int64_t)1000000, err);
    if (rc == 0)
        rc = sqlite_forget_runs(write, beat, err);
    return rc;
}
