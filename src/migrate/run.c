/*
 * A run: one request from what is applied to what became of every step.
 *
 *   LOADING ──> DEPENDENTS ──> INDEXING ──> LANES ──> RECORDING ──> OVER
 *      │            │             │           ▲           │
 *      │            └─────────────┴── failed ─┼──────────▶│
 *      └───────── up: no dependents ──────────┘           └ done() was called before the skips are
 * written
 *
 *   LOADING     waits for the state database: applied executions of all lanes in one look-up
 *   DEPENDENTS  undo only: waits for the executions of each migration that depends on this one
 *   INDEXING    turns rows into bits, a slice per turn
 *   LANES       lanes run in parallel up to `limit`; a slice of them is started per turn
 *   RECORDING   the caller has its answer; rows of skipped steps are written behind it
 *   OVER        nothing is held; memory goes with the last reference
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "migrate/run_internal.h"
#include "model/ids.h"

enum run_state {
    RUN_LOADING,
    RUN_DEPENDENTS,
    RUN_INDEXING,
    RUN_LANES,
    RUN_RECORDING,
    RUN_OVER,
};

static const struct sm_state run_states[] = {
    [RUN_LOADING] = {"loading", SM_TO(RUN_DEPENDENTS) | SM_TO(RUN_INDEXING) | SM_TO(RUN_RECORDING)},
    [RUN_DEPENDENTS] = {"dependents", SM_TO(RUN_INDEXING) | SM_TO(RUN_RECORDING)},
    [RUN_INDEXING] = {"indexing", SM_TO(RUN_LANES) | SM_TO(RUN_RECORDING)},
    [RUN_LANES] = {"lanes", SM_TO(RUN_RECORDING)},
    [RUN_RECORDING] = {"recording", SM_TO(RUN_OVER)},
    [RUN_OVER] = {"over", 0},
};

enum {
    RUN_DEPENDENT_ROWS = 20000, /* schemas of one dependent that are looked at before an undo */
};

static void run_check(const struct run_full *run)
{
    assert((run->active == 0) == list_is_empty(&run->lanes));
    assert(run->sm.state == RUN_LANES || run->active == 0);
    assert(run->sm.state != RUN_OVER || !run->op.active);
}

static void run_move(struct run_full *run, int next)
{
    sm_move(&run->sm, next);
    run_check(run);
}

static void run_unref(struct run_full *run)
{
    if (--run->refs > 0)
        return;
    for (size_t at = 0;;) {
        struct run_plan *plan = map_next(&run->plans, &at);

        if (plan == NULL)
            break;
        plan_free(&plan->plan);
        mem_free(plan);
    }
    map_free(&run->plans);
    map_free(&run->node_by_id);
    map_free(&run->lane_by_schema);
    arena_free(&run->rows.arena);
    arena_free(&run->dependent_rows.arena);
    plan_graph_free(&run->graph);
    registry_unref(run->registry);
    mem_free(run->skips);
    arena_free(&run->arena);
    mem_free(run);
}

void run_free(struct run *run)
{
    run_unref(container_of(run, struct run_full, pub));
}

/* --- plans of lanes --- */

/* Nodes that have no effective schema when none is requested. */
static void run_mark_no_schema(const struct run_full *run, uint8_t *bits)
{
    for (size_t i = 0; i < run->graph.count; i++)
        if (run_effective_schema(run, &run->graph.nodes[i], NULL) == NULL)
            bits[i / 8] = (uint8_t)(bits[i / 8] | 1u << (i % 8));
}

static struct run_plan *run_make_plan(struct run_full *run, const uint8_t *applied,
                                      bool without_schema)
{
    struct run_plan *plan = mem_calloc(1, sizeof(*plan) + 2 * run->bits_len);
    uint8_t *no_schema;
    int rc;

    if (plan == NULL)
        return NULL;
    no_schema = plan->bits + run->bits_len;
    memcpy(plan->bits, applied, run->bits_len);
    if (without_schema)
        run_mark_no_schema(run, no_schema);
    rc = plan_make(&run->graph, plan->bits, no_schema, &plan->plan, &plan->err);
    if (rc != ERR_NOMEM)
        return plan;
    mem_free(plan);
    return NULL;
}

