#include "api/metrics.h"

#include "api/http_call.h"

enum {
    REQUESTS_SERIES_MAX = 1000,
    DURATIONS_SERIES_MAX = 200,
};

static const uint64_t request_bounds[] = {500,     1000,     2500,    5000,   10000,
                                          25000,   50000,    100000,  250000, 1000000,
                                          2500000, 10000000, 60000000};

static const struct metric_info requests_info = {
    .name = "bfm_http_requests_total",
    .help = "HTTP requests answered, by pattern of the route.",
    .type = METRIC_COUNTER,
    .labels = {"route", "method", "status"},
    .max_series = REQUESTS_SERIES_MAX,
};

static const struct metric_info durations_info = {
    .name = "bfm_http_request_duration_seconds",
    .help = "From the first byte of a request to the last of its answer.",
    .type = METRIC_HISTOGRAM,
    .labels = {"route", "method"},
    .unit = 1000000,
    .bounds = request_bounds,
    .bound_count = ARRAY_SIZE(request_bounds),
    .max_series = DURATIONS_SERIES_MAX,
};

static const struct metric_info calls_info = {
    .name = "bfm_grpc_calls_total",
    .help = "gRPC calls that are over, by method.",
    .type = METRIC_COUNTER,
    .labels = {"method", "code"},
    .max_series = REQUESTS_SERIES_MAX,
};

static const struct metric_info call_durations_info = {
    .name = "bfm_grpc_call_duration_seconds",
    .help = "From the headers of a call to its status.",
    .type = METRIC_HISTOGRAM,
    .labels = {"method"},
    .unit = 1000000,
    .bounds = request_bounds,
    .bound_count = ARRAY_SIZE(request_bounds),
    .max_series = DURATIONS_SERIES_MAX,
};

#define GAUGE(metric, text)                                                      \
    {                                                                            \
        .name = (metric), .help = (text), .type = METRIC_GAUGE, .max_series = 1, \
    }

static const struct metric_info window_events_info =
    GAUGE("bfm_events_window_events", "Events kept for readers that come back.");
static const struct metric_info window_bytes_info =
    GAUGE("bfm_events_window_bytes", "Memory of the events kept.");
static const struct metric_info readers_info =
    GAUGE("bfm_events_readers", "Connections that follow events.");
static const struct metric_info resident_info =
    GAUGE("process_resident_memory_bytes", "Resident memory size in bytes.");
static const struct metric_info virtual_info =
    GAUGE("process_virtual_memory_bytes", "Virtual memory size in bytes.");
static const struct metric_info open_files_info =
    GAUGE("process_open_fds", "Number of open file descriptors.");
static const struct metric_info max_files_info =
    GAUGE("process_max_fds", "Maximum number of open file descriptors.");
static const struct metric_info cpu_info = {
    .name = "process_cpu_seconds_total",
    .help = "Total user and system CPU time spent in seconds.",
    .type = METRIC_COUNTER,
    .unit = 1000000,
    .max_series = 1,
};
static const struct metric_info started_info = {
    .name = "process_start_time_seconds",
    .help = "Start time of the process since the Unix epoch in seconds.",
    .type = METRIC_GAUGE,
    .unit = 1000000,
    .max_series = 1,
};

static void set(struct metric_family *family, uint64_t value)
{
    metric_set(metric_get(family, NULL, NULL, NULL), (int64_t)value);
}

static void api_metrics_sample(struct metrics_sampler *sampler)
{
    struct api_metrics *metrics = container_of(sampler, struct api_metrics, sampler);
    const struct events *events = &container_of(metrics, struct api, metrics)->events;

    set(&metrics->window_events, events->next - events->first);
    set(&metrics->window_bytes, events->bytes);
    set(&metrics->readers, events->readers);
}

void api_metrics_set_process(struct api_metrics *metrics, const struct process_figures *process)
{
    set(&metrics->resident, process->resident_bytes);
    set(&metrics->virtual, process->virtual_bytes);
    set(&metrics->cpu, process->cpu_us);
    set(&metrics->open_files, process->open_files);
    set(&metrics->max_files, process->max_files);
    set(&metrics->started, process->started_us);
}

void api_metrics_init(struct api_metrics *metrics, struct metrics *all)
{
    *metrics = (struct api_metrics){.all = all, .sampler.sample = api_metrics_sample};
    if (all == NULL)
        return;
    metrics_add(all, &metrics->requests, &requests_info);
    metrics_add(all, &metrics->durations, &durations_info);
    metrics_add(all, &metrics->calls, &calls_info);
    metrics_add(all, &metrics->call_durations, &call_durations_info);
    metrics_add(all, &metrics->window_events, &window_events_info);
    metrics_add(all, &metrics->window_bytes, &window_bytes_info);
    metrics_add(all, &metrics->readers, &readers_info);
    metrics_add(all, &metrics->resident, &resident_info);
    metrics_add(all, &metrics->virtual, &virtual_info);
    metrics_add(all, &metrics->cpu, &cpu_info);
    metrics_add(all, &metrics->open_files, &open_files_info);
    metrics_add(all, &metrics->max_files, &max_files_info);
    metrics_add(all, &metrics->started, &started_info);
    metrics_add_sampler(all, &metrics->sampler);
}
