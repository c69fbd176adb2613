#ifndef BFM_DRIVER_MARIA_PRIVATE_H
#define BFM_DRIVER_MARIA_PRIVATE_H

#include <mysql.h>

#include "base/sm.h"
#include "driver/maria.h"
#include "driver/pool.h"
#include "io/resolve.h"

/* What the files of this driver share; nobody else includes it. */

/*
 *  RESOLVING ─> CONNECTING ──> LENT <─> BUSY
 *      │             │        ↑ ↓ │
 *      │             │       IDLE │
 *      └─────────────┴──> CLOSING ┘
 *
 * RESOLVING  the thread pool looks the host name up (a socket's path passes through at once)
 * CONNECTING the connector works on the handshake
 * IDLE       in the pool; anything readable means that the server ended it
 * LENT       given to whoever acquired it, or still the driver's own; nothing is running
 * BUSY       a query is running, or the session is reset
 * CLOSING    nobody's any more; freed once nothing refers to it (maria_conn_try_free())
 */
enum maria_conn_state {
    MARIA_RESOLVING,
    MARIA_CONNECTING,
    MARIA_IDLE,
    MARIA_LENT,
    MARIA_BUSY,
    MARIA_CLOSING,
};

/* The call of the connector that is under way, or was the last one. */
enum maria_call {
    MARIA_CALL_CONNECT,
    MARIA_CALL_QUERY,
    MARIA_CALL_FETCH,
    MARIA_CALL_FREE,
    MARIA_CALL_NEXT,
    MARIA_CALL_RESET,
};

/* What the call gave back. */
union maria_answer {
    MYSQL *connected;
    int rc;
    MYSQL_ROW row;
};

/*
 * A call suspends with what it waits for (MYSQL_WAIT_READ and so on) and is continued with what
 * happened. `fd` is a duplicate of the connector's socket, so that the poll handle is never left
 * with a number that means something else, whenever the connector closes its own.
 */
struct maria_io {
    MYSQL *my;
    enum maria_call call;
    union maria_answer answer;
    int waits; /* what it waits for; 0: it is over */
    MYSQL_RES *rows;
};

struct maria_route {
    const char *address; /* numeric; NULL: what the connector was given is a socket's path */
    bool tls;            /* nothing may be said to a server that does not offer it */
    bool tls_missing;    /* such a server was met */
};

struct maria_conn {
    struct pool_conn pooled;
    struct sm sm;
    struct maria_pool *pool;
    struct maria_io io;
    struct maria_watch *watch; /* NULL before there is a socket */
    unsigned watches;          /* poll handles not closed to the end */
    struct timer timer;        /* of connecting, or of the query */
    bool broken;               /* nothing can be asked of it any more */
    bool retire;               /* a KILL was sent on its behalf: not reused, as it may come late */

    /* connecting */
    struct op resolve_op;
    struct resolve_result addresses;
    size_t address; /* the one that is tried, or was taken */
    struct maria_route route;
    bool plain;                /* without TLS, after an attempt with it (sslmode prefer) */
    char *password;            /* as it was when connecting began */
    uint64_t connect_until_ms; /* also of a reset; 0: no limit */
    struct op tls_op;          /* the handshake, on a thread */
    struct list tls_link;      /* while others have theirs */
    int happened;              /* what it is continued with */
    struct op own_op;          /* of what the driver itself asks */
    struct maria_results own_out;
    struct maria_killer *killer; /* it is for a KILL, not for the pool */
    struct list reset_link;      /* while the session is reset */
    bool closing;
    unsigned long session_id;
    char server[128];  /* which server it is: a KILL must not meet another one */
    size_t packet_max; /* what the server takes as one query, in bytes */

    /* the query */
    struct op *op;
    struct maria_results *out;
    bool drop_rows;
    size_t bytes;              /* of rows kept */
    struct task turn;          /* the next lot of rows */
    bool ended;                /* the answer is complete, or none will come */
    bool timed_out;            /* the query's timer fired */
    int rc;                    /* what failed first */
    struct maria_killer *kill; /* of the query; NULL: none was asked for, or it is over */
};

struct maria_pool {
    struct pool pool;
    struct maria_settings settings; /* texts owned */
    struct list resetting;          /* connections on their way back */
    struct list kills_waiting;
    unsigned kills_running;
    bool in_tls; /* a connection of it is in its handshake */
};

/* maria_io.c: calls of the connector. Each returns what the call waits for, or 0 when it is over.
 */
int maria_io_connect(struct maria_io *io, const char *host, const char *user, const char *password,
                     const char *database, unsigned port, const char *socket);
int maria_io_query(struct maria_io *io, const char *sql, size_t len);
int maria_io_fetch(struct maria_io *io);
int maria_io_free(struct maria_io *io);
int maria_io_next(struct maria_io *io);
int maria_io_reset(struct maria_io *io);
int maria_io_continue(struct maria_io *io, int happened);
/* Ends whatever is under way, without waiting, and closes; `fd` is the socket's duplicate, or -1.
 */
