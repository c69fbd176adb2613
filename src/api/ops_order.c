#include "api/ops_order.h"

#include <string.h>

#include "base/mem.h"
#include "io/work.h"
#include "model/ids.h"
#include "model/plan.h"

/* Which of the given strings mean the same migration: chains through `next`, by index + 1. */
struct order_work {
    const struct registry *registry;
    const struct ops_order_request *request;
    const struct migration **migrations; /* distinct ones, in the order of their first mention */
    size_t migration_count;
    size_t *head, *tail; /* per migration of the registry: first and last string, 0 for none */
    size_t *next;        /* per string */
};

static int order_refuse_ambiguous(const char *id, const struct migration **out, struct err *err)
{
    *out = NULL;
    return err_set(err, ERR_INVALID, "ambiguous migration id: %.300s", id);
}

/* *out is NULL exactly when this fails. */
static int order_resolve(const struct order_work *work, const char *id, struct arena *arena,
                         const struct migration **out, struct err *err)
{
    const char *connection = work->request->connection;
    const struct migration *other = NULL;
    struct ids_matches matches;

    *out = NULL;
    if (ids_resolve(work->registry, id, arena, &matches) != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < matches.count; i++) {
        const struct migration *migration = matches.items[i].migration;

        if (strcmp(migration->connection, connection) != 0) {
            if (grant_sees(work->request->grant, migration->connection, NULL))
                other = migration;
        } else if (*out == NULL || *out == migration)
            *out = migration;
        else
            return order_refuse_ambiguous(id, out, err);
    }
    if (*out != NULL)
        return 0;
    if (other != NULL)
        return err_set(err, ERR_INVALID, "migration %.300s does not belong to connection %.200s",
                       id, connection);
    return err_set(err, ERR_INVALID, "migration not found: %.300s", id);
}

static int order_resolve_all(struct order_work *work, struct err *err)
{
    const struct migration *migration;
    struct arena scratch;
    int rc = 0;

    for (size_t i = 0; i < work->request->count && rc == 0; i++) {
        arena_init(&scratch);
        rc = order_resolve(work, work->request->ids[i], &scratch, &migration, err);
        arena_free(&scratch);
        if (migration == NULL)
            break;
        if (work->head[migration->index] == 0) {
            work->migrations[work->migration_count++] = migration;
            work->head[migration->index] = i + 1;
        } else {
            work->next[work->tail[migration->index] - 1] = i + 1;
        }
        work->tail[migration->index] = i + 1;
    }
    return rc;
}

static void order_emit(const struct order_work *work, const struct plan_graph *graph,
                       const struct plan *plan, struct ops_order *out)
{
    for (size_t i = 0; i < plan->step_count; i++) {
        const struct migration *migration = graph->nodes[plan->steps[i].node].migration;

        for (size_t at = work->head[migration->index]; at != 0; at = work->next[at - 1])
            out->ordered[out->count++] = work->request->ids[at - 1];
    }
}

static int order_plan(const struct order_work *work, struct ops_order *out, struct err *err)
{
    struct plan_graph graph;
    struct plan plan;
    uint8_t *applied;
    int rc;

    rc = plan_graph_build_from(work->registry, work->migrations, work->migration_count, false,
                               &graph, err);
    if (rc != 0)
        return rc;
    applied = mem_calloc(graph.count / 8 + 1, 1);
    if (applied == NULL) {
        rc = err_set(err, ERR_NOMEM, "out of memory");
        goto err_after_graph;
    }
    rc = plan_make(&graph, applied, NULL, &plan, err);
    if (rc == 0) {
        order_emit(work, &graph, &plan, out);
        plan_free(&plan);
    }
    mem_free(applied);
err_after_graph:
    plan_graph_free(&graph);
    return rc;
}

/* On a pool thread: a registry can be read there, only its references cannot be counted. */
static int order_on_thread(void *arg, struct err *err)
{
    struct ops_order *out = arg;
    size_t count = out->request.count, known = out->registry->count;
    struct order_work work = {.registry = out->registry, .request = &out->request};
    int rc;

    out->ordered = arena_calloc(&out->arena, count + 1, sizeof(*out->ordered));
    work.migrations = arena_calloc(&out->arena, count + 1, sizeof(struct migration *));
    work.next = arena_calloc(&out->arena, count + 1, sizeof(*work.next));
    work.head = arena_calloc(&out->arena, known + 1, sizeof(*work.head));
    work.tail = arena_calloc(&out->arena, known + 1, sizeof(*work.tail));
    if (out->ordered == NULL || work.migrations == NULL || work.next == NULL || work.head == NULL ||
        work.tail == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    rc = order_resolve_all(&work, err);
    if (rc == 0 && count > 0)
        rc = order_plan(&work, out, err);
    return rc;
}

static void order_on_step(struct op *step, int rc)
{
    struct ops_order *order = container_of(step, struct ops_order, step);

    if (rc != 0)
        op_fail(order->op, &step->err);
    else
        op_finish(order->op, 0);
}

static void order_cancel(struct op *op)
{
    struct ops_order *order = op->impl;

    op_cancel(&order->step);
}

int ops_order_start(struct ops *ops, struct op *op, const struct ops_order_request *request,
                    struct ops_order *out)
{
    struct err err;
    int rc;

    *out = (struct ops_order){.op = op, .request = *request};
    if (request->connection[0] == '\0')
        return op_refuse(op, ERR_INVALID, "field \"connection\" is required");
    if (request->count > OPS_ORDER_MAX)
        return op_refuse(op, ERR_INVALID, "field \"migration_ids\" has more than %d entries",
                         OPS_ORDER_MAX);
    if (grant_check_place(request->grant, request->connection, NULL, &err) != 0)
        return op_refuse(op, err.code, "%s", err_text(&err));
    arena_init(&out->arena);
    op_init(&out->step, order_on_step);
    out->registry = registry_ref(ops->engine->registry);
    rc = work_start(ops->loop, &out->step, order_on_thread, out);
    if (rc != 0) {
        ops_order_free(out);
        return op_refuse(op, rc, "%s", err_text(&out->step.err));
    }
    op_begin(op, out, order_cancel);
    return 0;
}

void ops_order_free(struct ops_order *order)
{
    arena_free(&order->arena);
    registry_unref(order->registry);
    *order = (struct ops_order){0};
}
