#ifndef BFM_STORE_CORE_H
#define BFM_STORE_CORE_H

#include "base/list.h"
#include "base/sched.h"
#include "store/store.h"

/*
 * What every state store shares: the queue in front of the database. It gathers the writes of a
 * turn into batches, keeps the order promised in store.h, and completes operations. The database
 * kinds implement `struct core_ops`.
 *
 * Order: writes go in batches, one batch at a time, in the order of their start. A read begins once
 * every write started before it has ended; writes of skips alone are waited for by reads of skips
 * alone, as nothing else shows them. A ping waits for nobody. A sync goes in steps, between
 * which other batches may run: it touches no column that they write.
 */
enum request_kind {
    REQUEST_PREPARE,
    REQUEST_PING,
    REQUEST_WRITE,
    REQUEST_SYNC,
    REQUEST_APPLIED,
    REQUEST_EXECUTIONS,
    REQUEST_STATUSES,
    REQUEST_HISTORY,
    REQUEST_SKIPPED,
};

enum {
    CORE_BATCH_RECORDS = 4096,       /* a batch is closed when it has at least so many */
    CORE_QUEUE_RECORDS = 100 * 1000, /* above this, writes of skips alone are refused */
    CORE_QUEUE_BYTES = 64 * 1024 * 1024,
    CORE_TIMEOUT_MS = 30 * 1000, /* of one statement sent to a server */
};

/* One operation that was started. Arguments and results are borrowed from the caller. */
struct request {
    struct list link;
    struct store_core *core;
    struct op *op; /* the implementation puts the reason of a failure into op->err */
    enum request_kind kind;
    uint64_t seq;
    bool running; /* the implementation has it */
    bool more;    /* sync: set by the implementation when another step is needed */
    int rc;       /* set by the implementation */
    void *state;  /* the implementation's, freed by core_ops.release */

    const struct store_record *records; /* write */
    size_t record_count;
    size_t bytes;
    bool only_skips;
    const struct registry *registry;  /* sync */
    const struct store_scope *scopes; /* applied */
    size_t scope_count;
    const char *migration_id; /* executions, statuses, history, skipped */
    size_t limit;
    union {
        struct store_executions *executions;
        struct store_statuses *statuses;
        struct store_event_rows *events;
    } out;
};

/* A database kind. None of these may fail: what cannot be started is completed with rc set. */
struct core_ops {
    bool exclusive; /* one batch or one group of reads at a time */
    /* Runs a batch: a prepare or a sync step alone, or writes. Ends with core_end_batch(). */
    void (*run_batch)(struct store_core *core, struct list *batch);
    /* Runs reads, in any order; takes them off `reads`. Each ends with core_end_read(). */
    void (*run_reads)(struct store_core *core, struct list *reads);
    /* Asks for an early end of a running read or prepare; may be NULL. */
    void (*cancel)(struct store_core *core, struct request *request);
    /* Frees request->state; may be NULL. */
    void (*release)(struct request *request);
    /* Nothing runs and nothing is queued: closes the database, frees the core, finishes `op`. */
    void (*close)(struct store_core *core, struct op *op);
};

struct store_core {
    struct store store;
    const struct core_ops *ops;
    struct sched *sched;
    struct task task; /* deals out what is queued */
    struct list writes, syncs, reads;
    struct list batch; /* the running one */
    size_t reading;    /* reads running */
    uint64_t seq;
    size_t queued_records, queued_bytes; /* of writes not ended yet */
    bool batch_was_last;                 /* of batch and reads; the other comes next */
    bool sync_was_last;                  /* of writes and syncs; likewise */
    bool prepared;
    struct op *close_op;
};

void core_init(struct store_core *core, const struct store_ops *store_ops,
               const struct core_ops *ops, struct sched *sched);

/* The batch that is running has ended: each request's rc and op->err are set. */
void core_end_batch(struct store_core *core);
/* The same for one read. */
void core_end_read(struct request *request);
/* Sets rc and the reason of every request of a list. */
void core_fail_list(struct list *requests, const struct err *err);

/* The start calls of store_ops. */
int core_prepare(struct store *store, struct op *op);
int core_ping(struct store *store, struct op *op);
int core_write(struct store *store, struct op *op, const struct store_record *records,
               size_t count);
int core_sync(struct store *store, struct op *op, const struct registry *registry);
int core_get_applied(struct store *store, struct op *op, const struct store_scope *scopes,
                     size_t scope_count, struct store_executions *out);
int core_get_executions(struct store *store, struct op *op, const char *migration_id, size_t limit,
                        struct store_executions *out);
int core_get_statuses(struct store *store, struct op *op, const char *migration_id,
                      struct store_statuses *out);
int core_get_history(struct store *store, struct op *op, const char *migration_id, size_t limit,
                     struct store_event_rows *out);
int core_get_skipped(struct store *store, struct op *op, const char *migration_id, size_t limit,
                     struct store_event_rows *out);
int core_close(struct store *store, struct op *op);

#endif
