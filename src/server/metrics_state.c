/* What is just so at the moment: looked at when somebody asks, from what is known without asking
 * any database. */
#include "base/log.h"
#include "server/server_internal.h"

enum {
    TARGETS_MAX = 200, /* with series of their own, in each family */
};

#define PLAIN(kind, metric, text)                                          \
    {                                                                      \
        .name = (metric), .help = (text), .type = (kind), .max_series = 1, \
    }
#define LABELLED(kind, metric, text, size, ...)                                                    \
    {                                                                                              \
        .name = (metric), .help = (text), .type = (kind), .labels = {__VA_ARGS__}, .unit = (size), \
        .max_series = TARGETS_MAX + 1,                                                             \
    }
enum {
    MICROSECONDS = 1000000,
};

static const struct metric_info build_info =
    LABELLED(METRIC_GAUGE, "bfm_build_info", "Always 1; the version that runs.", 1, "version");
static const struct metric_info connections_info =
    PLAIN(METRIC_GAUGE, "bfm_http_connections", "HTTP connections that are open.");
static const struct metric_info lanes_info = LABELLED(
    METRIC_GAUGE, "bfm_lanes_in_progress", "Lanes under way, by what they wait for.", 1, "state");
static const struct metric_info turns_info = {
    .name = "bfm_loop_turn_seconds",
    .help = "How long the turns of the event loop kept everything else waiting.",
    .type = METRIC_HISTOGRAM,
    .unit = MICROSECONDS,
    .bounds = loop_turn_bounds,
    .bound_count = LOOP_TURN_BOUNDS,
    .max_series = 1,
};
static const struct metric_info longest_info = {
    .name = "bfm_loop_longest_turn_seconds",
    .help = "The longest turn of the event loop within the past one to two minutes.",
    .type = METRIC_GAUGE,
    .unit = MICROSECONDS,
    .max_series = 1,
};
static const struct metric_info log_info =
    PLAIN(METRIC_COUNTER, "bfm_log_lines_dropped_total", "Log lines that nobody took in time.");
static const struct metric_info queue_records_info =
    PLAIN(METRIC_GAUGE, "bfm_state_queue_records", "Records that wait to be durable.");
static const struct metric_info queue_bytes_info =
    PLAIN(METRIC_GAUGE, "bfm_state_queue_bytes", "Memory of the records that wait.");
static const struct metric_info queue_reads_info =
    PLAIN(METRIC_GAUGE, "bfm_state_queue_reads", "Look-ups that wait for their turn.");
static const struct metric_info state_up_info =
    PLAIN(METRIC_GAUGE, "bfm_state_up", "Whether the state database can be used.");
static const struct metric_info target_up_info = LABELLED(
    METRIC_GAUGE, "bfm_target_up",
    "Whether the last contact with the target worked; absent before the first.", 1, "connection");
static const struct metric_info target_contact_info =
    LABELLED(METRIC_GAUGE, "bfm_target_last_contact_timestamp_seconds",
             "When the target was last heard of.", MICROSECONDS, "connection");
static const struct metric_info pool_max_info =
    LABELLED(METRIC_GAUGE, "bfm_pool_max_connections", "Connections that may be open.", 1, "role",
             "connection");
static const struct metric_info pool_open_info =
    LABELLED(METRIC_GAUGE, "bfm_pool_open_connections", "Connections that are open or opening.", 1,
             "role", "connection");
static const struct metric_info pool_busy_info = LABELLED(
    METRIC_GAUGE, "bfm_pool_busy_connections", "Connections in use.", 1, "role", "connection");
static const struct metric_info pool_waiting_info = LABELLED(
    METRIC_GAUGE, "bfm_pool_waiting", "Those who wait for a connection.", 1, "role", "connection");
static const struct metric_info pool_waits_info =
    LABELLED(METRIC_COUNTER, "bfm_pool_waits_total", "How often a connection was waited for.", 1,
             "role", "connection");
static const struct metric_info pool_wait_time_info =
    LABELLED(METRIC_COUNTER, "bfm_pool_wait_seconds_total",
             "How long connections were waited for, those that waited and are over.", MICROSECONDS,
             "role", "connection");
static const struct metric_info pool_failures_info =
    LABELLED(METRIC_COUNTER, "bfm_pool_connect_failures_total",
             "Connections that could not be opened.", 1, "role", "connection");
static const struct metric_info migrations_info =
    PLAIN(METRIC_GAUGE, "bfm_migrations", "Migrations that are known.");
static const struct metric_info invalid_info =
    PLAIN(METRIC_GAUGE, "bfm_migrations_invalid", "Known migrations that cannot run.");
static const struct metric_info refused_info =
    PLAIN(METRIC_GAUGE, "bfm_migration_files_refused", "Files that no migration could be made of.");

static void set(struct metric_family *family, uint64_t value)
{
    metric_set(metric_get(family, NULL, NULL, NULL), (int64_t)value);
}

static void set_for(struct metric_family *family, const char *a, const char *b, uint64_t value)
{
    metric_set(metric_get(family, a, b, NULL), (int64_t)value);
}

