#include "fake_world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* One operation under way, of either side. */
struct fake_op {
    struct fake_world *world;
    struct op *op;
    struct timer timer;
    struct err err;
    int rc;
    bool is_step;
    const struct backend_step *step;
    struct backend_result *result;
    struct backend_decision *decision;
};

static char *fake_key(struct fake_world *world, const char *id, const char *schema)
{
    char *key = arena_printf(&world->arena, "%s@%s", id, schema);

    assert(key != NULL);
    return key;
}

static void fake_set(struct fake_world *world, struct map *map, const char *id, const char *schema,
                     bool there)
{
    char *key;
    int rc = 0;

    mem_fail_pause(1); /* the fakes' memory is not what is tested */
    key = fake_key(world, id, schema);
    if (!there)
        map_remove_str(map, key);
    else if (map_get_str(map, key) == NULL)
        rc = map_put_str(map, key, key);
    assert(rc == 0);
    mem_fail_pause(0);
}

bool fake_world_has_effect(const struct fake_world *world, const char *id, const char *schema)
{
    char key[512];

    snprintf(key, sizeof(key), "%s@%s", id, schema);
    return map_get_str(&world->effects, key) != NULL;
}

bool fake_world_believes(const struct fake_world *world, const char *id, const char *schema)
{
    char key[512];

    snprintf(key, sizeof(key), "%s@%s", id, schema);
    return map_get_str(&world->applied, key) != NULL;
}

void fake_world_set_effect(struct fake_world *world, const char *id, const char *schema, bool there)
{
    fake_set(world, &world->effects, id, schema, there);
}

void fake_world_set_belief(struct fake_world *world, const char *id, const char *schema, bool there)
{
    fake_set(world, &world->applied, id, schema, there);
}

bool fake_world_agrees(const struct fake_world *world)
{
    const char *key;

    if (world->effects.len != world->applied.len)
        return false;
    for (size_t at = 0; (key = map_next(&world->effects, &at)) != NULL;)
        if (map_get_str(&world->applied, key) == NULL)
            return false;
    return true;
}

/* --- history --- */

static void fake_add_history(struct fake_world *world, const char *id, const char *schema,
                             const char *run_id, const char *status, int64_t at_us)
{
    if (world->history_count == world->history_cap) {
        world->history_cap = world->history_cap > 0 ? world->history_cap * 2 : 256;
        world->history = realloc(world->history, world->history_cap * sizeof(*world->history));
        assert(world->history != NULL);
    }
    world->history[world->history_count++] = (struct fake_history){
        .id = strdup(id),
        .schema = strdup(schema),
        .run_id = strdup(run_id),
        .status = status,
        .at_us = at_us,
    };
}

static bool history_is_of(const struct fake_history *a, const struct fake_history *b)
{
    return strcmp(a->id, b->id) == 0 && strcmp(a->schema, b->schema) == 0;
}

/* Whether the run wrote more about this step than its start. */
static bool history_has_end(const struct fake_world *world, const struct fake_history *row)
{
    for (size_t i = 0; i < world->history_count; i++)
        if (history_is_of(&world->history[i], row) &&
            strcmp(world->history[i].run_id, row->run_id) == 0 &&
            strcmp(world->history[i].status, "pending") != 0)
            return true;
    return false;
}

static bool history_is_newest(const struct fake_world *world, const struct fake_history *row)
{
    for (const struct fake_history *other = row + 1; other < world->history + world->history_count;
         other++)
        if (history_is_of(other, row))
            return false;
    return true;
}

void fake_world_leave_pending(struct fake_world *world, const char *id, const char *schema,
                              const char *run_id, int64_t at_us, enum store_owner owner)
{
    fake_add_history(world, id, schema, run_id, "pending", at_us);
    world->history[world->history_count - 1].owner = owner;
}

size_t fake_world_unended(const struct fake_world *world)
{
    size_t count = 0;

    for (size_t i = 0; i < world->history_count; i++)
        count += strcmp(world->history[i].status, "pending") == 0 &&
                 !history_has_end(world, &world->history[i]);
    return count;
}

