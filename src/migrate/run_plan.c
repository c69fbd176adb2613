/* What lanes share: plans made from equal bits, and the rows of skipped steps. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "migrate/run_internal.h"

/* Nodes that have no effective schema when none is requested. */
static void run_mark_no_schema(const struct run_full *run, uint8_t *bits)
{
    for (size_t i = 0; i < run->graph.count; i++)
        if (run_effective_schema(run, &run->graph.nodes[i], NULL) == NULL)
            bits[i / 8] = (uint8_t)(bits[i / 8] | 1u << (i % 8));
}

/* The plan that this lane shares with one before; NULL if there is none. */
static struct run_plan *run_find_plan(const struct run_full *run, size_t lane)
{
    if (run->pub.lanes[lane].requested == NULL)
        return NULL;
    return map_get(&run->plans, run_lane_bits(run, lane), run->bits_len);
}

/* On a thread: nobody else knows run->made yet, and the rest is only read. */
static int run_plan_lane_on_thread(void *arg, struct err *err)
{
    struct run_full *run = arg;
    struct run_plan *plan = run->made;
    uint8_t *no_schema = plan->bits + run->bits_len;
    int rc;

    memcpy(plan->bits, run_lane_bits(run, run->next_lane), run->bits_len);
    if (run->pub.lanes[run->next_lane].requested == NULL)
        run_mark_no_schema(run, no_schema);
    rc = plan_make(&run->graph, plan->bits, no_schema, &plan->plan, &plan->err);
    return rc == ERR_NOMEM ? err_set(err, rc, "%s", err_code_text(rc)) : 0;
}

bool run_prepare_plan(struct run_full *run)
{
    size_t size = run->graph.count + run->graph.edge_count;

    if (run->plan_asked || run_find_plan(run, run->next_lane) != NULL)
        return true;
    run->plan_asked = true;
    run->made = mem_calloc(1, sizeof(*run->made) + 2 * run->bits_len);
    if (run->made == NULL)
        return true;
    run->rc = engine_work(run->pub.engine, size, &run->op, run_plan_lane_on_thread, run);
    return run->rc != 0;
}

struct run_plan *run_take_plan(struct run_full *run)
{
    struct run_plan *plan = run->made;

    run->made = NULL;
    run->plan_asked = false;
    if (plan == NULL)
        return run_find_plan(run, run->next_lane);
    if (run->rc != 0) { /* nothing was made */
        mem_free(plan);
        return NULL;
    }
    if (run->pub.lanes[run->next_lane].requested != NULL && run->plans.len < RUN_PLANS_KEPT)
        plan->kept = map_put(&run->plans, plan->bits, run->bits_len, plan) == 0;
    return plan;
}

void run_put_plan(struct run_plan *plan)
{
    if (plan == NULL || plan->kept)
        return;
    plan_free(&plan->plan);
    mem_free(plan);
}

/* --- skipped steps --- */

void run_add_skip(struct run_full *run, const struct run_item *item)
{
    if (run->skip_count == run->skip_cap) {
        size_t cap = run->skip_cap > 0 ? run->skip_cap * 2 : 64;
        struct store_record *skips = mem_realloc(run->skips, cap * sizeof(*skips));

        if (skips == NULL)
            return;
        run->skips = skips;
        run->skip_cap = cap;
    }
    run->skips[run->skip_count++] = (struct store_record){
        .event = STORE_SKIPPED,
        .migration = item->migration,
        .schema = item->schema,
        .caller = &run->request.caller,
        .run_id = run->pub.id,
        .at_us = clock_wall_us(),
    };
}
