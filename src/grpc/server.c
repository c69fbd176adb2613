#include <assert.h>

#include "base/log.h"
#include "base/mem.h"
#include "grpc/conn.h"

enum {
    SERVER_RESETS_BURST = 2000, /* streams that a peer may reset at once, and per second */
    SERVER_RESETS_RATE = 500,
};

static const char *const status_names[GRPC_STATUSES] = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};

const char *grpc_status_name(enum grpc_status status)
{
    return status_names[status];
}

static void *server_malloc(size_t size, void *arg)
{
    (void)arg;
    return mem_alloc(size);
}

static void server_free(void *ptr, void *arg)
{
    (void)arg;
    mem_free(ptr);
}

static void *server_calloc(size_t count, size_t size, void *arg)
{
    (void)arg;
    return mem_calloc(count, size);
}

static void *server_realloc(void *ptr, size_t size, void *arg)
{
    (void)arg;
    return mem_realloc(ptr, size);
}

static void server_on_connection(void *arg, int fd)
{
    struct grpc_server *server = arg;
    struct grpc_conn *conn;

    if (server->conn_count >= server->config.max_connections) {
        tcp_discard(fd);
        return;
    }
    conn = grpc_conn_create(server, fd);
    if (conn == NULL)
        return;
    list_push_back(&server->conns, &conn->link);
    server->conn_count++;
}

/* nghttp2 guards itself against floods of frames that cost it memory or time; these are the
 * bounds. */
static int server_make_options(struct grpc_server *server)
{
    if (nghttp2_option_new(&server->options) != 0)
        return ERR_NOMEM;
    nghttp2_option_set_no_closed_streams(server->options, 1);
    nghttp2_option_set_stream_reset_rate_limit(server->options, SERVER_RESETS_BURST,
                                               SERVER_RESETS_RATE);
    return 0;
}

static int server_listen(struct grpc_server *server, struct loop *loop, struct err *err)
{
    const struct grpc_config *config = &server->config;
    int rc = tcp_listener_open(loop, config->host, config->port, server_on_connection, server,
                               &server->listener, err);

    if (rc == 0 && tcp_listener_set_keepalive(server->listener, &config->keepalive) != 0)
        log_write(LOG_WARN, "gRPC connections are accepted without keep-alive: the system refuses "
                            "it");
    server->config.host = NULL; /* the caller's memory */
    return rc;
}

int grpc_server_start(struct loop *loop, const struct grpc_config *config,
                      const struct grpc_handlers *handlers, struct grpc_server **out,
                      struct err *err)
{
    struct grpc_server *server = mem_calloc(1, sizeof(*server));
    int rc = err_set(err, ERR_NOMEM, "%s", err_code_text(ERR_NOMEM));

    if (server == NULL)
        return rc;
    server->loop = loop;
    server->config = *config;
    server->handlers = *handlers;
    server->memory = (nghttp2_mem){.malloc = server_malloc,
                                   .free = server_free,
                                   .calloc = server_calloc,
                                   .realloc = server_realloc};
    list_init(&server->conns);
    server->buffer = mem_alloc(GRPC_READ_SIZE);
    if (server->buffer == NULL)
        goto err_after_server;
    if (grpc_session_make_callbacks(&server->callbacks) != 0)
        goto err_after_buffer;
    if (server_make_options(server) != 0)
        goto err_after_callbacks;
    rc = server_listen(server, loop, err);
    if (rc != 0)
        goto err_after_options;
    err_clear(err);
    *out = server;
    return 0;

err_after_options:
    nghttp2_option_del(server->options);
err_after_callbacks:
    nghttp2_session_callbacks_del(server->callbacks);
err_after_buffer:
    mem_free(server->buffer);
err_after_server:
    mem_free(server);
    return rc;
}

unsigned grpc_server_port(const struct grpc_server *server)
{
    return tcp_listener_port(server->listener);
}

size_t grpc_server_connections(const struct grpc_server *server)
{
    return server->conn_count;
}

/* What the end of the server waits for: the listener, every connection, and calls that handlers
 * hold beyond theirs. */
static void server_check_stopped(struct grpc_server *server)
{
    struct op *stop = server->stop;

    if (!server->stopping || server->listener != NULL || !list_is_empty(&server->conns) ||
        server->call_count > 0)
        return;
    assert(server->requests == 0 && server->answers == 0);
    sched_undefer(&server->check_task);
    nghttp2_option_del(server->options);
    nghttp2_session_callbacks_del(server->callbacks);
    mem_free(server->buffer);
    mem_free(server);
    op_finish(stop, 0);
}

void grpc_server_on_conn_closed(struct grpc_server *server, struct grpc_conn *conn)
{
    list_remove(&conn->link);
    server->conn_count--;
    mem_free(conn);
    server_check_stopped(server);
}

void grpc_server_on_call_freed(struct grpc_server *server)
{
    server->call_count--;
    if (server->stopping)
        sched_defer(loop_sched(server->loop), &server->check_task);
}

/* Whoever has finished the last call is done with that first. */
static void server_on_check(struct task *task)
{
    server_check_stopped(container_of(task, struct grpc_server, check_task));
}

static void server_on_listener_closed(void *arg)
{
    struct grpc_server *server = arg;

    server->listener = NULL;
    server_check_stopped(server);
}

int grpc_server_stop(struct grpc_server *server, struct op *op)
{
    assert(!server->stopping);
    server->stopping = true;
    server->check_task.run = server_on_check;
    server->stop = op;
    op_begin(op, server, NULL);
    tcp_listener_close(server->listener, server_on_listener_closed);
    list_foreach(node, &server->conns) {
        struct grpc_conn *conn = container_of(node, struct grpc_conn, link);

        grpc_conn_drain(conn, NGHTTP2_NO_ERROR, "the server is stopping");
        list_foreach(call, &conn->calls)
            grpc_call_ask_end(container_of(call, struct grpc_call, link));
    }
    return 0;
}

void grpc_server_abort(struct grpc_server *server)
{
    list_foreach(node, &server->conns)
        grpc_conn_drop(container_of(node, struct grpc_conn, link), true);
}
