#include "server/server.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/files.h"
#include "io/work.h"
#include "server/event_log.h"
#include "server/server_internal.h"

enum {
    LOG_QUEUE_MAX = 4 * 1024 * 1024,
    SPARE_FILES = 128, /* beside connections: files, cancel requests, the loop's own */
    CLIENTS_MIN = 16,
    SETTLE_RETRY_MS = 100,
};

/* --- what the api asks --- */

static const char *server_health(void *arg)
{
    struct server *server = arg;

    return bringup_reason(&server->bringup);
}

static bool server_state_ready(void *arg)
{
    struct server *server = arg;

    return bringup_is_ready(&server->bringup);
}

static void server_on_interrupted(void *arg)
{
    struct server *server = arg;

    bringup_compare(&server->bringup);
}

static bool server_is_stopping(void *arg)
{
    return ending_has_begun(arg);
}

static bool server_target(void *arg, size_t at, struct api_target *out)
{
    struct server *server = arg;
    struct server_target *target;

    if (at >= server->target_count)
        return false;
    target = &server->targets[at];
    target_health_look(&target->health, &target->target, loop_sched(server->loop)->now_ms,
                       !ending_has_begun(server), out);
    return true;
}

static int server_reindex(void *arg, struct op *op, struct api_reindex_result *out)
{
    struct server *server = arg;

    if (server->catalog == NULL)
        return op_refuse(op, ERR_SHUTDOWN, "%s", err_code_text(ERR_SHUTDOWN));
    return catalog_reindex(server->catalog, op, out);
}

/* --- process --- */

/* How many client connections the open files leave room for, beside those to databases. */
static size_t server_fit_files(const struct config *config)
{
    uint64_t others = SPARE_FILES + config->grpc_max_connections, allowed = files_raise_limit();
    size_t clients = config->http_max_connections;

    if (config->state != CONFIG_STATE_SQLITE)
        others += config->pool.max_open_conns;
    for (size_t i = 0; i < config->connection_count; i++)
        others += config->connections[i].max_open_conns * config_peers(&config->connections[i]);
    if (allowed >= others + clients)
        return clients;
    clients = clients < CLIENTS_MIN ? clients : CLIENTS_MIN;
    if (allowed > others + clients)
        clients = (size_t)(allowed - others);
    log_write(LOG_WARN,
              "the limit of open files (ulimit -n) is too low for BFM_HTTP_MAX_CONNECTIONS, "
              "BFM_GRPC_MAX_CONNECTIONS and the pools: fewer HTTP connections are accepted",
              LOG_INT("allowed", allowed), LOG_INT("needed", others + config->http_max_connections),
              LOG_INT("http_connections", clients));
    return clients;
}

static void server_prepare_process(struct server *server)
{
    const struct config *config = server->config;

    signal(SIGPIPE, SIG_IGN);
    setenv("UV_THREADPOOL_SIZE", "16", 0); /* read at the loop's first use of a thread */
    log_configure(config->log_level, config->log_format);
    for (size_t i = 0; i < config->warnings.count; i++)
        log_write(LOG_WARN, "configuration", LOG_STR("warning", config->warnings.lines[i]));
    server->max_connections = server_fit_files(config);
    fflush(stdout); /* what comes later goes around stdio */
}

/* --- parts, in the order in which they need each other --- */

static void server_on_signal(void *arg, int signum)
{
    if (signum == SIGHUP)
        reload_start(arg);
    else
        ending_on_signal(arg, signum);
}

static int server_make_log(struct server *server, struct err *err)
{
    server->sink = sink_create(server->loop, STDOUT_FILENO, LOG_QUEUE_MAX);
    if (server->sink == NULL)
        return err_set(err, ERR_IO, "standard output cannot be written");
    log_set_sink(sink_push, server->sink);
    server->signals = signals_start(server->loop, server_on_signal, server);
    if (server->signals == NULL)
        return err_set(err, ERR_NOMEM, "signals cannot be watched");
    return 0;
}

static int server_work(void *arg, struct op *op, int (*fn)(void *arg, struct err *err),
                       void *fn_arg)
{
    return work_start(arg, op, fn, fn_arg);
}

