#ifndef BFM_BACKEND_MYSQL_PRIVATE_H
#define BFM_BACKEND_MYSQL_PRIVATE_H

#include "backend/down.h"
#include "backend/mysql.h"
#include "backend/mysql_sql.h"
#include "base/arena.h"
#include "base/hash.h"
#include "base/sm.h"
#include "model/template.h"

/* What the files of the MySQL backend share; nobody else includes it. */

enum {
    MYB_SQL_MAX = 256 << 20,   /* bytes of one query */
    MYB_BATCH_BYTES = 1 << 20, /* of statements sent at once, unless one alone is longer */
    MYB_PING_MS = 2000,
    MYB_READ_MS = 30000,
    MYB_REPAIRS_MAX = 6, /* immediate new tries of one step: journal or schema was missing */
    MYB_POLL_MS = 250,   /* between looks at what another server works on */
    MYB_RUN_MAX = 64,
    MYB_LOCK_MAX = 64, /* bytes of a lock's name with NUL */
};

/* Errors of the server. */
enum {
    MYB_ACCESS_DENIED_DB = 1044,
    MYB_NO_DATABASE = 1049,
    MYB_DUPLICATE_KEY = 1062,
    MYB_SYNTAX = 1064,
    MYB_DENIED = 1142,
    MYB_NO_TABLE = 1146,
    MYB_NOT_ROLLED_BACK = 1196, /* a warning */
    MYB_LOCK_TIMEOUT = 1205,
    MYB_DEADLOCK = 1213,
    MYB_OUT_OF_RANGE = 1690, /* mysql_put_guard() */
};

struct myb {
    struct backend pub;
    struct loop *loop;
    struct maria_pool *pool;
    struct backend_mysql_settings settings; /* without the pool's texts */
    char *connection, *default_schema, *journal_schema, *database;
    struct arena arena;
    const char *journal;       /* `schema`.journal, quoted */
    const char *journal_ident; /* its schema, quoted */
    unsigned active;           /* operations under way */
    struct backend_down down;
    struct op *close_op;
    struct op close_pool;
};

void myb_begin(struct myb *myb);
void myb_end(struct myb *myb); /* an operation is over; called right before its op_finish() */
struct sched *myb_sched(const struct myb *myb);
/* In `arena`; NULL when memory is out. */
const char *myb_literal(struct arena *arena, const char *text);
const char *myb_identifier(struct arena *arena, const char *text);
/* The name of the lock of one migration in one schema, as a literal. */
const char *myb_lock_name(struct arena *arena, const struct myb *myb, const char *schema,
                          const char *migration_id);
/* CREATE statements of the journal; with `database` also of its database. */
void myb_put_create_journal(struct buf *sql, const struct myb *myb, bool database);
/* Says which right is missing when the journal could not be made. */
void myb_explain_journal(struct err *err, const struct myb *myb, unsigned error);
const struct maria_result *myb_last(const struct maria_results *results);

/* mysql_step.c, mysql_reads.c, mysql_adopt.c, mysql_resolve.c: of struct backend_ops */
int myb_execute(struct backend *backend, struct op *op, const struct backend_step *step,
                struct backend_result *result);
int myb_inspect(struct backend *backend, struct op *op, struct backend_check *checks, size_t count);
int myb_read_journal(struct backend *backend, struct op *op, const char *after_schema,
                     const char *after_id, size_t limit, struct backend_journal *out);
int myb_ping(struct backend *backend, struct op *op);
int myb_adopt(struct backend *backend, struct op *op, struct backend_adoption *items, size_t count);
int myb_resolve(struct backend *backend, struct op *op, struct backend_decision *decision);

/* One query of mysql_reads.c that may be sent twice. */
struct myb_read {
    struct sm sm;
    struct myb *myb;
    struct op *op; /* the caller's */
    struct op work;
    struct maria_conn *conn;
    struct maria_results results;
    struct buf sql;
    struct timer timer;
    uint64_t limit_ms; /* for everything; 0: none but that of the query */
    bool timed_out;
    bool again;
    bool is_ping;
    bool makes_journal; /* creates it when it is missing */
    bool makes_database;
    bool soiled; /* the session is not to be used by anybody else */
    int (*put)(struct myb_read *read);
    /* Reads the last answer. 0, a failure with read->work.err set, or 1: `put` comes again. */
    int (*take)(struct myb_read *read, const struct maria_result *result);

    struct backend_check *checks; /* inspect */
    size_t count;
    const char *after_schema, *after_id; /* read_journal */
    size_t limit;
    struct backend_journal *journal;
    struct backend_adoption *adoptions; /* adopt */
    struct myb_resolving *resolving;    /* resolve */
};
/* NULL when memory is out, which the op says. `put` and `take` are to be set. */
struct myb_read *myb_read_create(struct backend *backend, struct op *op);
int myb_read_start(struct myb_read *read); /* frees it when it fails */
void myb_resolving_free(struct myb_resolving *resolving);
/* Whether it failed for good, when it did: what the read ends with. */
int myb_resolving_judge(struct myb_read *read, int rc);

#endif
