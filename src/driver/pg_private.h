#ifndef BFM_DRIVER_PG_PRIVATE_H
#define BFM_DRIVER_PG_PRIVATE_H

#include "base/sm.h"
#include "driver/pg.h"
#include "driver/pool.h"
#include "io/resolve.h"

/* What the files of this driver share; nobody else includes it. */

/*
 *  RESOLVING ─> CONNECTING ─> IDLE <─> LENT <─> BUSY
 *      │             │         │        │
 *      └─────────────┴────> CLOSING <───┘
 *
 * RESOLVING  the thread pool looks the host name up (a socket folder passes through at once)
 * CONNECTING libpq works on the handshake
 * IDLE       in the pool; anything readable means that the server ended it
 * LENT       given to whoever acquired it, nothing is running
 * BUSY       a query is running
 * CLOSING    libpq's side is gone; freed once nothing refers to it any more (pg_conn_try_free())
 */
enum pg_conn_state {
    PG_RESOLVING,
    PG_CONNECTING,
    PG_IDLE,
    PG_LENT,
    PG_BUSY,
    PG_CLOSING,
};

struct pg_conn {
    struct pool_conn pooled;
    struct sm sm;
    struct pg_pool *pool;
    PGconn *pq;
    struct pg_watch *watch; /* of libpq's socket; NULL before there is one */
    unsigned watches;       /* poll handles not closed to the end */
    struct timer timer;     /* of connecting, or of the query */
    bool broken;            /* nothing can be asked of it any more */
    bool retire; /* a cancel request was sent on its behalf: not reused, as it may come late */

    struct op resolve_op;
    struct resolve_result addresses;

    /* the query */
    struct op *op;
    struct pg_results *out;
    bool ended;               /* the answer is complete, or none will come */
    bool timed_out;           /* the query's timer fired */
    int rc;                   /* failure on our side while collecting */
    struct pg_cancel *cancel; /* of the query; NULL: none was asked for, or it is over */
    struct timer again;       /* asks once more to cancel a query that goes on */
};

struct pg_pool {
    struct pool pool;
    struct pg_settings settings; /* texts owned */
};

/* pg_conn.c */
struct pg_conn *pg_conn_create(struct pg_pool *pool);
void pg_conn_move(struct pg_conn *conn, enum pg_conn_state next);
/* Ends libpq's side now; the memory goes later. Not while BUSY. */
void pg_conn_close(struct pg_conn *conn);
/* Frees a closing connection unless something still refers to it. */
void pg_conn_try_free(struct pg_conn *conn);
/* Watches the socket libpq has now. Returns 0, ERR_NOMEM, or ERR_UNREACHABLE if there is none. */
int pg_conn_watch(struct pg_conn *conn, int events);
/* Before every call into libpq that may close the socket. */
void pg_conn_unwatch(struct pg_conn *conn);
struct sched *pg_conn_sched(const struct pg_conn *conn);

struct pg_conn *pg_conn_of(struct pool_conn *pooled);

/* pg_connect.c: the outcome goes to pool_on_connected() or pool_on_connect_failed(). */
int pg_connect_start(struct pg_conn *conn, struct err *err);
void pg_connect_on_socket(struct pg_conn *conn);

/* pg_query.c */
void pg_query_on_socket(struct pg_conn *conn);
void pg_query_on_notice(struct pg_conn *conn, const PGresult *notice);

/* pg_cancel.c */
/* Asks the server to cancel the query: at once, or when fewer requests are under way. */
void pg_cancel_start(struct pg_conn *conn);
/* True when a request is under way; one that waits is given up. */
bool pg_cancel_drop(struct pg_conn *conn);
/* The query does not care any more; the request goes on alone. */
void pg_cancel_leave(struct pg_conn *conn);
/* The request is over. */
void pg_query_on_cancel_done(struct pg_conn *conn);

/* pg_error.c */
/* A known reason for why connecting failed, without host, user, password or database. */
int pg_error_of_connect(const char *message, struct err *err);
/* Whether a connection failed because the server has no place left. */
bool pg_error_is_crowded(const struct err *err);
/* SQLSTATE, severity, message, detail, hint and context of a failed result. */
int pg_error_of_result(const PGresult *result, int code, struct err *err);

#endif
