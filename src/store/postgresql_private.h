#ifndef BFM_STORE_POSTGRESQL_PRIVATE_H
#define BFM_STORE_POSTGRESQL_PRIVATE_H

#include "driver/pg.h"
#include "store/core.h"
#include "store/rows.h"

/* What the files of the PostgreSQL store share; nobody else includes it. */

/* The statements of postgresql_sql.c. */
enum pgstore_sql {
    PGSTORE_INSPECT,
    PGSTORE_PING,
    PGSTORE_WRITE,
    PGSTORE_APPLIED,
    PGSTORE_EXECUTIONS_OF,
    PGSTORE_EXECUTIONS_RECENT,
    PGSTORE_STATUS_OF,
    PGSTORE_STATUS_ALL,
    PGSTORE_HISTORY_OF,
    PGSTORE_HISTORY_RECENT,
    PGSTORE_SKIPPED_OF,
    PGSTORE_SKIPPED_RECENT,
    PGSTORE_KNOWN,
    PGSTORE_SYNC_LIST,
    PGSTORE_SYNC_LINKS,
    PGSTORE_WRITE_AND_RUNS,
    PGSTORE_RUNS_ALONE,
    PGSTORE_CLAIM,
    PGSTORE_BEAT,
    PGSTORE_RUNS,
    PGSTORE_RUNS_SEEN,
    PGSTORE_RUN_LANES,
    PGSTORE_RUN_STEPS,
    PGSTORE_STANDING,
    PGSTORE_UNENDED,
    PGSTORE_MARK,
    PGSTORE_LEDGER_OF,
    PGSTORE_LEDGER_ALL,
    PGSTORE_SWAP,
    PGSTORE_SQL_COUNT,
};

enum {
    PGSTORE_SQL_PARTS = 5, /* compilers need not take literals of more than 4095 bytes */
    PGSTORE_VALUES_MAX = 8,
};

/* With '@' where the quoted schema belongs. */
extern const char *const pgstore_sql[PGSTORE_SQL_COUNT][PGSTORE_SQL_PARTS];

/* Of postgresql_sql_runs.c. */
extern const char pgstore_sql_put_runs[];       /* WITH ... of $4 runs, $5 lanes; no end */
extern const char pgstore_sql_put_runs_alone[]; /* the end, for $1 to $3 without a value */
extern const char pgstore_sql_claim[];
extern const char pgstore_sql_beat[];
extern const char pgstore_sql_runs[];
extern const char pgstore_sql_runs_seen[];
extern const char pgstore_sql_run_lanes[];
extern const char pgstore_sql_run_steps[];
extern const char pgstore_sql_tenants[]; /* of postgresql_read_runs.c, with marks of its own */
extern const char pgstore_sql_mark[];    /* of postgresql_mark.c */
/* Of postgresql_read_standing.c. */
extern const char pgstore_sql_standing[];
extern const char pgstore_sql_unended[];
/* Of postgresql_ledger.c. */
extern const char pgstore_sql_ledger_of[];
extern const char pgstore_sql_ledger_all[];
extern const char pgstore_sql_swap[];

/* Times are TIMESTAMP without zone, written and read as UTC. */
#define PGSTORE_MICROSECONDS(column) \
    "CASE WHEN isfinite(" column ") THEN (extract(epoch FROM " column ") * 1000000)::bigint END"
#define PGSTORE_NOW_UTC "(clock_timestamp() AT TIME ZONE 'UTC')"

/* An object of the layout. */
struct pgstore_object {
    const char *table; /* or the name of an index */
    const char *column;
    const char *sql; /* makes it, unless it is there */
};
extern const struct pgstore_object pgstore_objects[];
extern const size_t pgstore_object_count;
/* The references to migrations_list, which go with it: made again with it for the tables that are
 * left. What they hold of migrations that nobody lists any more stays. */
extern const struct pgstore_object pgstore_links[];
extern const size_t pgstore_link_count;
/* Takes over what servers without executions, or with older ones, left in the other tables. */
extern const char pgstore_sql_adopt[];
/* One server at a time makes tables. */
extern const char pgstore_sql_lock[];

/* An ID that is made of the row's own parts; older servers left others behind (bfm-api.md §7). */
#define PGSTORE_IS_BASE_ID(row)                                                                  \
    "left(" row ".migration_id, length(" row ".version) + 1) = " row ".version || '_'"           \
    " AND right(" row ".migration_id, length(" row ".backend) + length(" row ".connection) + 2)" \
    " = '_' || " row ".backend || '_' || " row ".connection"

struct store_pg;

/*
 * One statement: a connection is taken from the pool, the statement run, the connection given back.
 * Failures are those of the store: ERR_DB when the rows were refused, ERR_STORE for whatever else
 * is wrong over there.
 *
 *  ACQUIRING ─> QUERYING ─> (done)      back to ACQUIRING: the connection broke or a deadlock was
 *      ^───────────┘                    broken up, the statement is repeatable and tries are left
 */
