#include "model/plan.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "model/plan_cycle.h"

/* What a lane does with a node. */
enum place {
    PLACE_OUT, /* not part of this lane */
    PLACE_SKIP,
    PLACE_RUN,
    PLACE_REFUSE,
};

/* Everything needed while one lane is ordered. Arrays are by node unless said otherwise. */
struct maker {
    const struct plan_graph *graph;
    const uint8_t *applied;
    const uint8_t *no_schema;
    struct plan *plan;
    uint8_t *places;     /* enum place */
    size_t *required_by; /* of a node that is not selected: who asked first */
    size_t *waiting;     /* prerequisites that have no step yet */
    size_t *first_link;  /* the node's dependents, as a chain of links; PLAN_NO_LINK ends it */
    size_t *queue;       /* first the nodes to look at, later the heap of the ready ones */
    size_t queue_len;
    size_t taken; /* how many steps the lane has */
    struct plan_link *links;
    size_t link_count;
};

static bool bit_is_set(const uint8_t *bits, size_t n)
{
    return bits != NULL && (bits[n / 8] >> (n % 8) & 1) != 0;
}

const char *plan_effective_schema(const struct plan_node *node, const char *requested,
                                  plan_default_schema_fn *default_schema, void *arg)
{
    const struct migration *migration = node->migration;
    bool has_request = requested != NULL && requested[0] != '\0';

    if (migration_is_fixed(migration) && !(node->selected && has_request))
        return migration->schema;
    if (has_request)
        return requested;
    return default_schema(arg, migration->connection);
}

/* One block for all arrays; the links come last. */
static int maker_init(struct maker *m, const struct plan_graph *graph)
{
    size_t count = graph->count;
    size_t arrays = 4 * count * sizeof(size_t);
    char *block = mem_alloc(arrays + graph->edge_count * sizeof(*m->links) + count);

    if (block == NULL)
        return ERR_NOMEM;
    m->required_by = (size_t *)(void *)block;
    m->waiting = m->required_by + count;
    m->first_link = m->waiting + count;
    m->queue = m->first_link + count;
    m->links = (struct plan_link *)(void *)(block + arrays);
    m->places = (uint8_t *)(m->links + graph->edge_count);
    for (size_t i = 0; i < count; i++) {
        m->waiting[i] = 0;
        m->first_link[i] = PLAN_NO_LINK;
        m->places[i] = PLACE_OUT;
    }
    return 0;
}

/* Takes a node that is not applied into the lane. */
static void maker_take(struct maker *m, size_t node, size_t required_by)
{
    bool refused =
        m->graph->nodes[node].migration->invalid != NULL || bit_is_set(m->no_schema, node);

    m->places[node] = refused ? PLACE_REFUSE : PLACE_RUN;
    m->required_by[node] = required_by;
    m->queue[m->queue_len++] = node;
    m->taken++;
}

static void maker_link(struct maker *m, size_t dependent, size_t prerequisite)
{
    if (m->places[prerequisite] == PLACE_OUT)
        maker_take(m, prerequisite, dependent);
    m->links[m->link_count] =
        (struct plan_link){.dependent = dependent, .next = m->first_link[prerequisite]};
    m->first_link[prerequisite] = m->link_count++;
    m->waiting[dependent]++;
}

/* Takes what edges[start, end), one dependency's group, stand for. */
static void maker_require(struct maker *m, size_t node, const struct plan_edge *edges, size_t end)
{
    bool any_selected = false;

    for (size_t i = 0; i < end; i++) {
        if (bit_is_set(m->applied, edges[i].to))
            return;
        any_selected = any_selected || m->graph->nodes[edges[i].to].selected;
    }
    for (size_t i = 0; i < end; i++)
        if (!any_selected || m->graph->nodes[edges[i].to].selected)
            maker_link(m, node, edges[i].to);
}

static void maker_expand(struct maker *m, size_t n)
{
    const struct plan_node *node = &m->graph->nodes[n];
    size_t end;

    for (size_t i = 0; i < node->edge_count; i = end) {
        end = i + 1;
        while (end < node->edge_count && node->edges[end].group == node->edges[i].group)
            end++;
        maker_require(m, n, &node->edges[i], end - i);
    }
}

