/* What is applied where: the look-up of a run and the bits that plans are made from. */
#include <string.h>

#include "migrate/run_internal.h"

static const char *run_default_schema(void *arg, const char *connection)
{
    const struct engine *engine = arg;
    const struct engine_target *target = engine_target(engine, connection);

    return target != NULL ? target->default_schema : NULL;
}

const char *run_effective_schema(const struct run_full *run, const struct plan_node *node,
                                 const char *requested)
{
    return plan_effective_schema(node, requested, run_default_schema, run->pub.engine);
}

/* Whether the node's schema is the same in every lane. */
static bool run_node_is_common(const struct plan_node *node)
{
    return !node->selected && migration_is_fixed(node->migration);
}

static bool run_has_lane_without_schema(const struct run_full *run)
{
    for (size_t i = 0; i < run->pub.lane_count; i++)
        if (run->pub.lanes[i].requested == NULL)
            return true;
    return false;
}

static void run_add_scope(struct run_full *run, const char *connection, const char *const *schemas,
                          size_t count)
{
    run->scopes[run->scope_count++] =
        (struct store_scope){.connection = connection, .schemas = schemas, .schema_count = count};
}

/* Adds the connection with all requested schemas, once. */
static void run_add_requested_scope(struct run_full *run, const char *connection,
                                    const char *const *requested, size_t count)
{
    for (size_t i = 0; i < run->scope_count; i++)
        if (run->scopes[i].schemas == requested &&
            strcmp(run->scopes[i].connection, connection) == 0)
            return;
    run_add_scope(run, connection, requested, count);
}

/* Adds one schema of a connection, unless the scope before it says the same. */
static int run_add_single_scope(struct run_full *run, const char *connection, const char *schema)
{
    const struct store_scope *last =
        run->scope_count > 0 ? &run->scopes[run->scope_count - 1] : NULL;
    const char **single;

    if (last != NULL && last->schema_count == 1 && strcmp(last->connection, connection) == 0 &&
        strcmp(last->schemas[0], schema) == 0)
        return 0;
    single = arena_alloc(&run->arena, sizeof(*single));
    if (single == NULL)
        return ERR_NOMEM;
    *single = schema;
    run_add_scope(run, connection, single, 1);
    return 0;
}

int run_make_scopes(struct run_full *run)
{
    bool without = run_has_lane_without_schema(run);
    size_t requested_count = 0;
    const char **requested = arena_calloc(&run->arena, run->pub.lane_count, sizeof(*requested));

    run->scopes = arena_calloc(&run->arena, 2 * run->graph.count, sizeof(*run->scopes));
    if (requested == NULL || run->scopes == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < run->pub.lane_count; i++)
        if (run->pub.lanes[i].requested != NULL)
            requested[requested_count++] = run->pub.lanes[i].requested;
    for (size_t i = 0; i < run->graph.count; i++) {
        const struct plan_node *node = &run->graph.nodes[i];
        const char *connection = node->migration->connection;
        const char *own = run_effective_schema(run, node, NULL);

        if (!run_node_is_common(node) && requested_count > 0)
            run_add_requested_scope(run, connection, requested, requested_count);
        if ((run_node_is_common(node) || without) && own != NULL &&
            run_add_single_scope(run, connection, own) != 0)
            return ERR_NOMEM;
    }
    return 0;
}

int run_prepare_bits(struct run_full *run)
{
    run->bits_len = run->graph.count / 8 + 1;
    run->bits = arena_calloc(&run->arena, run->pub.lane_count, run->bits_len);
    run->unjournaled = arena_calloc(&run->arena, run->pub.lane_count, sizeof(*run->unjournaled));
    if (run->bits == NULL || run->unjournaled == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < run->graph.count; i++) {
        struct plan_node *node = &run->graph.nodes[i];

        if (map_put_str(&run->node_by_id, node->migration->id, node) != 0)
            return ERR_NOMEM;
    }
    for (size_t i = 0; i < run->pub.lane_count; i++) {
        struct run_lane_result *lane = &run->pub.lanes[i];

        if (lane->requested != NULL &&
            map_put_str(&run->lane_by_schema, lane->requested, lane) != 0)
            return ERR_NOMEM;
    }
    return 0;
}

const uint8_t *run_lane_bits(const struct run_full *run, size_t lane)
{
    return run->bits + lane * run->bits_len;
}

bool run_is_applied(const struct run_full *run, size_t lane, size_t node)
{
    return (run_lane_bits(run, lane)[node / 8] >> (node % 8) & 1) != 0;
}

void run_set_applied(struct run_full *run, size_t lane, size_t node, bool applied)
{
    uint8_t *byte = run->bits + lane * run->bits_len + node / 8;
    unsigned bit = 1u << (node % 8);

    *byte = (uint8_t)(applied ? *byte | bit : *byte & ~bit);
}

static void run_set_bit(struct run_full *run, size_t lane, const struct plan_node *node,
                        const struct store_execution *row)
{
    run_set_applied(run, lane, (size_t)(node - run->graph.nodes), true);
    if (run->request.kind == RUN_DOWN)
        run->unjournaled[lane] = row->checksum[0] == '\0';
}

static void run_index_row(struct run_full *run, const struct store_execution *row)
{
    const struct plan_node *node = map_get_str(&run->node_by_id, row->migration_id);
    const struct run_lane_result *lane;
    const char *own;

    if (node == NULL || !row->applied)
        return;
    own = run_effective_schema(run, node, NULL);
    if (own != NULL && strcmp(own, row->schema) == 0)
        for (size_t i = 0; i < run->pub.lane_count; i++)
            if (run_node_is_common(node) || run->pub.lanes[i].requested == NULL)
                run_set_bit(run, i, node, row);
    lane = map_get_str(&run->lane_by_schema, row->schema);
    if (lane != NULL && !run_node_is_common(node))
        run_set_bit(run, (size_t)(lane - run->pub.lanes), node, row);
}

bool run_is_at_work(const struct run_full *run, const struct store_standing *row)
{
    return !row->applied && strcmp(row->run_id, run->pub.id) != 0 &&
           !engine_has_lost(run->pub.engine, row);
}

bool run_index_rows(struct run_full *run)
{
    size_t end = run->rows_at + RUN_ROWS_PER_SLICE;

    while (run->rows_at < run->rows.count && run->rows_at < end)
        run_index_row(run, &run->rows.rows[run->rows_at++]);
    return run->rows_at < run->rows.count;
}

void run_forget_applied(struct run_full *run)
{
    size_t lanes = run->pub.lane_count;

    arena_free(&run->rows.arena);
    run->rows = (struct store_executions){0};
    run->rows_at = 0;
    memset(run->bits, 0, lanes * run->bits_len);
    memset(run->unjournaled, 0, lanes * sizeof(*run->unjournaled));
    run->dependent_at = 0;
}

/* The graph of an undo is the migration alone. */
bool run_lacks_proof(const struct run_full *run)
{
    const struct engine *engine = run->pub.engine;

    if (run->request.kind != RUN_DOWN ||
        engine_target(engine, run->request.migration->connection)->compared)
        return false;
    for (size_t i = 0; i < run->pub.lane_count; i++)
        if (!run_is_applied(run, i, 0) &&
            run_effective_schema(run, &run->graph.nodes[0], run->pub.lanes[i].requested) != NULL)
            return true;
    return false;
}