size_t fake_world_ends(const struct fake_world *world, const char *run_id, const char *status)
{
    size_t count = 0;

    for (size_t i = 0; i < world->history_count; i++)
        count += strcmp(world->history[i].status, status) == 0 &&
                 strcmp(world->history[i].run_id, run_id) == 0;
    return count;
}

/* --- operations --- */

static bool fake_is_broken(const struct fake_world *world, const struct backend_step *step)
{
    const char *schema = world->broken_schema != NULL ? world->broken_schema : "";

    return world->broken != NULL && strcmp(world->broken, step->migration->name) == 0 &&
           strncmp(schema, step->schema, strlen(schema)) == 0;
}

static void fake_step_done(struct fake_op *fake)
{
    struct fake_world *world = fake->world;
    const struct backend_step *step = fake->step;
    bool there = fake_world_has_effect(world, step->migration->id, step->schema);
    bool up = step->direction == BACKEND_UP;

    world->running--;
    for (fake->result->attempts = 1; fake->result->attempts <= world->retries;
         fake->result->attempts++)
        step->on_attempt(step, fake->result->attempts + 1, &world->retry_err);
    if (fake->rc != 0)
        return;
    if (fake_is_broken(world, step)) {
        fake->rc = err_set(&fake->err, ERR_DB, "ERROR: broken");
        return;
    }
    fake->result->outcome = there == up ? BACKEND_WAS_DONE : BACKEND_DONE;
    world->executed += there != up;
    fake_world_set_effect(world, step->migration->id, step->schema, up);
}

static void fake_decide(struct fake_op *fake)
{
    struct fake_world *world = fake->world;
    struct backend_decision *decision = fake->decision;

    if (fake->rc != 0)
        return;
    if (world->doubt == 0) {
        fake->rc = err_set(&fake->err, ERR_NOT_FOUND, "no statement is in doubt there");
        return;
    }
    decision->undo = world->doubt_of_undo;
    decision->statement = world->doubt;
    decision->statements = 3;
    decision->complete = decision->applied && world->doubt == 3;
    if (decision->complete)
        fake_world_set_effect(world, decision->migration->id, decision->schema, !decision->undo);
    world->doubt = 0;
}

static void fake_on_timer(struct timer *timer)
{
    struct fake_op *fake = container_of(timer, struct fake_op, timer);
    struct op *op = fake->op;
    int rc;

    if (fake->is_step)
        fake_step_done(fake);
    if (fake->decision != NULL)
        fake_decide(fake);
    rc = fake->rc;
    if (rc != 0)
        op->err = fake->err;
    free(fake);
    op_finish(op, rc);
}

static void fake_cancel(struct op *op)
{
    struct fake_op *fake = op->impl;

    if (fake->rc == 0)
        fake->rc = err_set(&fake->err, ERR_CANCELED, "canceled");
    sched_start_timer(&fake->world->sched, &fake->timer, 0);
}

static bool fake_must_fail(struct fake_world *world, bool is_store)
{
    world->ops++;
    if (world->fail_at == 0 || (world->fail_store_only && !is_store) ||
        (world->fail_target_only && is_store))
        return false;
    return world->fail_sticky ? world->ops >= world->fail_at : world->ops == world->fail_at;
}

/* Starts an operation that will succeed or fail as the world says. NULL: refused, with the reason
 * in op->err. */
static struct fake_op *fake_start(struct fake_world *world, struct op *op, bool is_store,
                                  uint64_t ms)
{
    bool fails = fake_must_fail(world, is_store);
    struct fake_op *fake;

    if (fails && world->fail_refused) {
        op_refuse(op, world->fail_rc, "refused by the test");
        return NULL;
    }
    fake = calloc(1, sizeof(*fake)); /* not mem_alloc(): the fakes have memory of their own */
    assert(fake != NULL);
    fake->world = world;
    fake->op = op;
    fake->timer.fire = fake_on_timer;
    if (fails)
        fake->rc = err_set(&fake->err, world->fail_rc, "failed by the test");
    op_begin(op, fake, fake_cancel);
    sched_start_timer(&world->sched, &fake->timer, ms);
    return fake;
}