void maria_io_close(struct maria_io *io, int fd);
/* Ends the call under way; the connection is of no use afterwards. */
void maria_io_abort(struct maria_io *io, int fd);

/* maria_conn.c */
struct maria_conn *maria_conn_create(struct maria_pool *pool);
void maria_conn_move(struct maria_conn *conn, enum maria_conn_state next);
/* Ends the connector's side; the memory goes later. Not while BUSY for somebody else. */
void maria_conn_close(struct maria_conn *conn);
/* Ends the attempt under way, for another one. */
void maria_conn_reset(struct maria_conn *conn);
/* Frees a closing connection unless something still refers to it. */
void maria_conn_try_free(struct maria_conn *conn);
/* Waits for what the connector waits for (MYSQL_WAIT_...). 0, ERR_NOMEM or ERR_UNREACHABLE. */
int maria_conn_watch(struct maria_conn *conn, int waits);
void maria_conn_unwatch(struct maria_conn *conn);
int maria_conn_fd(const struct maria_conn *conn); /* the duplicate; -1 if there is none */
struct sched *maria_conn_sched(const struct maria_conn *conn);
struct maria_conn *maria_conn_of(struct pool_conn *pooled);

/* maria_connect.c */
int maria_connect_start(struct maria_conn *conn, struct err *err);
/* At most so long from now on. */
void maria_connect_limit(struct maria_conn *conn, uint64_t ms);
void maria_connect_on_socket(struct maria_conn *conn, int happened);
/* Behind each call: it waits for something, or it is over. */
void maria_connect_go_on(struct maria_conn *conn);
/* What became of it, for the pool or the KILL that wants it. */
void maria_connect_fail(struct maria_conn *conn, const struct err *err);
void maria_connect_succeed(struct maria_conn *conn);

/* maria_tls.c */
/* Continues with what may be a handshake: on a thread, or when fewer are under way. */
void maria_tls_start(struct maria_conn *conn, int happened);
bool maria_tls_is_waiting(const struct maria_conn *conn);
/* Gives up waiting. */
void maria_tls_leave(struct maria_conn *conn);

/* maria_options.c */
/* A handle of the connector with everything set but host and user. NULL when memory is out. */
MYSQL *maria_options_apply(struct maria_conn *conn);
bool maria_options_want_tls(const struct maria_conn *conn);
/* By sslmode, when it cannot be had. */
bool maria_options_may_do_without_tls(const struct maria_conn *conn);
bool maria_options_is_socket(const struct maria_conn *conn);

/* maria_socket.c */
/* How the connector's socket is to be used. It must live as long as the handle. */
int maria_socket_set_route(MYSQL *my, struct maria_route *route);

/* maria_session.c: the one round trip behind the handshake, or behind a reset. */
void maria_session_start(struct maria_conn *conn);

/* maria_reset.c */
bool maria_reset_is_on(const struct maria_conn *conn);
/* The session is as a new one; with `err` it is not. */
void maria_reset_end(struct maria_conn *conn, const struct err *err);
/* Closes those that are being reset. */
void maria_reset_close_all(struct maria_pool *pool);

/* maria_query.c */
void maria_query_on_socket(struct maria_conn *conn, int happened);
/* Like a query without results: what the session had is dropped, what it was set to be too. */
void maria_query_reset(struct maria_conn *conn, struct op *op, uint64_t timeout_ms,
                       struct maria_results *out);
/* Completes the query at once: the connection is broken. */
void maria_query_break(struct maria_conn *conn);
/* The request to end the query is over. */
void maria_query_on_cancel_done(struct maria_conn *conn);

/* maria_result.c */
/* The next result, empty. 0 or ERR_NOMEM. */
int maria_results_add(struct maria_results *out);
int maria_result_set_columns(struct maria_result *result, MYSQL_RES *rows);
/* 0, ERR_NOMEM, or ERR_LIMIT when *bytes would grow beyond the bound. */
int maria_result_add_row(struct maria_result *result, MYSQL_ROW row, const unsigned long *lengths,
                         size_t *bytes);
void maria_result_clear(struct maria_result *result);

/* maria_cancel.c */
/* Asks the server to end the query: at once, or when fewer requests are under way. */
void maria_cancel_start(struct maria_conn *conn);
/* True when a request was sent and not answered; one that was not sent is given up. */
bool maria_cancel_drop(struct maria_conn *conn);
/* The query does not care any more; the request goes on alone. */
void maria_cancel_leave(struct maria_conn *conn);
/* Of a connection for a KILL; `err` is NULL when it is there. */
void maria_cancel_on_connected(struct maria_conn *conn, const struct err *err);

/* maria_error.c */
/* A known reason for why connecting failed, without host, user, password or database. */
int maria_error_of_connect(MYSQL *my, struct err *err);
bool maria_error_is_crowded(const struct err *err);
/* Number, SQLSTATE and message of a failed statement. */
int maria_error_of_query(MYSQL *my, int code, struct err *err);
/* Whether the connector itself failed, or the server ended the session: nothing more can be asked.
 */
bool maria_error_is_fatal(unsigned number);

#endif