static int server_make_engine(struct server *server, struct err *err)
{
    const struct engine_config engine = {.lock_wait_ms = server->config->lock_wait_ms,
                                         .work = server_work,
                                         .work_arg = server->loop,
                                         .settle_retry_ms = SETTLE_RETRY_MS,
                                         .settle_give_up_ms = server->config->state_wait_ms,
                                         .server_id = server->id};
    const struct catalog_config catalog = {.loop = server->loop,
                                           .engine = &server->engine,
                                           .root = server->config->sfm_path,
                                           .interval_ms = server->config->reindex_interval_ms};
    int rc = server_make_store(server, err);

    if (rc != 0)
        return rc;
    beat_make_server_id(server->id);
    engine_init(&server->engine, loop_sched(server->loop), server->store, &engine);
    server->engine_made = true;
    event_log_start(&server->event_log, &server->engine);
    server_metrics_start(server);
    rc = server_make_targets(server, err);
    if (rc != 0)
        return rc;
    return catalog_create(&catalog, &server->catalog, err);
}

static struct api_hooks server_hooks(struct server *server)
{
    return (struct api_hooks){.arg = server,
                              .reindex = server_reindex,
                              .health = server_health,
                              .state_ready = server_state_ready,
                              .stopping = server_is_stopping,
                              .target = server_target};
}

static int server_make_api(struct server *server, struct err *err)
{
    const struct config *config = server->config;
    const struct api_config api = {
        .loop = server->loop,
        .engine = &server->engine,
        .store = server->store,
        .token = config->api_token,
        .tokens = config->tokens,
        .cors_allowed_origins = config->cors_allowed_origins,
        .frontend_path = config->frontend_path,
        .frontend_api_url = config->frontend_api_url,
        .frontend_expose_token = config->frontend_expose_token,
        .frontend_auth_enabled = config->frontend_auth_enabled,
        .frontend_username = config->frontend_username,
        .frontend_password = config->frontend_password,
        .access_log_level = config->access_log_level,
        .metrics = server->metrics.on ? &server->metrics.all : NULL,
        .metrics_open = !config->metrics_auth,
        .grpc_open = config->grpc_open,
        .sfm_path = config->sfm_path,
        .hooks = server_hooks(server),
    };

    return api_create(&api, &server->api, err);
}

static void server_start_auto_migrate(struct server *server)
{
    const struct ops ops = {server->loop, &server->engine, server->store, server_hooks(server)};

    if (!server->config->auto_migrate)
        return;
    server->auto_busy = true;
    auto_migrate_start(&server->auto_migrate, &ops, server->config, ending_on_auto_stopped);
}

static void server_start_beat(struct server *server)
{
    const struct beat_hooks hooks = {
        .arg = server, .may = server_state_ready, .on_interrupted = server_on_interrupted};

    server->beat_busy = true;
    beat_start(&server->beat, server->store, loop_sched(server->loop), server->id,
               server->config->runs_keep_ms, &hooks);
}

static int server_make(struct server *server, struct err *err)
{
    int rc = server_make_log(server, err);

    if (rc == 0)
        rc = server_make_engine(server, err);
    if (rc == 0)
        rc = server_make_api(server, err);
    if (rc == 0)
        rc = server_listen(server, err);
    if (rc != 0)
        return rc;
    server->bringup_busy = true;
    bringup_start(&server->bringup, &server->engine, server->catalog,
                  server->config->state == CONFIG_STATE_SQLITE ? server->config->state_db_path
                                                               : NULL,
                  ending_on_bringup_stopped);
    server_start_beat(server);
    server_start_auto_migrate(server);
    return 0;
}

/* Also to stderr: who looks there must not be left without a reason. */
static void server_report(const struct err *err)
{
    log_write(LOG_FATAL, "the server could not start", LOG_STR("error", err_text(err)));
    fprintf(stderr, "bfm serve: %s\n", err_text(err));
}

int server_run(const struct config *config)
{
    struct server *server = mem_calloc(1, sizeof(*server));
    struct err err = {0};
    int rc;

    if (server == NULL)
        return ERR_NOMEM;
    server->config = config;
    server_prepare_process(server);
    server->loop = loop_create();
    if (server->loop == NULL) {
        server_report(&(struct err){.code = ERR_NOMEM});
        mem_free(server);
        return ERR_NOMEM;
    }
    ending_init(server);
    rc = server_make(server, &err);
    if (rc != 0) {
        server_report(&err);
        ending_begin(server);
    }
    loop_run(server->loop);
    assert(ending_is_complete(server));
    loop_destroy(server->loop);
    mem_free(server);
    return rc;
}
