/*
 * Taking turns with other servers that use the same state database (bfm-api.md §6.7), where its
 * store has locks for that. A step waits for its lock before it is claimed; while it runs, that of
 * the next one is asked for ahead, without waiting, so that no step is slower for it.
 */
#include <string.h>

#include "base/mem.h"
#include "migrate/lane_internal.h"

/* Asked for ahead. It outlives the lane if that ends first. */
struct lane_ahead {
    struct store *store;
    struct op op;
    struct store_lock_grant grant;
    const struct plan_node *node;
    bool is_dropped; /* nobody wants it any more */
    int rc;
};

static struct store *guard_store(const struct lane *lane)
{
    return lane->run->pub.engine->store;
}

bool lane_has_guard(const struct lane *lane)
{
    return guard_store(lane)->ops->lock != NULL;
}

static struct store_lock_want guard_want(const struct lane *lane, const struct plan_node *node,
                                         uint64_t wait_ms)
{
    return (struct store_lock_want){.migration = node->migration,
                                    .schema = lane_schema(lane, node),
                                    .connection = node->migration->connection,
                                    .wait_ms = wait_ms};
}

int lane_start_guard(struct lane *lane)
{
    struct store *store = guard_store(lane);
    const struct store_lock_want want =
        guard_want(lane, lane_node(lane), lane->run->pub.engine->config.lock_wait_ms);

    return store->ops->lock(store, &lane->op, &want, &lane->grant);
}

/* Nothing is left to do, by what the state says now that nobody else is at it. */
static bool guard_has_wish(const struct lane *lane, const struct store_lock_grant *grant)
{
    if (grant->lock == NULL)
        return false;
    return grant->applied == (lane->run->request.kind == RUN_UP);
}

bool lane_keep_guard(struct lane *lane)
{
    lane->locks.guard = lane->grant.lock;
    return !guard_has_wish(lane, &lane->grant);
}

void lane_release_guard(struct lane *lane, struct lane_locks *locks)
{
    struct store *store = guard_store(lane);

    if (locks->guard != NULL)
        store->ops->unlock(store, locks->guard);
    locks->guard = NULL;
}

/* --- ahead --- */

static void ahead_free(struct lane_ahead *ahead)
{
    if (ahead->rc == 0 && ahead->grant.lock != NULL)
        ahead->store->ops->unlock(ahead->store, ahead->grant.lock);
    mem_free(ahead);
}

static void ahead_on_lock(struct op *op, int rc)
{
    struct lane_ahead *ahead = container_of(op, struct lane_ahead, op);

    ahead->rc = rc;
    if (ahead->is_dropped)
        ahead_free(ahead);
}

void lane_start_ahead(struct lane *lane, const struct plan_node *node)
{
    struct store *store = guard_store(lane);
    struct store_lock_want want;
    struct lane_ahead *ahead;

    lane_drop_ahead(lane);
    if (node == NULL || !lane_has_guard(lane))
        return;
    ahead = mem_calloc(1, sizeof(*ahead));
    if (ahead == NULL)
        return;
    want = guard_want(lane, node, 0);
    ahead->store = store;
    ahead->node = node;
    op_init(&ahead->op, ahead_on_lock);
    if (store->ops->lock(store, &ahead->op, &want, &ahead->grant) != 0)
        mem_free(ahead);
    else
        lane->ahead = ahead;
}

void lane_drop_ahead(struct lane *lane)
{
    struct lane_ahead *ahead = lane->ahead;

    lane->ahead = NULL;
    if (ahead == NULL)
        return;
    ahead->is_dropped = true;
    if (!ahead->op.active)
        ahead_free(ahead);
}

bool lane_take_ahead(struct lane *lane, const struct plan_node *node)
{
    struct lane_ahead *ahead = lane->ahead;
    bool is_had = ahead != NULL && !ahead->op.active && ahead->rc == 0 && ahead->node == node &&
                  !guard_has_wish(lane, &ahead->grant);

    if (!lane_has_guard(lane))
        return true;
    if (is_had) {
        lane->next.guard = ahead->grant.lock;
        ahead->grant.lock = NULL;
    }
    lane_drop_ahead(lane);
    return is_had;
}