/* --- store --- */

static struct fake_world *world_of_store(struct store *store)
{
    return container_of(store, struct fake_world, store);
}

static const char *const event_name[] = {
    [STORE_PENDING] = "pending",
    [STORE_APPLIED] = "applied",
    [STORE_FAILED] = "failed",
    [STORE_ROLLED_BACK] = "rolled_back",
    [STORE_UNDO_FAILED] = "undo_failed",
    [STORE_CUT_OFF] = "cut_off",
    [STORE_END_APPLIED] = "end_applied",
    [STORE_END_NOT_APPLIED] = "end_not_applied",
    [STORE_SKIPPED] = "skipped",
    [STORE_FOUND_APPLIED] = "found_applied",
    [STORE_FOUND_NOT_APPLIED] = "found_not_applied",
    [STORE_RESOLVED] = "resolved",
};

/* The status of a history row, and whether the record writes one. */
static bool fake_must_record(const struct fake_world *world, const struct store_record *record,
                             struct fake_history *row)
{
    static const char *const status[] = {
        [STORE_PENDING] = "pending",       [STORE_APPLIED] = "applied",
        [STORE_FAILED] = "failed",         [STORE_ROLLED_BACK] = "rolled_back",
        [STORE_UNDO_FAILED] = "failed",    [STORE_CUT_OFF] = "failed",
        [STORE_END_APPLIED] = "applied",   [STORE_END_NOT_APPLIED] = "rolled_back",
        [STORE_FOUND_APPLIED] = "applied", [STORE_FOUND_NOT_APPLIED] = "rolled_back",
        [STORE_RESOLVED] = "failed",
    };
    bool believed = fake_world_believes(world, record->migration->id, record->schema);

    if (record->event == STORE_SKIPPED || (record->event == STORE_FOUND_APPLIED && believed) ||
        (record->event == STORE_FOUND_NOT_APPLIED && !believed))
        return false;
    *row = (struct fake_history){.id = (char *)(uintptr_t)record->migration->id,
                                 .schema = (char *)(uintptr_t)record->schema,
                                 .run_id = (char *)(uintptr_t)record->run_id,
                                 .status = status[record->event]};
    return record->event != STORE_CUT_OFF || !history_has_end(world, row);
}

static void fake_record_history(struct fake_world *world, const struct store_record *record)
{
    struct fake_history row;

    if (!fake_must_record(world, record, &row))
        return;
    for (size_t i = 0; i < world->history_count; i++)
        if (history_is_of(&world->history[i], &row) &&
            strcmp(world->history[i].run_id, row.run_id) == 0 &&
            strcmp(world->history[i].status, row.status) == 0)
            return;
    fake_add_history(world, row.id, row.schema, row.run_id, row.status, record->at_us);
}

static void fake_record(struct fake_world *world, const struct store_record *record)
{
    const char *id = record->migration->id;
    int len = snprintf(world->log + world->log_len, sizeof(world->log) - world->log_len,
                       "%s %s@%s\n", event_name[record->event], id, record->schema);

    fake_record_history(world, record);
    if (world->log_len + (size_t)len < sizeof(world->log))
        world->log_len += (size_t)len;
    if (record->event == STORE_APPLIED || record->event == STORE_FOUND_APPLIED)
        fake_world_set_belief(world, id, record->schema, true);
    if (record->event == STORE_ROLLED_BACK || record->event == STORE_FOUND_NOT_APPLIED)
        fake_world_set_belief(world, id, record->schema, false);
    world->skips += record->event == STORE_SKIPPED;
    if (strstr(record->caller->execution_context, "executed_dependencies") != NULL)
        snprintf(world->context, sizeof(world->context), "%s", record->caller->execution_context);
}

