#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/conn.h"

enum {
    SERVER_REFUSED_MAX = 128, /* connections above the limit that are told so; more are closed */
};

static void server_on_connection(void *arg, int fd)
{
    struct http_server *server = arg;
    bool refused = server->admitted >= server->config.max_connections;
    struct http_conn *conn;

    if (refused && server->refused >= SERVER_REFUSED_MAX) {
        tcp_discard(fd);
        return;
    }
    conn = http_conn_create(server, fd, refused);
    if (conn == NULL)
        return;
    list_push_back(&server->conns, &conn->link);
    if (refused)
        server->refused++;
    else
        server->admitted++;
}

int http_server_start(struct loop *loop, const struct http_config *config, http_handler_fn *handler,
                      http_access_fn *access, void *arg, struct http_server **out, struct err *err)
{
    struct http_server *server = mem_calloc(1, sizeof(*server));
    int rc = ERR_NOMEM;

    if (server == NULL)
        return err_set(err, rc, "out of memory");
    server->buffer = mem_alloc(HTTP_READ_SIZE);
    if (server->buffer == NULL) {
        err_set(err, rc, "out of memory");
        goto err_after_server;
    }
    rc = tcp_listener_open(loop, config->host, config->port, server_on_connection, server,
                           &server->listener, err);
    if (rc != 0)
        goto err_after_buffer;
    if (tcp_listener_set_keepalive(server->listener, &config->keepalive) != 0)
        log_write(LOG_WARN, "connections are accepted without keep-alive: the system refuses it");
    server->loop = loop;
    server->config = *config;
    server->config.host = NULL; /* the caller's memory */
    server->handler = handler;
    server->access = access;
    server->arg = arg;
    list_init(&server->conns);
    *out = server;
    return 0;

err_after_buffer:
    mem_free(server->buffer);
err_after_server:
    mem_free(server);
    return rc;
}

unsigned http_server_port(const struct http_server *server)
{
    return tcp_listener_port(server->listener);
}

size_t http_server_connections(const struct http_server *server)
{
    return server->admitted;
}

const char *http_server_date(struct http_server *server)
{
    int64_t now_s = clock_wall_us() / 1000000;

    if (now_s != server->date_s) {
        server->date_s = now_s;
        http_format_date(now_s, server->date);
    }
    return server->date;
}

/* What the end of the server waits for: the listener and every connection. */
static void server_check_stopped(struct http_server *server)
{
    struct op *stop = server->stop;

    if (!server->stopping || server->listener != NULL || !list_is_empty(&server->conns))
        return;
    mem_free(server->buffer);
    mem_free(server);
    op_finish(stop, 0);
}

void http_server_on_conn_closed(struct http_server *server, struct http_conn *conn)
{
    if (conn->refused)
        server->refused--;
    else
        server->admitted--;
    list_remove(&conn->link);
    mem_free(conn);
    server_check_stopped(server);
}

static void server_on_listener_closed(void *arg)
{
    struct http_server *server = arg;

    server->listener = NULL;
    server_check_stopped(server);
}

int http_server_stop(struct http_server *server, struct op *op)
{
    assert(!server->stopping);
    server->stopping = true;
    server->stop = op;
    op_begin(op, server, NULL);
    tcp_listener_close(server->listener, server_on_listener_closed);
    list_foreach(node, &server->conns)
        http_conn_stop(container_of(node, struct http_conn, link));
    return 0;
}

void http_server_abort(struct http_server *server)
{
    list_foreach(node, &server->conns)
        http_conn_drop(container_of(node, struct http_conn, link), true);
}
