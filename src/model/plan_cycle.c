#include "model/plan_cycle.h"

#include "base/buf.h"
#include "base/mem.h"

enum {
    CYCLE_TEXT_MAX = 600, /* bytes of IDs shown before the rest is only counted */
};

/* Sets each waiting node's blocker: the smallest other one it waits for. */
static void cycle_find_blockers(const struct plan_graph *graph, const size_t *waiting,
                                const size_t *first_link, const struct plan_link *links,
                                size_t *blockers)
{
    for (size_t i = graph->count; i-- > 0;) {
        if (waiting[i] == 0)
            continue;
        for (size_t link = first_link[i]; link != PLAN_NO_LINK; link = links[link].next)
            blockers[links[link].dependent] = i;
    }
}

/* A node on a circle: after as many steps as there are nodes, every path of blockers is on one. */
static size_t cycle_enter(const struct plan_graph *graph, const size_t *waiting,
                          const size_t *blockers)
{
    size_t node = 0;

    while (waiting[node] == 0)
        node++;
    for (size_t i = 0; i < graph->count; i++)
        node = blockers[node];
    return node;
}

static size_t cycle_smallest(const size_t *blockers, size_t node)
{
    size_t smallest = node;

    for (size_t i = blockers[node]; i != node; i = blockers[i])
        if (i < smallest)
            smallest = i;
    return smallest;
}

static int cycle_describe(const struct plan_graph *graph, const size_t *blockers, size_t start,
                          struct buf *text)
{
    size_t hidden = 0;

    buf_puts(text, graph->nodes[start].migration->id);
    for (size_t i = blockers[start]; i != start; i = blockers[i]) {
        if (text->len > CYCLE_TEXT_MAX)
            hidden++;
        else
            buf_printf(text, " -> %s", graph->nodes[i].migration->id);
    }
    if (hidden > 0)
        buf_printf(text, " -> (%zu more)", hidden);
    return buf_printf(text, " -> %s", graph->nodes[start].migration->id);
}

int plan_cycle_error(const struct plan_graph *graph, const size_t *waiting,
                     const size_t *first_link, const struct plan_link *links, struct err *err)
{
    size_t *blockers = mem_calloc(graph->count, sizeof(*blockers));
    struct buf text;
    int rc = ERR_NOMEM;

    if (blockers == NULL)
        return rc;
    buf_init(&text, (size_t)4 * ERR_TEXT_MAX);
    cycle_find_blockers(graph, waiting, first_link, links, blockers);
    rc = cycle_describe(graph, blockers,
                        cycle_smallest(blockers, cycle_enter(graph, waiting, blockers)), &text);
    if (rc == 0)
        rc = err_set(err, ERR_DEPENDENCY, "dependency resolution: circular dependency: %s",
                     buf_str(&text));
    buf_free(&text);
    mem_free(blockers);
    return rc;
}
