#include "model/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/plan_match.h"

/* A migration of the graph to be, in the order of discovery. */
struct found {
    const struct migration *migration;
    size_t edge_start, edge_count;
    bool selected;
};

/* While building, edges and missing targets name registry indexes and discoveries; graph_finish()
 * turns them into nodes. */
struct builder {
    const struct registry *registry;
    struct plan_graph *graph;
    struct plan_matcher matcher;
    size_t *place; /* by registry index: 0 not found, else 1 + discovery, later 1 + node */
    struct found *found;
    size_t found_count, found_cap;
    struct plan_edge *edges;
    size_t edge_count, edge_cap;
    struct plan_missing *missing;
    size_t missing_count, missing_cap;
    size_t groups;
};

static int builder_add_found(struct builder *b, const struct migration *migration, bool selected)
{
    void *items = b->found;

    if (b->place[migration->index] != 0)
        return 0;
    if (mem_grow(&items, &b->found_cap, b->found_count, sizeof(*b->found)) != 0)
        return ERR_NOMEM;
    b->found = items;
    b->found[b->found_count] = (struct found){.migration = migration, .selected = selected};
    b->place[migration->index] = ++b->found_count;
    return 0;
}

static int builder_add_edge(struct builder *b, const struct migration *to,
                            const struct dependency *dependency)
{
    void *items = b->edges;

    if (b->edge_count == PLAN_EDGES_MAX)
        return ERR_LIMIT;
    if (mem_grow(&items, &b->edge_cap, b->edge_count, sizeof(*b->edges)) != 0)
        return ERR_NOMEM;
    b->edges = items;
    b->edges[b->edge_count++] =
        (struct plan_edge){.to = to->index, .dependency = dependency, .group = b->groups};
    if (!dependency->simple)
        b->groups++;
    return builder_add_found(b, to, false);
}

static int builder_add_missing(struct builder *b, size_t from, const struct dependency *dependency)
{
    void *items = b->missing;

    if (mem_grow(&items, &b->missing_cap, b->missing_count, sizeof(*b->missing)) != 0)
        return ERR_NOMEM;
    b->missing = items;
    b->missing[b->missing_count++] = (struct plan_missing){.node = from, .dependency = dependency};
    return 0;
}

static int builder_follow(struct builder *b, size_t from, const struct dependency *dependency)
{
    const struct migration *migration = b->found[from].migration;
    struct plan_matches matches;
    int rc = plan_matcher_find(&b->matcher, b->registry, migration, dependency, &matches);

    if (rc == 0 && matches.count == 0)
        return builder_add_missing(b, from, dependency);
    for (size_t i = 0; rc == 0 && i < matches.count; i++)
        if (matches.items[i] != matches.skip)
            rc = builder_add_edge(b, matches.items[i], dependency);
    if (dependency->simple)
        b->groups++;
    return rc;
}

/* Adds what the found ones depend on, until nothing new is found. */
static int builder_close(struct builder *b)
{
    for (size_t i = 0; i < b->found_count; i++) {
        const struct migration *migration = b->found[i].migration;

        b->found[i].edge_start = b->edge_count;
        for (size_t d = 0; d < migration->dependency_count; d++) {
            int rc = builder_follow(b, i, &migration->dependencies[d]);

            if (rc != 0)
                return rc;
        }
        b->found[i].edge_count = b->edge_count - b->found[i].edge_start;
    }
    return 0;
}

static int builder_compare_found(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    return (x->migration->index > y->migration->index) -
           (x->migration->index < y->migration->index);
}

static int builder_compare_missing(const void *a, const void *b)
{
    const struct plan_missing *x = a, *y = b;

    if (x->node != y->node)
        return x->node > y->node ? 1 : -1;
    return (x->dependency > y->dependency) - (x->dependency < y->dependency);
}

/* Sorts by registry index, which is the order of (version, id). */
static void builder_sort(struct builder *b)
{
    for (size_t i = 1; i < b->found_count; i++) {
        if (b->found[i - 1].migration->index > b->found[i].migration->index) {
            qsort(b->found, b->found_count, sizeof(*b->found), builder_compare_found);
            return;
        }
    }
}

static int builder_finish_missing(struct builder *b)
{
    struct plan_graph *graph = b->graph;

    graph->missing = arena_calloc(&graph->arena, b->missing_count, sizeof(*graph->missing));
    if (graph->missing == NULL)
        return ERR_NOMEM;
    graph->missing_count = b->missing_count;
    if (b->missing_count == 0)
        return 0;
    memcpy(graph->missing, b->missing, b->missing_count * sizeof(*graph->missing));
    qsort(graph->missing, graph->missing_count, sizeof(*graph->missing), builder_compare_missing);
    return 0;
}

