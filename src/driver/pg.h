#ifndef BFM_DRIVER_PG_H
#define BFM_DRIVER_PG_H

#include <libpq-fe.h>

#include "base/buf.h"
#include "base/op.h"
#include "base/pool_stats.h"
#include "io/keepalive.h"
#include "io/loop.h"

/*
 * PostgreSQL by libpq's asynchronous API on uv_poll: connections, and a pool of them. The only
 * folder that includes libpq-fe.h besides store/ and backend/, which read results and quote with
 * it.
 *
 * Errors never hold host, user or password: what libpq says while connecting is reduced to a known
 * reason.
 */
struct pg_settings {
    const char *host; /* name, address, or a socket folder starting with '/' */
    const char *port;
    const char *user;
    const char *password;
    const char *database;
    const char *sslmode; /* disable, prefer, require, verify-ca, verify-full; NULL: prefer */
    const char *application_name; /* shown in pg_stat_activity */
    unsigned max_open;            /* at least 1 */
    unsigned max_idle;
    uint64_t max_lifetime_ms;  /* 0: no limit */
    uint64_t max_idle_time_ms; /* 0: no limit */
    uint64_t connect_timeout_ms;
    struct keepalive keepalive; /* all 0: no probes, and the system's limits */
};

struct pg_pool;
struct pg_conn;

/* Copies the settings. Connects to nothing yet. NULL when memory is out. */
struct pg_pool *pg_pool_create(struct loop *loop, const struct pg_settings *settings);
/* For connections opened from now on; those that are open stay. 0 or ERR_NOMEM: as it was. */
int pg_pool_set_password(struct pg_pool *pool, const char *password);
/* Closes idle connections, waits for those in use to be given back, then frees the pool; done once
 * that happened. Waiting pg_acquire()s fail with ERR_SHUTDOWN. Always starts. */
int pg_pool_close(struct pg_pool *pool, struct op *op);
struct pg_pool_stats {
    unsigned open, idle, waiting;
    unsigned lent;            /* connected, and in somebody's hands */
    uint64_t failed_since_ms; /* when the last connect that failed was begun; 0: none failed */
};
void pg_pool_get_stats(const struct pg_pool *pool, struct pg_pool_stats *out);
/* Figures for people. A connection that was opened, or given back in order, is a contact. */
void pg_pool_report(const struct pg_pool *pool, struct pool_stats *out);

/*
 * Waits in turn for a connection, opening one while fewer than max_open exist. *out is set when
 * done with 0. ERR_UNREACHABLE (with a reason), ERR_CANCELED, ERR_SHUTDOWN, ERR_NOMEM. The
 * connection must be given back with pg_release().
 */
int pg_acquire(struct pg_pool *pool, struct op *op, struct pg_conn **out);
/* Back to the pool; one that is broken, too old or in a transaction is closed instead. */
void pg_release(struct pg_conn *conn);
/* Back, but never used again. */
void pg_discard(struct pg_conn *conn);

/* The libpq connection, for PQescapeLiteral(), PQescapeIdentifier(), PQtransactionStatus(). Never
 * for sending. */
PGconn *pg_raw(struct pg_conn *conn);
bool pg_is_broken(const struct pg_conn *conn);

/* What a query brought. Valid until pg_results_free(); on a zeroed struct that does nothing. */
struct pg_results {
    PGresult **results; /* one per statement that ran, the failed one last */
    size_t count, cap;
    struct buf notices; /* "NOTICE: ...\n" lines, at most 64 KiB */
};
void pg_results_free(struct pg_results *results);

/*
 * Sends one simple-protocol query, which may hold many statements, and collects every result. done:
 *   0                every statement succeeded;
 *   ERR_DB           one failed: err has SQLSTATE and primary message (detail, hint and context
 * behind it); `results->count - 1` statements had succeeded; ERR_UNREACHABLE  the connection broke:
 * the outcome is unknown unless results tell; ERR_CANCELED     a cancel got through (SQLSTATE
 * 57014). A cancel of the op sends PQcancel() from the thread pool and still waits for the server's
 * answer. `timeout_ms` > 0: the connection is broken on purpose when no answer came for so long
 * (ERR_TIMEOUT).
 */
int pg_query(struct pg_conn *conn, struct op *op, const char *sql, uint64_t timeout_ms,
             struct pg_results *out);

/* The same, but rows are thrown away as they come: a query of unknown making cannot fill the
 * memory.
 */
int pg_query_drop_rows(struct pg_conn *conn, struct op *op, const char *sql, uint64_t timeout_ms,
                       struct pg_results *out);

/* One statement of the extended protocol with text parameters (NULL: SQL NULL). Same outcomes. */
int pg_query_params(struct pg_conn *conn, struct op *op, const char *sql, size_t count,
                    const char *const *values, uint64_t timeout_ms, struct pg_results *out);

/* Appends an SQL literal or identifier, quoted by libpq. 0 or ERR_NOMEM, ERR_INVALID (text the
 * encoding refuses). */
int pg_put_literal(struct buf *sql, struct pg_conn *conn, const char *text);
int pg_put_identifier(struct buf *sql, struct pg_conn *conn, const char *text);

#endif
