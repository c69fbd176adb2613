#include "base/mem.h"
#include "driver/pg_private.h"

static const struct sm_state pg_conn_states[] = {
    [PG_RESOLVING] = {"resolving", SM_TO(PG_CONNECTING) | SM_TO(PG_CLOSING)},
    [PG_CONNECTING] = {"connecting", SM_TO(PG_IDLE) | SM_TO(PG_CLOSING)},
    [PG_IDLE] = {"idle", SM_TO(PG_LENT) | SM_TO(PG_CLOSING)},
    [PG_LENT] = {"lent", SM_TO(PG_IDLE) | SM_TO(PG_BUSY) | SM_TO(PG_CLOSING)},
    [PG_BUSY] = {"busy", SM_TO(PG_LENT)},
    [PG_CLOSING] = {"closing", 0},
};

/* The poll handle of one socket. It outlives the connection's interest in it until libuv has closed
 * it. */
struct pg_watch {
    uv_poll_t poll;
    struct pg_conn *conn;
    int fd;
};

static void pg_conn_check(const struct pg_conn *conn)
{
    const enum pg_conn_state state = (enum pg_conn_state)conn->sm.state;

    assert((state == PG_BUSY) == (conn->op != NULL));
    assert(list_is_linked(&conn->pooled.link) ==
           (state == PG_RESOLVING || state == PG_CONNECTING || state == PG_IDLE));
    assert(state != PG_CLOSING || (conn->pq == NULL && conn->watch == NULL));
    assert(state != PG_IDLE || (!conn->broken && !conn->retire));
}

struct pg_conn *pg_conn_of(struct pool_conn *pooled)
{
    return container_of(pooled, struct pg_conn, pooled);
}

struct pg_conn *pg_conn_create(struct pg_pool *pool)
{
    struct pg_conn *conn = mem_calloc(1, sizeof(*conn));

    if (conn == NULL)
        return NULL;
    sm_init(&conn->sm, pg_conn_states, "pg_conn", PG_RESOLVING);
    conn->pool = pool;
    conn->pooled.pool = &pool->pool;
    pool_attach(&pool->pool);
    return conn;
}

void pg_conn_move(struct pg_conn *conn, enum pg_conn_state next)
{
    sm_move(&conn->sm, (int)next);
    pg_conn_check(conn);
}

struct sched *pg_conn_sched(const struct pg_conn *conn)
{
    return loop_sched(conn->pool->pool.loop);
}

static void pg_conn_on_event(uv_poll_t *poll, int status, int events)
{
    struct pg_conn *conn = container_of(poll, struct pg_watch, poll)->conn;

    (void)status; /* libpq finds out by itself what is wrong with the socket */
    (void)events;
    pg_conn_unwatch(conn);
    switch ((enum pg_conn_state)conn->sm.state) {
    case PG_CONNECTING:
        pg_connect_on_socket(conn);
        break;
    case PG_IDLE: /* a goodbye or the end of the stream: nothing else comes unasked */
        pool_on_idle_lost(&conn->pooled);
        break;
    case PG_BUSY:
        pg_query_on_socket(conn);
        break;
    case PG_LENT: /* the next query starts the watch again and sees what has come */
    case PG_RESOLVING:
    case PG_CLOSING:
        break;
    }
}

static void pg_conn_on_watch_closed(uv_handle_t *handle)
{
    struct pg_watch *watch = container_of((uv_poll_t *)handle, struct pg_watch, poll);
    struct pg_conn *conn = watch->conn;

    mem_free(watch);
    conn->watches--;
    pg_conn_try_free(conn);
}

static void pg_conn_drop_watch(struct pg_conn *conn)
{
    if (conn->watch == NULL)
        return;
    uv_close((uv_handle_t *)&conn->watch->poll, pg_conn_on_watch_closed);
    conn->watch = NULL;
}

static int pg_conn_add_watch(struct pg_conn *conn, int fd)
{
    struct pg_watch *watch = mem_calloc(1, sizeof(*watch));

    if (watch == NULL)
        return ERR_NOMEM;
    if (uv_poll_init(loop_uv(conn->pool->pool.loop), &watch->poll, fd) != 0) {
        mem_free(watch);
        return ERR_NOMEM;
    }
    watch->conn = conn;
    watch->fd = fd;
    conn->watch = watch;
    conn->watches++;
    return 0;
}

int pg_conn_watch(struct pg_conn *conn, int events)
{
    int fd = PQsocket(conn->pq);
    int rc = 0;

    if (fd < 0)
        return ERR_UNREACHABLE;
    if (conn->watch != NULL && conn->watch->fd != fd)
        pg_conn_drop_watch(conn);
    if (conn->watch == NULL)
        rc = pg_conn_add_watch(conn, fd);
    if (rc == 0 && uv_poll_start(&conn->watch->poll, events, pg_conn_on_event) != 0)
        rc = ERR_NOMEM;
    return rc;
}

void pg_conn_unwatch(struct pg_conn *conn)
{
    if (conn->watch != NULL && uv_is_active((uv_handle_t *)&conn->watch->poll))
        uv_poll_stop(&conn->watch->poll);
}

void pg_conn_close(struct pg_conn *conn)
{
    assert(conn->sm.state != PG_BUSY);
    sched_stop_timer(pg_conn_sched(conn), &conn->timer);
    op_cancel(&conn->resolve_op);
    pg_conn_drop_watch(conn); /* before libpq closes the socket */
    PQfinish(conn->pq);
    conn->pq = NULL;
    pg_conn_move(conn, PG_CLOSING);
    pg_conn_try_free(conn);
}

void pg_conn_try_free(struct pg_conn *conn)
{
    struct pool *pool = &conn->pool->pool;

    if (conn->sm.state != PG_CLOSING || conn->watches > 0 || conn->resolve_op.active)
        return;
    mem_free(conn);
    pool_detach(pool);
}

PGconn *pg_raw(struct pg_conn *conn)
{
    return conn->pq;
}

bool pg_is_broken(const struct pg_conn *conn)
{
    return conn->broken;
}