struct run_plan *run_get_plan(struct run_full *run, size_t lane)
{
    const uint8_t *bits = run_lane_bits(run, lane);
    bool without_schema = run->pub.lanes[lane].requested == NULL;
    struct run_plan *plan = without_schema ? NULL : map_get(&run->plans, bits, run->bits_len);

    if (plan != NULL)
        return plan;
    plan = run_make_plan(run, bits, without_schema);
    if (plan != NULL && !without_schema && run->plans.len < RUN_PLANS_KEPT)
        plan->kept = map_put(&run->plans, plan->bits, run->bits_len, plan) == 0;
    return plan;
}

void run_put_plan(struct run_plan *plan)
{
    if (plan == NULL || plan->kept)
        return;
    plan_free(&plan->plan);
    mem_free(plan);
}

/* --- skipped steps --- */

void run_add_skip(struct run_full *run, const struct run_item *item)
{
    if (run->skip_count == run->skip_cap) {
        size_t cap = run->skip_cap > 0 ? run->skip_cap * 2 : 64;
        struct store_record *skips = mem_realloc(run->skips, cap * sizeof(*skips));

        if (skips == NULL)
            return;
        run->skips = skips;
        run->skip_cap = cap;
    }
    run->skips[run->skip_count++] = (struct store_record){
        .event = STORE_SKIPPED,
        .migration = item->migration,
        .schema = item->schema,
        .caller = &run->request.caller,
        .run_id = run->pub.id,
        .at_us = clock_wall_us(),
    };
}

/* --- the machine --- */

static void run_advance(struct run_full *run);

/* The answer is complete. */
static void run_answer(struct run_full *run)
{
    run_move(run, RUN_RECORDING);
    sched_undefer(&run->task);
    run->rc = 0;
    run->pub.ended_us = clock_wall_us();
    engine_emit(run->pub.engine, RUN_EVENT_RUN_ENDED, run, NULL);
    run->done(&run->pub);
}

/* Ends without lanes. A stop is the reason even where it showed as a canceled operation. */
static bool run_fail(struct run_full *run, int rc, const struct err *err)
{
    if (run->pub.err.code == 0) {
        if (run->stop != 0)
            err_set(&run->pub.err, run->stop, "%s", err_code_text(run->stop));
        else if (err != NULL && err->code != 0)
            run->pub.err = *err;
        else
            err_set(&run->pub.err, rc, "%s", err_code_text(rc));
    }
    run_answer(run);
    return true;
}

static bool run_is_over(struct run_full *run)
{
    struct engine *engine = run->pub.engine;

    run_move(run, RUN_OVER);
    list_remove(&run->link);
    run_unref(run);
    engine_check_idle(engine);
    return false;
}

/* Writes the next chunk of skips; what the state database does not take is only counted in the log.
 */
static bool run_record(struct run_full *run)
{
    struct store *store = run->pub.engine->store;
    size_t left;

    if (run->rc != 0) {
        log_write(LOG_WARN, "skipped migrations were not recorded", LOG_STR("run_id", run->pub.id),
                  LOG_INT("count", run->skip_count - run->skip_at),
                  LOG_STR("reason", err_text(&run->op.err)));
        return run_is_over(run);
    }
    run->skip_at += run->skip_chunk;
    left = run->skip_count - run->skip_at;
    run->skip_chunk = left < RUN_SKIPS_PER_WRITE ? left : RUN_SKIPS_PER_WRITE;
    if (left == 0)
        return run_is_over(run);
    run->rc = store->ops->write(store, &run->op, run->skips + run->skip_at, run->skip_chunk);
    return run->rc != 0;
}

/* Whether an applied row of a dependent stands in the way of the undo in one of the lanes
 * (bfm-api.md §6.3). */
