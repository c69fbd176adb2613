/* What a lane knows and writes about its steps: results, records, events. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "migrate/lane_internal.h"

struct lane *lane_create(struct run_full *run, size_t index)
{
    struct lane *lane = mem_calloc(1, sizeof(*lane));

    if (lane == NULL)
        return NULL;
    lane->run = run;
    lane->result = &run->pub.lanes[index];
    lane->plan = run_get_plan(run, index);
    if (lane->plan == NULL)
        goto err_after_lane;
    lane->items = arena_calloc(&run->arena, lane->plan->plan.step_count, sizeof(*lane->items));
    if (lane->items == NULL)
        goto err_after_plan;
    lane->result->items = lane->items;
    lane->result->err = lane->plan->err;
    return lane;

err_after_plan:
    run_put_plan(lane->plan);
err_after_lane:
    mem_free(lane);
    return NULL;
}

void lane_free(struct lane *lane)
{
    struct run_full *run = lane->run;

    run_put_plan(lane->plan);
    mem_free(lane->step_result.notices);
    run_on_lane_done(run, &lane->link);
    mem_free(lane);
}

const struct plan_step *lane_step(const struct lane *lane)
{
    return &lane->plan->plan.steps[lane->at];
}

const char *lane_schema(const struct lane *lane, const struct plan_node *node)
{
    const char *schema = run_effective_schema(lane->run, node, lane->result->requested);

    return schema != NULL ? schema : "";
}

static const struct plan_node *lane_node(const struct lane *lane)
{
    return &lane->run->graph.nodes[lane_step(lane)->node];
}

/* --- results --- */

static enum run_event_kind lane_event_of(enum run_item_kind kind)
{
    switch (kind) {
    case RUN_ITEM_APPLIED:
        return RUN_EVENT_APPLIED;
    case RUN_ITEM_SKIPPED:
    case RUN_ITEM_NOT_APPLIED:
    case RUN_ITEM_DRY_RUN:
        return RUN_EVENT_SKIPPED;
    case RUN_ITEM_FAILED:
    case RUN_ITEM_NOT_RUN:
        break;
    }
    return RUN_EVENT_FAILED;
}

static void lane_begin_item(struct lane *lane)
{
    const struct plan_node *node = lane_node(lane);

    lane->item = (struct run_item){
        .migration = node->migration,
        .schema = lane_schema(lane, node),
        .dependency = !node->selected,
    };
}

void lane_announce(struct lane *lane)
{
    const struct plan *plan = &lane->plan->plan;

    for (lane->at = 0; lane->at < plan->step_count; lane->at++) {
        if (plan->steps[lane->at].action != PLAN_RUN)
            continue;
        lane_begin_item(lane);
        engine_emit(lane->run->pub.engine, RUN_EVENT_QUEUED, lane->run, &lane->item);
    }
    lane->at = 0;
}

/* An error that outlives the lane. Out of memory: a constant one. */
static const struct err *lane_keep_err(struct lane *lane, const struct err *err)
{
    static const struct err no_memory = {.code = ERR_NOMEM, .text = "out of memory"};
    struct err *kept = arena_alloc(&lane->run->arena, sizeof(*kept));

    if (kept == NULL)
        return &no_memory;
    *kept = *err;
    return kept;
}

/* Whether a failure ends the lane's pass as a whole instead of one migration (bfm-api.md §4.3). */
static bool lane_fails_as_a_whole(int code)
{
    return code == ERR_UNREACHABLE || code == ERR_UNSUPPORTED || code == ERR_NOT_FOUND;
}

static void lane_add_item(struct lane *lane, enum run_item_kind kind)
{
    struct run_item *item = &lane->items[lane->result->count];

    lane->item.kind = kind;
    *item = lane->item;
    lane->result->count++;
    engine_emit(lane->run->pub.engine, lane_event_of(kind), lane->run, item);
    if (kind == RUN_ITEM_SKIPPED && !item->dependency && !lane->run->request.dry_run)
        run_add_skip(lane->run, item);
}

void lane_finish_step(struct lane *lane, enum run_item_kind kind)
{
    struct backend_result *result = &lane->step_result;

    lane_begin_item(lane);
    lane->item.attempts = result->attempts;
    lane->item.duration_ms = lane->run->pub.engine->sched->now_ms - lane->step_started_ms;
    if (result->notices != NULL)
        lane->item.notices = arena_strdup(&lane->run->arena, result->notices);
    mem_free(result->notices);
    *result = (struct backend_result){0};
    if (kind == RUN_ITEM_FAILED && lane_fails_as_a_whole(lane->failure.code)) {
        lane->result->err = lane->failure;
    } else {
        if (kind == RUN_ITEM_FAILED)
            lane->item.err = lane_keep_err(lane, &lane->failure);
        lane_add_item(lane, kind);
    }
    lane->at++;
}

void lane_note_failure(struct lane *lane, int rc)
{
    int stop = lane->run->stop;

    if (rc == ERR_CANCELED && stop != 0)
        err_set(&lane->failure, stop, "%s", err_code_text(stop));
    else if (lane->op.err.code != 0)
        lane->failure = lane->op.err;
    else
        err_set(&lane->failure, rc, "%s", err_code_text(rc));
}

