#include "api/rpc.h"
#include "base/log.h"
#include "server/server_internal.h"

enum {
    LISTEN_MAX_HEADERS = 16 * 1024,
    LISTEN_IDLE_TIMEOUT_MS = 120 * 1000,
    LISTEN_WRITE_TIMEOUT_MS = 60 * 1000,
    LISTEN_WRITE_QUEUE_MAX = 1024 * 1024,
    LISTEN_MESSAGE_MAX = 4 * 1024 * 1024,
    LISTEN_REQUESTS_MAX = 64 * 1024 * 1024,
    LISTEN_PENDING_MAX = 64 * 1024,
    LISTEN_ANSWERS_MAX = 512 * 1024 * 1024, /* the longest answer of the API is half of it */
    LISTEN_STREAMS_MAX = 1024,              /* a thousand, and some to ask about health meanwhile */
    LISTEN_CALLS_IDLE_MS = 30 * 60 * 1000,  /* clients keep a connection without calls for later */
    LISTEN_PING_MS = 5 * 1000,
};

static int listen_http(struct server *server, struct err *err)
{
    const struct config *config = server->config;
    const struct http_config http = {.host = config->http_host,
                                     .port = config->http_port,
                                     .max_body = config->http_max_body,
                                     .max_headers = LISTEN_MAX_HEADERS,
                                     .request_timeout_ms = config->http_request_timeout_ms,
                                     .idle_timeout_ms = LISTEN_IDLE_TIMEOUT_MS,
                                     .write_timeout_ms = LISTEN_WRITE_TIMEOUT_MS,
                                     .max_connections = server->max_connections,
                                     .max_write_queue = LISTEN_WRITE_QUEUE_MAX,
                                     .keepalive = config->keepalive,
                                     .begin = api_begin};
    int rc = http_server_start(server->loop, &http, api_handle, api_access, server->api,
                               &server->http, err);

    return rc == 0 ? 0
                   : err_prefix(err, "port %u (BFM_HTTP_PORT) cannot be listened on",
                                config->http_port);
}

static int listen_grpc(struct server *server, struct err *err)
{
    const struct config *config = server->config;
    const struct grpc_config grpc = {.host = config->http_host,
                                     .port = config->grpc_port,
                                     .max_message = LISTEN_MESSAGE_MAX,
                                     .max_headers = LISTEN_MAX_HEADERS,
                                     .max_requests = LISTEN_REQUESTS_MAX,
                                     .max_pending = LISTEN_PENDING_MAX,
                                     .max_answers = LISTEN_ANSWERS_MAX,
                                     .max_connections = config->grpc_max_connections,
                                     .max_streams = LISTEN_STREAMS_MAX,
                                     .request_timeout_ms = config->http_request_timeout_ms,
                                     .idle_timeout_ms = LISTEN_CALLS_IDLE_MS,
                                     .write_timeout_ms = LISTEN_WRITE_TIMEOUT_MS,
                                     .ping_interval_ms = LISTEN_PING_MS,
                                     .keepalive = config->keepalive};
    const struct grpc_handlers handlers = {.find = rpc_find,
                                           .opened = rpc_opened,
                                           .admit = rpc_admit,
                                           .closed = rpc_closed,
                                           .arg = server->api};
    int rc = grpc_server_start(server->loop, &grpc, &handlers, &server->grpc, err);

    return rc == 0 ? 0
                   : err_prefix(err, "port %u (BFM_GRPC_PORT) cannot be listened on",
                                config->grpc_port);
}

int server_listen(struct server *server, struct err *err)
{
    int rc = listen_http(server, err);

    if (rc == 0)
        rc = listen_grpc(server, err);
    if (rc != 0)
        return rc;
    log_write(LOG_INFO, "listening", LOG_INT("port", http_server_port(server->http)),
              LOG_INT("grpc_port", grpc_server_port(server->grpc)),
              LOG_STR("version", BFM_VERSION));
    return 0;
}