static bool run_row_blocks_undo(const struct run_full *run, const struct migration *dependent,
                                const struct store_execution *row)
{
    const struct migration *migration = run->request.migration;

    if (!row->applied || strcmp(row->connection, dependent->connection) != 0)
        return false;
    for (size_t i = 0; i < run->pub.lane_count; i++) {
        const char *schema =
            run_effective_schema(run, &run->graph.nodes[0], run->pub.lanes[i].requested);

        if (schema == NULL)
            continue;
        if (strcmp(row->schema, schema) == 0)
            return true;
        if (migration_is_fixed(migration) && strcmp(migration->schema, schema) == 0)
            return true;
    }
    return false;
}

static int run_check_dependent(struct run_full *run)
{
    const struct migration *dependent = run->dependents[run->dependent_at];

    for (size_t i = 0; i < run->dependent_rows.count; i++) {
        const struct store_execution *row = &run->dependent_rows.rows[i];

        if (run_row_blocks_undo(run, dependent, row))
            return err_set(&run->pub.err, ERR_CONFLICT,
                           "applied migration %s (schema %s) depends on %s; undo it first or set "
                           "ignore_dependencies",
                           dependent->id, row->schema, run->request.migration->id);
    }
    return 0;
}

static bool run_start_dependents(struct run_full *run)
{
    run_move(run, RUN_DEPENDENTS);
    if (!run->request.ignore_dependencies &&
        plan_dependents(run->registry, run->request.migration, &run->arena, &run->dependents,
                        &run->dependent_count) != 0)
        return run_fail(run, ERR_NOMEM, NULL);
    run->rc = 0;
    return true;
}

static bool run_next_dependent(struct run_full *run)
{
    struct store *store = run->pub.engine->store;

    if (run->rc != 0)
        return run_fail(run, run->rc, &run->op.err);
    if (run->dependent_at < run->dependent_count && run->dependent_rows.arena.blocks != NULL) {
        if (run_check_dependent(run) != 0)
            return run_fail(run, ERR_CONFLICT, NULL);
        run->dependent_at++;
        arena_free(&run->dependent_rows.arena);
        run->dependent_rows.count = 0;
    }
    if (run->stop != 0)
        return run_fail(run, run->stop, NULL);
    if (run->dependent_at == run->dependent_count) {
        run_move(run, RUN_INDEXING);
        return true;
    }
    run->rc = store->ops->get_executions(store, &run->op, run->dependents[run->dependent_at]->id,
                                         RUN_DEPENDENT_ROWS, &run->dependent_rows);
    return run->rc != 0;
}

static bool run_later(struct run_full *run)
{
    sched_defer(run->pub.engine->sched, &run->task);
    return false;
}

/* Lanes that never start still need their result. */
static void run_refuse_lane(struct run_full *run, size_t index, int rc)
{
    struct run_lane_result *lane = &run->pub.lanes[index];

    if (lane->err.code == 0)
        err_set(&lane->err, rc, "%s", err_code_text(rc));
}

static bool run_start_lanes(struct run_full *run)
{
    size_t budget = RUN_LANES_PER_SLICE;

    while (run->next_lane < run->pub.lane_count && run->active < run->limit && budget-- > 0) {
        size_t index = run->next_lane++;

        if (run->stop != 0)
            run_refuse_lane(run, index, run->stop);
        else if (lane_start(run, index) != 0)
            run_refuse_lane(run, index, ERR_NOMEM);
    }
    if (run->next_lane < run->pub.lane_count && run->active < run->limit)
        return run_later(run);
    if (run->next_lane < run->pub.lane_count || run->active > 0)
        return false;
    if (run->stop != 0 && !run->did_something)
        return run_fail(run, run->stop, NULL);
    run_answer(run);
    return true;
}

