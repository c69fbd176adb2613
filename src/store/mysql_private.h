#ifndef BFM_STORE_MYSQL_PRIVATE_H
#define BFM_STORE_MYSQL_PRIVATE_H

#include "base/map.h"
#include "driver/maria.h"
#include "store/core.h"
#include "store/rows.h"

/* What the files of the MySQL store share; nobody else includes it. */

struct store_my;

/* Times are DATETIME(6), written and read as UTC. */
#define MYSTORE_US(time) "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', " time ")"
#define MYSTORE_NOW      "UTC_TIMESTAMP(6)"

/* Rows are locked one by one, without the gaps between them; who is in the way for long is given
 * up on. */
#define MYSTORE_BEGIN                    \
    "SET innodb_lock_wait_timeout = 10;" \
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;START TRANSACTION;"
/* What only reads, in more than one statement, sees one state. */
#define MYSTORE_BEGIN_READ                             \
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;" \
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY;"
#define MYSTORE_COMMIT "COMMIT;"

/* An ID that is made of the row's own parts (bfm-api.md §7). */
#define MYSTORE_IS_BASE_ID(row)                                                                   \
    "LEFT(" row "migration_id, CHAR_LENGTH(" row "version) + 1) = CONCAT(" row                    \
    "version, '_') AND RIGHT(" row "migration_id, CHAR_LENGTH(" row "backend) + CHAR_LENGTH(" row \
    "connection) + 2) = CONCAT('_', " row "backend, '_', " row "connection)"

/* --- texts (mysql_script.c) --- */

enum {
    MYSTORE_KEYS_MAX =
        300, /* keys looked up by one statement: more are not looked up by an index */
};

/*
 * Statements in pieces that the server takes: each piece is sent as one query of many statements,
 * one piece after the other on one connection. Failures show in `rc` once it is closed.
 */
struct mystore_script {
    const char *database; /* quoted */
    size_t packet_max;    /* bytes that the server takes at once */
    struct buf piece;     /* under way */
    struct buf *pieces;   /* closed ones */
    size_t count, cap;
    int rc; /* ERR_NOMEM; ERR_DB: a row does not fit into what the server takes */

    /* a statement with rows under way */
    const char *head, *tail;
    size_t rows, rows_max;
    size_t statement_at; /* where one of its own begins in the piece */
    struct buf row, clean;
};

void mystore_script_init(struct mystore_script *script, const struct store_my *my);
void mystore_script_free(struct mystore_script *script);
/* Empty again, as after init. */
void mystore_script_clear(struct mystore_script *script);
/* Appends SQL with '@' replaced by the database. */
void mystore_sql(struct mystore_script *script, const char *sql);
/* Appends what stands for a value, as it is. Literals that are not UTF-8 are made so. */
void mystore_put_text(struct mystore_script *script, const char *text);
void mystore_put_number(struct mystore_script *script, int64_t number);
void mystore_put_time(struct mystore_script *script, int64_t us);

/* What follows begins a new piece: the rows that one piece brings have a bound (driver/maria.h). */
void mystore_break(struct mystore_script *script);

/* Around a statement that may be long: it begins a new piece where it does not fit into this one.
 */
void mystore_statement_begin(struct mystore_script *script);
void mystore_statement_end(struct mystore_script *script);

/*
 * A statement of `head`, rows in brackets with commas between them, and `tail`. It is split into
 * several when it becomes long or has `rows_max` rows (0: any number); there is none without a row.
 */
void mystore_rows_begin(struct mystore_script *script, const char *head, const char *tail,
                        size_t rows_max);
void mystore_row_begin(struct mystore_script *script);
void mystore_row_end(struct mystore_script *script);
void mystore_rows_end(struct mystore_script *script);
/* One more value of a row. NULL and time 0 are NULL; `keyword` is SQL. */
void mystore_row_text(struct mystore_script *script, const char *text);
void mystore_row_text_cut(struct mystore_script *script, const char *text, size_t characters);
void mystore_row_number(struct mystore_script *script, int64_t number);
void mystore_row_time(struct mystore_script *script, int64_t us);
void mystore_row_sql(struct mystore_script *script, const char *keyword);
/* No more is added. 0 or rc with *err set. */
int mystore_script_close(struct mystore_script *script, struct err *err);

