/* What the marker means, and what etcd answered. */
#include <stdlib.h>
#include <string.h>

#include "backend/etcd_step.h"
#include "base/crash.h"

/* The part that is there was made by what would go on with it. */
static bool judge_is_same(const struct etcdb_step *step)
{
    return step->script != NULL && strcmp(step->marker.script, step->script->checksum) == 0 &&
           strcmp(step->marker.plan, step->plan) == 0 &&
           step->marker.operations == step->operations.count;
}

static bool judge_fail_changed(struct etcdb_step *step)
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

static bool judge_fail_half_way(struct etcdb_step *step, const char *which)
{
    return etcdb_step_fail_with(step, ERR_CONFLICT,
                                "the %s of this migration stopped half-way; run it again in that "
                                "direction to finish it",
                                which);
}

static bool judge_go_on(struct etcdb_step *step, const cJSON *body)
{
    if (!step->keeps)
        return etcdb_step_send_chunk(step);
    if (body == NULL || step->looked_from != etcdb_step_done(step))
        return etcdb_step_look(step);
    return etcdb_keep_send(step, body);
}

/* There is no trace of it, or a tombstone. */
static bool judge_is_none(const struct etcdb_step *step)
{
    return step->marker_mod == 0 || step->marker.kind == ETCDB_UNDONE;
}

/* The marker is where the step began. */
static bool judge_is_at_start(const struct etcdb_step *step)
{
    if (etcdb_step_is_down(step))
        return step->marker_mod != 0 && step->marker.kind == ETCDB_UP;
    return judge_is_none(step);
}

static bool judge_fail_reversed(struct etcdb_step *step)
{
    return etcdb_step_fail_with(step, ERR_CONFLICT, "somebody %s, while it was at work",
                                etcdb_step_is_down(step)
                                    ? "applied this migration again behind its down"
                                    : "undid this migration, or removed the journal's entry of it");
}

/* What took effect and is undone by now must not take effect again, as far as this step goes. */
static bool judge_begin_up(struct etcdb_step *step, const cJSON *body)
{
    bool was_undone = step->marker_mod != 0 && strcmp(step->marker.undid, step->attempt) == 0;

    if (step->chunks > 0 || was_undone || (step->marker_mod == 0 && step->in_doubt))
        return judge_fail_reversed(step);
    return judge_go_on(step, body);
}

/* In the same way: what is applied again is for another down. */
static bool judge_begin_down(struct etcdb_step *step, const cJSON *body)
{
    if (step->chunks > 0)
        return judge_fail_reversed(step);
    if (step->script != NULL)
        return etcdb_step_send_chunk(step);
    if (step->marker.kept)
        return etcdb_undo_next(step, body);
    return etcdb_step_fail_with(
        step, ERR_CONFLICT,
        "the migration has no down script, and no values from before it were kept, as it had one "
        "when it was applied or was applied by an older server; give it a down script");
}

static bool judge_decide_up(struct etcdb_step *step, const cJSON *body)
{
    if (judge_is_none(step))
        return judge_begin_up(step, body);
    switch (step->marker.kind) {
    case ETCDB_UP:
        return etcdb_step_succeed(step, strcmp(step->marker.attempt, step->attempt) == 0
                                            ? BACKEND_DONE
                                            : BACKEND_WAS_DONE);
    case ETCDB_UP_PART:
        if (!judge_is_same(step))
            return judge_fail_changed(step);
        step->keeps = step->keeps && step->marker.kept;
        return judge_go_on(step, body);
    case ETCDB_DOWN_PART:
    case ETCDB_UNDO_PART:
        return judge_fail_half_way(step, "down");
    case ETCDB_UNDONE: /* was looked at above */
        break;
    }
    abort();
}

/* There is no trace of it any more: whether this step had a part in that. */
static bool judge_has_undone(const struct etcdb_step *step)
{
    if (step->chunks > 0)
        return true;
    if (step->marker_mod == 0) /* an older server, or a person, removed it */
        return step->in_doubt;
    return strcmp(step->marker.attempt, step->attempt) == 0;
}

static bool judge_decide_down(struct etcdb_step *step, const cJSON *body)
{
    if (judge_is_none(step))
        return etcdb_step_succeed(step, judge_has_undone(step) ? BACKEND_DONE : BACKEND_WAS_DONE);
    switch (step->marker.kind) {
    case ETCDB_UP:
        return judge_begin_down(step, body);
    case ETCDB_UP_PART:
        return judge_fail_half_way(step, "up");
    case ETCDB_DOWN_PART:
        return judge_is_same(step) ? etcdb_step_send_chunk(step) : judge_fail_changed(step);
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
    return etcdb_step_is_down(step) ? judge_decide_down(step, body) : judge_decide_up(step, body);
}

/* --- what etcd answered --- */

/* The marker as etcd has it now. 0 or why that is not known. */
static int judge_take_marker(struct etcdb_step *step, struct etcdb_marker *marker,
                             struct etcdb_kv *kv)
{
    const cJSON *range = etcdb_answer_range(step->answer.body, 0);
    int rc = etcdb_take_marker(range, marker, kv, &step->seen_arena, &step->err);

    return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* The transaction that was sent took effect, now or by an earlier try. */
static bool judge_applied(struct etcdb_step *step, int64_t revision)
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

static bool judge_is_as_sent(const struct etcdb_step *step, const struct etcdb_kv *kv)
{
    return kv->mod != 0 && kv->value.len == step->next_value.len &&
           memcmp(kv->value.at, step->next_value.data, kv->value.len) == 0;
}

bool etcdb_step_looked(struct etcdb_step *step)
{
    struct etcdb_kv kv;

    step->looked = true;
    if (judge_take_marker(step, &step->marker, &kv) != 0)
        return etcdb_step_fail(step);
    step->marker_mod = kv.mod;
    return etcdb_step_decide(step, step->answer.body);
}

bool etcdb_step_judge(struct etcdb_step *step)
{
    struct etcdb_marker found = {.kind = ETCDB_UP};
    struct etcdb_kv kv;
    bool was_seen, was_known = step->looked || step->marker_mod != 0;

    if (etcdb_answer_succeeded(step->answer.body))
        return judge_applied(step, etcdb_answer_revision(step->answer.body));
    if (judge_take_marker(step, &found, &kv) != 0)
        return etcdb_step_fail(step);
    if (judge_is_as_sent(step, &kv))
        return judge_applied(step, kv.mod);
    was_seen = kv.mod == step->marker_mod;
    step->marker = found;
    step->marker_mod = kv.mod;
    if (was_seen) {
        step->in_doubt = false;
        return etcdb_step_on_lost(step);
    }
    if (kv.mod == 0 || !step->in_doubt)
        return etcdb_step_decide(step, NULL);
    step->in_doubt = false; /* it cannot get in any more; but it may have, before somebody else */
    return was_known && judge_is_at_start(step) ? judge_fail_reversed(step)
                                                : etcdb_step_decide(step, NULL);
}

bool etcdb_step_probed(struct etcdb_step *step)
{
    struct etcdb_marker found;
    struct etcdb_kv kv;

    if (judge_take_marker(step, &found, &kv) != 0)
        return etcdb_step_fail(step);
    if (judge_is_as_sent(step, &kv))
        return judge_applied(step, kv.mod);
    if (step->probe_tells) /* an earlier one that was lost may still take effect */
        step->in_doubt = false;
    return etcdb_step_fail_with(step, ERR_DB,
                                "etcd: mvcc: database space exceeded%s. Compact and defragment "
                                "etcd, then disarm its NOSPACE alarm",
                                step->in_doubt ? "" : "; nothing came of it");
}