/* true: call again; false: suspended, or `run` may be gone */
static bool run_once(struct run_full *run)
{
    switch ((enum run_state)run->sm.state) {
    case RUN_LOADING:
        if (run->rc != 0 || run->stop != 0)
            return run_fail(run, run->rc, &run->op.err);
        if (run->request.kind == RUN_DOWN)
            return run_start_dependents(run);
        run_move(run, RUN_INDEXING);
        return true;
    case RUN_DEPENDENTS:
        return run_next_dependent(run);
    case RUN_INDEXING:
        if (run_index_rows(run))
            return run_later(run);
        run_move(run, RUN_LANES);
        return true;
    case RUN_LANES:
        return run_start_lanes(run);
    case RUN_RECORDING:
        return run_record(run);
    case RUN_OVER:
        return false;
    }
    assert(false);
    return false;
}

static void run_advance(struct run_full *run)
{
    while (run_once(run))
        continue;
}

static void run_on_op(struct op *op, int rc)
{
    struct run_full *run = container_of(op, struct run_full, op);

    run->rc = rc;
    run_advance(run);
}

static void run_on_task(struct task *task)
{
    run_advance(container_of(task, struct run_full, task));
}

void run_on_lane_done(struct run_full *run, struct list *lane_link)
{
    list_remove(lane_link);
    run->active--;
    run_later(run); /* not at once: the lane may have ended inside lane_start() */
}

void run_stop(struct run_full *run, int why, bool hard)
{
    if (run->sm.state >= RUN_RECORDING || (run->stop != 0 && (run->hard || !hard)))
        return;
    if (run->stop == 0)
        run->stop = why;
    run->hard = hard;
    if (run->sm.state < RUN_INDEXING)
        op_cancel(&run->op);
    list_foreach_safe(node, &run->lanes)
        lane_stop(node, hard);
}

void run_cancel(struct run *run, int why)
{
    run_stop(container_of(run, struct run_full, pub), why, true);
}

/* --- start --- */

static int run_copy_strings(struct arena *arena, const char *const **strings, size_t count)
{
    const char **copy = arena_calloc(arena, count, sizeof(*copy));

    if (copy == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        copy[i] = arena_strdup(arena, (*strings)[i]);
        if (copy[i] == NULL)
            return ERR_NOMEM;
    }
    *strings = copy;
    return 0;
}

static int run_copy_string(struct arena *arena, const char **text)
{
    *text = arena_strdup(arena, *text != NULL ? *text : "");
    return *text != NULL ? 0 : ERR_NOMEM;
}

static int run_copy_request(struct run_full *run, const struct run_request *request)
{
    struct run_request *copy = &run->request;
    struct plan_filter *filter = &copy->filter;
    const char **texts[] = {
        &copy->connection,
        &filter->backend,
        &filter->connection,
        &filter->schema,
        &filter->version,
        &copy->caller.executed_by,
        &copy->caller.execution_method,
        &copy->caller.execution_context,
    };

    *copy = *request;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (run_copy_string(&run->arena, texts[i]) != 0)
            return ERR_NOMEM;
    if (run_copy_strings(&run->arena, &filter->tables, filter->table_count) != 0 ||
        run_copy_strings(&run->arena, &filter->tags, filter->tag_count) != 0 ||
        run_copy_strings(&run->arena, &copy->schemas, copy->schema_count) != 0)
        return ERR_NOMEM;
    return 0;
}

/* One lane per requested schema, duplicates dropped; "" asks for none. */
static int run_make_lanes(struct run_full *run)
{
    size_t count = run->request.schema_count;
    struct map seen;
    int rc = 0;

    run->pub.lanes = arena_calloc(&run->arena, count > 0 ? count : 1, sizeof(*run->pub.lanes));
    if (run->pub.lanes == NULL)
        return ERR_NOMEM;
    map_init(&seen);
    for (size_t i = 0; i < count && rc == 0; i++) {
        const char *schema = run->request.schemas[i];

        if (map_get_str(&seen, schema) != NULL)
            continue;
        run->pub.lanes[run->pub.lane_count++].requested = schema[0] != '\0' ? schema : NULL;
        rc = map_put_str(&seen, schema, run);
    }
    map_free(&seen);
    if (count == 0)
        run->pub.lane_count = 1;
    return rc;
}

