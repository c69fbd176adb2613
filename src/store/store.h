#ifndef BFM_STORE_STORE_H
#define BFM_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/op.h"
#include "base/pool_stats.h"
#include "model/ledger.h"
#include "model/registry.h"
#include "store/runs.h"

/*
 * The state database: what ran where, a projection of the targets' journals that can be rebuilt
 * from them. One implementation per database kind behind `struct store_ops`. Tables: bfm-api.md §7.
 *
 * Every operation keeps the contract of base/op.h. Operations of one store take effect in the order
 * in which they were started: a read sees every write started before it (rows of skips may follow
 * later, but only get_skipped() shows them, and it waits). Writes started in one turn travel in one
 * transaction. While the database is away operations fail with ERR_STORE (reason
 * without host, user or password); the store reconnects by itself.
 */
struct store {
    const struct store_ops *ops;
};

/* Who asked for a run. Borrowed by records until their write completes. */
struct store_caller {
    const char *executed_by;       /* "api_user" */
    const char *execution_method;  /* "api", "manual", "auto_migrate" */
    const char *execution_context; /* JSON text */
    /* For the log, not stored: base/trace.h. NULL or "": none. */
    const char *request_id, *trace_id, *span_id;
};

enum store_event {
    STORE_PENDING, /* a step starts: history row `pending` */
    STORE_APPLIED, /* history `applied`; executions applied; list `applied` */
    STORE_FAILED,  /* history `failed` with error; executions/list `failed` unless applied before */
    STORE_ROLLED_BACK, /* history `rolled_back`; executions not applied; list `rolled_back` */
    STORE_UNDO_FAILED, /* history `failed` with error; stays applied, list keeps the error */
    STORE_SKIPPED, /* row in migrations_skipped; the last 5 per (migration, schema, connection) are
                      kept */
    /* What the journal has and the state does not know: as APPLIED, method "reconcile", and nothing
     * at all if the execution is applied already, by whichever run. What was found is true however
     * often it is found: a history row with the same run_id does not suppress it, and trying again
     * after an unknown outcome is safe without a run_id. */
    STORE_FOUND_APPLIED,
    /* The other way round: as ROLLED_BACK, method "reconcile", and nothing at all unless the
     * execution is applied. */
    STORE_FOUND_NOT_APPLIED,
    /* A `pending` that came to nothing: history `failed` with error, nothing else, and not even
     * that where the run recorded an end of it. */
    STORE_CUT_OFF,
    /* A `pending` of a step that turned out to be done by somebody else: history `applied` or
     * `rolled_back`, nothing else. */
    STORE_END_APPLIED,
    STORE_END_NOT_APPLIED,
    /* A person decided about a statement in doubt, which did not end the step: history `failed`
     * with error, which says what was decided, and nothing else. */
    STORE_RESOLVED,
};

/* One thing to write. Everything pointed to is borrowed until the write completes. */
struct store_record {
    enum store_event event;
    const struct migration *migration;
    const char *schema; /* effective schema, "" for none */
    const struct store_caller *caller;
    const char *error; /* NULL or text */
    const char *run_id;
    const char *checksum; /* of the script that was applied; NULL if unknown */
    int64_t at_us;        /* wall time of the event */
    unsigned attempts;    /* of an end: tries it took; 0 if unknown */
    int64_t duration_ms;  /* of an end: how long the step ran; 0 if unknown */
};

/* Which executions to look up. */
struct store_scope {
    const char *connection;
    const char *const *schemas; /* NULL: all schemas */
    size_t schema_count;
};

/* One row of migrations_executions. Strings live in the result's arena, never NULL unless said. */
struct store_execution {
    const char *migration_id;
    const char *schema;
    const char *version;
    const char *connection;
    const char *backend;
    const char *status; /* applied, failed, pending, rolled_back */
    bool applied;
    const char *checksum;  /* "" if the row is from an older server */
    int64_t applied_at_us; /* 0: never */
    int64_t created_at_us, updated_at_us;
};

struct store_executions {
    struct arena arena;
    struct store_execution *rows;
    size_t count;
};

/* The last execution of a page. */
struct store_cursor {
    int64_t updated_at_us;
    const char *schema, *migration_id;
};

