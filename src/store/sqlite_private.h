#ifndef BFM_STORE_SQLITE_PRIVATE_H
#define BFM_STORE_SQLITE_PRIVATE_H

#include "base/buf.h"
#include "base/map.h"
#include "driver/sqlite.h"
#include "io/loop.h"
#include "store/core.h"
#include "store/rows.h"

/* What the files of the SQLite store share; nobody else includes it. The functions below run on a
 * pool thread. */
struct store_sqlite {
    struct store_core core;
    struct loop *loop;
    char *path;
    struct op job;     /* the one job under way */
    struct list reads; /* of a job that reads */
    struct op *close_op;

    /* of the job's thread */
    struct sqlite *db; /* NULL: not open */
    bool synced;       /* a commit waits for the disk */
};

/* sqlite_schema.c: makes the tables, or refuses those of an older layout. */
int sqlite_schema_ensure(struct sqlite *db, struct err *err);

/* One batch. */
struct sqlite_write {
    struct sqlite *db;
    struct map listed;         /* migrations whose list row is known to be there */
    struct buf error, context; /* texts that had to be cleaned */
    int64_t now_us;
};

/* sqlite_record.c: values 1 to 8 of a statement that writes a row of migrations_list. */
void sqlite_bind_migration(struct sqlite_stmt *stmt, const struct migration *migration);
/* One record and its effects, within a transaction. */
int sqlite_write_record(struct sqlite_write *write, const struct store_record *record,
                        struct err *err);

/* sqlite_runs.c: requests of these kinds, within a transaction. */
int sqlite_write_run(struct sqlite_write *write, const struct request *request, struct err *err);
int sqlite_write_claim(struct sqlite_write *write, const struct request *request, struct err *err);
int sqlite_write_swap(struct sqlite_write *write, const struct request *request, struct err *err);
int sqlite_write_beat(struct sqlite_write *write, const struct request *request, struct err *err);

/* sqlite_write.c: the writes of a batch in one transaction; sets rc of each. */
void sqlite_write_batch(struct store_sqlite *lite, struct list *batch);
/* Whether a commit waits for the disk. Not inside a transaction. */
int sqlite_write_set_synced(struct store_sqlite *lite, bool synced, struct err *err);

/* sqlite_read.c: one read; sets rc. */
void sqlite_read_run(struct sqlite *db, struct request *request);
/* Adds every row of a bound statement to the result. */
int sqlite_read_rows(struct sqlite_stmt *stmt, struct rows *rows, struct request *request);

/* sqlite_read_runs.c: reads about runs and of tenants. */
int sqlite_read_about_runs(struct sqlite *db, struct rows *rows, struct request *request);
/* sqlite_read_standing.c: the same for what stands and for starts without an end. */
int sqlite_read_standing(struct sqlite *db, struct rows *rows, struct request *request);

/* sqlite_ledger.c: a read of the ledger; sqlite_write_swap() is there too. */
int sqlite_read_ledger(struct sqlite *db, struct rows *rows, struct request *request);

/* sqlite_sync.c: one step of a sync; sets rc, more and state. */
void sqlite_sync_step(struct store_sqlite *lite, struct request *request);
void sqlite_sync_free(void *state);

#endif