static void sample_loop(struct state_metrics *metrics, const struct server *server)
{
    struct loop_stats loop;

    loop_get_stats(server->loop, &loop);
    metric_load(&metrics->turns, metric_get(&metrics->turns, NULL, NULL, NULL), loop.turns,
                loop.busy_us);
    set(&metrics->longest_turn, loop.longest_us);
    set(&metrics->log_dropped, log_dropped() + sink_dropped(server->sink));
    set(&metrics->connections, http_server_connections(server->http));
}

static void sample_engine(struct state_metrics *metrics, const struct engine *engine)
{
    const struct registry *registry = engine->registry;
    const char *state;

    for (size_t at = 0; (state = engine_lane_state(at)) != NULL; at++)
        set_for(&metrics->lanes_waiting, state, NULL, engine->lanes_at[at]);
    set(&metrics->migrations, registry != NULL ? registry->count : 0);
    set(&metrics->migrations_invalid, registry != NULL ? registry->invalid_count : 0);
    set(&metrics->files_refused, registry != NULL ? registry->problem_count : 0);
}

static void sample_pool(struct state_metrics *metrics, const char *role, const char *connection,
                        const struct pool_stats *pool)
{
    set_for(&metrics->pool_max, role, connection, pool->max);
    set_for(&metrics->pool_open, role, connection, pool->open);
    set_for(&metrics->pool_busy, role, connection, pool->busy);
    set_for(&metrics->pool_waiting, role, connection, pool->waiting);
    set_for(&metrics->pool_waits, role, connection, pool->waits);
    set_for(&metrics->pool_wait_time, role, connection, pool->wait_us);
    set_for(&metrics->pool_failures, role, connection, pool->failures);
}

static void sample_store(struct state_metrics *metrics, const struct server *server)
{
    struct store_stats stats;

    server->store->ops->get_stats(server->store, &stats);
    set(&metrics->queue_records, stats.queued_records);
    set(&metrics->queue_bytes, stats.queued_bytes);
    set(&metrics->queue_reads, stats.queued_reads);
    set(&metrics->state_up, bringup_is_ready(&server->bringup));
    if (stats.pool.max > 0)
        sample_pool(metrics, "state", "", &stats.pool);
}

static void sample_target(struct state_metrics *metrics, struct backend *backend)
{
    struct pool_stats stats;

    if (backend == NULL || backend->ops->get_stats == NULL)
        return;
    backend->ops->get_stats(backend, &stats);
    sample_pool(metrics, "target", backend->connection, &stats);
    if (stats.contacted)
        set_for(&metrics->target_up, backend->connection, NULL, stats.is_up);
    if (stats.contact_us != 0)
        set_for(&metrics->target_contact, backend->connection, NULL, (uint64_t)stats.contact_us);
}

static void state_metrics_sample(struct metrics_sampler *sampler)
{
    struct state_metrics *metrics = container_of(sampler, struct state_metrics, sampler);
    struct server_metrics *all = container_of(metrics, struct server_metrics, state);
    struct server *server = container_of(all, struct server, metrics);

    sample_loop(metrics, server);
    sample_engine(metrics, &server->engine);
    sample_store(metrics, server);
    for (size_t i = 0; i < server->target_count; i++)
        sample_target(metrics, server->targets[i].target.backend);
}

void state_metrics_start(struct state_metrics *metrics, struct metrics *all)
{
    const struct {
        struct metric_family *family;
        const struct metric_info *info;
    } families[] = {
        {&metrics->build, &build_info},
        {&metrics->connections, &connections_info},
        {&metrics->lanes_waiting, &lanes_info},
        {&metrics->turns, &turns_info},
        {&metrics->longest_turn, &longest_info},
        {&metrics->log_dropped, &log_info},
        {&metrics->queue_records, &queue_records_info},
        {&metrics->queue_bytes, &queue_bytes_info},
        {&metrics->queue_reads, &queue_reads_info},
        {&metrics->state_up, &state_up_info},
        {&metrics->target_up, &target_up_info},
        {&metrics->target_contact, &target_contact_info},
        {&metrics->pool_max, &pool_max_info},
        {&metrics->pool_open, &pool_open_info},
        {&metrics->pool_busy, &pool_busy_info},
        {&metrics->pool_waiting, &pool_waiting_info},
        {&metrics->pool_waits, &pool_waits_info},
        {&metrics->pool_wait_time, &pool_wait_time_info},
        {&metrics->pool_failures, &pool_failures_info},
        {&metrics->migrations, &migrations_info},
        {&metrics->migrations_invalid, &invalid_info},
        {&metrics->files_refused, &refused_info},
    };

    for (size_t i = 0; i < ARRAY_SIZE(families); i++)
        metrics_add(all, families[i].family, families[i].info);
    metrics->sampler.sample = state_metrics_sample;
    metrics_add_sampler(all, &metrics->sampler);
    set_for(&metrics->build, BFM_VERSION, NULL, 1);
}
