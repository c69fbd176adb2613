#ifndef BFM_STORE_STORE_H
#define BFM_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/op.h"
#include "model/registry.h"

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

/* Results are zeroed by the store and filled before done(op, 0); the caller frees `arena` with
 * arena_free(). On failure they hold nothing. The result and the query must live until done. */
struct store_ops {
    const char *name; /* "sqlite", "postgresql", "mysql" */
    /* Connects, creates what is missing. Retries are the caller's. Until it has succeeded once
     * everything else fails with ERR_STORE. */
    int (*prepare)(struct store *store, struct op *op);
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
    /* By base ID (all schemas), or with NULL the most recently run ones; newest first, at most
     * `limit` rows. */
    int (*get_executions)(struct store *store, struct op *op, const char *migration_id,
                          size_t limit, struct store_executions *out);
    int (*get_statuses)(struct store *store, struct op *op, const char *migration_id,
                        struct store_statuses *out);
    int (*get_history)(struct store *store, struct op *op, const char *migration_id, size_t limit,
                       struct store_event_rows *out);
    int (*get_skipped)(struct store *store, struct op *op, const char *migration_id, size_t limit,
                       struct store_event_rows *out);
    /* Waits for what was started, then closes. The store is gone when done is called. Always
     * starts. */
    int (*close)(struct store *store, struct op *op);
};

#endif