static int fake_write(struct store *store, struct op *op, const struct store_record *records,
                      size_t count)
{
    struct fake_world *world = world_of_store(store);
    struct fake_op *fake = fake_start(world, op, true, 0);

    if (fake == NULL)
        return op->err.code;
    if (fake->rc == 0)
        for (size_t i = 0; i < count; i++)
            fake_record(world, &records[i]);
    op->cancel = NULL; /* a write that was accepted is written */
    return 0;
}

const char *fake_status_name(enum store_run_status status)
{
    static const char *const names[] = {
        [STORE_RUN_RUNNING] = "running",         [STORE_RUN_SUCCEEDED] = "succeeded",
        [STORE_RUN_FAILED] = "failed",           [STORE_RUN_CANCELED] = "canceled",
        [STORE_RUN_INTERRUPTED] = "interrupted",
    };

    return names[status];
}

static int fake_put_run(struct store *store, struct op *op, const struct store_run *run,
                        const struct store_run_lane *lanes, size_t lane_count)
{
    struct fake_world *world = world_of_store(store);
    struct fake_op *fake = fake_start(world, op, true, 0);

    (void)lanes;
    if (fake == NULL)
        return op->err.code;
    op->cancel = NULL;
    if (fake->rc != 0)
        return 0;
    world->run_puts++;
    world->run_lanes += lane_count;
    snprintf(world->run_row, sizeof(world->run_row), "%s", fake_status_name(run->status));
    world->log_len +=
        (size_t)snprintf(world->log + world->log_len, sizeof(world->log) - world->log_len,
                         "run %s\n", world->run_row);
    return 0;
}

static bool fake_in_scope(const struct store_scope *scope, const char *id, const char *schema)
{
    size_t len = strlen(scope->connection);

    if (strlen(id) < len || strcmp(id + strlen(id) - len, scope->connection) != 0)
        return false;
    if (scope->schemas == NULL)
        return true;
    for (size_t i = 0; i < scope->schema_count; i++)
        if (strcmp(scope->schemas[i], schema) == 0)
            return true;
    return false;
}

static void fake_fill_executions(struct fake_world *world, const struct store_scope *scopes,
                                 size_t scope_count, const char *only_id,
                                 struct store_executions *out)
{
    const char *key;

    mem_fail_pause(1);
    memset(out, 0, sizeof(*out));
    out->rows = arena_calloc(&out->arena, world->applied.len + 1, sizeof(*out->rows));
    for (size_t at = 0; (key = map_next(&world->applied, &at)) != NULL;) {
        const char *sign = strchr(key, '@');
        char *id = arena_strndup(&world->arena, key, (size_t)(sign - key));
        bool wanted = only_id != NULL && strcmp(only_id, id) == 0;

        for (size_t i = 0; i < scope_count && !wanted; i++)
            wanted = fake_in_scope(&scopes[i], id, sign + 1);
        if (wanted)
            out->rows[out->count++] =
                (struct store_execution){.migration_id = id,
                                         .schema = sign + 1,
                                         .connection = "core",
                                         .applied = true,
                                         .checksum = world->no_checksums ? "" : "c"};
    }
    mem_fail_pause(0);
}

static int fake_get_applied(struct store *store, struct op *op, const struct store_scope *scopes,
                            size_t scope_count, struct store_executions *out)
{
    struct fake_world *world = world_of_store(store);
    struct fake_op *fake = fake_start(world, op, true, 0);

    if (fake == NULL)
        return op->err.code;
    if (fake->rc == 0)
        fake_fill_executions(world, scopes, scope_count, NULL, out);
    op->cancel = NULL;
    return 0;
}

static int fake_get_executions(struct store *store, struct op *op, const char *id,
                               const struct store_cursor *after, size_t limit,
                               struct store_executions *out)
{
    struct fake_world *world = world_of_store(store);
    struct fake_op *fake = fake_start(world, op, true, 0);

    (void)after;
    (void)limit;
    if (fake == NULL)
        return op->err.code;
    if (fake->rc == 0)
        fake_fill_executions(world, NULL, 0, id, out);
    op->cancel = NULL;
    return 0;
}

