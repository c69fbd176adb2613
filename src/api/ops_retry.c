/*
 *   ROW ──> LANES (a page, and the next) ──> RUNNING
 *    └── all lanes ───────────────────────────^
 */
#include "api/ops_retry.h"

#include <string.h>

#include "api/ops_request.h"

enum {
    RETRY_ROW,
    RETRY_LANES,
    RETRY_RUNNING,
};

enum {
    RETRY_LANES_PER_READ = 1000,
};

void ops_retry_free(struct ops_retry *retry)
{
    arena_free(&retry->row.arena);
    arena_free(&retry->lanes.arena);
    arena_free(&retry->arena);
    *retry = (struct ops_retry){0};
}

static const struct store_run *retry_row(const struct ops_retry *retry)
{
    return retry->row.rows;
}

/* --- the new run --- */

static int retry_start_up(struct ops_retry *retry)
{
    const struct ops_recorded *recorded = retry->recorded;
    const struct ops_up_request up = {.connection = recorded->connection,
                                      .target = &recorded->target,
                                      .schemas = recorded->schemas,
                                      .schema_count = recorded->schema_count,
                                      .no_lone_lane = recorded->no_lone_lane,
                                      .ignore_dependencies = recorded->ignore_dependencies,
                                      .caller = retry->request.caller,
                                      .how = retry->request.how,
                                      .grant = retry->request.grant};
    const struct ops_migrate_request migrate = {
        .connection = recorded->connection,
        .target = &recorded->target,
        .schema = recorded->schema_count > 0 ? recorded->schemas[0] : "",
        .schema_name = "",
        .environment = "",
        .ignore_dependencies = recorded->ignore_dependencies,
        .caller = retry->request.caller,
        .how = retry->request.how,
        .grant = retry->request.grant};

    if (recorded->kind == OPS_MIGRATE)
        return ops_migrate_start(retry->ops, &retry->step, &migrate, retry->run);
    return ops_up_start(retry->ops, &retry->step, &up, retry->run);
}

static int retry_start_undo(struct ops_retry *retry)
{
    const struct ops_recorded *recorded = retry->recorded;
    const struct ops_undo_request undo = {.migration_id = recorded->migration_id,
                                          .schemas = recorded->schemas,
                                          .schema_count = recorded->schema_count,
                                          .ignore_dependencies = recorded->ignore_dependencies,
                                          .caller = retry->request.caller,
                                          .how = retry->request.how,
                                          .grant = retry->request.grant};

    if (recorded->kind == OPS_DOWN)
        return ops_down_start(retry->ops, &retry->step, &undo, retry->run);
    return ops_rollback_start(retry->ops, &retry->step, &undo, retry->run);
}

static int retry_run(struct ops_retry *retry)
{
    struct ops_recorded *recorded = retry->recorded;

    retry->stage = RETRY_RUNNING;
    retry->request.how.retry_of = retry_row(retry)->id;
    if (!retry->request.how.failures.given)
        retry->request.how.failures = recorded->failures;
    if (retry->schema_count > 0) {
        recorded->schemas = retry->schemas;
        recorded->schema_count = retry->schema_count;
    }
    if (recorded->kind == OPS_UP || recorded->kind == OPS_MIGRATE)
        return retry_start_up(retry);
    return retry_start_undo(retry);
}

/* --- which lanes --- */

static int retry_ask_lanes(struct ops_retry *retry)
{
    struct store *store = retry->ops->store;
    int64_t after = -1;

    if (retry->lanes.count > 0)
        after = retry->lanes.rows[retry->lanes.count - 1].number;
    arena_free(&retry->lanes.arena);
    retry->stage = RETRY_LANES;
    return store->ops->get_run_lanes(store, &retry->step, retry_row(retry)->id, after,
                                     RETRY_LANES_PER_READ, &retry->lanes);
}

static int retry_on_lanes(struct ops_retry *retry)
{
    for (size_t i = 0; i < retry->lanes.count; i++) {
        const struct store_run_lane *lane = &retry->lanes.rows[i];

        if (!lane->failed || retry->schema_count == OPS_FLEET_MAX)
            continue;
        retry->schemas[retry->schema_count] = arena_strdup(&retry->arena, lane->schema);
        if (retry->schemas[retry->schema_count] == NULL)
            return op_refuse(&retry->step, ERR_NOMEM, "out of memory");
        retry->schema_count++;
    }
    if (retry->lanes.count == RETRY_LANES_PER_READ)
        return retry_ask_lanes(retry);
    if (retry->schema_count == 0)
        return op_refuse(&retry->step, ERR_CONFLICT, "nothing of run %s failed",
                         retry_row(retry)->id);
    return retry_run(retry);
}