/* Gives the graph its nodes, edges and missing targets. */
static int builder_finish(struct builder *b)
{
    struct plan_graph *graph = b->graph;
    struct plan_edge *edges = arena_calloc(&graph->arena, b->edge_count, sizeof(*edges));

    graph->nodes = arena_calloc(&graph->arena, b->found_count, sizeof(*graph->nodes));
    if (edges == NULL || graph->nodes == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < b->missing_count; i++) /* while discoveries have their old places */
        b->missing[i].node = b->found[b->missing[i].node].migration->index;
    builder_sort(b);
    for (size_t i = 0; i < b->found_count; i++) {
        const struct found *found = &b->found[i];

        b->place[found->migration->index] = i + 1;
        graph->nodes[i] = (struct plan_node){.migration = found->migration,
                                             .selected = found->selected,
                                             .edges = edges + found->edge_start,
                                             .edge_count = found->edge_count};
        graph->selected_count += found->selected;
    }
    for (size_t i = 0; i < b->edge_count; i++) {
        edges[i] = b->edges[i];
        edges[i].to = b->place[edges[i].to] - 1;
    }
    for (size_t i = 0; i < b->missing_count; i++)
        b->missing[i].node = b->place[b->missing[i].node] - 1;
    graph->count = b->found_count;
    graph->edge_count = b->edge_count;
    return builder_finish_missing(b);
}

static int builder_init(struct builder *b, const struct registry *registry,
                        bool ignore_dependencies, struct plan_graph *graph)
{
    *b = (struct builder){.registry = registry, .graph = graph};
    *graph = (struct plan_graph){.ignore_dependencies = ignore_dependencies};
    arena_init(&graph->arena);
    plan_matcher_init(&b->matcher);
    b->place = mem_calloc(registry->count, sizeof(*b->place));
    return b->place != NULL ? 0 : ERR_NOMEM;
}

/* Completes the graph from what is selected by now, unless `rc` says that this failed already. */
static int builder_end(struct builder *b, int rc, struct err *err)
{
    if (rc == 0 && !b->graph->ignore_dependencies)
        rc = builder_close(b);
    if (rc == 0)
        rc = builder_finish(b);
    plan_matcher_free(&b->matcher);
    mem_free(b->missing);
    mem_free(b->edges);
    mem_free(b->found);
    mem_free(b->place);
    if (rc == 0)
        return 0;
    plan_graph_free(b->graph);
    if (rc == ERR_LIMIT)
        return err_set(err, rc, "dependency resolution: more than %d dependencies", PLAN_EDGES_MAX);
    return err_set(err, rc, "%s", err_code_text(rc));
}

/* The smallest group of the registry that holds all that the filter can match. */
static void builder_candidates(const struct registry *registry, const struct plan_filter *filter,
                               struct registry_group *out)
{
    const struct registry_group *group = NULL;

    *out = (struct registry_group){.migrations = registry->migrations, .count = registry->count};
    if (filter->version != NULL && filter->version[0] != '\0')
        group = map_get_str(&registry->by_version, filter->version);
    else if (filter->connection != NULL && filter->connection[0] != '\0')
        group = map_get_str(&registry->by_connection, filter->connection);
    else
        return;
    *out = group != NULL ? *group : (struct registry_group){0};
}

/* Looks tables up instead of comparing them one by one; the other criteria are few. */
static int builder_select(struct builder *b, const struct plan_filter *filter)
{
    struct plan_filter rest = *filter;
    struct registry_group candidates;
    struct map tables;
    int rc = 0;

    rest.table_count = 0;
    map_init(&tables);
    builder_candidates(b->registry, filter, &candidates);
    for (size_t i = 0; rc == 0 && i < filter->table_count; i++)
        rc = map_put_str(&tables, filter->tables[i], &tables);
    for (size_t i = 0; rc == 0 && i < candidates.count; i++) {
        const struct migration *migration = candidates.migrations[i];

        if (filter->table_count > 0 && map_get_str(&tables, migration->table) == NULL)
            continue;
        if (plan_filter_matches(&rest, migration))
            rc = builder_add_found(b, migration, true);
    }
    map_free(&tables);
    return rc;
}

int plan_graph_build(const struct registry *registry, const struct plan_filter *filter,
                     bool ignore_dependencies, struct plan_graph *graph, struct err *err)
{
    struct builder b;
    int rc = builder_init(&b, registry, ignore_dependencies, graph);

    if (rc == 0)
        rc = builder_select(&b, filter);
    return builder_end(&b, rc, err);
}

int plan_graph_build_from(const struct registry *registry,
                          const struct migration *const *migrations, size_t count,
                          bool ignore_dependencies, struct plan_graph *graph, struct err *err)
{
    struct builder b;
    int rc = builder_init(&b, registry, ignore_dependencies, graph);

    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = builder_add_found(&b, migrations[i], true);
    return builder_end(&b, rc, err);
}

void plan_graph_free(struct plan_graph *graph)
{
    arena_free(&graph->arena);
    *graph = (struct plan_graph){0};
}
