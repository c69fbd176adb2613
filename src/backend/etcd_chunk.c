/* What is sent next, and what the marker says to that. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/etcd_step.h"
#include "base/clock.h"
#include "base/crash.h"

enum {
    CHUNK_MARKER_BYTES = 1024, /* the most that a marker's value has */
};

size_t etcdb_step_own_bytes(const struct etcdb_step *step)
{
    return 3 * etcdb_size_of_key(step->marker_key.len) + 4 * etcdb_size_of_key(step->undo_end.len) +
           CHUNK_MARKER_BYTES;
}

size_t etcdb_step_done(const struct etcdb_step *step)
{
    enum etcdb_kind part = etcdb_step_is_down(step) ? ETCDB_DOWN_PART : ETCDB_UP_PART;

    return step->marker_mod != 0 && step->marker.kind == part ? step->marker.done : 0;
}

/* --- one transaction --- */

void etcdb_step_open(struct etcdb_step *step)
{
    etcdb_txn_begin(&step->txn);
    if (step->marker_mod == 0)
        etcdb_txn_compare_create(&step->txn, "", step->marker_key, 0);
    else
        etcdb_txn_compare_mod(&step->txn, "", step->marker_key, step->marker_mod);
}

void etcdb_step_put_marker(struct etcdb_step *step)
{
    struct etcdb_txn *txn = &step->txn;
    struct slice value;

    etcdb_txn_success(txn);
    buf_truncate(&step->next_value, 0);
    if (etcdb_marker_put(&step->next_value, &step->next) != 0 && txn->body.rc == 0)
        txn->body.rc = step->next_value.rc;
    value = (struct slice){.at = buf_str(&step->next_value), .len = step->next_value.len};
    etcdb_txn_put(txn, "", step->marker_key, value);
    if (step->next.kind == ETCDB_UNDONE)
        etcdb_txn_delete(txn, "", step->undo_start, step->undo_end);
}

bool etcdb_step_send(struct etcdb_step *step)
{
    struct etcdb_txn *txn = &step->txn;
    bool stuck;

    etcdb_txn_failure(txn);
    etcdb_txn_range(txn, "", step->marker_key, (struct slice){.len = 0}, 0, false);
    etcdb_txn_end(txn);
    stuck = etcdb_step_ask(step, ETCDB_SENDING);
    if (!stuck) {
        crash_point("step_sent");
        crash_point_nth("etcd_sent", step->chunks + 1);
    }
    return stuck;
}

static void chunk_set_done(struct etcdb_step *step, size_t done)
{
    struct etcdb_marker *next = &step->next;

    next->operations = step->operations.count;
    next->done = done;
    memcpy(next->script, step->script->checksum, sizeof(next->script));
    memcpy(next->plan, step->plan, sizeof(next->plan));
}

void etcdb_step_set_next_up(struct etcdb_step *step, size_t done)
{
    struct etcdb_marker *next = &step->next;
    bool whole = done == step->operations.count;

    *next = (struct etcdb_marker){
        .kind = whole ? ETCDB_UP : ETCDB_UP_PART,
        .kept = step->keeps,
        .records = step->keeps && step->marker_mod != 0 ? step->marker.records : 0,
        .applied_at_us = whole ? clock_wall_us() : 0};
    memcpy(next->checksum, step->step->migration->up.checksum, sizeof(next->checksum));
    memcpy(next->attempt, step->attempt, sizeof(next->attempt));
    snprintf(next->run_id, sizeof(next->run_id), "%s", step->step->run_id);
    chunk_set_done(step, done);
}

void etcdb_step_set_next_down(struct etcdb_step *step, enum etcdb_kind kind)
{
    struct etcdb_marker *next = &step->next;

    *next = step->marker;
    next->kind = kind;
    if (step->marker.kind == ETCDB_UP) /* a part of a down has it already */
        memcpy(next->undid, step->marker.attempt, sizeof(next->undid));
    memcpy(next->attempt, step->attempt, sizeof(next->attempt));
}

/* Operations of a nested transaction are not looked at for permissions, so there is no nesting
 * where somebody has to have them. */
static struct etcdb_limits chunk_limits(const struct etcdb_step *step)
{
    const struct etcdb *db = step->db;

    return (struct etcdb_limits){.operations = db->max_txn_ops,
                                 .request = db->max_request,
                                 .nested = (step->looked || !db->has_user) &&
                                           !etcd_client_has_auth(db->client)};
}

/* Operations beside those of the script: the marker, and the end of what was kept. */
static size_t chunk_extra(const struct etcdb_step *step)
{
    return etcdb_step_is_down(step) ? 2 : 1;
}

/* How many operations the next transaction takes. */
static size_t chunk_fit(const struct etcdb_step *step, const struct etcdb_limits *limits)
{
    size_t done = etcdb_step_done(step);

    return etcdb_limits_fit(limits, step->operations.items + done, step->operations.count - done,
                            step->path_len, chunk_extra(step), etcdb_step_own_bytes(step));
}

