/* The step under way: what the target is asked, how its answer is judged, what the state database
 * is told. */
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "migrate/adoption.h"
#include "migrate/lane_internal.h"

enum {
    LANE_CONTEXT_MAX = 16384, /* bytes of dependencies' IDs in a record's context */
};

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
        .on_attempt = lane_on_attempt,
        .owner = lane,
    };
}

/* Ids of dependencies that this lane ran for the node, each behind a comma. */
static void lane_put_dependencies(const struct lane *lane, const struct plan_node *node,
                                  struct buf *ids)
{
    for (size_t i = 0; i < lane->result->count; i++) {
        const struct run_item *item = &lane->items[i];
        bool is_needed = false;

        for (size_t edge = 0; edge < node->edge_count && !is_needed; edge++)
            is_needed = lane->run->graph.nodes[node->edges[edge].to].migration == item->migration;
        if (!is_needed || !item->dependency || item->kind != RUN_ITEM_APPLIED)
            continue;
        buf_putc(ids, ',');
        json_put_string(ids, item->migration->id);
    }
}

/* The request's caller; its context names the dependencies that ran for this step (bfm-api.md
 * §6.6). */
static const struct store_caller *lane_caller(struct lane *lane, const struct plan_node *node)
{
    const struct store_caller *caller = &lane->run->request.caller;
    size_t len = strlen(caller->execution_context);
    struct buf ids;
    char *context = NULL;

    buf_init(&ids, LANE_CONTEXT_MAX);
    lane_put_dependencies(lane, node, &ids);
    if (ids.len > 0 && ids.rc == 0 && len >= 2 && caller->execution_context[len - 1] == '}')
        context =
            arena_printf(&lane->run->arena, "%.*s%s\"executed_dependencies\":[%s]}", (int)(len - 1),
                         caller->execution_context, len > 2 ? "," : "", ids.data + 1);
    buf_free(&ids);
    if (context == NULL)
        return caller;
    lane->caller = *caller;
    lane->caller.execution_context = context;
    return &lane->caller;
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

/* A recorded start that is not made comes to nothing, and the history says so. */
int lane_write_cut_off(struct lane *lane)
{
    struct store *store = lane->run->pub.engine->store;

    lane->records[0] = lane_record(lane, STORE_CUT_OFF, lane->locks.node);
    if (lane->run->stop == ERR_SHUTDOWN)
        lane->records[0].error = "cut off: the server stopped before this step";
    else if (lane->run->stop == ERR_HALTED)
        lane->records[0].error = "cut off: too many other schemas failed before this step";
    else
        lane->records[0].error = "cut off: the run was canceled before this step";
    return store->ops->write(store, &lane->op, lane->records, 1);
}

int lane_write_claim(struct lane *lane)
{
    struct store *store = lane->run->pub.engine->store;
    int rc = run_row_begin(lane->run);

    if (rc != 0) {
        lane->op.err = lane->run->row.op.err;
        return rc;
    }
    lane->records[0] = lane_record(lane, STORE_PENDING, lane_node(lane));
    return store->ops->write(store, &lane->op, lane->records, 1);
}

/* "Nothing to undo" is then no fact about the target. */
bool lane_is_unjournaled(const struct lane *lane)
{
    return lane->run->unjournaled[lane_index(lane)];
}

int lane_start_adoption(struct lane *lane)
{
    struct engine *engine = lane->run->pub.engine;
    const struct plan_node *node = lane_node(lane);
    struct backend *backend = engine_target(engine, node->migration->connection)->backend;

    lane->adoption =
        (struct backend_adoption){.migration = node->migration, .schema = lane_schema(lane, node)};
    return adoption_start(engine, backend, &lane->adoption, 1, engine->config.lock_wait_ms,
                          &lane->op);
}

void lane_judge_outcome(struct lane *lane)
{
    bool is_up = lane->run->request.kind == RUN_UP;
    bool was_done = lane->step_result.outcome == BACKEND_WAS_DONE;

    if (!is_up && was_done && lane->failure.code == 0 && lane_is_unjournaled(lane))
        err_set(
            &lane->failure, ERR_CONFLICT,
            "it was applied by an older server and is not in the target's journal; its down script was not run. "
            "Undo it by hand, or add its journal row first");
    if (lane->failure.code != 0) {
        lane_judge_refused(lane);
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

void lane_judge_refused(struct lane *lane)
{
    lane->outcome = RUN_ITEM_FAILED;
    lane->news = LOCK_NEWS_NONE;
    lane->record_event = lane->run->request.kind == RUN_UP ? STORE_FAILED : STORE_UNDO_FAILED;
}

const struct plan_node *lane_peek(const struct lane *lane)
{
    const struct plan *plan = &lane->plan->plan;

    if (lane->run->request.kind != RUN_UP)
        return NULL;
    for (size_t i = lane->at + 1; i < plan->step_count && i < lane->at + LANE_STEPS_PER_TURN; i++) {
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

/* The record is the one that the run which applied it writes, too: whoever comes second changes
 * nothing. */
static void lane_credit_other_run(const struct lane *lane, struct store_record *record)
{
    const struct backend_result *result = &lane->step_result;

    if (result->applied_at_us > 0)
        record->at_us = result->applied_at_us;
    if (result->run_id[0] != '\0')
        record->run_id = result->run_id;
}

/* What was found done is recorded as the work of whoever did it, or not at all if that is known;
 * the start that this run recorded needs an end of its own. */
static size_t lane_put_own_end(const struct lane *lane, struct store_record *record)
{
    if (lane->record_event == STORE_FOUND_APPLIED)
        *record = lane_record(lane, STORE_END_APPLIED, lane_node(lane));
    else if (lane->record_event == STORE_FOUND_NOT_APPLIED)
        *record = lane_record(lane, STORE_END_NOT_APPLIED, lane_node(lane));
    else
        return 0;
    return 1;
}

static void lane_put_effort(const struct lane *lane, struct store_record *records, size_t count)
{
    uint64_t ms = lane->run->pub.engine->sched->now_ms - lane->step_started_ms;

    for (size_t i = 0; i < count; i++) {
        records[i].attempts = lane->step_result.attempts;
        records[i].duration_ms = (int64_t)ms;
    }
}

/* Whether the start of the next step is recorded together with this outcome. Once it was offered it
 * stays: an offer that seemed to fail may have been taken. */
static bool lane_claims_next(struct lane *lane)
{
    bool succeeded = lane->outcome == RUN_ITEM_APPLIED || lane->outcome == RUN_ITEM_SKIPPED;
    const struct plan_node *next;

    if (lane->next.items != NULL)
        return true;
    if (!succeeded || lane->run->stop != 0)
        return false;
    run_set_applied(lane->run, lane_index(lane), lane_step(lane)->node, true);
    next = lane_peek(lane);
    return next != NULL && lane_try_next_locks(lane, next);
}

int lane_write_outcome(struct lane *lane)
{
    struct store *store = lane->run->pub.engine->store;
    size_t count = 1;

    lane->records[0] = lane_record(lane, lane->record_event, lane_node(lane));
    lane->records[0].caller = lane_caller(lane, lane_node(lane));
    if (lane->outcome == RUN_ITEM_FAILED)
        lane->records[0].error = err_text(&lane->failure);
    if (lane->record_event == STORE_FOUND_APPLIED)
        lane_credit_other_run(lane, &lane->records[0]);
    count += lane_put_own_end(lane, &lane->records[count]);
    lane_put_effort(lane, lane->records, count);
    if (lane_claims_next(lane))
        lane->records[count++] = lane_record(lane, STORE_PENDING, lane->next.node);
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
    engine_target(lane->run->pub.engine, node->migration->connection)->compared = false;
}
