#include <stdio.h>
#include <string.h>

#include "api/rpc.h"

/* Order, reindex, decisions about doubt, health. */

static void release_order(struct rpc *rpc)
{
    ops_order_free(&rpc->out.order);
}

int rpc_start_order(struct rpc *rpc)
{
    const Migration__OrderBatchRequest *asked = (const void *)rpc->request;
    const struct ops_order_request request = {
        .ids = (const char *const *)asked->migration_ids,
        .count = asked->n_migration_ids,
        .connection = asked->connection,
        .grant = rpc->grant,
    };
    int rc;

    if (asked->n_migration_ids > OPS_ORDER_MAX)
        return op_refuse(&rpc->op, ERR_INVALID, "field \"migration_ids\" has more than %d entries",
                         OPS_ORDER_MAX);
    rc = ops_order_start(&rpc->api->ops, &rpc->op, &request, &rpc->out.order);
    if (rc == 0)
        rpc->release = release_order;
    return rc;
}

static bool more_of_order(struct rpc *rpc, struct buf *out)
{
    const struct ops_order *order = &rpc->out.order;

    if (rpc->at == order->count)
        return false;
    rpc_put_string(out, 1, order->ordered[rpc->at++]);
    return true;
}

void rpc_answer_order(struct rpc *rpc)
{
    rpc_pump(rpc, more_of_order);
}

/* --- reindex --- */

static void release_reindex(struct rpc *rpc)
{
    ops_reindex_free(&rpc->out.reindex);
}

/* Which tree is read is not for a client to say. */
int rpc_start_reindex(struct rpc *rpc)
{
    const Migration__ReindexMigrationsRequest *asked = (const void *)rpc->request;
    const char *root = rpc->api->config.sfm_path;
    int rc;

    if (asked->sfm_path[0] != '\0' && (root == NULL || strcmp(asked->sfm_path, root) != 0))
        return op_refuse(&rpc->op, ERR_INVALID,
                         "sfm_path is not the configured root: leave it empty");
    rc = ops_reindex_start(&rpc->api->ops, &rpc->op, rpc->grant, &rpc->out.reindex);
    if (rc == 0)
        rpc->release = release_reindex;
    return rc;
}

static bool more_of_reindex(struct rpc *rpc, struct buf *out)
{
    const struct api_reindex_result *result = &rpc->out.reindex.result;
    const struct {
        const char *const *ids;
        size_t count;
    } lists[] = {{result->added, result->added_count},
                 {result->removed, result->removed_count},
                 {result->updated, result->updated_count}};

    if ((size_t)rpc->stage == ARRAY_SIZE(lists)) {
        rpc_put_int(out, 4, (int64_t)result->total);
        return false;
    }
    if (rpc->at < lists[rpc->stage].count) {
        rpc_put_string(out, (unsigned)rpc->stage + 1, lists[rpc->stage].ids[rpc->at++]);
    } else {
        rpc->stage++;
        rpc->at = 0;
    }
    return true;
}

void rpc_answer_reindex(struct rpc *rpc)
{
    rpc_pump(rpc, more_of_reindex);
}

/* --- doubt --- */

static void release_doubt(struct rpc *rpc)
{
    ops_doubt_free(&rpc->out.doubt);
}

int rpc_start_doubt(struct rpc *rpc)
{
    const Migration__ResolveMigrationRequest *asked = (const void *)rpc->request;
    const struct ops_doubt_request request = {.migration_id = asked->migration_id,
                                              .schema = asked->schema,
                                              .as = asked->as,
                                              .caller = rpc->caller,
                                              .grant = rpc->grant};
    int rc;

    if (asked->migration_id[0] == '\0')
        return op_refuse(&rpc->op, ERR_INVALID, "migration_id is required");
    rc = ops_doubt_start(&rpc->api->ops, &rpc->op, &request, &rpc->out.doubt);
    if (rc == 0)
        rpc->release = release_doubt;
    return rc;
}

void rpc_answer_doubt(struct rpc *rpc)
{
    const struct doubt *doubt = &rpc->out.doubt.doubt;
    const struct backend_decision *decision = &doubt->decision;
    Migration__ResolveMigrationResponse answer;

    migration__resolve_migration_response__init(&answer);
    answer.migration_id = rpc_text(decision->migration->id);
    answer.schema = rpc_text(decision->schema);
    answer.direction = rpc_text(decision->undo ? "down" : "up");
    answer.statement = (int32_t)decision->statement;
    answer.statements = (int32_t)decision->statements;
    answer.complete = decision->complete;
    answer.message = rpc_text(doubt->message);
    answer.as = rpc_text(decision->applied ? "applied" : "not_applied");
    rpc_answer(rpc, &answer.base);
}

/* --- health --- */

enum {
    HEALTH_NAME_MAX = 300,
};

static void put_check(const char *name, const char *status, struct buf *out)
{
    Migration__HealthResponse__ChecksEntry check;

    migration__health_response__checks_entry__init(&check);
    check.key = rpc_text(name);
    check.value = rpc_text(status);
    rpc_put_message(out, 2, &check.base);
}

static void put_target(const struct api_target *target, struct buf *out)
{
    Migration__TargetHealth item;
    char name[HEALTH_NAME_MAX], contact[RPC_TIME_SIZE];

    migration__target_health__init(&item);
    snprintf(name, sizeof(name), "target %s", target->connection);
    put_check(name, target->status, out);
    item.connection = rpc_text(target->connection);
    item.backend = rpc_text(target->backend);
    item.status = rpc_text(target->status);
    item.last_contact = rpc_time(target->contact_us, contact);
    rpc_put_message(out, 3, &item.base);
}

static bool more_of_health(struct rpc *rpc, struct buf *out)
{
    const struct api_hooks *hooks = &rpc->api->ops.hooks;
    const char *reason = ops_health(&rpc->api->ops);
    struct api_target target;

    if (hooks->target != NULL && hooks->target(hooks->arg, rpc->at++, &target)) {
        put_target(&target, out);
        return true;
    }
    rpc_put_string(out, 1, reason == NULL ? "healthy" : "unhealthy");
    put_check("executor", reason == NULL ? "ok" : reason, out);
    return false;
}

void rpc_answer_health(struct rpc *rpc)
{
    rpc_pump(rpc, more_of_health);
}
