/* What becomes of the steps of a lane: results, events, and the steps that need no target. */
#include <string.h>

#include "base/mem.h"
#include "migrate/lane_internal.h"

struct lane *lane_create(struct run_full *run, size_t index)
{
    struct lane *lane = mem_calloc(1, sizeof(*lane));

    if (lane == NULL)
        return NULL;
    lane->run = run;
    lane->result = &run->pub.lanes[index];
    lane->plan = run_take_plan(run);
    if (lane->plan == NULL)
        goto err_after_lane;
    lane->items = arena_calloc(&run->arena, lane->plan->plan.step_count, sizeof(*lane->items));
    if (lane->items == NULL)
        goto err_after_plan;
    lane->result->items = lane->items;
    lane->result->planned = lane->plan->plan.step_count;
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

    lane_note_end(lane);
    lane_drop_ahead(lane);
    run_put_plan(lane->plan);
    mem_free(lane->step_result.notices);
    run_on_lane_done(run, &lane->link);
    mem_free(lane);
}

const struct plan_step *lane_step(const struct lane *lane)
{
    return &lane->plan->plan.steps[lane->at];
}

size_t lane_index(const struct lane *lane)
{
    return (size_t)(lane->result - lane->run->pub.lanes);
}

const char *lane_schema(const struct lane *lane, const struct plan_node *node)
{
    const char *schema = run_effective_schema(lane->run, node, lane->result->requested);

    return schema != NULL ? schema : "";
}

const struct plan_node *lane_node(const struct lane *lane)
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

void lane_begin_item(struct lane *lane)
{
    const struct plan_node *node = lane_node(lane);

    lane->item = (struct run_item){
        .migration = node->migration,
        .schema = lane_schema(lane, node),
        .dependency = !node->selected,
    };
    if (lane->run->request.explain) /* out of memory: no reason */
        lane->item.reason = arena_strdup(&lane->run->arena, lane_step(lane)->reason);
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
    lane_note_item(lane, kind);
    engine_emit(lane->run->pub.engine, lane_event_of(kind), lane->run, item);
    if (kind == RUN_ITEM_SKIPPED && !item->dependency && !lane->run->request.dry_run)
        run_add_skip(lane->run, item);
}

/* Steps behind the one the lane is at share the reason for not running. Out of memory blocks the
 * whole lane. */
static void lane_block_others(struct lane *lane, const struct err *reason)
{
    struct arena *arena = &lane->run->arena;
    struct lane_block *block;

    if (lane->node_failures == NULL)
        lane->node_failures =
            arena_calloc(arena, lane->run->graph.count, sizeof(const struct err *));
    if (lane->node_failures != NULL)
        lane->node_failures[lane_step(lane)->node] = reason;
    for (block = lane->blocks; block != NULL; block = block->next)
        if (strcmp(block->connection, lane->item.migration->connection) == 0 &&
            strcmp(block->schema, lane->item.schema) == 0)
            return;
    block = arena_alloc(arena, sizeof(*block));
    if (block == NULL || lane->node_failures == NULL) {
        err_set(&lane->result->err, ERR_NOMEM, "%s", err_code_text(ERR_NOMEM));
        return;
    }
    *block = (struct lane_block){
        .next = lane->blocks,
        .connection = lane->item.migration->connection,
        .schema = lane->item.schema,
        .reason = reason,
    };
    lane->blocks = block;
}

static void lane_note_untried(struct lane *lane)
{
    struct err err = lane->failure;

    err_prefix(&err, "%s", lane->item.migration->id);
    lane->result->untried = lane_keep_err(lane, &err);
}

static void lane_fail_item(struct lane *lane)
{
    struct err err;

    if (lane->item.attempts == 0 && lane->result->untried == NULL)
        lane_note_untried(lane);
    err_set(&err, ERR_DEPENDENCY, "%s failed before it", lane->item.migration->id);
    lane->item.err = lane_keep_err(lane, &lane->failure);
    lane_block_others(lane, lane_keep_err(lane, &err));
}