/* Whether the row of a run that ended knows its lanes: one cut off never said, and one that could
 * not even begin has none. */
static bool retry_knows_lanes(const struct store_run *row)
{
    return row->status != STORE_RUN_INTERRUPTED &&
           (row->error[0] == '\0' || row->counts.lanes_failed > 0);
}

static int retry_refuse_unknown(struct op *op, const char *id)
{
    return op_refuse(op, ERR_NOT_FOUND, "run not found: %.60s", id);
}

static int retry_check(struct ops_retry *retry)
{
    const struct store_run *row = retry_row(retry);
    bool is_undo;

    if (retry->row.count == 0 || !grant_sees(retry->request.grant, row->connection, NULL))
        return retry_refuse_unknown(&retry->step, retry->filter.id);
    if (row->status == STORE_RUN_RUNNING)
        return op_refuse(&retry->step, ERR_CONFLICT, "run %s is still under way", row->id);
    if (row->status == STORE_RUN_SUCCEEDED)
        return op_refuse(&retry->step, ERR_CONFLICT, "nothing of run %s failed", row->id);
    is_undo = retry->recorded->kind == OPS_DOWN || retry->recorded->kind == OPS_ROLLBACK;
    return grant_check_scopes(retry->request.grant, is_undo ? GRANT_ROLLBACK : GRANT_MIGRATE,
                              &retry->step.err);
}

static int retry_on_row(struct ops_retry *retry)
{
    int rc = 0;

    retry->recorded = arena_calloc(&retry->arena, 1, sizeof(*retry->recorded));
    retry->schemas = arena_calloc(&retry->arena, OPS_FLEET_MAX, sizeof(*retry->schemas));
    if (retry->recorded == NULL || retry->schemas == NULL)
        return op_refuse(&retry->step, ERR_NOMEM, "out of memory");
    if (retry->row.count > 0)
        rc = ops_request_read(retry_row(retry), &retry->arena, retry->recorded, &retry->step.err);
    if (rc == 0)
        rc = retry_check(retry);
    if (rc != 0)
        return rc;
    return retry_knows_lanes(retry_row(retry)) ? retry_ask_lanes(retry) : retry_run(retry);
}

static int retry_go_on(struct ops_retry *retry)
{
    switch (retry->stage) {
    case RETRY_ROW:
        return retry_on_row(retry);
    case RETRY_LANES:
        return retry_on_lanes(retry);
    default:
        op_finish(retry->op, 0);
        return 0;
    }
}

/* Where the run was at work is in no answer to somebody who does not see that. */
static void retry_hide(struct ops_retry *retry)
{
    if (retry->stage == RETRY_RUNNING && retry->step.err.code == ERR_FORBIDDEN)
        err_set(&retry->step.err, ERR_FORBIDDEN,
                "token \"%s\" may not use everything that run %s used", retry->request.grant->name,
                retry->filter.id);
}

static void retry_on_step(struct op *step, int rc)
{
    struct ops_retry *retry = container_of(step, struct ops_retry, step);

    if (rc == 0)
        rc = retry_go_on(retry);
    if (rc == 0)
        return;
    retry_hide(retry);
    op_fail(retry->op, &step->err);
}

static void retry_cancel(struct op *op)
{
    struct ops_retry *retry = op->impl;

    op_cancel(&retry->step);
}

/* Of a run of this process: its row may not be there yet. */
static int retry_check_here(const struct ops *ops, const struct ops_retry_request *request,
                            struct op *op)
{
    const struct run *run = run_find(ops->engine, request->id);
    struct store_run row;

    if (run == NULL || run_has_ended(run))
        return 0;
    run_describe(run, &row);
    if (!grant_sees(request->grant, row.connection, NULL))
        return retry_refuse_unknown(op, request->id);
    return op_refuse(op, ERR_CONFLICT, "run %s is still under way", run->id);
}

int ops_retry_start(struct ops *ops, struct op *op, const struct ops_retry_request *request,
                    struct ops_retry *out, struct ops_run *run)
{
    int rc = retry_check_here(ops, request, op);

    *run = (struct ops_run){0};
    *out = (struct ops_retry){
        .ops = ops, .op = op, .run = run, .request = *request, .filter = {.id = request->id}};
    if (rc != 0)
        return rc;
    op_init(&out->step, retry_on_step);
    rc = ops->store->ops->get_runs(ops->store, &out->step, &out->filter, 1, &out->row);
    if (rc != 0)
        return op_refuse(op, rc, "%s", err_text(&out->step.err));
    op_begin(op, out, retry_cancel);
    return 0;
}