static void fake_stand(struct fake_world *world, struct store_standings *out,
                       const struct store_place *place)
{
    const char *key;

    for (size_t at = 0; (key = map_next(&world->applied, &at)) != NULL;) {
        const char *sign = strchr(key, '@');
        char *id = arena_strndup(&out->arena, key, (size_t)(sign - key));

        if (strcmp(place->migration_id, id) == 0 &&
            (place->schema == NULL || strcmp(place->schema, sign + 1) == 0))
            out->rows[out->count++] =
                (struct store_standing){.migration_id = id,
                                        .schema = arena_strdup(&out->arena, sign + 1),
                                        .connection = "core",
                                        .applied = true,
                                        .run_id = ""};
    }
}

static void fake_work(struct fake_world *world, struct store_standings *out, size_t i)
{
    const struct fake_history *row = &world->history[i];

    out->rows[out->count++] =
        (struct store_standing){.migration_id = arena_strdup(&out->arena, row->id),
                                .schema = arena_strdup(&out->arena, row->schema),
                                .connection = "core",
                                .history_id = (int64_t)i,
                                .run_id = arena_strdup(&out->arena, row->run_id),
                                .since_us = row->at_us,
                                .owner = row->owner};
}

static int fake_get_standing(struct store *store, struct op *op, const struct store_place *places,
                             size_t count, struct store_standings *out)
{
    struct fake_world *world = world_of_store(store);
    struct fake_op *fake = fake_start(world, op, true, world->look_ms);

    world->looks++;
    if (fake == NULL)
        return op->err.code;
    op->cancel = NULL;
    if (fake->rc != 0)
        return 0;
    mem_fail_pause(1);
    *out = (struct store_standings){0};
    out->rows = arena_calloc(&out->arena, count * (world->applied.len + 1) + world->history_count,
                             sizeof(*out->rows));
    for (size_t i = 0; i < count; i++)
        fake_stand(world, out, &places[i]);
    for (size_t i = 0; i < world->history_count; i++) {
        const struct fake_history *row = &world->history[i];

        for (size_t p = 0; p < count; p++)
            if (strcmp(places[p].migration_id, row->id) == 0 &&
                (places[p].schema == NULL || strcmp(places[p].schema, row->schema) == 0) &&
                strcmp(row->status, "pending") == 0 && history_is_newest(world, row)) {
                fake_work(world, out, i);
                break;
            }
    }
    mem_fail_pause(0);
    return 0;
}

static int fake_get_unended(struct store *store, struct op *op, int64_t after, size_t limit,
                            struct store_standings *out)
{
    struct fake_world *world = world_of_store(store);
    struct fake_op *fake = fake_start(world, op, true, 0);

    if (fake == NULL)
        return op->err.code;
    op->cancel = NULL;
    if (fake->rc != 0)
        return 0;
    mem_fail_pause(1);
    *out = (struct store_standings){0};
    out->rows = arena_calloc(&out->arena, world->history_count + 1, sizeof(*out->rows));
    for (size_t i = (size_t)(after + 1); i < world->history_count && out->count < limit; i++)
        if (strcmp(world->history[i].status, "pending") == 0 &&
            !history_has_end(world, &world->history[i]))
            fake_work(world, out, i);
    mem_fail_pause(0);
    return 0;
}

static const struct store_ops fake_store_ops = {
    .put_run = fake_put_run,
    .name = "fake",
    .get_standing = fake_get_standing,
    .get_unended = fake_get_unended,
    .write = fake_write,
    .get_applied = fake_get_applied,
    .get_executions = fake_get_executions,
};

/* --- target --- */

static struct fake_world *world_of_backend(struct backend *backend)
{
    return container_of(backend, struct fake_world, backend);
}

static int fake_execute(struct backend *backend, struct op *op, const struct backend_step *step,
                        struct backend_result *result)
{
    struct fake_world *world = world_of_backend(backend);
    struct fake_op *fake =
        fake_start(world, op, false, world->step_ms + world->step_spread * (world->ops % 5));

    if (fake == NULL)
        return op->err.code;
    fake->is_step = true;
    fake->step = step;
    fake->result = result;
    world->running++;
    world->asked++;
    if (world->running > world->most_running)
        world->most_running = world->running;
    return 0;
}