static int run_make_graph(struct run_full *run, struct err *err)
{
    const struct run_request *request = &run->request;

    if (request->kind == RUN_DOWN)
        return plan_graph_build_from(run->registry, &request->migration, 1, true, &run->graph, err);
    return plan_graph_build(run->registry, &request->filter, request->ignore_dependencies,
                            &run->graph, err);
}

static int run_check_request(struct engine *engine, const struct run_request *request,
                             struct err *err)
{
    const char *connection =
        request->kind == RUN_DOWN ? request->migration->connection : request->connection;
    const struct engine_target *target = engine_target(engine, connection);
    int rc = 0;

    if (engine->stopping)
        return err_set(err, ERR_SHUTDOWN, "%s", err_code_text(ERR_SHUTDOWN));
    if (target == NULL)
        return err_set(err, ERR_NOT_FOUND, "connection %s not found", connection);
    for (size_t i = 0; i < request->schema_count && rc == 0; i++)
        if (request->schemas[i][0] != '\0')
            rc = ids_check_schema(request->schemas[i], target->kind, err);
    return rc;
}

/* Lanes under way per connection of the pool: while one waits for the state database another one
 * can use it. */
static size_t run_lane_limit(const struct engine *engine, const struct run_full *run)
{
    const char *connection = run->request.kind == RUN_DOWN ? run->request.migration->connection
                                                           : run->request.connection;
    const struct engine_target *target = engine_target(engine, connection);

    return target->backend != NULL ? 2 * (size_t)target->backend->parallel : 1;
}

static void run_make_id(char out[40])
{
    uint64_t random;

    hash_random(&random, sizeof(random));
    snprintf(out, 40, "%012" PRIx64 "-%016" PRIx64, (uint64_t)clock_wall_us() / 1000, random);
}

static int run_init(struct run_full *run, struct engine *engine, const struct run_request *request,
                    struct err *err)
{
    int rc;

    arena_init(&run->arena);
    list_init(&run->lanes);
    map_init(&run->plans);
    map_init(&run->node_by_id);
    map_init(&run->lane_by_schema);
    op_init(&run->op, run_on_op);
    run->task.run = run_on_task;
    run->refs = 1;
    run->registry = registry_ref(engine->registry);
    run->pub.engine = engine;
    run->pub.registry = run->registry;
    run->pub.request = &run->request;
    run->pub.started_us = clock_wall_us();
    run_make_id(run->pub.id);
    sm_init(&run->sm, run_states, "run", RUN_LOADING);
    if (run_copy_request(run, request) != 0 || run_make_lanes(run) != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    rc = run_make_graph(run, err);
    if (rc != 0)
        return rc;
    if (run_prepare_bits(run) != 0 || run_make_scopes(run) != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    run->limit = run_lane_limit(engine, run);
    return 0;
}

int run_start(struct engine *engine, const struct run_request *request,
              void (*done)(struct run *run), void *data, struct run **out, struct err *err)
{
    struct run_full *run;
    int rc = run_check_request(engine, request, err);

    if (rc != 0)
        return rc;
    run = mem_calloc(1, sizeof(*run));
    if (run == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    run->done = done;
    run->pub.data = data;
    rc = run_init(run, engine, request, err);
    if (rc != 0)
        goto err_after_alloc;
    rc = engine->store->ops->get_applied(engine->store, &run->op, run->scopes, run->scope_count,
                                         &run->rows);
    if (rc != 0) {
        *err = run->op.err;
        goto err_after_alloc;
    }
    run->refs = 2;
    list_push_back(&engine->runs, &run->link);
    engine_emit(engine, RUN_EVENT_RUN_STARTED, run, NULL);
    *out = &run->pub;
    return 0;

err_after_alloc:
    run_unref(run);
    return rc;
}