static void chunk_set_next(struct etcdb_step *step, size_t done)
{
    bool whole = done == step->operations.count;

    if (!etcdb_step_is_down(step)) {
        etcdb_step_set_next_up(step, done);
        return;
    }
    etcdb_step_set_next_down(step, whole ? ETCDB_UNDONE : ETCDB_DOWN_PART);
    chunk_set_done(step, done);
}

static bool chunk_send(struct etcdb_step *step)
{
    const struct etcdb_limits limits = chunk_limits(step);
    size_t done = etcdb_step_done(step), count = chunk_fit(step, &limits);

    if (count == 0 && done < step->operations.count)
        return etcdb_step_fail_with(step, ERR_LIMIT,
                                    "operation %u is too large for one request to etcd",
                                    step->operations.items[done].number);
    chunk_set_next(step, done + count);
    etcdb_step_open(step);
    etcdb_step_put_marker(step);
    etcdb_txn_operations(&step->txn, step->path, step->operations.items + done, count, &limits,
                         chunk_extra(step));
    return etcdb_step_send(step);
}

bool etcdb_step_begin(struct etcdb_step *step)
{
    const struct etcdb_limits limits = chunk_limits(step);

    if (etcdb_step_is_down(step) || step->keeps ||
        chunk_fit(step, &limits) < step->operations.count)
        return etcdb_step_look(step);
    return chunk_send(step);
}

bool etcdb_step_shrink(struct etcdb_step *step)
{
    if (!etcdb_shrink(step->db, step->made_for))
        return etcdb_step_fail(step);
    return etcdb_step_look(step);
}

/* --- what the marker means --- */

/* The part that is there was made by what would go on with it. */
static bool chunk_is_same(const struct etcdb_step *step)
{
    return step->script != NULL && strcmp(step->marker.script, step->script->checksum) == 0 &&
           strcmp(step->marker.plan, step->plan) == 0 &&
           step->marker.operations == step->operations.count;
}

static bool chunk_fail_changed(struct etcdb_step *step)
{
    const struct etcdb_marker *marker = &step->marker;
    const char *which = etcdb_step_is_down(step) ? "down" : "up";
    bool is_same_script =
        step->script != NULL && strcmp(marker->script, step->script->checksum) == 0;

    return etcdb_step_fail_with(
        step, ERR_CONFLICT,
        "%zu of %zu operations of the %s script took effect, and %s; put that back to what it was, "
        "and run it again to finish it",
        marker->done, marker->operations, which,
        is_same_script ? "its keys are others since (the table, or the prefix of the connection)"
                       : "the script was changed since");
}

static bool chunk_fail_half_way(struct etcdb_step *step, const char *which)
{
    return etcdb_step_fail_with(step, ERR_CONFLICT,
                                "the %s of this migration stopped half-way; run it again in that "
                                "direction to finish it",
                                which);
}

static bool chunk_go_on(struct etcdb_step *step, const cJSON *body)
{
    if (!step->keeps)
        return chunk_send(step);
    if (body == NULL || step->looked_from != etcdb_step_done(step))
        return etcdb_step_look(step);
    return etcdb_keep_send(step, body);
}

/* There is no trace of it, or a tombstone. */
static bool chunk_is_none(const struct etcdb_step *step)
{
    return step->marker_mod == 0 || step->marker.kind == ETCDB_UNDONE;
}

/* What took effect and is undone by now must not take effect again, as far as this step goes. */
static bool chunk_begin_up(struct etcdb_step *step, const cJSON *body)
{
    bool was_undone = step->marker_mod != 0 && strcmp(step->marker.undid, step->attempt) == 0;

    if (step->chunks > 0 || was_undone || (step->marker_mod == 0 && step->in_doubt))
        return etcdb_step_fail_with(step, ERR_CONFLICT,
                                    "somebody undid this migration, or removed the journal's entry "
                                    "of it, while it was at work");
    return chunk_go_on(step, body);
}

static bool chunk_decide_up(struct etcdb_step *step, const cJSON *body)
{
    if (chunk_is_none(step))
        return chunk_begin_up(step, body);
    switch (step->marker.kind) {
    case ETCDB_UP:
        return etcdb_step_succeed(step, strcmp(step->marker.attempt, step->attempt) == 0
                                            ? BACKEND_DONE
                                            : BACKEND_WAS_DONE);
    case ETCDB_UP_PART:
        if (!chunk_is_same(step))
            return chunk_fail_changed(step);
        step->keeps = step->keeps && step->marker.kept;
        return chunk_go_on(step, body);
    case ETCDB_DOWN_PART:
    case ETCDB_UNDO_PART:
        return chunk_fail_half_way(step, "down");
    case ETCDB_UNDONE: /* was looked at above */
        break;
    }
    abort();
}

