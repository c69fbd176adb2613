#ifndef BFM_API_METRICS_H
#define BFM_API_METRICS_H

#include "base/metrics.h"
#include "io/process.h"

/* The figures that the api keeps: of requests, of readers of events, and of the process. */
struct api_metrics {
    struct metrics *all; /* NULL: none are kept */
    struct metrics_sampler sampler;
    struct metric_family requests, durations;
    struct metric_family calls, call_durations; /* of gRPC */
    struct metric_family window_events, window_bytes, readers;
    struct metric_family resident, virtual, cpu, open_files, max_files, started;
};

/* `all` may be NULL. */
void api_metrics_init(struct api_metrics *metrics, struct metrics *all);
void api_metrics_set_process(struct api_metrics *metrics, const struct process_figures *process);

#endif