/* --- steps that need no target --- */

/* The earlier item that keeps this step from running (bfm-api.md §6.2), NULL if there is none. */
static const struct run_item *lane_find_blocker(const struct lane *lane)
{
    const struct plan_node *nodes = lane->run->graph.nodes;
    const struct plan_node *node = lane_node(lane);
    const char *schema = lane_schema(lane, node);

    for (size_t i = 0; i < lane->result->count; i++) {
        const struct run_item *item = &lane->items[i];

        if (item->kind != RUN_ITEM_FAILED && item->kind != RUN_ITEM_NOT_RUN)
            continue;
        if (strcmp(item->migration->connection, node->migration->connection) == 0 &&
            strcmp(item->schema, schema) == 0)
            return item;
        for (size_t edge = 0; edge < node->edge_count; edge++)
            if (nodes[node->edges[edge].to].migration == item->migration)
                return item;
    }
    return NULL;
}

static void lane_refuse_step(struct lane *lane, int code, const char *reason)
{
    err_set(&lane->failure, code, "%s", reason);
    lane_finish_step(lane, RUN_ITEM_FAILED);
    err_clear(&lane->failure);
}

/* Steps behind a failure share one reason. */
static void lane_leave_out(struct lane *lane, const struct run_item *blocker)
{
    const struct err *reason = blocker->err;
    struct err err;

    if (blocker->kind == RUN_ITEM_FAILED) {
        err_set(&err, ERR_DEPENDENCY, "%s failed before it", blocker->migration->id);
        for (size_t i = 0; i < lane->result->count; i++)
            if (lane->items[i].kind == RUN_ITEM_NOT_RUN &&
                strcmp(lane->items[i].err->text, err.text) == 0)
                reason = lane->items[i].err;
        if (reason == blocker->err)
            reason = lane_keep_err(lane, &err);
    }
    lane_begin_item(lane);
    lane->item.err = reason;
    lane_add_item(lane, RUN_ITEM_NOT_RUN);
    lane->at++;
}

static void lane_leave_out_stopped(struct lane *lane)
{
    const struct run_item *last =
        lane->result->count > 0 ? &lane->items[lane->result->count - 1] : NULL;
    struct err err;

    err_set(&err, lane->run->stop, "%s", err_code_text(lane->run->stop));
    lane_begin_item(lane);
    lane->item.err =
        last != NULL && last->kind == RUN_ITEM_NOT_RUN ? last->err : lane_keep_err(lane, &err);
    lane_add_item(lane, RUN_ITEM_NOT_RUN);
    lane->at++;
}

/* Why the step cannot reach its target; NULL if it can. Sets the code. */
static const char *lane_find_refusal(struct lane *lane, int *code)
{
    const struct migration *migration = lane_node(lane)->migration;
    const struct engine_target *target =
        engine_target(lane->run->pub.engine, migration->connection);

    *code = ERR_INVALID;
    if (lane_step(lane)->action == PLAN_REFUSE)
        return lane_step(lane)->reason;
    if (lane->run->request.kind == RUN_DOWN && migration->invalid != NULL)
        return migration->invalid;
    if (lane->run->request.kind == RUN_DOWN && migration->down.file == NULL)
        return "migration does not have rollback SQL";
    *code = ERR_NOT_FOUND;
    if (target == NULL)
        return "a connection that it depends on is not configured";
    *code = ERR_UNSUPPORTED;
    return target->backend == NULL ? target->why : NULL;
}

/* Settles the step without its target; false: it has to run. */
static bool lane_settle_locally(struct lane *lane)
{
    bool is_up = lane->run->request.kind == RUN_UP;
    bool is_applied = lane_step(lane)->action == PLAN_SKIP;
    const struct run_item *blocker;
    const char *refusal;
    int code;

    if (lane_step(lane)->action != PLAN_REFUSE && is_applied == is_up) {
        lane_finish_step(lane, is_up ? RUN_ITEM_SKIPPED : RUN_ITEM_NOT_APPLIED);
        return true;
    }
    blocker = lane_step(lane)->action != PLAN_REFUSE ? lane_find_blocker(lane) : NULL;
    if (blocker != NULL) {
        lane_leave_out(lane, blocker);
        return true;
    }
    refusal = lane_find_refusal(lane, &code);
    if (refusal != NULL) {
        lane_refuse_step(lane, code, refusal);
        return true;
    }
    if (lane->run->request.dry_run) {
        lane_finish_step(lane, RUN_ITEM_DRY_RUN);
        return true;
    }
    if (lane->run->stop != 0) {
        lane_leave_out_stopped(lane);
        return true;
    }
    return false;
}

bool lane_skip_to_runnable(struct lane *lane)
{
    lane->step_started_ms = lane->run->pub.engine->sched->now_ms;
    while (lane->at < lane->plan->plan.step_count && lane->result->err.code == 0)
        if (!lane_settle_locally(lane))
            return true;
    return false;
}

