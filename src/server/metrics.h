#ifndef BFM_SERVER_METRICS_H
#define BFM_SERVER_METRICS_H

#include "base/metrics.h"
#include "migrate/engine.h"

/*
 * The figures of a server (README.md lists them). What happens is counted as a reader of the
 * engine's events; what is just so is looked at when somebody asks. No label has values that
 * tenants can add to: connections are those of the configuration, and anything else is "other".
 */
struct server;

/* Counted from events: metrics_events.c. */
struct run_metrics {
    struct engine *engine;
    struct engine_listener listener;
    struct metric_family runs, running, lanes;
    struct metric_family steps, durations, attempts, retries;
};

/* Looked at: metrics_state.c. */
struct state_metrics {
    struct metrics_sampler sampler;
    struct metric_family build, connections, lanes_waiting;
    struct metric_family turns, longest_turn, log_dropped;
    struct metric_family queue_records, queue_bytes, queue_reads, state_up;
    struct metric_family target_up, target_contact;
    struct metric_family pool_max, pool_open, pool_busy, pool_waiting, pool_waits, pool_wait_time,
        pool_failures;
    struct metric_family migrations, migrations_invalid, files_refused;
};

struct server_metrics {
    bool on;
    struct metrics all;
    struct run_metrics runs;
    struct state_metrics state;
};

void run_metrics_start(struct run_metrics *metrics, struct metrics *all, struct engine *engine);
void state_metrics_start(struct state_metrics *metrics, struct metrics *all);

/* Behind engine_init(), in front of api_create(). */
void server_metrics_start(struct server *server);
/* In front of api_free() and engine_free(); no effect if they were not started. */
void server_metrics_stop(struct server *server);

#endif
