/*
 * What a step relies on was known when its run began. It is looked at again behind the locks and
 * behind the record `pending`: of two servers whose steps exclude each other at least one sees the
 * record of the other. An up waits until the other is done, an undo gives way at once, so that
 * they never wait for each other.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "migrate/lane_internal.h"

bool lane_has_look(const struct lane *lane)
{
    if (lane->run->request.kind == RUN_DOWN)
        return lane->run->dependent_count > 0;
    return lane_node(lane)->edge_count > 0;
}

static int look_list_dependencies(struct lane *lane)
{
    const struct lane_locks *locks = &lane->locks;

    lane->places = mem_calloc(locks->count, sizeof(*lane->places));
    if (lane->places == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < locks->count; i++)
        if (locks->items[i].mode == LOCK_SHARED)
            lane->places[lane->place_count++] = (struct store_place){
                .migration_id = locks->items[i].id, .schema = locks->items[i].schema};
    return 0;
}

int lane_start_look(struct lane *lane)
{
    struct run_full *run = lane->run;
    struct store *store = run->pub.engine->store;
    int rc;

    if (run->request.kind == RUN_DOWN)
        rc = run_list_undo_places(run, lane_schema(lane, lane_node(lane)), &lane->places,
                                  &lane->place_count);
    else
        rc = look_list_dependencies(lane);
    if (rc != 0)
        return op_refuse(&lane->op, rc, "%s", err_code_text(rc));
    return store->ops->get_standing(store, &lane->op, lane->places, lane->place_count, &lane->seen);
}

void lane_end_look(struct lane *lane)
{
    arena_free(&lane->seen.arena);
    lane->seen = (struct store_standings){0};
    mem_free(lane->places);
    lane->places = NULL;
    lane->place_count = 0;
}

static int look_compare(const void *key, const void *item)
{
    const struct store_standing *row = key;
    const struct lane_lock *lock = item;
    int order = strcmp(row->migration_id, lock->id);

    return order != 0 ? order : strcmp(row->schema, lock->schema);
}

static void look_mark(struct lane *lane)
{
    struct lane_locks *locks = &lane->locks;

    for (size_t i = 0; i < locks->count; i++)
        locks->items[i].applied = locks->items[i].busy = false;
    for (size_t i = 0; i < lane->seen.count; i++) {
        const struct store_standing *row = &lane->seen.rows[i];
        struct lane_lock *lock =
            bsearch(row, locks->items, locks->count, sizeof(*locks->items), look_compare);

        if (lock == NULL)
            continue;
        if (row->applied)
            lock->applied = true;
        else
            lock->busy = run_is_at_work(lane->run, row);
    }
}

/* The edges of a group stand side by side; one that is applied is enough for it. */
static bool look_lacks_dependency(const struct lane *lane, const struct plan_node *node,
                                  size_t *edge)
{
    size_t end;

    for (size_t i = 0; i < node->edge_count; i = end) {
        bool satisfied = false;

        for (end = i; end < node->edge_count && node->edges[end].group == node->edges[i].group;
             end++)
            satisfied =
                satisfied || run_is_applied(lane->run, lane_index(lane), node->edges[end].to);
        *edge = i;
        if (!satisfied)
            return true;
    }
    return false;
}

static const struct lane_lock *look_find_busy(const struct lane *lane)
{
    for (size_t i = 0; i < lane->locks.count; i++)
        if (lane->locks.items[i].busy)
            return &lane->locks.items[i];
    return NULL;
}

static enum lane_sight look_judge_dependencies(struct lane *lane)
{
    const struct plan_node *node = lane_node(lane);
    const struct plan_node *lacking;
    size_t edge;

    look_mark(lane);
    if (look_find_busy(lane) != NULL)
        return LANE_BUSY;
    for (size_t i = 0; i < lane->locks.count; i++)
        if (lane->locks.items[i].mode == LOCK_SHARED)
            run_set_applied(lane->run, lane_index(lane), lane->locks.items[i].node,
                            lane->locks.items[i].applied);
    if (!look_lacks_dependency(lane, node, &edge))
        return LANE_CLEAR;
    lacking = &lane->run->graph.nodes[node->edges[edge].to];
    err_set(
        &lane->failure, ERR_DEPENDENCY,
        "%s, which it depends on, is not applied any more in schema \"%s\"; apply that again first",
        lacking->migration->id, lane_schema(lane, lacking));
    return LANE_BLOCKED;
}

enum lane_sight lane_judge_look(struct lane *lane)
{
    const char *schema = lane_schema(lane, lane_node(lane));

    if (lane->run->request.kind == RUN_UP)
        return look_judge_dependencies(lane);
    return run_judge_undo(lane->run, schema, &lane->seen, &lane->failure) == 0 ? LANE_CLEAR
                                                                               : LANE_BLOCKED;
}

void lane_fail_busy(struct lane *lane)
{
    const struct lane_lock *busy = look_find_busy(lane);

    err_set(&lane->failure, ERR_LOCKED,
            "%s, which it depends on, is being run by another server in schema \"%s\"", busy->id,
            busy->schema);
}