static bool chunk_decide_down(struct etcdb_step *step, const cJSON *body)
{
    if (chunk_is_none(step))
        return etcdb_step_succeed(step, step->in_doubt || step->chunks > 0 ? BACKEND_DONE
                                                                           : BACKEND_WAS_DONE);
    switch (step->marker.kind) {
    case ETCDB_UP:
        if (step->script != NULL)
            return chunk_send(step);
        if (step->marker.kept)
            return etcdb_undo_next(step, body);
        return etcdb_step_fail_with(
            step, ERR_CONFLICT,
            "the migration has no down script, and no values from before it were kept, as it had "
            "one when it was applied or was applied by an older server; give it a down script");
    case ETCDB_UP_PART:
        return chunk_fail_half_way(step, "up");
    case ETCDB_DOWN_PART:
        return chunk_is_same(step) ? chunk_send(step) : chunk_fail_changed(step);
    case ETCDB_UNDO_PART:
        if (step->script == NULL)
            return etcdb_undo_next(step, body);
        step->script = NULL; /* a down script that came later does not know where this one stands */
        return etcdb_undo_next(step, NULL);
    case ETCDB_UNDONE: /* was looked at above */
        break;
    }
    abort();
}

bool etcdb_step_decide(struct etcdb_step *step, const cJSON *body)
{
    return etcdb_step_is_down(step) ? chunk_decide_down(step, body) : chunk_decide_up(step, body);
}

/* --- what etcd answered --- */

/* The marker as etcd has it now. 0 or why that is not known. */
static int chunk_take_marker(struct etcdb_step *step, struct etcdb_marker *marker,
                             struct etcdb_kv *kv)
{
    const cJSON *range = etcdb_answer_range(step->answer.body, 0);
    int rc = etcdb_take_marker(range, marker, kv, &step->seen_arena, &step->err);

    return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* The transaction that was sent took effect, now or by an earlier try. */
static bool chunk_applied(struct etcdb_step *step, int64_t revision)
{
    bool whole = step->next.kind == ETCDB_UP || step->next.kind == ETCDB_UNDONE;

    step->in_doubt = false;
    step->losses = 0;
    step->chunks++;
    crash_point_nth("etcd_done", step->chunks);
    if (whole) {
        crash_point("step_committed");
        return etcdb_step_succeed(step, BACKEND_DONE);
    }
    step->marker = step->next;
    step->marker_mod = revision;
    if (step->canceled)
        return etcdb_step_fail_with(step, ERR_CANCELED, "canceled");
    return etcdb_step_decide(step, NULL);
}

static bool chunk_is_as_sent(const struct etcdb_step *step, const struct etcdb_kv *kv)
{
    return kv->mod != 0 && kv->value.len == step->next_value.len &&
           memcmp(kv->value.at, step->next_value.data, kv->value.len) == 0;
}

bool etcdb_step_looked(struct etcdb_step *step)
{
    struct etcdb_kv kv;

    step->looked = true;
    if (chunk_take_marker(step, &step->marker, &kv) != 0)
        return etcdb_step_fail(step);
    step->marker_mod = kv.mod;
    return etcdb_step_decide(step, step->answer.body);
}

bool etcdb_step_judge(struct etcdb_step *step)
{
    struct etcdb_marker found = {.kind = ETCDB_UP};
    struct etcdb_kv kv;
    bool was_seen;

    if (etcdb_answer_succeeded(step->answer.body))
        return chunk_applied(step, etcdb_answer_revision(step->answer.body));
    if (chunk_take_marker(step, &found, &kv) != 0)
        return etcdb_step_fail(step);
    if (chunk_is_as_sent(step, &kv))
        return chunk_applied(step, kv.mod);
    was_seen = kv.mod == step->marker_mod;
    step->marker = found;
    step->marker_mod = kv.mod;
    if (was_seen) {
        step->in_doubt = false;
        return etcdb_step_on_lost(step);
    }
    if (kv.mod != 0)
        step->in_doubt = false; /* whatever was sent, it was not that which got in */
    return etcdb_step_decide(step, NULL);
}

bool etcdb_step_probed(struct etcdb_step *step)
{
    struct etcdb_marker found;
    struct etcdb_kv kv;

    if (chunk_take_marker(step, &found, &kv) != 0)
        return etcdb_step_fail(step);
    if (chunk_is_as_sent(step, &kv))
        return chunk_applied(step, kv.mod);
    if (step->probe_tells) /* an earlier one that was lost may still take effect */
        step->in_doubt = false;
    return etcdb_step_fail_with(step, ERR_DB,
                                "etcd: mvcc: database space exceeded%s. Compact and defragment "
                                "etcd, then disarm its NOSPACE alarm",
                                step->in_doubt ? "" : "; nothing came of it");
}