/* Decides the place of every node and notes who waits for whom. */
static void maker_place_nodes(struct maker *m)
{
    for (size_t i = 0; i < m->graph->count; i++) {
        if (!m->graph->nodes[i].selected)
            continue;
        if (bit_is_set(m->applied, i)) {
            m->places[i] = PLACE_SKIP;
            m->taken++;
        } else {
            maker_take(m, i, i);
        }
    }
    for (size_t i = 0; i < m->queue_len; i++)
        if (m->places[m->queue[i]] == PLACE_RUN)
            maker_expand(m, m->queue[i]);
}

static int missing_error(const struct migration *migration, const struct dependency *dependency,
                         struct err *err)
{
    const char *kind = dependency->by_version && !dependency->simple ? "version " : "";
    struct buf where;

    buf_init(&where, ERR_TEXT_MAX);
    if (!dependency->simple && dependency->connection[0] != '\0')
        buf_printf(&where, " of connection %s", dependency->connection);
    if (!dependency->simple && dependency->schema[0] != '\0')
        buf_printf(&where, " with schema %s", dependency->schema);
    err_set(err, ERR_DEPENDENCY, "dependency resolution: %s requires %s%s%s which does not exist",
            migration->id, kind, dependency->target, buf_str(&where));
    buf_free(&where);
    return ERR_DEPENDENCY;
}

static int maker_check_missing(const struct maker *m, struct err *err)
{
    const struct plan_graph *graph = m->graph;

    for (size_t i = 0; i < graph->missing_count; i++)
        if (m->places[graph->missing[i].node] == PLACE_RUN)
            return missing_error(graph->nodes[graph->missing[i].node].migration,
                                 graph->missing[i].dependency, err);
    return 0;
}

static void heap_push(struct maker *m, size_t node)
{
    size_t at = m->queue_len++;

    while (at > 0 && m->queue[(at - 1) / 2] > node) {
        m->queue[at] = m->queue[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    m->queue[at] = node;
}

static size_t heap_pop(struct maker *m)
{
    size_t first = m->queue[0], last = m->queue[--m->queue_len], at = 0;

    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= m->queue_len)
            break;
        if (child + 1 < m->queue_len && m->queue[child + 1] < m->queue[child])
            child++;
        if (m->queue[child] >= last)
            break;
        m->queue[at] = m->queue[child];
        at = child;
    }
    m->queue[at] = last;
    return first;
}

/* NULL when memory is out. */
static const char *maker_reason(struct maker *m, size_t n)
{
    const struct plan_node *node = &m->graph->nodes[n];
    struct arena *arena = &m->plan->arena;

    if (m->places[n] == PLACE_REFUSE && node->migration->invalid != NULL)
        return node->migration->invalid;
    if (m->places[n] == PLACE_REFUSE)
        return arena_printf(arena,
                            "migration %s_%s has dynamic schema but no schema provided in request",
                            node->migration->version, node->migration->name);
    if (node->selected)
        return "selected";
    return arena_printf(arena, "required by %s", m->graph->nodes[m->required_by[n]].migration->id);
}

static int maker_add_step(struct maker *m, size_t node)
{
    static const enum plan_action actions[] = {
        [PLACE_SKIP] = PLAN_SKIP,
        [PLACE_RUN] = PLAN_RUN,
        [PLACE_REFUSE] = PLAN_REFUSE,
    };
    const char *reason = maker_reason(m, node);

    if (reason == NULL)
        return ERR_NOMEM;
    m->plan->steps[m->plan->step_count++] =
        (struct plan_step){.node = node, .action = actions[m->places[node]], .reason = reason};
    return 0;
}

