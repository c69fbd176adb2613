/* The state database: what it says. */
#include "fake_private.h"

#include <string.h>

#include "base/mem.h"

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

int fake_get_applied(struct store *store, struct op *op, const struct store_scope *scopes,
                     size_t scope_count, struct store_executions *out)
{
    struct fake_world *world = fake_world_of_store(store);
    struct fake_op *fake = fake_op_start(world, op, true, 0);

    if (fake == NULL)
        return op->err.code;
    if (fake->rc == 0)
        fake_fill_executions(world, scopes, scope_count, NULL, out);
    op->cancel = NULL;
    return 0;
}

int fake_get_executions(struct store *store, struct op *op, const char *id,
                        const struct store_cursor *after, size_t limit,
                        struct store_executions *out)
{
    struct fake_world *world = fake_world_of_store(store);
    struct fake_op *fake = fake_op_start(world, op, true, 0);

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

int fake_get_standing(struct store *store, struct op *op, const struct store_place *places,
                      size_t count, struct store_standings *out)
{
    struct fake_world *world = fake_world_of_store(store);
    struct fake_op *fake = fake_op_start(world, op, true, world->look_ms);

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
                strcmp(row->status, "pending") == 0 && fake_history_is_newest(world, row)) {
                fake_work(world, out, i);
                break;
            }
    }
    mem_fail_pause(0);
    return 0;
}

int fake_get_unended(struct store *store, struct op *op, int64_t after, size_t limit,
                     struct store_standings *out)
{
    struct fake_world *world = fake_world_of_store(store);
    struct fake_op *fake = fake_op_start(world, op, true, 0);

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
            !fake_history_has_end(world, &world->history[i]))
            fake_work(world, out, i);
    mem_fail_pause(0);
    return 0;
}

int fake_get_history(struct store *store, struct op *op, const char *migration_id,
                     int64_t before_id, size_t limit, struct store_event_rows *out)
{
    struct fake_world *world = fake_world_of_store(store);
    struct fake_op *fake = fake_op_start(world, op, true, 0);
    size_t end = before_id > 0 ? (size_t)before_id - 1 : world->history_count;

    if (fake == NULL)
        return op->err.code;
    if (fake->rc != 0)
        return 0;
    mem_fail_pause(1);
    *out = (struct store_event_rows){0};
    out->rows = arena_calloc(&out->arena, world->history_count + 1, sizeof(*out->rows));
    for (size_t i = end; i > 0 && out->count < limit; i--) {
        const struct fake_history *row = &world->history[i - 1];

        if (strcmp(row->id, migration_id) == 0)
            out->rows[out->count++] = (struct store_event_row){
                .id = (int64_t)i,
                .migration_id = row->id,
                .schema = row->schema,
                .connection = "core",
                .status = row->status,
                .executed_by = "tester",
                .execution_context = row->context != NULL ? row->context : "{}"};
    }
    mem_fail_pause(0);
    return 0;
}