/* --- the step under way --- */

void lane_prepare_step(struct lane *lane)
{
    const struct plan_node *node = lane_node(lane);
    bool is_new = true;

    lane_begin_item(lane);
    for (size_t i = 0; i < lane->result->count; i++)
        if (strcmp(lane->items[i].schema, lane->item.schema) == 0)
            is_new = false;
    lane->step_request = (struct backend_step){
        .migration = node->migration,
        .direction = lane->run->request.kind == RUN_UP ? BACKEND_UP : BACKEND_DOWN,
        .schema = lane->item.schema,
        .run_id = lane->run->pub.id,
        .schema_is_new = is_new,
    };
}

static struct store_record lane_record(const struct lane *lane, enum store_event event,
                                       const struct plan_node *node)
{
    bool is_up = lane->run->request.kind == RUN_UP;

    return (struct store_record){
        .event = event,
        .migration = node->migration,
        .schema = lane_schema(lane, node),
        .caller = &lane->run->request.caller,
        .run_id = lane->run->pub.id,
        .checksum = is_up ? node->migration->up.checksum : NULL,
        .at_us = clock_wall_us(),
    };
}

int lane_write_claim(struct lane *lane)
{
    struct store *store = lane->run->pub.engine->store;

    lane->records[0] = lane_record(lane, STORE_PENDING, lane_node(lane));
    return store->ops->write(store, &lane->op, lane->records, 1);
}

void lane_judge_outcome(struct lane *lane)
{
    bool is_up = lane->run->request.kind == RUN_UP;
    bool was_done = lane->step_result.outcome == BACKEND_WAS_DONE;

    if (lane->failure.code != 0) {
        lane->outcome = RUN_ITEM_FAILED;
        lane->news = LOCK_NEWS_NONE;
        lane->record_event = is_up ? STORE_FAILED : STORE_UNDO_FAILED;
    } else if (is_up) {
        lane->outcome = was_done ? RUN_ITEM_SKIPPED : RUN_ITEM_APPLIED;
        lane->news = LOCK_NEWS_APPLIED;
        lane->record_event = was_done ? STORE_FOUND_APPLIED : STORE_APPLIED;
    } else {
        lane->outcome = was_done ? RUN_ITEM_NOT_APPLIED : RUN_ITEM_APPLIED;
        lane->news = LOCK_NEWS_UNDONE;
        lane->record_event = was_done ? STORE_FOUND_NOT_APPLIED : STORE_ROLLED_BACK;
    }
}

/* The next step that will run if this one succeeds; NULL if there is none. */
static const struct plan_node *lane_peek(const struct lane *lane)
{
    const struct plan *plan = &lane->plan->plan;

    if (lane->run->request.kind != RUN_UP)
        return NULL;
    for (size_t i = lane->at + 1; i < plan->step_count; i++) {
        const struct plan_node *node = &lane->run->graph.nodes[plan->steps[i].node];
        const struct engine_target *target =
            engine_target(lane->run->pub.engine, node->migration->connection);

        if (plan->steps[i].action == PLAN_REFUSE || target == NULL || target->backend == NULL)
            return NULL;
        if (plan->steps[i].action == PLAN_RUN)
            return node;
    }
    return NULL;
}

int lane_write_outcome(struct lane *lane)
{
    struct store *store = lane->run->pub.engine->store;
    bool succeeded = lane->outcome == RUN_ITEM_APPLIED || lane->outcome == RUN_ITEM_SKIPPED;
    const struct plan_node *next = succeeded && lane->run->stop == 0 ? lane_peek(lane) : NULL;
    size_t count = 1;

    lane->records[0] = lane_record(lane, lane->record_event, lane_node(lane));
    if (lane->outcome == RUN_ITEM_FAILED)
        lane->records[0].error = err_text(&lane->failure);
    if (lane->record_event == STORE_FOUND_APPLIED && lane->step_result.applied_at_us > 0)
        lane->records[0].at_us = lane->step_result.applied_at_us;
    if (next != NULL &&
        (lane->next_lock.held || lock_try(&lane->run->pub.engine->locks, &lane->next_lock,
                                          next->migration->id, lane_schema(lane, next))))
        lane->records[count++] = lane_record(lane, STORE_PENDING, next);
    return store->ops->write(store, &lane->op, lane->records, count);
}

void lane_note_unrecorded(struct lane *lane)
{
    struct err *err = &lane->run->pub.err;
    const struct plan_node *node = lane_node(lane);

    if (lane->outcome == RUN_ITEM_FAILED)
        err_set(err, ERR_STORE,
                "%s failed in schema \"%s\" (%s), and the state database did not record it: %s",
                node->migration->id, lane_schema(lane, node), err_text(&lane->failure),
                err_text(&lane->op.err));
    else
        err_set(
            err, ERR_STORE,
            "the target is ahead of the state database: %s took effect in schema \"%s\" but could not be recorded "
            "(%s); the next run or a reconcile catches up",
            node->migration->id, lane_schema(lane, node), err_text(&lane->op.err));
    lane->result->err = *err;
}
