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
    PGSTORE_SQL_COUNT,
};

enum {
    PGSTORE_SQL_PARTS = 3, /* compilers need not take literals of more than 4095 bytes */
};

/* With '@' where the quoted schema belongs. */
extern const char *const pgstore_sql[PGSTORE_SQL_COUNT][PGSTORE_SQL_PARTS];

/* An object of the layout. */
struct pgstore_object {
    const char *table; /* or the name of an index */
    const char *column;
    const char *sql; /* makes it, unless it is there */
};
extern const struct pgstore_object pgstore_objects[];
extern const size_t pgstore_object_count;
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
    const char *values[3];
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
    bool keyed;                              /* every record has a run_id */
};

struct store_pg {
    struct store_core core;
    struct loop *loop;
    struct pg_pool *pool;
    char *schema;
    char *quoted_schema; /* NULL until there was a connection */
    char *texts[PGSTORE_SQL_COUNT];
    struct pgstore_write write;
    struct op pool_op; /* closing the pool */
    struct op *close_op;
};

/* Each runs what the core dealt out; see core.h. */
void pgstore_prepare_run(struct store_pg *pg, struct request *request);
void pgstore_prepare_cancel(struct request *request);
void pgstore_prepare_free(void *state);
void pgstore_write_run(struct store_pg *pg, struct list *batch);
void pgstore_read_run(struct store_pg *pg, struct request *request);
void pgstore_read_cancel(struct request *request);
void pgstore_read_free(void *state);
void pgstore_sync_run(struct store_pg *pg, struct request *request);
void pgstore_sync_free(void *state);

#endif
