#ifndef BFM_DRIVER_MARIA_H
#define BFM_DRIVER_MARIA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/op.h"
#include "base/pool_stats.h"
#include "io/keepalive.h"
#include "io/loop.h"

/*
 * MySQL and MariaDB by mariadb-connector-c's non-blocking API (_start/_cont) on uv_poll:
 * connections, and a pool of them. The only files that include mysql.h.
 *
 * Sessions speak utf8mb4, have time_zone '+00:00' and the sql_mode of the server with
 * STRICT_ALL_TABLES added and without ANSI_QUOTES, NO_BACKSLASH_ESCAPES and EMPTY_STRING_IS_NULL
 * (nor ORACLE and other names for a group of modes with the first of them), so that what is quoted
 * here is read as it was meant. Autocommit is on, LOAD DATA LOCAL off. No option file is read. A
 * password is proved by mysql_native_password, caching_sha2_password, sha256_password or ed25519,
 * never sent as it is. A query larger than the server's max_allowed_packet is refused with
 * ERR_LIMIT, before it is sent. The process must ignore SIGPIPE.
 *
 * Errors never hold host, user or password.
 */
struct maria_settings {
    const char *host; /* name, address, or a socket's path starting with '/' */
    const char *port;
    const char *user;
    const char *password;     /* NULL: none */
    const char *database;     /* NULL: none is chosen */
    const char *sslmode;      /* disable, prefer, require, verify-ca, verify-full; NULL: prefer */
    const char *ca_file;      /* NULL: the system's */
    const char *program_name; /* in performance_schema; NULL: none */
    unsigned max_open;        /* at least 1 */
    unsigned max_idle;
    uint64_t max_lifetime_ms;  /* 0: no limit */
    uint64_t max_idle_time_ms; /* 0: no limit */
    uint64_t connect_timeout_ms;
    struct keepalive keepalive;
};

struct maria_pool;
struct maria_conn;

/* Copies the settings. Connects to nothing yet. NULL when memory is out. */
struct maria_pool *maria_pool_create(struct loop *loop, const struct maria_settings *settings);
/* For connections opened from now on. 0 or ERR_NOMEM: as it was. */
int maria_pool_set_password(struct maria_pool *pool, const char *password);
/* Closes idle connections, waits for those in use, then frees the pool. Waiting maria_acquire()s
 * fail with ERR_SHUTDOWN. Always starts. */
int maria_pool_close(struct maria_pool *pool, struct op *op);
struct maria_pool_stats {
    unsigned open, idle, waiting;
    unsigned lent;
    uint64_t failed_since_ms; /* when the last connect that failed was begun; 0: none failed */
};
void maria_pool_get_stats(const struct maria_pool *pool, struct maria_pool_stats *out);
void maria_pool_report(const struct maria_pool *pool, struct pool_stats *out);

/* As pg_acquire(): waits in turn; ERR_UNREACHABLE (with a reason), ERR_CANCELED, ERR_SHUTDOWN,
 * ERR_NOMEM. */
int maria_acquire(struct maria_pool *pool, struct op *op, struct maria_conn **out);
/* Back to the pool; one that is broken, too old, or in a transaction is closed instead. */
void maria_release(struct maria_conn *conn);
/* Back, and like a new one before anybody gets it: variables, limits, locks, temporary tables and
 * prepared statements are gone, the database chosen last stays. That goes on behind the call, a few
 * seconds at most; one with which it fails is closed, and so it is when the pool is. */
void maria_release_clean(struct maria_conn *conn);
/* Back, but never used again. */
void maria_discard(struct maria_conn *conn);

bool maria_is_broken(const struct maria_conn *conn);
bool maria_in_transaction(const struct maria_conn *conn);   /* by the server's last answer */
bool maria_is_mariadb(const struct maria_conn *conn);       /* else MySQL */
unsigned long maria_version(const struct maria_conn *conn); /* 101119 for 10.11.19 */
unsigned long maria_session_id(const struct maria_conn *conn);

/* What one statement brought. */
struct maria_result {
    size_t columns; /* 0: it has no rows to give */
    size_t rows;
    uint64_t affected; /* of UPDATE the rows found, changed or not (CLIENT_FOUND_ROWS) */
    uint64_t insert_id;
    unsigned warnings;
    void *impl; /* private */
};

/* Valid until maria_results_free(); on a zeroed struct that does nothing. */
struct maria_results {
    struct maria_result *results; /* one per statement that succeeded, in order; CALL has one more
                                     for each set of rows */
    size_t count, cap;
    unsigned error; /* number of the server's error (1062), 0 if there was none */
};
void maria_results_free(struct maria_results *results);
/* A value as text, NUL-terminated; NULL for SQL NULL. *len may be NULL. */
const char *maria_value(const struct maria_result *result, size_t row, size_t column, size_t *len);
const char *maria_column(const struct maria_result *result, size_t column);

/*
 * Sends one text query, which may hold many statements, and collects every result. done:
 *   0                every statement succeeded;
 *   ERR_DB           one failed: err has SQLSTATE and the message, out->error the number;
 *                    out->count statements had succeeded, those behind it did not run;
 *   ERR_UNREACHABLE  the connection broke: the outcome of what was under way is unknown;
 *   ERR_TIMEOUT      no answer came for `timeout_ms` (0: no limit): the connection was broken;
 *   ERR_CANCELED     a cancel got through (KILL QUERY, from another connection). A cancel still
 *                    waits for the server's answer.
 *   ERR_LIMIT        more rows than fit into memory's bound (64 MiB): the connection was broken.
 * `sql` must live until done.
 */
int maria_query(struct maria_conn *conn, struct op *op, const char *sql, size_t len,
                uint64_t timeout_ms, struct maria_results *out);
/* The same, but rows are thrown away as they come. */
int maria_query_drop_rows(struct maria_conn *conn, struct op *op, const char *sql, size_t len,
                          uint64_t timeout_ms, struct maria_results *out);

/* Appends a literal '...' ("NULL" for a NULL text), or an identifier `...`. 0, ERR_NOMEM, or
 * ERR_INVALID for what cannot be one. */
int maria_put_literal(struct buf *sql, const char *text);
int maria_put_literal_n(struct buf *sql, const char *text, size_t len);
int maria_put_identifier(struct buf *sql, const char *text);

#endif