static int fake_inspect(struct backend *backend, struct op *op, struct backend_check *checks,
                        size_t count)
{
    struct fake_world *world = world_of_backend(backend);
    struct fake_op *fake = fake_start(world, op, false, 0);

    if (fake == NULL)
        return op->err.code;
    for (size_t i = 0; i < count; i++)
        checks[i].exists = strcmp(checks[i].table, "absent") != 0;
    return 0;
}

static int fake_read_journal(struct backend *backend, struct op *op, const char *after_schema,
                             const char *after_id, size_t limit, struct backend_journal *out)
{
    struct fake_world *world = world_of_backend(backend);
    struct fake_op *fake = fake_start(world, op, false, 0);
    const char *key;

    (void)after_schema, (void)after_id, (void)limit;
    if (fake == NULL)
        return op->err.code;
    if (fake->rc != 0)
        return 0;
    mem_fail_pause(1);
    memset(out, 0, sizeof(*out));
    out->rows = arena_calloc(&out->arena, world->effects.len + 1, sizeof(*out->rows));
    for (size_t at = 0; (key = map_next(&world->effects, &at)) != NULL;) {
        const char *sign = strchr(key, '@');

        out->rows[out->count++] = (struct backend_journal_row){
            .migration_id = arena_strndup(&world->arena, key, (size_t)(sign - key)),
            .schema = sign + 1,
            .checksum = "c",
            .run_id = "r",
            .complete = true,
        };
    }
    mem_fail_pause(0);
    return 0;
}

static int fake_resolve(struct backend *backend, struct op *op, struct backend_decision *decision)
{
    struct fake_op *fake = fake_start(world_of_backend(backend), op, false, 0);

    if (fake == NULL)
        return op->err.code;
    fake->decision = decision;
    return 0;
}

static const struct backend_ops fake_backend_ops = {
    .kind = BACKEND_POSTGRESQL,
    .execute = fake_execute,
    .inspect = fake_inspect,
    .read_journal = fake_read_journal,
    .resolve = fake_resolve,
};

/* --- world --- */

void fake_world_init(struct fake_world *world, const struct registry_file *files, size_t count)
{
    const struct engine_config config = {
        .lock_wait_ms = 30000, .settle_retry_ms = 100, .settle_give_up_ms = 60000};
    struct registry *registry = NULL;
    struct err err = {0};
    int rc;

    memset(world, 0, sizeof(*world));
    sched_init(&world->sched, 0);
    arena_init(&world->arena);
    world->store.ops = &fake_store_ops;
    world->backend.ops = &fake_backend_ops;
    world->backend.connection = "core";
    world->backend.parallel = 4;
    world->target = (struct engine_target){
        .connection = "core", .kind = BACKEND_POSTGRESQL, .backend = &world->backend};
    engine_init(&world->engine, &world->sched, &world->store, &config);
    rc = registry_build(files, count, &registry, &err);
    assert(rc == 0);
    (void)rc;
    engine_set_registry(&world->engine, registry);
    rc = engine_add_target(&world->engine, &world->target);
    assert(rc == 0);
}

void fake_world_free(struct fake_world *world)
{
    assert(world->running == 0);
    assert(!sched_has_tasks(&world->sched));
    engine_free(&world->engine);
    map_free(&world->effects);
    map_free(&world->applied);
    arena_free(&world->arena);
    for (size_t i = 0; i < world->history_count; i++) {
        free(world->history[i].id);
        free(world->history[i].schema);
        free(world->history[i].run_id);
    }
    free(world->history);
}

bool fake_world_turn(struct fake_world *world)
{
    uint64_t in_ms = 0;

    if (!sched_has_tasks(&world->sched)) {
        if (!sched_next_timer(&world->sched, &in_ms))
            return false;
        world->now_ms += in_ms;
    }
    sched_run(&world->sched, world->now_ms);
    return true;
}

void fake_world_settle(struct fake_world *world)
{
    while (fake_world_turn(world))
        continue;
}
