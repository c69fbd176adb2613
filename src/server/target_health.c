#include "server/target_health.h"

#include "base/clock.h"

enum {
    HEALTH_PING_EVERY_MS = 30 * 1000,
};

static void health_on_pinged(struct op *op, int rc)
{
    struct target_health *health = container_of(op, struct target_health, op);

    health->pinging = false;
    health->pinged_us = clock_wall_us();
    health->answered = rc == 0;
}

static void health_ping(struct target_health *health, struct backend *backend, uint64_t now_ms)
{
    if (health->pinging ||
        (health->asked_ms != 0 && now_ms - health->asked_ms < HEALTH_PING_EVERY_MS))
        return;
    health->asked_ms = now_ms;
    op_init(&health->op, health_on_pinged);
    health->pinging = backend->ops->ping(backend, &health->op) == 0;
}

static const char *health_status(const struct target_health *health, const struct pool_stats *stats)
{
    if (health->pinged_us != 0 && !health->answered && stats->contact_us <= health->pinged_us)
        return "down";
    if (stats->contacted)
        return stats->is_up ? "up" : "down";
    return health->pinged_us == 0 ? "unknown" : "up";
}

void target_health_look(struct target_health *health, const struct engine_target *target,
                        uint64_t now_ms, bool may_ping, struct api_target *out)
{
    struct pool_stats stats = {0};

    *out = (struct api_target){.connection = target->connection,
                               .backend = backend_kind_name(target->kind),
                               .status = "unusable"};
    if (target->backend == NULL)
        return;
    if (target->backend->ops->get_stats != NULL)
        target->backend->ops->get_stats(target->backend, &stats);
    out->status = health_status(health, &stats);
    out->contact_us = stats.contact_us;
    if (may_ping)
        health_ping(health, target->backend, now_ms);
}
