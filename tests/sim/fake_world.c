#include "fake_private.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

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
        free(world->history[i].context);
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
