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
 * alone, as nothing else shows them; claims of keys are waited for by nobody, as no read shows
 * them; changes of the ledger and reads of it wait for each other and for nothing else. A batch
 * holds writes and runs, or claims, or changes of the ledger, or one beat. A ping waits for nobody.
 * A sync goes in steps, between which other batches may run: it touches no column that they write.
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
    REQUEST_PUT_RUN,
    REQUEST_CLAIM_KEY,
    REQUEST_BEAT,
    REQUEST_RUNS,
    REQUEST_RUN_LANES,
    REQUEST_RUN_STEPS,
    REQUEST_TENANTS,
    REQUEST_STANDING,
    REQUEST_UNENDED,
    REQUEST_LEDGER,
    REQUEST_SWAP_LEDGER,
};

enum {
    CORE_BATCH_RECORDS = 4096,       /* a batch is closed when it has at least so many */
    CORE_QUEUE_RECORDS = 100 * 1000, /* above this, writes of skips alone are refused */
    CORE_QUEUE_BYTES = 64 * 1024 * 1024,
    CORE_BATCH_LOOK = 4096,      /* requests looked at to find those that go together */
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
    size_t rows; /* of any kind: what it counts in the queue and in a batch */
    size_t bytes;
    bool only_skips;
    const struct registry *registry;  /* sync */
    const struct store_scope *scopes; /* applied */
    size_t scope_count;
    const char *migration_id;          /* executions, statuses, history, skipped */
    const struct store_cursor *cursor; /* executions; NULL: from the start */
    int64_t before_id;                 /* history, skipped; 0: from the start */
    size_t limit;
    const struct store_run *run; /* put_run */
    const struct store_run_lane *lanes;
    size_t lane_count;
    const struct store_key *key;
    const struct store_beat *beat;
    const struct store_run_filter *run_filter;
    const struct store_tenant_filter *tenant_filter;
    const struct store_place *places; /* standing */
    size_t place_count;
    const struct ledger_query *ledger_query;
    const struct ledger_change *change;
    const char *run_id; /* run_lanes, run_steps */
    int64_t after;
    union {
        struct store_executions *executions;
        struct store_statuses *statuses;
        struct store_event_rows *events;
        struct store_runs *runs;
        struct store_run_lanes *run_lanes;
        struct store_run_steps *run_steps;
        struct store_tenants *tenants;
        struct store_standings *standings;
        struct store_key_claim *claim;
        struct store_beat_result *beat;
        struct ledger_rows *ledger;
        bool *swapped;
    } out;
};

/* A database kind. None of these may fail: what cannot be started is completed with rc set. */
struct core_ops {
    bool exclusive; /* one batch or one group of reads at a time */
    /* Runs a batch: a prepare, a beat or a sync step alone, or claims, or changes of the ledger,
     * or writes and runs. Ends with core_end_batch(). */
    void (*run_batch)(struct store_core *core, struct list *batch);
    /* Runs reads, in any order; takes them off `reads`. Each ends with core_end_read(). */
    void (*run_reads)(struct store_core *core, struct list *reads);
    /* Asks for an early end of a running read or prepare; may be NULL. */
    void (*cancel)(struct store_core *core, struct request *request);
    /* Frees request->state; may be NULL. */
    void (*release)(struct request *request);
    /* Figures of the connections; may be NULL. */
    void (*get_pool)(struct store_core *core, struct pool_stats *out);
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

/* Whether it only looks. */
bool core_is_read(enum request_kind kind);
/* The arena of a read's or a claim's result; NULL if it has none. */
struct arena *core_result_arena(const struct request *request);
/* Adds the row that `rows` reads to the result of a read. 0 or ERR_NOMEM. */
struct rows;
int core_add_row(struct request *request, struct rows *rows);
/* Makes it empty; nothing is freed. */
void core_zero_result(struct request *request);
/* Starts an operation: what every start call below ends with. */
int core_start(struct store *store, struct op *op, const struct request *arguments);
/* The same, after making its result empty. */
int core_start_result(struct store *store, struct op *op, struct request *request);

/* The reason of a ping that missed a table: says what to do, in front of what `err` says. */
int core_report_lost(struct err *err);

/* The start calls of store_ops. */
int core_prepare(struct store *store, struct op *op);
int core_ping(struct store *store, struct op *op);
int core_write(struct store *store, struct op *op, const struct store_record *records,
               size_t count);
int core_sync(struct store *store, struct op *op, const struct registry *registry);
int core_get_applied(struct store *store, struct op *op, const struct store_scope *scopes,
                     size_t scope_count, struct store_executions *out);
int core_get_executions(struct store *store, struct op *op, const char *migration_id,
                        const struct store_cursor *after, size_t limit,
                        struct store_executions *out);
int core_get_statuses(struct store *store, struct op *op, const char *migration_id,
                      struct store_statuses *out);
int core_get_history(struct store *store, struct op *op, const char *migration_id,
                     int64_t before_id, size_t limit, struct store_event_rows *out);
int core_get_skipped(struct store *store, struct op *op, const char *migration_id,
                     int64_t before_id, size_t limit, struct store_event_rows *out);
int core_get_standing(struct store *store, struct op *op, const struct store_place *places,
                      size_t count, struct store_standings *out);
int core_get_unended(struct store *store, struct op *op, int64_t after, size_t limit,
                     struct store_standings *out);
int core_put_run(struct store *store, struct op *op, const struct store_run *run,
                 const struct store_run_lane *lanes, size_t lane_count);
int core_get_runs(struct store *store, struct op *op, const struct store_run_filter *filter,
                  size_t limit, struct store_runs *out);
int core_get_run_lanes(struct store *store, struct op *op, const char *run_id, int64_t after,
                       size_t limit, struct store_run_lanes *out);
int core_get_run_steps(struct store *store, struct op *op, const char *run_id, int64_t after,
                       size_t limit, struct store_run_steps *out);
int core_claim_key(struct store *store, struct op *op, const struct store_key *key,
                   struct store_key_claim *out);
int core_beat(struct store *store, struct op *op, const struct store_beat *beat,
              struct store_beat_result *out);
int core_get_tenants(struct store *store, struct op *op, const struct store_tenant_filter *filter,
                     struct store_tenants *out);
int core_get_ledger(struct store *store, struct op *op, const struct ledger_query *query,
                    struct ledger_rows *out);
int core_swap_ledger(struct store *store, struct op *op, const struct ledger_change *change,
                     bool *swapped);
void core_get_stats(struct store *store, struct store_stats *out);
int core_close(struct store *store, struct op *op);

/* What the `struct store_ops` of every kind has in common. */
#define CORE_STORE_OPS                                                                           \
    .prepare = core_prepare, .ping = core_ping, .write = core_write, .sync = core_sync,          \
    .get_applied = core_get_applied, .get_executions = core_get_executions,                      \
    .get_standing = core_get_standing, .get_unended = core_get_unended,                          \
    .get_statuses = core_get_statuses, .get_history = core_get_history,                          \
    .get_skipped = core_get_skipped, .put_run = core_put_run, .get_runs = core_get_runs,         \
    .get_run_lanes = core_get_run_lanes, .get_run_steps = core_get_run_steps,                    \
    .claim_key = core_claim_key, .beat = core_beat, .get_tenants = core_get_tenants,             \
    .get_ledger = core_get_ledger, .swap_ledger = core_swap_ledger, .get_stats = core_get_stats, \
    .close = core_close

#endif
