#include <string.h>

#include "store/mysql_private.h"

enum {
    OUTCOME_BEAT_ROWS = 5000, /* of each kind that one beat changes or removes */
    OUTCOME_BEAT_TIMEOUT_MS = 10 * 1000,
    OUTCOME_GOODBYE_TIMEOUT_MS = 2000, /* the server's end waits for it */
};

/*
 * Writes that have a result: the claims or the changes of the ledger of a batch in one transaction,
 * or a beat. Claims may be repeated: one that comes again finds its own run. A change that comes
 * again would find its own row and take it for somebody else's. For a beat nobody waits: the next
 * one comes.
 */

/* What a key stood for counts until it expires; that it has is known by what is set last. */
#define KEY_LIVES(column) \
    column " = IF(expires_at > VALUES(created_at), " column ", VALUES(" column "))"

static const char outcome_sql_claim[] =
    "INSERT INTO @.bfm_idempotency_keys (owner, `key`, fingerprint, run_id, created_at, expires_at)"
    " VALUES ";
static const char outcome_sql_claim_tail[] =
    " ON DUPLICATE KEY UPDATE " KEY_LIVES("fingerprint") ", " KEY_LIVES("run_id") ", " KEY_LIVES(
        "answer") ", created_at = IF(expires_at > VALUES(created_at), created_at,"
                  " VALUES(created_at)), " KEY_LIVES("expires_at");
static const char outcome_sql_claimed[] =
    "SELECT owner, `key`, fingerprint, run_id, COALESCE(answer, '') FROM @.bfm_idempotency_keys"
    " WHERE (owner, `key`) IN (";

static struct store_my *outcome_store(struct mystore_outcome *outcome)
{
    return container_of(outcome, struct store_my, outcome);
}

static struct request *outcome_request(struct list *node)
{
    return container_of(node, struct request, link);
}

static void outcome_end(struct mystore_outcome *outcome, int rc)
{
    if (rc != 0)
        core_fail_list(outcome->batch, &outcome->step.err);
    mystore_call_free(&outcome->call);
    core_end_batch(&outcome_store(outcome)->core);
}

/* --- claims --- */

static void outcome_put_claims(struct mystore_script *script, struct list *batch)
{
    mystore_sql(script, MYSTORE_BEGIN);
    mystore_rows_begin(script, outcome_sql_claim, outcome_sql_claim_tail, 0);
    list_foreach(node, batch) {
        const struct store_key *key = outcome_request(node)->key;

        mystore_row_begin(script);
        mystore_row_text(script, key->owner);
        mystore_row_text(script, key->key);
        mystore_row_text(script, key->fingerprint);
        mystore_row_text(script, key->run_id);
        mystore_row_time(script, key->now_us);
        mystore_row_time(script, key->expires_at_us);
        mystore_row_end(script);
    }
    mystore_rows_end(script);
    mystore_rows_begin(script, outcome_sql_claimed, ")", MYSTORE_KEYS_MAX);
    list_foreach(node, batch) {
        mystore_row_begin(script);
        mystore_row_text(script, outcome_request(node)->key->owner);
        mystore_row_text(script, outcome_request(node)->key->key);
        mystore_row_end(script);
    }
    mystore_rows_end(script);
    mystore_sql(script, MYSTORE_COMMIT);
}

static bool outcome_is_about(const struct request *request, struct mystore_cursor *row)
{
    return strcmp(mystore_text(row, 0), request->key->owner) == 0 &&
           strcmp(mystore_text(row, 1), request->key->key) == 0;
}

static int outcome_read_claim(struct request *request, struct mystore_cursor *row)
{
    struct store_key_claim *out = request->out.claim;

    out->fingerprint = arena_strdup(&out->arena, mystore_text(row, 2));
    out->run_id = arena_strdup(&out->arena, mystore_text(row, 3));
    out->answer = arena_strdup(&out->arena, mystore_text(row, 4));
    if (out->fingerprint == NULL || out->run_id == NULL || out->answer == NULL)
        return err_set(&request->op->err, ERR_NOMEM, "out of memory");
    out->claimed = strcmp(out->run_id, request->key->run_id) == 0;
    return 0;
}

/* One row for each key; a key may be claimed several times. */
static int outcome_read_claims(struct mystore_outcome *outcome)
{
    list_foreach(node, outcome->batch) {
        struct mystore_cursor row = {.call = &outcome->call};
        struct request *request = outcome_request(node);
        bool found = false;

        while (!found && mystore_next(&row))
            found = outcome_is_about(request, &row);
        if (!found)
            return err_set(&outcome->step.err, ERR_STORE,
                           "the state database did not answer all that it was asked");
        request->rc = outcome_read_claim(request, &row);
    }
    return 0;
}

/* --- changes of the ledger --- */

static void outcome_put_changes(struct mystore_script *script, struct list *batch)
{
    mystore_sql(script, MYSTORE_BEGIN);
    list_foreach(node, batch)
        mystore_put_change(script, outcome_request(node)->change);
    mystore_sql(script, MYSTORE_COMMIT);
}

/* Each change is one statement that changes a row or none, behind the three that begin. */
static void outcome_read_changes(struct mystore_outcome *outcome)
{
    size_t piece = 0, statement = 3;

    list_foreach(node, outcome->batch) {
        const struct maria_results *results = &outcome->call.results[piece];

        if (statement == results->count) {
            results = &outcome->call.results[++piece];
            statement = 0;
        }
        *outcome_request(node)->out.swapped = results->results[statement++].affected > 0;
    }
}

/* --- beats --- */

