#ifndef BFM_BACKEND_POSTGRESQL_PRIVATE_H
#define BFM_BACKEND_POSTGRESQL_PRIVATE_H

#include "backend/down.h"
#include "backend/postgresql.h"
#include "backend/postgresql_judge.h"
#include "backend/postgresql_sql.h"
#include "base/hash.h"
#include "base/sm.h"
#include "model/template.h"

/* What the files of the PostgreSQL backend share; nobody else includes it. */

enum {
    PGB_SQL_MAX = 256 << 20, /* bytes of one query */
    PGB_PING_MS = 2000,
    PGB_WATCH_QUERY_MS = 1000, /* for finding out who blocks */
    PGB_REPAIRS_MAX = 6,       /* immediate new tries of one step: journal or schema was missing */
    PGB_POLL_MS = 250,         /* between looks at a row that another server works on */
    PGB_STALE_MS = 5000,       /* a row not moved for so long, with no session at work, is free */
    PGB_OWN_STALE_MS = 1000,   /* the same for a row of our own */
    PGB_RUN_MAX = 64,
    PGB_MARKER_MAX = PGB_RUN_MAX + 48,
    PGB_TAIL_MAX = 32,
    PGB_BLOCKER_MAX = 320,
};

struct pgb {
    struct backend pub;
    struct loop *loop;
    struct pg_pool *pool;
    struct backend_pg_settings settings; /* without the pool's texts */
    char *connection, *default_schema, *journal_schema;
    unsigned active; /* operations under way */
    struct backend_down down;
    struct op *close_op;
    struct op close_pool;
};

void pgb_begin(struct pgb *pgb);
void pgb_end(struct pgb *pgb); /* an operation is over; called right before its op_finish() */
/* Whether a connection can be had without waiting for a step to end. */
bool pgb_has_room(const struct pgb *pgb);
struct sched *pgb_sched(const struct pgb *pgb);

/* "schema".journal, quoted. */
int pgb_put_journal(struct buf *sql, const struct pgb *pgb, struct pg_conn *conn);

/* postgresql_step.c, postgresql_reads.c: the operations of struct backend_ops */
int pgb_execute(struct backend *backend, struct op *op, const struct backend_step *step,
                struct backend_result *result);
int pgb_inspect(struct backend *backend, struct op *op, struct backend_check *checks, size_t count);
int pgb_read_journal(struct backend *backend, struct op *op, const char *after_schema,
                     const char *after_id, size_t limit, struct backend_journal *out);
int pgb_ping(struct backend *backend, struct op *op);
/* postgresql_resolve.c */
int pgb_resolve(struct backend *backend, struct op *op, struct backend_decision *decision);
/* postgresql_adopt.c */
int pgb_adopt(struct backend *backend, struct op *op, struct backend_adoption *items, size_t count);

/* What stands behind the run id in the marker of a step; postgresql_names.c. */
void pgb_make_marker_tail(char out[PGB_TAIL_MAX], const char *schema, const char *id);

/* One query of postgresql_reads.c that may be sent twice. */
struct pgb_read {
    struct sm sm;
    struct pgb *pgb;
    struct op *op; /* the caller's */
    struct op work;
    struct pg_conn *conn;
    struct pg_results results;
    struct buf sql;
    struct timer timer;
    uint64_t limit_ms; /* for everything; 0: none but that of the query */
    bool timed_out;
    bool again;
    bool is_ping;
    bool makes_journal; /* and may meet somebody who does the same */
    int (*put)(struct pgb_read *read);
    int (*take)(struct pgb_read *read, const PGresult *result);

    struct backend_check *checks; /* inspect */
    size_t count;
    const char *after_schema, *after_id; /* read_journal */
    size_t limit;
    struct backend_journal *journal;

    struct backend_adoption *adoptions; /* adopt */
    struct pgb_resolve *resolve;        /* resolve */
};
/* NULL when memory is out, which the op says. `put` and `take` are to be set. */
struct pgb_read *pgb_read_create(struct backend *backend, struct op *op);
int pgb_read_start(struct pgb_read *read); /* frees it when it fails */

/*
 * Who blocks a step. While a step runs, its session's blockers are asked for on another connection,
 * as nobody can tell afterwards. The session is found by the step's marker, because behind a pooler
 * its process id is not known.
 */
struct pgb_watch {
    struct pgb *pgb;
    const char *marker;
    uint64_t every_ms; /* 0: do not watch */
    struct timer timer;
    struct op op; /* active while it waits for a connection or an answer */
    struct pg_conn *conn;
    struct pg_results results;
    bool asking;
    bool stopped;
    void (*on_idle)(struct pgb_watch *watch); /* once, when stopped and nothing is under way */
    char
        blocker[PGB_BLOCKER_MAX]; /* "blocked by pid 12: LOCK TABLE users", "" if nobody was seen */
};
void pgb_watch_start(struct pgb_watch *watch, struct pgb *pgb, const char *marker,
                     uint64_t every_ms);
/* True when nothing is under way any more; else on_idle comes later. */
bool pgb_watch_stop(struct pgb_watch *watch);

#endif
