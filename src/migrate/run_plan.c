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

static struct run_plan *run_make_plan(struct run_full *run, const uint8_t *applied,
                                      bool without_schema)
{
    struct run_plan *plan = mem_calloc(1, sizeof(*plan) + 2 * run->bits_len);
    uint8_t *no_schema;
    int rc;

    if (plan == NULL)
        return NULL;
    no_schema = plan->bits + run->bits_len;
    memcpy(plan->bits, applied, run->bits_len);
    if (without_schema)
        run_mark_no_schema(run, no_schema);
    rc = plan_make(&run->graph, plan->bits, no_schema, &plan->plan, &plan->err);
    if (rc != ERR_NOMEM)
        return plan;
    mem_free(plan);
    return NULL;
}

struct run_plan *run_get_plan(struct run_full *run, size_t lane)
{
    const uint8_t *bits = run_lane_bits(run, lane);
    bool without_schema = run->pub.lanes[lane].requested == NULL;
    struct run_plan *plan = without_schema ? NULL : map_get(&run->plans, bits, run->bits_len);

    if (plan != NULL)
        return plan;
    plan = run_make_plan(run, bits, without_schema);
    if (plan != NULL && !without_schema && run->plans.len < RUN_PLANS_KEPT)
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
