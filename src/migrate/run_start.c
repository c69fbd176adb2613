/* How a run comes into being, from a request, and how its memory goes. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "migrate/run_internal.h"
#include "model/ids.h"

void run_unref(struct run_full *run)
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
    run_put_plan(run->made);
    map_free(&run->plans);
    map_free(&run->node_by_id);
    map_free(&run->lane_by_schema);
    arena_free(&run->rows.arena);
    arena_free(&run->dependent_rows.arena);
    map_free(&run->dependent_by_id);
    buf_free(&run->blockers);
    plan_graph_free(&run->graph);
    registry_unref(run->registry);
    mem_free(run->skips);
    run_row_free(run);
    arena_free(&run->arena);
    mem_free(run);
}

void run_free(struct run *run)
{
    run_unref(container_of(run, struct run_full, pub));
}

void run_hold(struct run *run)
{
    container_of(run, struct run_full, pub)->refs++;
}

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
    struct run_record *record = &copy->record;
    const char **texts[] = {
        &copy->connection,
        &filter->backend,
        &filter->connection,
        &filter->schema,
        &filter->version,
        &copy->caller.executed_by,
        &copy->caller.execution_method,
        &copy->caller.execution_context,
        &copy->caller.request_id,
        &copy->caller.trace_id,
        &copy->caller.span_id,
    };
    const char **kept[] = {&record->kind, &record->request, &record->retry_of};

    *copy = *request;
    record->id = run->pub.id;
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        if (*kept[i] != NULL && run_copy_string(&run->arena, kept[i]) != 0)
            return ERR_NOMEM;
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
    if (count == 0 && !run->request.no_lone_lane)
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

/* On a thread: nobody else touches the run before this is done, but to ask it to stop. */
static int run_plan_on_thread(void *arg, struct err *err)
{
    struct run_full *run = arg;
    int rc = run_make_graph(run, err);

    if (rc != 0)
        return rc;
    if (run_prepare_bits(run) != 0 || run_make_scopes(run) != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    return 0;
}

int run_plan(struct run_full *run)
{
    return engine_work(run->pub.engine, run->registry->count, &run->op, run_plan_on_thread, run);
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

void run_make_id(char out[40], const char *given)
{
    uint64_t random;

    if (given != NULL) {
        snprintf(out, 40, "%s", given);
        return;
    }
    hash_random(&random, sizeof(random));
    snprintf(out, 40, "%012" PRIx64 "-%016" PRIx64, (uint64_t)clock_wall_us() / 1000, random);
}

static int run_init(struct run_full *run, struct engine *engine, const struct run_request *request,
                    struct err *err)
{
    arena_init(&run->arena);
    list_init(&run->lanes);
    buf_init(&run->blockers, RUN_BLOCKERS_MAX);
    map_init(&run->plans);
    map_init(&run->node_by_id);
    map_init(&run->dependent_by_id);
    map_init(&run->lane_by_schema);
    run->refs = 1;
    run->registry = registry_ref(engine->registry);
    run->pub.engine = engine;
    run->pub.registry = run->registry;
    run->pub.request = &run->request;
    run->pub.started_us = clock_wall_us();
    run_make_id(run->pub.id, request->record.id);
    list_init(&run->waiters);
    run_row_init(run);
    run_init_machine(run);
    if (run_copy_request(run, request) != 0 || run_make_lanes(run) != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    run->limit = run_lane_limit(engine, run);
    return 0;
}

int run_create(struct engine *engine, const struct run_request *request,
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
    if (rc != 0) {
        run_unref(run);
        return rc;
    }
    *out = &run->pub;
    return 0;
}

int run_load(struct run_full *run)
{
    struct store *store = run->pub.engine->store;

    return store->ops->get_applied(store, &run->op, run->scopes, run->scope_count, &run->rows);
}

int run_go(struct run *pub, const char *id, struct err *err)
{
    struct run_full *run = container_of(pub, struct run_full, pub);
    struct engine *engine = run->pub.engine;
    int rc;

    if (engine->stopping)
        return err_set(err, ERR_SHUTDOWN, "%s", err_code_text(ERR_SHUTDOWN));
    if (id != NULL)
        run_make_id(run->pub.id, id);
    if (map_put_str(&engine->runs_by_id, run->pub.id, run) != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    rc = run_plan(run);
    if (rc != 0) {
        *err = run->op.err;
        map_remove_str(&engine->runs_by_id, run->pub.id);
        return rc;
    }
    run->refs++;
    list_push_back(&engine->runs, &run->link);
    engine_emit(engine, RUN_EVENT_RUN_STARTED, run, NULL);
    return 0;
}

int run_start(struct engine *engine, const struct run_request *request,
              void (*done)(struct run *run), void *data, struct run **out, struct err *err)
{
    struct run *run;
    int rc = run_create(engine, request, done, data, &run, err);

    if (rc != 0)
        return rc;
    rc = run_go(run, NULL, err);
    if (rc == 0)
        *out = run;
    else
        run_free(run);
    return rc;
}