/* Of a dependency elsewhere: whose target it is has to be said. */
static void lane_fail_whole(struct lane *lane)
{
    const struct run_request *request = &lane->run->request;
    const char *connection = lane_node(lane)->migration->connection;

    lane->result->err = lane->failure;
    if (request->kind == RUN_UP && strcmp(connection, request->connection) != 0)
        err_prefix(&lane->result->err, "connection %s", connection);
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
    if (lane->run->request.kind == RUN_UP && (kind == RUN_ITEM_APPLIED || kind == RUN_ITEM_SKIPPED))
        run_set_applied(lane->run, lane_index(lane), lane_step(lane)->node, true);
    if (kind == RUN_ITEM_FAILED && lane_fails_as_a_whole(lane->failure.code)) {
        lane_fail_whole(lane);
    } else {
        if (kind == RUN_ITEM_FAILED)
            lane_fail_item(lane);
        lane_add_item(lane, kind);
    }
    lane->at++;
}

void lane_on_attempt(const struct backend_step *step, unsigned attempt, const struct err *why)
{
    struct lane *lane = step->owner;
    struct engine *engine = lane->run->pub.engine;
    struct run_item item = lane->item;

    item.err = why;
    item.attempts = attempt;
    item.duration_ms = engine->sched->now_ms - lane->step_started_ms;
    engine_emit(engine, RUN_EVENT_ATTEMPT, lane->run, &item);
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

/* Why this step cannot run after what failed earlier (bfm-api.md §6.2), NULL if it can. */
static const struct err *lane_find_block(const struct lane *lane)
{
    const struct plan_node *node = lane_node(lane);
    const char *schema = lane_schema(lane, node);

    for (const struct lane_block *block = lane->blocks; block != NULL; block = block->next)
        if (strcmp(block->connection, node->migration->connection) == 0 &&
            strcmp(block->schema, schema) == 0)
            return block->reason;
    for (size_t edge = 0; lane->node_failures != NULL && edge < node->edge_count; edge++)
        if (lane->node_failures[node->edges[edge].to] != NULL)
            return lane->node_failures[node->edges[edge].to];
    return NULL;
}

static void lane_refuse_step(struct lane *lane, int code, const char *reason)
{
    err_set(&lane->failure, code, "%s", reason);
    lane_finish_step(lane, RUN_ITEM_FAILED);
    err_clear(&lane->failure);
}

static void lane_leave_out(struct lane *lane, const struct err *reason)
{
    lane_begin_item(lane);
    lane->item.err = reason;
    lane_block_others(lane, reason);
    lane_add_item(lane, RUN_ITEM_NOT_RUN);
    lane->at++;
}

/* Why the run stops, once for all steps that it leaves out in a row. */
static const struct err *lane_keep_stop(struct lane *lane)
{
    size_t count = lane->result->count;
    struct err err;

    if (count > 0 && lane->items[count - 1].kind == RUN_ITEM_NOT_RUN)
        return lane->items[count - 1].err;
    err_set(&err, lane->run->stop, "%s", err_code_text(lane->run->stop));
    return lane_keep_err(lane, &err);
}

static void lane_leave_out_stopped(struct lane *lane)
{
    lane_begin_item(lane);
    lane->item.err = lane_keep_stop(lane);
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
    if (lane->run->request.kind == RUN_DOWN && !migration_can_undo(migration))
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
    const struct err *block;
    const char *refusal;
    int code;

    if (lane_step(lane)->action != PLAN_REFUSE && is_applied == is_up) {
        lane_finish_step(lane, is_up ? RUN_ITEM_SKIPPED : RUN_ITEM_NOT_APPLIED);
        return true;
    }
    block = lane_step(lane)->action != PLAN_REFUSE ? lane_find_block(lane) : NULL;
    if (block != NULL) {
        lane_leave_out(lane, block);
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

enum lane_progress lane_skip_to_runnable(struct lane *lane)
{
    size_t budget = LANE_STEPS_PER_TURN;

    lane->step_started_ms = lane->run->pub.engine->sched->now_ms;
    while (lane->at < lane->plan->plan.step_count && lane->result->err.code == 0) {
        if (budget-- == 0)
            return LANE_MORE;
        if (!lane_settle_locally(lane))
            return LANE_FOUND;
    }
    return LANE_END;
}