/* --- calls (mysql_call.c) --- */

/*
 * A script on one connection, which is taken from the pool and given back. Failures are those of
 * the store: ERR_DB when the rows were refused, ERR_STORE for whatever else is wrong over there.
 *
 *  ACQUIRING ─> QUERYING ─> ... ─> (done)      back to ACQUIRING: servers were in each other's way,
 *      ^───────────┘                           or the connection broke before the last piece or
 *                                              where it does no harm to do it twice
 */
struct mystore_call {
    struct mystore_script script;
    uint64_t timeout_ms;           /* of a piece */
    bool repeatable;               /* running it twice does what running it once does */
    bool keep;                     /* when it ends well the next call has the same connection */
    struct maria_results *results; /* when done with 0: one for each piece, until the next start */
    size_t result_count;
    unsigned error; /* the server's number for what failed; 0: none */
    bool again;     /* it failed, but may not if all is begun again */

    /* private */
    struct store_my *my;
    struct op *op;
    struct op step;
    struct maria_conn *conn;
    bool querying, continued;
    size_t at; /* the piece that was sent */
    unsigned tries;
};

void mystore_call_init(struct mystore_call *call, struct store_my *my);
/* Starts it. The script is closed. */
int mystore_call_start(struct mystore_call *call, struct op *op);
/* Frees the results and the script; a connection that was kept is not used again. */
void mystore_call_free(struct mystore_call *call);

/* The rows of all results, one after the other. */
struct mystore_cursor {
    const struct mystore_call *call;
    size_t piece, statement, row;
    const struct maria_result *result; /* of the row */
};
/* Moves to the next row, at first to the first one. False at the end. */
bool mystore_next(struct mystore_cursor *cursor);
/* Cells of `*(struct mystore_cursor *)arg`. */
const char *mystore_text(void *arg, int column);
int64_t mystore_integer(void *arg, int column);

/* --- layout (mysql_layout.c) --- */

struct mystore_object {
    const char *table;
    const char *column; /* or NULL */
    const char *index;  /* or NULL; neither: the table itself */
    const char *sql;    /* makes it; '#' is the collation */
};
extern const struct mystore_object mystore_objects[];
extern const size_t mystore_object_count;

/* --- what records do (mysql_plan.c) --- */

/* The row of a migration in migrations_list. */
struct mystore_plan_list {
    const struct migration *migration;
    bool changed;         /* else it only has to be there */
    const char *status;   /* NULL: stays as it is */
    const char *error;    /* NULL: none from now on */
    const char *checksum; /* NULL: stays as it is */
    int64_t at_us;
};

struct mystore_plan_history {
    const struct store_record *record;
    const char *run_id;
};

struct mystore_plan_execution {
    const struct store_record *record;
    const char *status;
    size_t number;
};

/* An execution as it is while the records are gone through. */
struct mystore_plan_place {
    const char *migration_id, *schema;
    bool applied;
    bool there; /* else its row was only made to lock it */
    bool written;
};

/*
 * What a batch of records comes to, gone through in their order. Without a look at the database
 * that is right if none of their history rows is there yet, which the unique index tells, and if
 * nothing depends on what is applied. Pure, for any thread.
 */
struct mystore_plan {
    struct arena arena;
    bool looked; /* places and history rows were added */
    bool needs_look;
    struct map places; /* "id\0schema" -> struct mystore_plan_place */
    struct map
        written; /* "id\0schema\0run\0status" of history rows; likewise without status: an end */
    struct map lists; /* migration -> number plus one */
    struct mystore_plan_list *list;
    struct mystore_plan_history *history;
    struct mystore_plan_execution *executions; /* the last one of a place counts */
    const struct store_record **skips;
    size_t list_count, history_count, execution_count, skip_count;
    bool keyed; /* every record has a run, or is true however often it is found */
};

