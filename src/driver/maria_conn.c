#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "driver/maria_private.h"

static const struct sm_state maria_conn_states[] = {
    [MARIA_RESOLVING] = {"resolving", SM_TO(MARIA_CONNECTING) | SM_TO(MARIA_CLOSING)},
    [MARIA_CONNECTING] = {"connecting", SM_TO(MARIA_LENT) | SM_TO(MARIA_CLOSING)},
    [MARIA_IDLE] = {"idle", SM_TO(MARIA_LENT) | SM_TO(MARIA_CLOSING)},
    [MARIA_LENT] = {"lent", SM_TO(MARIA_IDLE) | SM_TO(MARIA_BUSY) | SM_TO(MARIA_CLOSING)},
    [MARIA_BUSY] = {"busy", SM_TO(MARIA_LENT)},
    [MARIA_CLOSING] = {"closing", 0},
};

/* The poll handle of one socket. It outlives the connection's interest in it until libuv has closed
 * it. */
struct maria_watch {
    uv_poll_t poll;
    struct maria_conn *conn;
    int fd; /* a duplicate of the connector's: ours, and the same number until the handle is closed
             */
};

static void maria_conn_check(const struct maria_conn *conn)
{
    const enum maria_conn_state state = (enum maria_conn_state)conn->sm.state;

    assert((state == MARIA_BUSY) == (conn->op != NULL));
    assert(state != MARIA_IDLE || (!conn->broken && !conn->retire && conn->pooled.is_idle));
    assert(state != MARIA_CLOSING || !list_is_linked(&conn->pooled.link));
}

struct maria_conn *maria_conn_of(struct pool_conn *pooled)
{
    return container_of(pooled, struct maria_conn, pooled);
}

struct maria_conn *maria_conn_create(struct maria_pool *pool)
{
    struct maria_conn *conn = mem_calloc(1, sizeof(*conn));

    if (conn == NULL)
        return NULL;
    sm_init(&conn->sm, maria_conn_states, "maria_conn", MARIA_RESOLVING);
    conn->pool = pool;
    conn->pooled.pool = &pool->pool;
    pool_attach(&pool->pool);
    return conn;
}

void maria_conn_move(struct maria_conn *conn, enum maria_conn_state next)
{
    sm_move(&conn->sm, (int)next);
    maria_conn_check(conn);
}

struct sched *maria_conn_sched(const struct maria_conn *conn)
{
    return loop_sched(conn->pool->pool.loop);
}

int maria_conn_fd(const struct maria_conn *conn)
{
    return conn->watch != NULL ? conn->watch->fd : -1;
}

static int maria_conn_happened(const struct maria_conn *conn, int status, int events)
{
    const int waits = conn->io.waits & (MYSQL_WAIT_READ | MYSQL_WAIT_WRITE);
    int happened = 0;

    if (status < 0)
        return waits; /* the connector finds out by itself what is wrong with the socket */
    if ((events & UV_READABLE) != 0)
        happened |= MYSQL_WAIT_READ;
    if ((events & UV_WRITABLE) != 0)
        happened |= MYSQL_WAIT_WRITE;
    return happened;
}

static void maria_conn_on_event(uv_poll_t *poll, int status, int events)
{
    struct maria_conn *conn = container_of(poll, struct maria_watch, poll)->conn;
    int happened = maria_conn_happened(conn, status, events);

    maria_conn_unwatch(conn);
    switch ((enum maria_conn_state)conn->sm.state) {
    case MARIA_CONNECTING:
        maria_connect_on_socket(conn, happened);
        break;
    case MARIA_IDLE: /* a goodbye or the end of the stream: nothing else comes unasked */
        pool_on_idle_lost(&conn->pooled);
        break;
    case MARIA_BUSY:
        maria_query_on_socket(conn, happened);
        break;
    case MARIA_LENT:
    case MARIA_RESOLVING:
    case MARIA_CLOSING:
        break;
    }
}

static void maria_conn_on_watch_closed(uv_handle_t *handle)
{
    struct maria_watch *watch = container_of((uv_poll_t *)handle, struct maria_watch, poll);
    struct maria_conn *conn = watch->conn;

    mem_free(watch);
    conn->watches--;
    maria_conn_try_free(conn);
}