static void outcome_put_server(struct mystore_script *script, const struct store_beat *beat)
{
    if (beat->goodbye) {
        mystore_sql(script, "DELETE FROM @.bfm_servers WHERE server_id = ");
        mystore_put_text(script, beat->server_id);
        mystore_sql(script, ";");
        return;
    }
    mystore_sql(script, "INSERT INTO @.bfm_servers (server_id, started_at, seen_at) VALUES (");
    mystore_put_text(script, beat->server_id);
    mystore_sql(script, ", " MYSTORE_NOW ", " MYSTORE_NOW ") ON DUPLICATE KEY UPDATE"
                        " seen_at = VALUES(seen_at);");
}

/* Who is dead is told by the clock of the database, as those of the servers may differ. */
static void outcome_put_interrupt(struct mystore_script *script, const struct store_beat *beat)
{
    mystore_sql(script, "UPDATE @.bfm_runs SET status = 'interrupted', ended_at = ");
    mystore_put_time(script, beat->now_us);
    mystore_sql(script, " WHERE status = 'running' AND ");
    mystore_sql(script, beat->goodbye ? "(server_id = " : "(server_id <> ");
    mystore_put_text(script, beat->server_id);
    mystore_sql(script, beat->goodbye ? " OR" : " AND");
    mystore_sql(script, " NOT EXISTS (SELECT 1 FROM @.bfm_servers o"
                        " WHERE o.server_id = bfm_runs.server_id AND o.seen_at >= " MYSTORE_NOW
                        " - INTERVAL ");
    mystore_put_number(script, beat->dead_after_us);
    mystore_sql(script, " MICROSECOND)) ORDER BY id LIMIT ");
    mystore_put_number(script, OUTCOME_BEAT_ROWS);
    mystore_sql(script, ";");
}

/* Runs that are too old, with all of their lanes: together no more rows than there may be, but one
 * run in any case. */
static void outcome_put_old_runs(struct mystore_script *script, const struct store_beat *beat)
{
    if (beat->keep_runs_us == 0)
        return;
    mystore_sql(
        script,
        "DELETE @.bfm_runs, @.bfm_run_lanes FROM @.bfm_runs LEFT JOIN @.bfm_run_lanes ON run_id = bfm_runs.id"
        " JOIN (SELECT id FROM (SELECT id, SUM(lanes + 1) OVER (ORDER BY ended_at, id)"
        " - lanes AS place FROM (SELECT id, ended_at, COALESCE(lanes, 0) AS lanes"
        " FROM @.bfm_runs WHERE status <> 'running' AND ended_at < ");
    mystore_put_time(script, beat->now_us - beat->keep_runs_us);
    mystore_sql(script, " ORDER BY ended_at, id LIMIT ");
    mystore_put_number(script, OUTCOME_BEAT_ROWS);
    mystore_sql(script, ") k) k WHERE place <= ");
    mystore_put_number(script, OUTCOME_BEAT_ROWS);
    mystore_sql(script, ") o ON o.id = bfm_runs.id;");
}

/* Each part for itself: what one has done stays, if another one fails. */
static void outcome_put_beat(struct mystore_script *script, const struct store_beat *beat)
{
    outcome_put_server(script, beat);
    outcome_put_interrupt(script, beat);
    mystore_sql(script, "DELETE FROM @.bfm_servers WHERE seen_at < " MYSTORE_NOW
                        " - INTERVAL 1 DAY ORDER BY server_id LIMIT ");
    mystore_put_number(script, OUTCOME_BEAT_ROWS);
    mystore_sql(script, ";DELETE FROM @.bfm_idempotency_keys WHERE expires_at <= ");
    mystore_put_time(script, beat->now_us);
    mystore_sql(script, " ORDER BY expires_at LIMIT ");
    mystore_put_number(script, OUTCOME_BEAT_ROWS);
    mystore_sql(script, ";");
    outcome_put_old_runs(script, beat);
}

/* --- the machine --- */

static void outcome_on_called(struct op *op, int rc)
{
    struct mystore_outcome *outcome = container_of(op, struct mystore_outcome, step);
    struct request *first = outcome_request(outcome->batch->next);

    if (rc == 0 && first->kind == REQUEST_BEAT)
        first->out.beat->interrupted = (int64_t)outcome->call.results[0].results[1].affected;
    else if (rc == 0 && first->kind == REQUEST_SWAP_LEDGER)
        outcome_read_changes(outcome);
    else if (rc == 0)
        rc = outcome_read_claims(outcome);
    outcome_end(outcome, rc);
}

static void outcome_fill(struct mystore_outcome *outcome)
{
    struct mystore_call *call = &outcome->call;
    const struct request *first = outcome_request(outcome->batch->next);

    if (first->kind == REQUEST_BEAT) {
        outcome_put_beat(&call->script, first->beat);
        call->timeout_ms =
            first->beat->goodbye ? OUTCOME_GOODBYE_TIMEOUT_MS : OUTCOME_BEAT_TIMEOUT_MS;
    } else if (first->kind == REQUEST_SWAP_LEDGER) {
        outcome_put_changes(&call->script, outcome->batch);
    } else {
        outcome_put_claims(&call->script, outcome->batch);
        call->repeatable = true;
    }
}

void mystore_outcome_run(struct store_my *my, struct list *batch)
{
    struct mystore_outcome *outcome = &my->outcome;
    int rc;

    *outcome = (struct mystore_outcome){.batch = batch};
    mystore_call_init(&outcome->call, my);
    op_init(&outcome->step, outcome_on_called);
    list_foreach(node, batch)
        outcome_request(node)->rc = 0;
    outcome_fill(outcome);
    rc = mystore_script_close(&outcome->call.script, &outcome->step.err);
    if (rc == 0)
        rc = mystore_call_start(&outcome->call, &outcome->step);
    if (rc != 0)
        outcome_end(outcome, rc);
}
