#include "server/metrics.h"

#include "server/server_internal.h"

void server_metrics_start(struct server *server)
{
    struct server_metrics *metrics = &server->metrics;

    if (!server->config->metrics)
        return;
    metrics->on = true;
    metrics_init(&metrics->all);
    state_metrics_start(&metrics->state, &metrics->all);
    run_metrics_start(&metrics->runs, &metrics->all, &server->engine);
}

void server_metrics_stop(struct server *server)
{
    struct server_metrics *metrics = &server->metrics;

    if (!metrics->on)
        return;
    metrics->on = false;
    engine_unlisten(&metrics->runs.listener);
    metrics_free(&metrics->all);
}