/* Node numbers are in (version, id) order, so the smallest ready number is the next step. */
static int maker_order(struct maker *m, struct err *err)
{
    m->plan->steps = arena_calloc(&m->plan->arena, m->taken, sizeof(*m->plan->steps));
    if (m->plan->steps == NULL)
        return ERR_NOMEM;
    m->queue_len = 0;
    for (size_t i = 0; i < m->graph->count; i++)
        if (m->places[i] != PLACE_OUT && m->waiting[i] == 0)
            heap_push(m, i);
    while (m->queue_len > 0) {
        size_t node = heap_pop(m);

        if (maker_add_step(m, node) != 0)
            return ERR_NOMEM;
        for (size_t link = m->first_link[node]; link != PLAN_NO_LINK; link = m->links[link].next)
            if (--m->waiting[m->links[link].dependent] == 0)
                heap_push(m, m->links[link].dependent);
    }
    if (m->plan->step_count < m->taken)
        return plan_cycle_error(m->graph, m->waiting, m->first_link, m->links, err);
    return 0;
}

/* Where a requirement is to be checked; NULL if a step of the plan may be about to fulfil it. */
static const char *check_connection(const struct maker *m, const struct plan_node *node,
                                    const struct dependency *dependency)
{
    const char *own = node->migration->connection;
    const char *found = dependency->connection[0] != '\0' ? dependency->connection : NULL;

    for (size_t i = 0; i < node->edge_count; i++) {
        const struct plan_edge *edge = &node->edges[i];
        const char *connection = m->graph->nodes[edge->to].migration->connection;

        if (edge->dependency != dependency)
            continue;
        if (m->places[edge->to] == PLACE_RUN || m->places[edge->to] == PLACE_REFUSE)
            return NULL;
        if (found == NULL || (dependency->connection[0] == '\0' && strcmp(connection, own) == 0))
            found = connection;
    }
    return found;
}

static bool dependency_has_check(const struct dependency *dependency)
{
    return dependency->requires_table[0] != '\0' || dependency->requires_schema[0] != '\0';
}

static void maker_add_check(struct maker *m, size_t n, const struct dependency *dependency)
{
    const char *connection = check_connection(m, &m->graph->nodes[n], dependency);
    bool own_schema = dependency->requires_schema[0] != '\0';

    if (connection != NULL)
        m->plan->checks[m->plan->check_count++] = (struct plan_check){
            .connection = connection,
            .schema = own_schema ? dependency->requires_schema : dependency->schema,
            .table = dependency->requires_table,
            .node = n,
        };
}

/* Counts the requirements of the steps that are to run; with `add`, adds their checks. */
static size_t maker_visit_checks(struct maker *m, bool add)
{
    size_t count = 0;

    for (size_t i = 0; i < m->plan->step_count; i++) {
        const struct migration *migration = m->graph->nodes[m->plan->steps[i].node].migration;

        if (m->plan->steps[i].action != PLAN_RUN)
            continue;
        for (size_t d = 0; d < migration->dependency_count; d++) {
            if (!dependency_has_check(&migration->dependencies[d]))
                continue;
            count++;
            if (add)
                maker_add_check(m, m->plan->steps[i].node, &migration->dependencies[d]);
        }
    }
    return count;
}

static int maker_make_checks(struct maker *m)
{
    size_t count = m->graph->ignore_dependencies ? 0 : maker_visit_checks(m, false);

    if (count == 0)
        return 0;
    m->plan->checks = arena_calloc(&m->plan->arena, count, sizeof(*m->plan->checks));
    if (m->plan->checks == NULL)
        return ERR_NOMEM;
    maker_visit_checks(m, true);
    return 0;
}

int plan_make(const struct plan_graph *graph, const uint8_t *applied, const uint8_t *no_schema,
              struct plan *plan, struct err *err)
{
    struct maker m = {.graph = graph, .applied = applied, .no_schema = no_schema, .plan = plan};
    int rc = maker_init(&m, graph);

    *plan = (struct plan){0};
    arena_init(&plan->arena);
    if (rc == 0) {
        maker_place_nodes(&m);
        rc = maker_check_missing(&m, err);
    }
    if (rc == 0)
        rc = maker_order(&m, err);
    if (rc == 0)
        rc = maker_make_checks(&m);
    mem_free(m.required_by);
    if (rc != 0)
        plan_free(plan);
    return rc == ERR_NOMEM ? err_set(err, rc, "%s", err_code_text(rc)) : rc;
}

void plan_free(struct plan *plan)
{
    arena_free(&plan->arena);
    *plan = (struct plan){0};
}
