#include "server/server.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/event_log.h"
#include "server/server_internal.h"

enum {
    LOG_QUEUE_MAX = 4 * 1024 * 1024,
    SPARE_FILES = 256, /* beside client connections: databases, files, the loop's own */
    MAX_HEADERS = 16 * 1024,
    IDLE_TIMEOUT_MS = 120 * 1000,
    WRITE_TIMEOUT_MS = 60 * 1000,
    WRITE_QUEUE_MAX = 1024 * 1024,
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

static bool server_is_stopping(void *arg)
{
    return ending_has_begun(arg);
}

static int server_reindex(void *arg, struct op *op, struct api_reindex_result *out)
{
    struct server *server = arg;

    if (server->catalog == NULL)
        return op_refuse(op, ERR_SHUTDOWN, "%s", err_code_text(ERR_SHUTDOWN));
    return catalog_reindex(server->catalog, op, out);
}

/* --- process --- */

/* As many open files as the connections may need, within what the system allows. */
static void server_raise_files(const struct config *config)
{
    rlim_t wanted = config->http_max_connections + SPARE_FILES;
    struct rlimit limit;

    for (size_t i = 0; i < config->connection_count; i++)
        wanted += config->connections[i].max_open_conns;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted)
        log_write(LOG_WARN, "fewer open files allowed than connections may need",
                  LOG_INT("allowed", limit.rlim_cur), LOG_INT("needed", wanted));
}

static void server_prepare_process(const struct config *config)
{
    signal(SIGPIPE, SIG_IGN);
    setenv("UV_THREADPOOL_SIZE", "16", 0); /* read at the loop's first use of a thread */
    log_configure(config->log_level, config->log_format);
    for (size_t i = 0; i < config->warnings.count; i++)
        log_write(LOG_WARN, "configuration", LOG_STR("warning", config->warnings.lines[i]));
    server_raise_files(config);
    fflush(stdout);
}

/* --- parts, in the order in which they need each other --- */

static void server_on_signal(void *arg, int signum)
{
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

static int server_make_engine(struct server *server, struct err *err)
{
    const struct engine_config engine = {.lock_wait_ms = server->config->lock_wait_ms,
                                         .settle_retry_ms = SETTLE_RETRY_MS,
                                         .settle_give_up_ms = server->config->state_wait_ms};
    const struct catalog_config catalog = {.loop = server->loop,
                                           .engine = &server->engine,
                                           .root = server->config->sfm_path,
                                           .interval_ms = server->config->reindex_interval_ms};
    int rc = server_make_store(server, err);

    if (rc != 0)
        return rc;
    engine_init(&server->engine, loop_sched(server->loop), server->store, &engine);
    server->engine_made = true;
    event_log_start(&server->event_log, &server->engine);
    rc = server_make_targets(server, err);
    if (rc != 0)
        return rc;
    return catalog_create(&catalog, &server->catalog, err);
}

static int server_make_api(struct server *server, struct err *err)
{
    const struct config *config = server->config;
    const struct api_config api = {
        .loop = server->loop,
        .engine = &server->engine,
        .store = server->store,
        .token = config->api_token,
        .cors_allowed_origins = config->cors_allowed_origins,
        .frontend_path = config->frontend_path,
        .frontend_api_url = config->frontend_api_url,
        .frontend_expose_token = config->frontend_expose_token,
        .frontend_auth_enabled = config->frontend_auth_enabled,
        .frontend_username = config->frontend_username,
        .frontend_password = config->frontend_password,
        .access_log_level = config->access_log_level,
        .hooks = {.arg = server,
                  .reindex = server_reindex,
                  .health = server_health,
                  .state_ready = server_state_ready,
                  .stopping = server_is_stopping},
    };

    return api_create(&api, &server->api, err);
}

static int server_listen(struct server *server, struct err *err)
{
    const struct config *config = server->config;
    const struct http_config http = {.host = config->http_host,
                                     .port = config->http_port,
                                     .max_body = config->http_max_body,
                                     .max_headers = MAX_HEADERS,
                                     .request_timeout_ms = config->http_request_timeout_ms,
                                     .idle_timeout_ms = IDLE_TIMEOUT_MS,
                                     .write_timeout_ms = WRITE_TIMEOUT_MS,
                                     .max_connections = config->http_max_connections,
                                     .max_write_queue = WRITE_QUEUE_MAX};
    int rc = http_server_start(server->loop, &http, api_handle, api_access, server->api,
                               &server->http, err);

    if (rc != 0)
        return err_prefix(err, "port %u cannot be listened on", config->http_port);
    log_write(LOG_INFO, "listening", LOG_INT("port", http_server_port(server->http)),
              LOG_STR("version", BFM_VERSION));
    return 0;
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
    server_prepare_process(config);
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