/* A migration in a schema that is asked about. */
struct store_place {
    const char *migration_id;
    const char *schema; /* NULL: all of them */
};

/* What the run's own row (runs.h) says about one that is at work. */
enum store_owner {
    STORE_OWNER_UNKNOWN, /* there is no row */
    STORE_OWNER_RUNNING,
    STORE_OWNER_ENDED, /* in whatever way, or its server is gone */
};

/* What stands there: that it is applied, or that somebody is at work on it. */
struct store_standing {
    const char *migration_id, *schema, *connection;
    bool applied;       /* else at work: the newest history row is `pending` */
    int64_t history_id; /* at work: of that row, and what it says */
    const char *run_id;
    int64_t since_us;
    enum store_owner owner;
};

struct store_standings {
    struct arena arena;
    struct store_standing *rows;
    size_t count;
};

/* State of one base ID, summed over schemas. */
struct store_status {
    const char *migration_id;
    const char *status; /* applied, failed, rolled_back, pending */
    bool applied;
    int64_t applied_at_us;
    const char *error_message; /* "" if none */
    const char *checksum;      /* newest applied checksum, "" if unknown */
    int64_t schemas_applied;
    /* as recorded, for rows whose script is gone */
    const char *schema, *version, *name, *connection, *backend;
};

struct store_statuses {
    struct arena arena;
    struct store_status *rows; /* ordered by migration_id */
    size_t count;
};

/* One row of migrations_history or migrations_skipped. */
struct store_event_row {
    int64_t id;
    const char *migration_id, *schema, *version, *connection, *backend;
    const char *status; /* "" for skipped rows */
    const char *error_message, *executed_by, *execution_method, *execution_context;
    int64_t at_us; /* applied_at or skipped_at */
    int64_t created_at_us;
};

struct store_event_rows {
    struct arena arena;
    struct store_event_row *rows;
    size_t count;
};

/* What one server at a time works on, also where servers of other makes are among them. */
struct store_lock_want {
    const struct migration
        *migration; /* NULL: taking over what older servers did on `connection` */
    const char *schema;
    const char *connection;
    uint64_t wait_ms; /* 0: had at once or not at all */
};

struct store_lock_grant {
    struct store_lock *lock; /* NULL: nothing to give back */
    bool applied; /* the state says so, read when the lock was had; false where it was not read */
};

/* An execution that an older server recorded, and that is in its target's journal by now. */
struct store_adopted {
    const struct migration *migration;
    const char *schema;
};

/* What waits in front of the database, and the connections to it. */
struct store_stats {
    size_t queued_records, queued_bytes; /* of writes that have not ended */
    size_t queued_reads;
    struct pool_stats pool;
};

/* Results are zeroed by the store and filled before done(op, 0); the caller frees `arena` with
 * arena_free(). On failure they hold nothing. The result and the query must live until done. */
struct store_ops {
    const char *name; /* "sqlite", "postgresql", "mysql" */
    /* Connects, creates what is missing. Retries are the caller's. Until it has succeeded once
     * everything else fails with ERR_STORE. */
    int (*prepare)(struct store *store, struct op *op);
    /* Whether it answers and has its tables. ERR_NOT_FOUND when one of them is gone, with a reason
     * that names it: prepare makes it again. */
    int (*ping)(struct store *store, struct op *op);
    /* Durable when done. All or nothing. */
    int (*write)(struct store *store, struct op *op, const struct store_record *records,
                 size_t count);
    /* Makes migrations_list (and migrations_dependencies) hold a row for every migration of the
     * registry; keeps rows and history of others. */
    int (*sync)(struct store *store, struct op *op, const struct registry *registry);
    /* Applied executions within the scopes (several connections in one look-up), ordered by schema.
     */
    int (*get_applied)(struct store *store, struct op *op, const struct store_scope *scopes,
                       size_t scope_count, struct store_executions *out);
    /* By base ID (all schemas), or with NULL the most recently run ones; newest first, then by
     * schema and ID, at most `limit` rows, those behind `after` (NULL: from the start). */
    int (*get_executions)(struct store *store, struct op *op, const char *migration_id,
                          const struct store_cursor *after, size_t limit,
                          struct store_executions *out);
    /* What stands at the places: a row for each that is applied and one for each that is at work.
     */
    int (*get_standing)(struct store *store, struct op *op, const struct store_place *places,
                        size_t count, struct store_standings *out);
    /* History rows `pending` to which the same run wrote no end, with an id above `after` (-1 at
     * the start), by id, at most `limit`; all of them count as at work. */
    int (*get_unended)(struct store *store, struct op *op, int64_t after, size_t limit,
                       struct store_standings *out);
    int (*get_statuses)(struct store *store, struct op *op, const char *migration_id,
                        struct store_statuses *out);
    /* Newest first, with an id below `before_id` (0: from the start), at most `limit`. */
    int (*get_history)(struct store *store, struct op *op, const char *migration_id,
                       int64_t before_id, size_t limit, struct store_event_rows *out);
    int (*get_skipped)(struct store *store, struct op *op, const char *migration_id,
                       int64_t before_id, size_t limit, struct store_event_rows *out);
    /* --- whole runs; see runs.h --- */

