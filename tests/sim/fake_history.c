#include "fake_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void fake_history_add(struct fake_world *world, const char *id, const char *schema,
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

bool fake_history_is_of(const struct fake_history *a, const struct fake_history *b)
{
    return strcmp(a->id, b->id) == 0 && strcmp(a->schema, b->schema) == 0;
}

bool fake_history_has_end(const struct fake_world *world, const struct fake_history *row)
{
    for (size_t i = 0; i < world->history_count; i++)
        if (fake_history_is_of(&world->history[i], row) &&
            strcmp(world->history[i].run_id, row->run_id) == 0 &&
            strcmp(world->history[i].status, "pending") != 0)
            return true;
    return false;
}

bool fake_history_is_newest(const struct fake_world *world, const struct fake_history *row)
{
    for (const struct fake_history *other = row + 1; other < world->history + world->history_count;
         other++)
        if (fake_history_is_of(other, row))
            return false;
    return true;
}

void fake_world_leave_pending(struct fake_world *world, const char *id, const char *schema,
                              const char *run_id, int64_t at_us, enum store_owner owner)
{
    fake_history_add(world, id, schema, run_id, "pending", at_us);
    world->history[world->history_count - 1].owner = owner;
}

size_t fake_world_unended(const struct fake_world *world)
{
    size_t count = 0;

    for (size_t i = 0; i < world->history_count; i++)
        count += strcmp(world->history[i].status, "pending") == 0 &&
                 !fake_history_has_end(world, &world->history[i]);
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