static void maria_conn_drop_watch(struct maria_conn *conn)
{
    struct maria_watch *watch = conn->watch;

    if (watch == NULL)
        return;
    conn->watch = NULL;
    uv_close((uv_handle_t *)&watch->poll, maria_conn_on_watch_closed);
    close(watch->fd);
}

static int maria_conn_add_watch(struct maria_conn *conn)
{
    struct maria_watch *watch;
    int theirs = mysql_get_socket(conn->io.my);

    if (theirs < 0)
        return ERR_UNREACHABLE;
    watch = mem_calloc(1, sizeof(*watch));
    if (watch == NULL)
        return ERR_NOMEM;
    watch->conn = conn;
    watch->fd = fcntl(theirs, F_DUPFD_CLOEXEC, 0);
    if (watch->fd < 0)
        goto err_after_alloc;
    if (uv_poll_init(loop_uv(conn->pool->pool.loop), &watch->poll, watch->fd) != 0)
        goto err_after_dup;
    conn->watch = watch;
    conn->watches++;
    return 0;

err_after_dup:
    close(watch->fd);
err_after_alloc:
    mem_free(watch);
    return ERR_NOMEM;
}

int maria_conn_watch(struct maria_conn *conn, int waits)
{
    int events = 0;
    int rc = 0;

    if ((waits & MYSQL_WAIT_READ) != 0)
        events |= UV_READABLE;
    if ((waits & MYSQL_WAIT_WRITE) != 0)
        events |= UV_WRITABLE;
    if (conn->watch == NULL)
        rc = maria_conn_add_watch(conn);
    if (rc == 0 && uv_poll_start(&conn->watch->poll, events, maria_conn_on_event) != 0)
        rc = ERR_NOMEM;
    return rc;
}

void maria_conn_unwatch(struct maria_conn *conn)
{
    if (conn->watch != NULL && uv_is_active((uv_handle_t *)&conn->watch->poll))
        uv_poll_stop(&conn->watch->poll);
}

void maria_conn_reset(struct maria_conn *conn)
{
    assert(!conn->tls_op.active);
    maria_tls_leave(conn);
    maria_io_close(&conn->io, maria_conn_fd(conn));
    maria_conn_drop_watch(conn);
}

void maria_conn_close(struct maria_conn *conn)
{
    conn->closing = true;
    if (conn->sm.state == MARIA_BUSY)
        maria_query_break(conn);
    sched_stop_timer(maria_conn_sched(conn), &conn->timer);
    op_cancel(&conn->resolve_op);
    maria_conn_move(conn, MARIA_CLOSING);
    if (conn->tls_op.active) { /* the connector is in use until the thread lets go of it */
        maria_conn_unwatch(conn);
        shutdown(maria_conn_fd(conn), SHUT_RDWR);
        op_cancel(&conn->tls_op);
        return;
    }
    maria_conn_reset(conn);
    maria_conn_try_free(conn);
}

void maria_conn_try_free(struct maria_conn *conn)
{
    struct pool *pool = &conn->pool->pool;

    if (conn->sm.state != MARIA_CLOSING || conn->watches > 0 || conn->resolve_op.active ||
        conn->tls_op.active)
        return;
    mem_free(conn->password);
    mem_free(conn);
    pool_detach(pool);
}

bool maria_is_broken(const struct maria_conn *conn)
{
    return conn->broken;
}

static unsigned maria_conn_status(const struct maria_conn *conn)
{
    unsigned status = SERVER_STATUS_IN_TRANS;

    mariadb_get_infov(conn->io.my, MARIADB_CONNECTION_SERVER_STATUS, &status);
    return status;
}

/* Without autocommit every statement begins a transaction; the server says so only afterwards. */
bool maria_in_transaction(const struct maria_conn *conn)
{
    unsigned status = maria_conn_status(conn);

    return (status & SERVER_STATUS_IN_TRANS) != 0 || (status & SERVER_STATUS_AUTOCOMMIT) == 0;
}

bool maria_is_mariadb(const struct maria_conn *conn)
{
    return mariadb_connection(conn->io.my) != 0;
}

unsigned long maria_version(const struct maria_conn *conn)
{
    return mysql_get_server_version(conn->io.my);
}

unsigned long maria_session_id(const struct maria_conn *conn)
{
    return conn->session_id;
}