    /* Durable when done: writes the run's row, or replaces it, and adds its lanes. A row that says
     * how the run ended is not replaced by one that says that it runs. Travels in the same
     * transaction as other writes of the turn. */
    int (*put_run)(struct store *store, struct op *op, const struct store_run *run,
                   const struct store_run_lane *lanes, size_t lane_count);
    /* Newest first, at most `limit`. */
    int (*get_runs)(struct store *store, struct op *op, const struct store_run_filter *filter,
                    size_t limit, struct store_runs *out);
    /* Lanes with a number, steps with an id above `after` (-1 at the start). */
    int (*get_run_lanes)(struct store *store, struct op *op, const char *run_id, int64_t after,
                         size_t limit, struct store_run_lanes *out);
    int (*get_run_steps)(struct store *store, struct op *op, const char *run_id, int64_t after,
                         size_t limit, struct store_run_steps *out);
    /* Durable when done. Of two claims of one key, of whichever servers, one gets it. */
    int (*claim_key)(struct store *store, struct op *op, const struct store_key *key,
                     struct store_key_claim *out);
    /* Also removes what is too old to keep: expired keys, servers long dead, runs. Only so much at
     * a time that nobody waits for it; the rest goes with later ones. */
    int (*beat)(struct store *store, struct op *op, const struct store_beat *beat,
                struct store_beat_result *out);
    int (*get_tenants)(struct store *store, struct op *op, const struct store_tenant_filter *filter,
                       struct store_tenants *out);

    /* --- the journal of targets that have none; see model/ledger.h --- */

    int (*get_ledger)(struct store *store, struct op *op, const struct ledger_query *query,
                      struct ledger_rows *out);
    /* Durable when done with 0; *swapped: it took effect. Changes of one turn travel together. One
     * whose connection breaks fails with ERR_STORE, and may have taken effect. */
    int (*swap_ledger)(struct store *store, struct op *op, const struct ledger_change *change,
                       bool *swapped);

    /* Gives executions that are applied and have no checksum that of the script, and changes
     * nothing else. Durable when done; `rows` must live until then. NULL where no older server can
     * have written. */
    int (*mark_adopted)(struct store *store, struct op *op, const struct store_adopted *rows,
                        size_t count);

    /*
     * Locks between servers (bfm-api.md §6.7): both NULL where there are none to be had. The
     * target's journal decides in any case; what has none of ours needs these. ERR_LOCKED after
     * `wait_ms`, ERR_STORE when the database was away all that time, ERR_CANCELED, ERR_NOMEM,
     * ERR_SHUTDOWN. `want` is copied, `out` must live until done. What was had is lost when the
     * store's session is, and nobody is told; unlock() takes it back all the same and never waits.
     */
    int (*lock)(struct store *store, struct op *op, const struct store_lock_want *want,
                struct store_lock_grant *out);
    void (*unlock)(struct store *store, struct store_lock *lock);

    /* What is known of it, without asking. */
    void (*get_stats)(struct store *store, struct store_stats *out);

    /* Waits for what was started, then closes. The store is gone when done is called. Always
     * starts. */
    int (*close)(struct store *store, struct op *op);
};

#endif
