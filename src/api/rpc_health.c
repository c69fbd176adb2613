#include <string.h>

#include "api/rpc.h"

/* The standard health service (GRPC Health Checking Protocol): the server as a whole, "", and each
 * service by its name. */

enum {
    HEALTH_LOOK_MS = 250, /* between looks at what was found out anyhow */
    HEALTH_TURN = 1000,   /* clients that are told at once */
};

enum health_status {
    HEALTH_SERVING = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING,
    HEALTH_NOT_SERVING = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING,
    HEALTH_UNKNOWN = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN,
};

static bool health_knows(const char *service)
{
    if (service[0] == '\0')
        return true;
    for (size_t i = 0; rpc_services[i] != NULL; i++)
        if (strcmp(rpc_services[i], service) == 0)
            return true;
    return false;
}

/* Whether to send calls here: not while stopping, not without the state database. */
static enum health_status health_now(const struct api *api)
{
    struct err err;

    return ops_check(&api->ops, true, &err) == 0 && ops_health(&api->ops) == NULL
               ? HEALTH_SERVING
               : HEALTH_NOT_SERVING;
}

static const char *health_service(const struct rpc *rpc)
{
    return ((const Grpc__Health__V1__HealthCheckRequest *)(const void *)rpc->request)->service;
}

void rpc_answer_check(struct rpc *rpc)
{
    Grpc__Health__V1__HealthCheckResponse answer;

    grpc__health__v1__health_check_response__init(&answer);
    if (!health_knows(health_service(rpc))) {
        rpc_fail(rpc, GRPC_NOT_FOUND, "unknown service");
        return;
    }
    answer.status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)health_now(rpc->api);
    rpc_answer(rpc, &answer.base);
}

/* --- watch --- */

/* One look for all of them, of whom there may be as many as there are calls. */

static struct sched *health_sched(const struct api *api)
{
    return loop_sched(api->config.loop);
}

static void health_send(struct rpc *rpc, enum health_status status)
{
    Grpc__Health__V1__HealthCheckResponse message;

    grpc__health__v1__health_check_response__init(&message);
    message.status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)status;
    buf_truncate(&rpc->buf, 0);
    if (rpc_put(&rpc->buf, &message.base) == 0 &&
        grpc_send(rpc->call, buf_str(&rpc->buf), rpc->buf.len) >= 0)
        rpc->stage = (int)status; /* else once more at the next look */
}

static void health_on_timer(struct timer *timer)
{
    struct api *api = container_of(timer, struct api, health.timer);
    enum health_status status = health_now(api);
    size_t told = 0;

    list_foreach(node, &api->health.readers) {
        struct rpc *rpc = container_of(node, struct rpc, link);

        if (told == HEALTH_TURN)
            break;
        if (rpc->stage != (int)status) {
            health_send(rpc, status);
            told++;
        }
    }
    sched_start_timer(health_sched(api), timer, told == HEALTH_TURN ? 1 : HEALTH_LOOK_MS);
}

static void health_release(struct rpc *rpc)
{
    struct health_watch *watch = &rpc->api->health;

    list_remove(&rpc->link);
    if (list_is_empty(&watch->readers))
        sched_stop_timer(health_sched(rpc->api), &watch->timer);
}

static void health_join(struct rpc *rpc)
{
    struct health_watch *watch = &rpc->api->health;

    if (list_is_empty(&watch->readers)) {
        watch->timer.fire = health_on_timer;
        sched_start_timer(health_sched(rpc->api), &watch->timer, HEALTH_LOOK_MS);
    }
    list_push_back(&watch->readers, &rpc->link);
    rpc->release = health_release;
}

static void health_on_gone(struct grpc_call *call)
{
    struct rpc *rpc = grpc_data(call);

    if (health_now(rpc->api) != HEALTH_SERVING)
        health_send(rpc, HEALTH_NOT_SERVING);
    rpc_end(rpc, GRPC_UNAVAILABLE, "the server is stopping");
}

void rpc_answer_health_watch(struct rpc *rpc)
{
    grpc_set_data(rpc->call, rpc);
    grpc_set_endless(rpc->call);
    grpc_on_gone(rpc->call, health_on_gone);
    if (!health_knows(health_service(rpc))) {
        health_send(rpc, HEALTH_UNKNOWN);
        return;
    }
    health_join(rpc);
    health_send(rpc, health_now(rpc->api));
}
