/* What is sent next: one chunk, usually all of it. */
#include <stdio.h>
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

bool etcdb_step_send_chunk(struct etcdb_step *step)
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
    return etcdb_step_send_chunk(step);
}

bool etcdb_step_shrink(struct etcdb_step *step)
{
    if (!etcdb_shrink(step->db, step->made_for))
        return etcdb_step_fail(step);
    return etcdb_step_look(step);
}
