#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "store/postgresql_private.h"

enum {
    OUTCOME_JSON_MAX = 64 * 1024 * 1024,
    OUTCOME_BEAT_ROWS = 5000, /* of each kind that one beat changes or removes */
    OUTCOME_BEAT_TIMEOUT_MS = 10 * 1000,
    OUTCOME_GOODBYE_TIMEOUT_MS = 2000, /* the server's end waits for it */
};

/*
 * Writes that have a result: the claims or the changes of the ledger of a batch in one statement,
 * or a beat. Claims may be repeated: one that comes again finds its own run. A change that comes
 * again would find its own row and take it for somebody else's. For a beat nobody waits: the next
 * one comes.
 */

static void outcome_on_queried(struct op *op, int rc);

static struct store_pg *outcome_store(struct pgstore_outcome *outcome)
{
    return container_of(outcome, struct store_pg, outcome);
}

static struct request *outcome_first(const struct pgstore_outcome *outcome)
{
    return container_of(outcome->batch->next, struct request, link);
}

static void outcome_end(struct pgstore_outcome *outcome, int rc)
{
    if (rc != 0)
        core_fail_list(outcome->batch, &outcome->step.err);
    pg_results_free(&outcome->call.results);
    buf_free(&outcome->json);
    core_end_batch(&outcome_store(outcome)->core);
}

/* --- results --- */

static int outcome_read_claim(struct request *request, struct pgstore_cursor *cursor)
{
    struct store_key_claim *out = request->out.claim;

    out->fingerprint = arena_strdup(&out->arena, pgstore_text(cursor, 1));
    out->run_id = arena_strdup(&out->arena, pgstore_text(cursor, 2));
    out->claimed = pgstore_integer(cursor, 3) != 0;
    out->answer = arena_strdup(&out->arena, pgstore_text(cursor, 4));
    if (out->fingerprint == NULL || out->run_id == NULL || out->answer == NULL)
        return err_set(&request->op->err, ERR_NOMEM, "out of memory");
    return 0;
}

static int outcome_read_row(struct request *request, struct pgstore_cursor *cursor)
{
    if (request->kind == REQUEST_CLAIM_KEY)
        return outcome_read_claim(request, cursor);
    *request->out.swapped = pgstore_integer(cursor, 0) != 0;
    return 0;
}

/* One row for each, in their order. */
static int outcome_read_rows(struct pgstore_outcome *outcome, const PGresult *result)
{
    struct pgstore_cursor cursor = {.result = result};

    list_foreach(node, outcome->batch) {
        struct request *request = container_of(node, struct request, link);

        if (cursor.row >= PQntuples(result))
            return err_set(&outcome->step.err, ERR_STORE,
                           "the state database did not answer all that it was asked");
        request->rc = outcome_read_row(request, &cursor);
        cursor.row++;
    }
    return 0;
}

static void outcome_on_queried(struct op *op, int rc)
{
    struct pgstore_outcome *outcome = container_of(op, struct pgstore_outcome, step);
    struct request *first = outcome_first(outcome);

    if (rc == 0 && first->kind == REQUEST_BEAT) {
        struct pgstore_cursor cursor = {.result = outcome->call.results.results[0]};

        first->out.beat->interrupted = pgstore_integer(&cursor, 0);
    } else if (rc == 0) {
        rc = outcome_read_rows(outcome, outcome->call.results.results[0]);
    }
    outcome_end(outcome, rc);
}

/* --- statements --- */

static void outcome_put_claim(struct buf *json, size_t number, const struct store_key *key)
{
    buf_printf(json, "%s{\"n\":%zu,\"now\":%" PRId64 ",\"until\":%" PRId64, number == 0 ? "" : ",",
               number, key->now_us, key->expires_at_us);
    json_put_member(json, "owner", key->owner);
    json_put_member(json, "key", key->key);
    json_put_member(json, "print", key->fingerprint);
    json_put_member(json, "run", key->run_id);
    buf_putc(json, '}');
}

static int outcome_fill_rows(struct pgstore_outcome *outcome)
{
    bool claims = outcome_first(outcome)->kind == REQUEST_CLAIM_KEY;
    struct buf *json = &outcome->json;
    size_t number = 0;

    buf_putc(json, '[');
    list_foreach(node, outcome->batch) {
        const struct request *request = container_of(node, struct request, link);

        if (claims)
            outcome_put_claim(json, number++, request->key);
        else
            pgstore_put_change(json, number++, request->change);
    }
    if (buf_putc(json, ']') != 0)
        return err_set(&outcome->step.err, ERR_NOMEM, "out of memory");
    outcome->call.sql = claims ? PGSTORE_CLAIM : PGSTORE_SWAP;
    outcome->call.repeatable = claims;
    outcome->call.values[0] = json->data;
    outcome->call.value_count = 1;
    return 0;
}

static void outcome_fill_beat(struct pgstore_outcome *outcome, const struct store_beat *beat)
{
    const int64_t numbers[] = {beat->now_us, beat->dead_after_us, OUTCOME_BEAT_ROWS,
                               beat->now_us - beat->keep_runs_us};
    struct pgstore_call *call = &outcome->call;

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        snprintf(outcome->numbers[i], sizeof(outcome->numbers[i]), "%" PRId64, numbers[i]);
    call->sql = PGSTORE_BEAT;
    call->repeatable = false;
    call->timeout_ms = beat->goodbye ? OUTCOME_GOODBYE_TIMEOUT_MS : OUTCOME_BEAT_TIMEOUT_MS;
    call->values[0] = beat->server_id;
    call->values[1] = outcome->numbers[0];
    call->values[2] = outcome->numbers[1];
    call->values[3] = beat->goodbye ? "true" : "false";
    call->values[4] = outcome->numbers[2];
    call->values[5] = beat->keep_runs_us > 0 ? outcome->numbers[3] : NULL;
    call->value_count = 6;
}

void pgstore_outcome_run(struct store_pg *pg, struct list *batch)
{
    struct pgstore_outcome *outcome = &pg->outcome;
    int rc = 0;

    *outcome = (struct pgstore_outcome){.batch = batch, .call.repeatable = true};
    buf_init(&outcome->json, OUTCOME_JSON_MAX);
    op_init(&outcome->step, outcome_on_queried);
    list_foreach(node, batch)
        container_of(node, struct request, link)->rc = 0;
    if (outcome_first(outcome)->kind == REQUEST_BEAT)
        outcome_fill_beat(outcome, outcome_first(outcome)->beat);
    else
        rc = outcome_fill_rows(outcome);
    if (rc == 0)
        rc = pgstore_call_start(pg, &outcome->call, &outcome->step);
    if (rc != 0)
        outcome_end(outcome, rc);
}
