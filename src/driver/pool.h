#ifndef BFM_DRIVER_POOL_H
#define BFM_DRIVER_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/op.h"
#include "base/pool_stats.h"
#include "io/loop.h"

/*
 * What pools of database connections have in common, whatever the client library: who waits, who
 * has which connection, when one is too old, and what is done while a server is away. A driver
 * embeds `struct pool_conn` in its connection and `struct pool` in its pool.
 *
 * A connection is in one of four places: connecting, idle, lent, closing. The driver moves it with
 * the functions below and is told by `struct pool_kind` what to do with its own part of it.
 */
struct pool;

struct pool_conn {
    struct pool *pool;
    struct list link; /* while it is connecting or idle */
    bool is_idle;
    uint64_t opened_ms;
    uint64_t idle_since_ms;
};

struct pool_kind {
    /* A new connection, pool_attach()ed, or NULL when memory is out. */
    struct pool_conn *(*create)(struct pool *pool);
    /* Starts connecting. The outcome goes to pool_on_connected() or pool_on_connect_failed(), never
     * from inside this call. Negative with *err set: it goes to neither. */
    int (*connect)(struct pool_conn *conn, struct err *err);
    /* It is idle now, and to be watched. False: it cannot be. */
    bool (*rest)(struct pool_conn *conn);
    /* It is lent now; `out` is what the acquire was given. */
    void (*lend)(struct pool_conn *conn, void *out);
    /* Whether it may be used again by somebody else. */
    bool (*is_fit)(struct pool_conn *conn);
    /* Ends it. pool_detach() follows once nothing refers to it any more. */
    void (*close)(struct pool_conn *conn);
    /* Whether connecting failed because the server has no place for more. */
    bool (*is_crowded)(const struct err *err);
    /* The pool is closed and everything of it detached: frees its memory. */
    void (*free)(struct pool *pool);
};

struct pool_limits {
    unsigned max_open; /* at least 1 */
    unsigned max_idle;
    uint64_t max_lifetime_ms;  /* 0: no limit */
    uint64_t max_idle_time_ms; /* 0: no limit */
};

struct pool {
    const struct pool_kind *kind;
    struct loop *loop;
    struct pool_limits limits;
    struct list idle; /* most recently used first */
    struct list connecting;
    struct list waiters;
    unsigned open; /* connecting, idle and lent: what max_open limits */
    unsigned idle_count;
    unsigned connecting_count;
    unsigned waiting;
    unsigned alive; /* attached connections and everything else that needs the pool */
    bool closing;
    bool crowded; /* the server has no place for more: wait for those that are open */
    struct op *close_op;
    struct timer expiry;
    struct timer crowd_timer;
    uint64_t down_until_ms; /* until then an acquire fails with `down` instead of trying again */
    struct err down;
    uint64_t failed_since_ms; /* of the last connect that failed: when it was begun */
    struct pool_stats stats;  /* what is counted or noted of it as it happens */
};

void pool_init(struct pool *pool, const struct pool_kind *kind, struct loop *loop,
               const struct pool_limits *limits);
/* The pool's memory stays as long as something is attached. */
void pool_attach(struct pool *pool);
void pool_detach(struct pool *pool);
/* Always starts; done once everything is closed and kind->free() was called. */
int pool_close(struct pool *pool, struct op *op);
/* The reason of the last failure does not count any more. */
void pool_forget_failure(struct pool *pool);
void pool_report(const struct pool *pool, struct pool_stats *out);
unsigned pool_lent(const struct pool *pool);

/* Waits in turn. ERR_SHUTDOWN, ERR_NOMEM, ERR_CANCELED, or what connecting failed with. */
int pool_acquire(struct pool *pool, struct op *op, void *out);
/* Of a lent connection: whether pool_release() would keep it. */
bool pool_may_keep(struct pool_conn *conn);
/* Of a lent connection. */
void pool_release(struct pool_conn *conn);
void pool_discard(struct pool_conn *conn);

/* From the driver. */
void pool_on_connected(struct pool_conn *conn);
/* Closes the connection. */
void pool_on_connect_failed(struct pool_conn *conn, const struct err *err);
/* Of an idle connection: the server ended it. */
void pool_on_idle_lost(struct pool_conn *conn);

#endif
