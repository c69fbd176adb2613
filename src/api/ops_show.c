/* One run: from memory while it is under way here, else from the state database. */
#include <string.h>

#include "api/ops_runs.h"

enum {
    SHOW_ROW,
    SHOW_LANES,
    SHOW_STEPS,
};

void ops_show_free(struct ops_show *show)
{
    arena_free(&show->arena);
    arena_free(&show->row.arena);
    arena_free(&show->lane_rows.arena);
    arena_free(&show->step_rows.arena);
    *show = (struct ops_show){0};
}

/* --- from memory: everything is copied, the run may be gone before the answer --- */

static int show_copy(struct arena *arena, const char **text)
{
    *text = arena_strdup(arena, *text);
    return *text != NULL ? 0 : ERR_NOMEM;
}

static int show_copy_run(struct ops_show *show, const struct run *run)
{
    struct store_run *row = &show->run;
    const char **texts[] = {&row->id,          &row->kind,
                            &row->connection,  &row->request,
                            &row->executed_by, &row->execution_method,
                            &row->server_id,   &row->execution_context,
                            &row->retry_of,    &row->error};

    run_describe(run, row);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (show_copy(&show->arena, texts[i]) != 0)
            return ERR_NOMEM;
    return 0;
}

static int show_copy_lane(struct ops_show *show, const struct run *run, size_t index)
{
    const struct run_lane_result *result = &run->lanes[index];
    struct ops_show_lane *lane = &show->lanes[show->lane_count];

    run_describe_lane(run, index, &lane->row);
    if (show_copy(&show->arena, &lane->row.schema) != 0 ||
        show_copy(&show->arena, &lane->row.error) != 0)
        return ERR_NOMEM;
    lane->active = result->started && !result->ended;
    if (lane->active)
        lane->waits_for = result->waits_for;
    if (lane->active && result->current != NULL &&
        grant_sees(show->request.grant, result->current->connection, result->current_schema)) {
        lane->migration_id = arena_strdup(&show->arena, result->current->id);
        lane->migration_schema = arena_strdup(&show->arena, result->current_schema);
        if (lane->migration_id == NULL || lane->migration_schema == NULL)
            return ERR_NOMEM;
    }
    show->lane_count++;
    return 0;
}

/* Lanes that wait for their turn, or found that nothing was to do, are only counted. */
static bool show_wants_lane(const struct run_lane_result *lane)
{
    return (lane->started && !lane->ended) || run_lane_failed(lane) || lane->counts.applied > 0;
}

static int show_copy_lanes(struct ops_show *show, const struct run *run)
{
    size_t limit = show->request.limit;

    show->lanes = arena_calloc(&show->arena, limit, sizeof(*show->lanes));
    if (show->lanes == NULL)
        return ERR_NOMEM;
    for (size_t i = (size_t)show->request.lanes_after + 1; i < run->lane_count; i++) {
        if (!show_wants_lane(&run->lanes[i]) ||
            !grant_sees(show->request.grant, NULL,
                        run->lanes[i].requested != NULL ? run->lanes[i].requested : ""))
            continue;
        show->more_lanes = show->lane_count == limit;
        if (show->more_lanes)
            return 0;
        if (show_copy_lane(show, run, i) != 0)
            return ERR_NOMEM;
    }
    return 0;
}

/* --- from the state database --- */

static int show_take_lanes(struct ops_show *show)
{
    size_t count = show->lane_rows.count;

    show->more_lanes = count > show->request.limit;
    if (show->more_lanes)
        count = show->request.limit;
    show->lanes = arena_calloc(&show->arena, count, sizeof(*show->lanes));
    if (show->lanes == NULL)
        return ERR_NOMEM;
    show->lane_count = count;
    for (size_t i = 0; i < count; i++)
        show->lanes[i].row = show->lane_rows.rows[i];
    return 0;
}

static void show_take_steps(struct ops_show *show)
{
    show->steps = show->step_rows.rows;
    show->step_count = show->step_rows.count;
    show->more_steps = show->step_count > show->request.limit;
    if (show->more_steps)
        show->step_count = show->request.limit;
}

static int show_ask(struct ops_show *show, int stage)
{
    struct store *store = show->ops->store;
    const struct ops_show_request *request = &show->request;

    show->stage = stage;
    switch (stage) {
    case SHOW_ROW:
        return store->ops->get_runs(store, &show->step, &show->filter, 1, &show->row);
    case SHOW_LANES:
        return store->ops->get_run_lanes(store, &show->step, request->id, request->lanes_after,
                                         request->limit + 1, &show->lane_rows);
    default:
        return store->ops->get_run_steps(store, &show->step, request->id, request->steps_after,
                                         request->limit + 1, &show->step_rows);
    }
}

/* The row first: what is read after it is not older than what it says. */
static int show_go_on(struct ops_show *show)
{
    switch (show->stage) {
    case SHOW_ROW:
        if (show->row.count == 0 ||
            !grant_sees(show->request.grant, show->row.rows[0].connection, NULL)) {
            op_finish(show->op, 0);
            return 0;
        }
        show->found = true;
        show->run = show->row.rows[0];
        return show_ask(show, SHOW_LANES);
    case SHOW_LANES:
        if (show_take_lanes(show) != 0)
            return op_refuse(&show->step, ERR_NOMEM, "out of memory");
        return show_ask(show, SHOW_STEPS);
    default:
        show_take_steps(show);
        op_finish(show->op, 0);
        return 0;
    }
}

static void show_on_step(struct op *step, int rc)
{
    struct ops_show *show = container_of(step, struct ops_show, step);

    if (rc == 0)
        rc = show_go_on(show);
    if (rc != 0)
        op_fail(show->op, &show->step.err);
}

static void show_cancel(struct op *op)
{
    struct ops_show *show = op->impl;

    op_cancel(&show->step);
}

int ops_show_start(struct ops *ops, struct op *op, const struct ops_show_request *request,
                   struct ops_show *out)
{
    const struct run *run = run_find(ops->engine, request->id);
    int rc;

    *out =
        (struct ops_show){.ops = ops, .op = op, .request = *request, .filter = {.id = request->id}};
    op_init(&out->step, show_on_step);
    if (run != NULL && run->request->record.kind != NULL) {
        out->found = grant_sees(request->grant,
                                run->request->kind == RUN_DOWN ? run->request->migration->connection
                                                               : run->request->connection,
                                NULL);
        if (show_copy_run(out, run) != 0 || show_copy_lanes(out, run) != 0) {
            ops_show_free(out);
            return op_refuse(op, ERR_NOMEM, "out of memory");
        }
    }
    rc = show_ask(out, out->found ? SHOW_STEPS : SHOW_ROW);
    if (rc != 0) {
        struct err err = out->step.err;

        ops_show_free(out);
        return op_refuse(op, rc, "%s", err_text(&err));
    }
    op_begin(op, out, show_cancel);
    return 0;
}

const char *ops_show_lane_status(const struct ops_show_lane *lane)
{
    if (lane->active)
        return "running";
    return lane->row.failed ? "failed" : "succeeded";
}

bool ops_show_has_sums(const struct grant *grant, const struct ops_show_lane *lane)
{
    return lane->row.schema[0] != '\0' || !grant_is_partial(grant);
}
