/* What runs and their steps come to, counted. */
#include <string.h>

#include "server/metrics.h"

enum {
    CONNECTIONS_MAX = 200, /* with series of their own, in each family */
};

/* Milliseconds. */
static const uint64_t step_bounds[] = {5,    10,   25,    50,    100,   250,    500,
                                       1000, 2500, 10000, 30000, 60000, 300000, 1800000};

static const struct metric_info runs_info = {
    .name = "bfm_runs_total",
    .help = "Runs that ended, by kind and what they came to.",
    .type = METRIC_COUNTER,
    .labels = {"kind", "status"},
    .max_series = 64,
};

static const struct metric_info running_info = {
    .name = "bfm_runs_in_progress",
    .help = "Runs under way.",
    .type = METRIC_GAUGE,
    .labels = {"kind"},
    .max_series = 16,
};

static const struct metric_info lanes_info = {
    .name = "bfm_lanes_total",
    .help = "Lanes (schemas of a run) that ended, by connection of the run.",
    .type = METRIC_COUNTER,
    .labels = {"connection", "outcome"},
    .max_series = 2 * CONNECTIONS_MAX,
};

static const struct metric_info steps_info = {
    .name = "bfm_steps_total",
    .help = "Steps (a migration in a schema) that ended, by connection and outcome.",
    .type = METRIC_COUNTER,
    .labels = {"connection", "outcome"},
    .max_series = 6 * CONNECTIONS_MAX,
};

static const struct metric_info durations_info = {
    .name = "bfm_step_duration_seconds",
    .help = "How long steps took that ran on their target, with waiting for locks and connections.",
    .type = METRIC_HISTOGRAM,
    .labels = {"connection", "outcome"},
    .unit = 1000,
    .bounds = step_bounds,
    .bound_count = ARRAY_SIZE(step_bounds),
    .max_series = 3 * CONNECTIONS_MAX,
};

static const struct metric_info attempts_info = {
    .name = "bfm_step_attempts_total",
    .help = "Tries that steps took.",
    .type = METRIC_COUNTER,
    .labels = {"connection"},
    .max_series = CONNECTIONS_MAX,
};

static const struct metric_info retries_info = {
    .name = "bfm_step_retries_total",
    .help = "Tries that failed and were followed by another, by reason.",
    .type = METRIC_COUNTER,
    .labels = {"connection", "reason"},
    .max_series = 6 * CONNECTIONS_MAX,
};

/* A tree may name connections that nobody configured. */
static const char *known_connection(const struct run_metrics *metrics, const char *name)
{
    return engine_target(metrics->engine, name) != NULL ? name : "other";
}

static const char *run_kind(const struct run *run)
{
    const struct run_request *request = run->request;

    if (request->dry_run)
        return "dry_run";
    if (request->record.kind != NULL)
        return request->record.kind;
    return request->kind == RUN_DOWN ? "down" : "up";
}

static void count_run(struct run_metrics *metrics, const struct run *run)
{
    const struct run_request *request = run->request;
    const char *connection =
        request->kind == RUN_DOWN ? request->migration->connection : request->connection;
    const char *kind = run_kind(run);

    connection = known_connection(metrics, connection);
    metric_add(metric_get(&metrics->running, kind, NULL, NULL), -1);
    metric_add(metric_get(&metrics->runs, kind, store_run_status_name(run_status(run)), NULL), 1);
    metric_add(metric_get(&metrics->lanes, connection, "failed", NULL), (int64_t)run->lanes_failed);
    metric_add(metric_get(&metrics->lanes, connection, "succeeded", NULL),
               (int64_t)(run->lane_count - run->lanes_failed));
}

static const char *step_outcome(const struct run_event *event)
{
    switch (event->kind) {
    case RUN_EVENT_APPLIED:
        return event->run->request->kind == RUN_DOWN ? "rolled_back" : "applied";
    case RUN_EVENT_SKIPPED:
        return event->run->request->dry_run ? "dry_run" : "skipped";
    case RUN_EVENT_FAILED:
        return event->not_run ? "not_run" : "failed";
    case RUN_EVENT_QUEUED:
    case RUN_EVENT_RUNNING:
    case RUN_EVENT_ATTEMPT:
    case RUN_EVENT_RUN_STARTED:
    case RUN_EVENT_RUN_ENDED:
        break;
    }
    return "other";
}

static void count_step(struct run_metrics *metrics, const struct run_event *event)
{
    const char *connection = known_connection(metrics, event->migration->connection);
    const char *outcome = step_outcome(event);

    metric_add(metric_get(&metrics->steps, connection, outcome, NULL), 1);
    if (event->attempts == 0) /* it was settled without its target */
        return;
    metric_add(metric_get(&metrics->attempts, connection, NULL, NULL), event->attempts);
    metric_observe(&metrics->durations, metric_get(&metrics->durations, connection, outcome, NULL),
                   event->duration_ms);
}

static void count_retry(struct run_metrics *metrics, const struct run_event *event)
{
    const char *connection = known_connection(metrics, event->migration->connection);

    metric_add(metric_get(&metrics->retries, connection, run_event_reason(event->err), NULL), 1);
}

static void run_metrics_on_event(struct engine_listener *listener, const struct run_event *event)
{
    struct run_metrics *metrics = container_of(listener, struct run_metrics, listener);

    switch (event->kind) {
    case RUN_EVENT_QUEUED:
    case RUN_EVENT_RUNNING:
        return;
    case RUN_EVENT_ATTEMPT:
        count_retry(metrics, event);
        return;
    case RUN_EVENT_APPLIED:
    case RUN_EVENT_SKIPPED:
    case RUN_EVENT_FAILED:
        count_step(metrics, event);
        return;
    case RUN_EVENT_RUN_STARTED:
        metric_add(metric_get(&metrics->running, run_kind(event->run), NULL, NULL), 1);
        return;
    case RUN_EVENT_RUN_ENDED:
        count_run(metrics, event->run);
        return;
    }
}

void run_metrics_start(struct run_metrics *metrics, struct metrics *all, struct engine *engine)
{
    metrics->engine = engine;
    metrics->listener = (struct engine_listener){.on_event = run_metrics_on_event};
    metrics_add(all, &metrics->runs, &runs_info);
    metrics_add(all, &metrics->running, &running_info);
    metrics_add(all, &metrics->lanes, &lanes_info);
    metrics_add(all, &metrics->steps, &steps_info);
    metrics_add(all, &metrics->durations, &durations_info);
    metrics_add(all, &metrics->attempts, &attempts_info);
    metrics_add(all, &metrics->retries, &retries_info);
    engine_listen(engine, &metrics->listener);
}
