/*
 * What a step holds while it runs: its own (migration, schema) alone, and a share in each migration
 * that it depends on, so that no run of this process undoes one of those before it is recorded.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "migrate/lane_internal.h"

static int lane_lock_compare(const void *a, const void *b)
{
    const struct lane_lock *x = a, *y = b;
    int order = strcmp(x->id, y->id);

    return order != 0 ? order : strcmp(x->schema, y->schema);
}

static void locks_add(struct lane *lane, struct lane_locks *locks, size_t n, enum lock_mode mode)
{
    const struct plan_node *node = &lane->run->graph.nodes[n];

    locks->items[locks->count++] = (struct lane_lock){
        .node = n,
        .id = node->migration->id,
        .schema = lane_schema(lane, node),
        .mode = mode,
    };
}

/* Two dependencies may lead to the same migration. */
static void locks_drop_duplicates(struct lane_locks *locks)
{
    size_t kept = 0;

    for (size_t i = 0; i < locks->count; i++)
        if (kept == 0 || lane_lock_compare(&locks->items[kept - 1], &locks->items[i]) != 0)
            locks->items[kept++] = locks->items[i];
    locks->count = kept;
}

/* Lists what `node` needs, in the order in which everybody takes them. A dependency that is not
 * applied as far as the lane knows gives nothing to hold on to. */
static int locks_list(struct lane *lane, struct lane_locks *locks, const struct plan_node *node)
{
    const struct run_full *run = lane->run;

    *locks = (struct lane_locks){.node = node};
    locks->items = mem_calloc(node->edge_count + 1, sizeof(*locks->items));
    if (locks->items == NULL)
        return ERR_NOMEM;
    locks_add(lane, locks, (size_t)(node - run->graph.nodes), LOCK_ALONE);
    for (size_t i = 0; i < node->edge_count; i++)
        if (run_is_applied(run, lane_index(lane), node->edges[i].to))
            locks_add(lane, locks, node->edges[i].to, LOCK_SHARED);
    qsort(locks->items, locks->count, sizeof(*locks->items), lane_lock_compare);
    locks_drop_duplicates(locks);
    for (size_t i = 0; i < locks->count; i++)
        if (locks->items[i].mode == LOCK_ALONE)
            locks->own = &locks->items[i];
    return 0;
}

static void locks_free_all(struct lane_locks *locks, enum lock_news news)
{
    for (size_t i = 0; i < locks->count; i++) /* one may be held that was not counted yet */
        lock_release(&locks->items[i].lock, news);
    mem_free(locks->items);
    *locks = (struct lane_locks){0};
}

static uint64_t lane_lock_wait_left(const struct lane *lane)
{
    const struct engine *engine = lane->run->pub.engine;
    uint64_t waited = engine->sched->now_ms - lane->locking_since_ms;

    return waited < engine->config.lock_wait_ms ? engine->config.lock_wait_ms - waited : 0;
}

static enum lock_news lane_wish(const struct lane *lane)
{
    return lane->run->request.kind == RUN_UP ? LOCK_NEWS_APPLIED : LOCK_NEWS_UNDONE;
}

bool lane_has_wish(const struct lane *lane)
{
    const struct lane_lock *own = lane->locks.own;

    return own != NULL && own->lock.held && own->lock.news == lane_wish(lane);
}

int lane_take_more_locks(struct lane *lane)
{
    struct locks *all = &lane->run->pub.engine->locks;
    struct lane_locks *locks = &lane->locks;
    int rc;

    assert(locks->items != NULL);
    while (locks->taken < locks->count && !lane_has_wish(lane)) {
        struct lane_lock *item = &locks->items[locks->taken];
        enum lock_news wish = item == locks->own ? lane_wish(lane) : LOCK_NEWS_NONE;

        if (!item->lock.held && !lock_try(all, &item->lock, item->id, item->schema, item->mode)) {
            rc = lock_acquire(all, &lane->op, &item->lock, item->id, item->schema, item->mode, wish,
                              lane_lock_wait_left(lane));
            return rc != 0 ? rc : LANE_LOCKS_WAIT;
        }
        locks->taken++;
    }
    return 0;
}

int lane_take_locks(struct lane *lane, const struct plan_node *node)
{
    assert(lane->locks.items == NULL);
    lane->locking_since_ms = lane->run->pub.engine->sched->now_ms;
    if (locks_list(lane, &lane->locks, node) != 0)
        return op_refuse(&lane->op, ERR_NOMEM, "out of memory");
    return lane_take_more_locks(lane);
}

void lane_release_locks(struct lane *lane, enum lock_news news)
{
    lane_release_guard(lane, &lane->locks);
    locks_free_all(&lane->locks, news);
}

void lane_forget_next(struct lane *lane)
{
    lane_release_guard(lane, &lane->next);
    locks_free_all(&lane->next, LOCK_NEWS_NONE);
}

bool lane_try_next_locks(struct lane *lane, const struct plan_node *node)
{
    struct locks *all = &lane->run->pub.engine->locks;
    struct lane_locks *next = &lane->next;

    if (locks_list(lane, next, node) != 0)
        return false;
    if (!lane_take_ahead(lane, node)) {
        lane_forget_next(lane);
        return false;
    }
    for (; next->taken < next->count; next->taken++) {
        struct lane_lock *item = &next->items[next->taken];

        item->inherited = lock_is_of(&lane->locks.own->lock, item->id, item->schema);
        if (!item->inherited && !lock_try(all, &item->lock, item->id, item->schema, item->mode)) {
            lane_forget_next(lane);
            return false;
        }
    }
    return true;
}

void lane_pass_locks(struct lane *lane, enum lock_news news)
{
    struct lane_locks next = lane->next;

    for (size_t i = 0; i < next.count; i++)
        if (next.items[i].inherited)
            lock_move_shared(&next.items[i].lock, &lane->locks.own->lock, news);
    lane_release_locks(lane, news);
    lane->locks = next;
    lane->next = (struct lane_locks){0};
}
