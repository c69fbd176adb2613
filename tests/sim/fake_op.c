#include "fake_private.h"

#include <assert.h>
#include <stdlib.h>

static void fake_on_timer(struct timer *timer)
{
    struct fake_op *fake = container_of(timer, struct fake_op, timer);
    struct op *op = fake->op;
    int rc;

    if (fake->ended != NULL)
        fake->ended(fake);
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

struct fake_op *fake_op_start(struct fake_world *world, struct op *op, bool is_store, uint64_t ms)
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