/* Room for `count` records. 0 or ERR_NOMEM, as all of them. */
int mystore_plan_init(struct mystore_plan *plan, size_t count);
void mystore_plan_free(struct mystore_plan *plan);
int mystore_plan_add_place(struct mystore_plan *plan, const char *migration_id, const char *schema,
                           bool applied, bool there);
int mystore_plan_add_history(struct mystore_plan *plan, const char *run_id,
                             const char *migration_id, const char *schema, const char *status);
int mystore_plan_take(struct mystore_plan *plan, const struct store_record *record);
/* Puts lists and executions into the order in which every server locks them. */
void mystore_plan_order(struct mystore_plan *plan);

/* --- the machines --- */

/* A batch of writes (mysql_write.c). */
struct mystore_write {
    struct mystore_call call;
    struct op step;
    struct mystore_plan plan;
    struct list *batch;
    struct list *apart; /* NULL: all in one transaction; else the request whose turn it is */
    size_t good;        /* requests without an rc when it was built */
    bool look;          /* what is there is looked at, and locked, first */
    bool looking;       /* the call does that */
    unsigned tries;
};

/* Whether it is this request's turn. */
bool mystore_write_has_turn(const struct mystore_write *write, struct list *node);
/* mysql_write_sql.c: the statements of a batch; on a pool thread. */
void mystore_write_put_look(struct mystore_write *write);
void mystore_write_put_all(struct mystore_write *write);
int mystore_write_absorb_look(struct mystore_write *write);
/* mysql_write_runs.c: rows of runs, their lanes, answers and servers. */
void mystore_write_put_runs(struct mystore_write *write);

/* Claims, changes of the ledger, or a beat (mysql_outcome.c): a write with a result. */
struct mystore_outcome {
    struct mystore_call call;
    struct op step;
    struct list *batch;
};
/* mysql_ledger.c */
void mystore_put_change(struct mystore_script *script, const struct ledger_change *change);

/*
 * A read.
 *
 *  QUERYING ─> CONVERTING (on the thread pool) ─> (done)
 */
struct mystore_read {
    struct request *request;
    struct store_my *my;
    struct mystore_call call;
    struct op step;
};

struct store_my {
    struct store_core core;
    struct loop *loop;
    struct maria_pool *pool;
    char *name;        /* of the database */
    char *database;    /* quoted */
    size_t packet_max; /* what the server takes at once, once it was asked */
    struct mystore_write write;
    struct mystore_outcome outcome;
    struct op pool_op; /* closing the pool */
    struct op *close_op;
};

/* Each runs what the core dealt out; see core.h. */
void mystore_prepare_run(struct store_my *my, struct request *request);
void mystore_prepare_cancel(struct request *request);
void mystore_prepare_free(void *state);
void mystore_write_run(struct store_my *my, struct list *batch);
void mystore_outcome_run(struct store_my *my, struct list *batch);
void mystore_read_run(struct store_my *my, struct request *request);
void mystore_read_cancel(struct request *request);
void mystore_read_free(void *state);
void mystore_sync_run(struct store_my *my, struct request *request);
void mystore_sync_free(void *state);

/* The statements of reads. */
void mystore_put_limit(struct mystore_script *script, size_t limit);
/* mysql_read_sql.c: about single migrations. */
void mystore_read_put_basic(struct mystore_script *script, const struct request *request);
/* mysql_read_runs.c: about runs and of tenants. */
void mystore_read_put_about_runs(struct mystore_script *script, const struct request *request);
/* mysql_read_standing.c: what stands, and starts without an end. */
void mystore_read_put_standing(struct mystore_script *script, const struct request *request);
/* mysql_ledger.c */
void mystore_read_put_ledger(struct mystore_script *script, const struct request *request);

#endif