struct pgstore_call {
    enum pgstore_sql sql;
    const char *text; /* instead of `sql`: a simple query of many statements */
    size_t value_count;
    const char *values[PGSTORE_VALUES_MAX];
    uint64_t timeout_ms;
    bool repeatable;           /* running it twice does what running it once does */
    struct pg_results results; /* when done with 0; the caller frees them */

    /* private */
    struct store_pg *pg;
    struct op *op;
    struct op step;
    struct pg_conn *conn;
    bool querying;
    unsigned tries;
};

/* Starts it. The fields above "private" are set. */
int pgstore_call_start(struct store_pg *pg, struct pgstore_call *call, struct op *op);
/* The parts as one text with '@' replaced; to be freed with mem_free(). NULL when memory is out. */
char *pgstore_expand(const char *const *parts, size_t count, const char *schema);
/* The quoted schema; `conn` quotes it the first time. NULL with *err set. */
const char *pgstore_quoted_schema(struct store_pg *pg, struct pg_conn *conn, struct err *err);
/* Puts what went wrong into the words of the store. */
void pgstore_translate(struct err *err);
/* Reads cells of `*(struct pgstore_cursor *)arg`. */
struct pgstore_cursor {
    const PGresult *result;
    int row;
};
const char *pgstore_text(void *arg, int column);
int64_t pgstore_integer(void *arg, int column);

/* A batch of writes (postgresql_write.c). */
struct pgstore_write {
    struct pgstore_call call;
    struct op step;
    struct list *batch;
    struct list *apart; /* NULL: all in one statement; else the request whose turn it is */
    size_t good;        /* requests without an rc when it was built */
    struct buf migrations, callers, records; /* the statement's values */
    struct buf runs, lanes;
    size_t record_count, run_count, lane_count; /* in them */
    bool keyed;                                 /* every record has a run_id */
};

/* Claims, changes of the ledger, or a beat (postgresql_outcome.c): a write with a result. */
struct pgstore_outcome {
    struct pgstore_call call;
    struct op step;
    struct list *batch;
    struct buf json; /* of the claims or changes */
    char numbers[4][24];
};

/*
 * A read.
 *
 *  QUERYING ─> CONVERTING (on the thread pool) ─> (done)
 */
struct pgstore_read {
    struct request *request;
    struct store_pg *pg;
    struct pgstore_call call;
    struct op step;
    struct buf pairs, connections; /* values that are JSON */
    char *text;                    /* of a simple query; NULL: none */
    char limit[24], after[24];     /* numbers, of which `after` is the cursor */
};

struct store_pg {
    struct store_core core;
    struct store_ops ops;        /* without locks where they are not wanted */
    struct pgstore_locks *locks; /* NULL: not wanted */
    struct op locks_op;          /* closing them */
    struct loop *loop;
    struct pg_pool *pool;
    char *schema;
    char *quoted_schema; /* NULL until there was a connection */
    char *texts[PGSTORE_SQL_COUNT];
    struct pgstore_write write;
    struct pgstore_outcome outcome;
    struct op pool_op; /* closing the pool */
    struct op *close_op;
};

/* Each runs what the core dealt out; see core.h. */
void pgstore_prepare_run(struct store_pg *pg, struct request *request);
void pgstore_prepare_cancel(struct request *request);
void pgstore_prepare_free(void *state);
void pgstore_write_run(struct store_pg *pg, struct list *batch);
void pgstore_outcome_run(struct store_pg *pg, struct list *batch);
void pgstore_read_run(struct store_pg *pg, struct request *request);
void pgstore_read_cancel(struct request *request);
void pgstore_read_free(void *state);
void pgstore_sync_run(struct store_pg *pg, struct request *request);
void pgstore_sync_free(void *state);
/* postgresql_mark.c: as store_ops.mark_adopted; beside the queue, as no other write is about it. */
int pgstore_mark_adopted(struct store *store, struct op *op, const struct store_adopted *rows,
                         size_t count);

/* postgresql_read_runs.c: the statement and its values for reads about runs and of tenants. */
int pgstore_read_fill_about_runs(struct pgstore_read *read);
/* postgresql_read_standing.c: the same for what stands and for starts without an end. */
int pgstore_read_fill_standing(struct pgstore_read *read);
/* postgresql_ledger.c: the same for the ledger, and one of its changes among the values of a batch.
 */
int pgstore_read_fill_ledger(struct pgstore_read *read);
void pgstore_put_change(struct buf *json, size_t number, const struct ledger_change *change);
/* postgresql_write_runs.c: adds a run and its lanes to the values of a batch. */
void pgstore_put_run(struct pgstore_write *write, const struct request *request);

#endif
