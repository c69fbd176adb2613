/* What a plan requires to exist (RequiresSchema, RequiresTable), asked on the dependency's
 * connection. */
#include <string.h>

#include "migrate/lane_internal.h"

static const char *check_schema(const struct lane *lane, const struct plan_check *check)
{
    const char *schema = check->schema;

    if (schema[0] == '\0')
        schema = lane_schema(lane, &lane->run->graph.nodes[check->node]);
    return schema[0] != '\0' ? schema : "public";
}

/* Judges the batch that was answered; false if something is missing. */
static bool check_judge(struct lane *lane)
{
    const struct plan *plan = &lane->plan->plan;

    for (size_t i = 0; i < lane->check_count; i++) {
        const struct plan_check *check = &plan->checks[lane->check_at + i];
        const struct backend_check *answer = &lane->checks[i];
        const char *id = lane->run->graph.nodes[check->node].migration->id;

        if (answer->exists)
            continue;
        if (answer->table[0] != '\0')
            err_set(
                &lane->result->err, ERR_DEPENDENCY,
                "dependency resolution: %s requires table %s in schema %s on connection %s, which does not exist",
                id, answer->table, answer->schema, check->connection);
        else
            err_set(
                &lane->result->err, ERR_DEPENDENCY,
                "dependency resolution: %s requires schema %s on connection %s, which does not exist",
                id, answer->schema, check->connection);
        return false;
    }
    return true;
}

/* Starts the next batch: the checks in a row that go to one connection. */
static int check_start(struct lane *lane)
{
    const struct plan *plan = &lane->plan->plan;
    const char *connection = plan->checks[lane->check_at].connection;
    const struct engine_target *target = engine_target(lane->run->pub.engine, connection);
    size_t count = 0;

    if (target == NULL)
        return op_refuse(&lane->op, ERR_NOT_FOUND, "connection %s not found", connection);
    if (target->backend == NULL)
        return op_refuse(&lane->op, ERR_UNSUPPORTED, "connection %s: %s", connection, target->why);
    if (lane->checks == NULL)
        lane->checks = arena_calloc(&lane->run->arena, plan->check_count, sizeof(*lane->checks));
    if (lane->checks == NULL)
        return op_refuse(&lane->op, ERR_NOMEM, "out of memory");
    while (lane->check_at + count < plan->check_count) {
        const struct plan_check *check = &plan->checks[lane->check_at + count];

        if (strcmp(check->connection, connection) != 0)
            break;
        lane->checks[count++] = (struct backend_check){
            .schema = check_schema(lane, check),
            .table = check->table,
        };
    }
    lane->check_count = count;
    return target->backend->ops->inspect(target->backend, &lane->op, lane->checks, count);
}

bool lane_check_requirements(struct lane *lane)
{
    if (lane->result->err.code != 0 || lane->run->stop != 0)
        return true;
    if (lane->rc == 0 && check_judge(lane)) {
        lane->check_at += lane->check_count;
        lane->check_count = 0;
        if (lane->check_at == lane->plan->plan.check_count)
            return true;
        lane->rc = check_start(lane);
        if (lane->rc == 0)
            return false;
    }
    if (lane->rc != 0) {
        lane->result->err = lane->op.err;
        if (lane->check_count > 0)
            err_prefix(&lane->result->err, "connection %s",
                       lane->plan->plan.checks[lane->check_at].connection);
    }
    return true;
}
