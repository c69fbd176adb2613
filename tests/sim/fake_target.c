#include "fake_private.h"

#include <string.h>

#include "base/mem.h"

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
    decision->unknown = world->doubt_is_lost;
    if (world->doubt_is_lost)
        fake->rc = err_set(&fake->err, ERR_UNREACHABLE, "the connection was lost");
}

static struct fake_world *world_of_backend(struct backend *backend)
{
    return container_of(backend, struct fake_world, backend);
}

static int fake_execute(struct backend *backend, struct op *op, const struct backend_step *step,
                        struct backend_result *result)
{
    struct fake_world *world = world_of_backend(backend);
    struct fake_op *fake =
        fake_op_start(world, op, false, world->step_ms + world->step_spread * (world->ops % 5));

    if (fake == NULL)
        return op->err.code;
    fake->ended = fake_step_done;
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
    struct fake_op *fake = fake_op_start(world, op, false, 0);

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
    struct fake_op *fake = fake_op_start(world, op, false, 0);
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
    struct fake_op *fake = fake_op_start(world_of_backend(backend), op, false, 0);

    if (fake == NULL)
        return op->err.code;
    fake->decision = decision;
    fake->ended = fake_decide;
    return 0;
}

const struct backend_ops fake_backend_ops = {
    .kind = BACKEND_POSTGRESQL,
    .execute = fake_execute,
    .inspect = fake_inspect,
    .read_journal = fake_read_journal,
    .resolve = fake_resolve,
};
