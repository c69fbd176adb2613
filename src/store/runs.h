#ifndef BFM_STORE_RUNS_H
#define BFM_STORE_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/op.h"

/*
 * What the state database keeps about whole runs, beside the history of their steps: shapes of the
 * operations in store.h. Tables: bfm_runs, bfm_run_lanes, bfm_idempotency_keys, bfm_servers in
 * BFM_STATE_SCHEMA; steps are rows of migrations_history with the run's id.
 *
 * Strings of what is written are borrowed until the write completes; strings of what was read live
 * in the result's arena and are never NULL.
 */
enum store_run_status {
    STORE_RUN_RUNNING,
    STORE_RUN_SUCCEEDED,
    STORE_RUN_FAILED,      /* at least one error line */
    STORE_RUN_CANCELED,    /* asked for, or the server stopped */
    STORE_RUN_INTERRUPTED, /* its server ended without a word; set by whoever notices */
};
const char *store_run_status_name(enum store_run_status status); /* "running", ... */
bool store_run_status_parse(const char *name, enum store_run_status *status);

struct store_run_counts {
    int64_t lanes, lanes_failed;
    int64_t applied, skipped, failed, not_run; /* steps; applied counts undone ones, too */
};

struct store_run {
    const char *id;
    const char *kind;       /* "up", "migrate", "down", "rollback" */
    const char *connection; /* "" if the request named none */
    enum store_run_status status;
    const char *request; /* JSON object: what was asked for, enough to ask again */
    const char *executed_by, *execution_method, *execution_context;
    const char *server_id;
    const char *retry_of; /* run id, "" if none */
    const char *error;    /* "" or why nothing was done at all */
    struct store_run_counts counts;
    int64_t started_at_us, ended_at_us; /* ended: 0 while it runs */
    const char *answer; /* only written: NULL, or what claim_key() gives from now on for the key
                           that stands for the run */
};

/* A lane in which something else happened than that everything was skipped. */
struct store_run_lane {
    int64_t number;     /* from 0, its place in the request */
    const char *schema; /* requested one, "" if none was */
    bool failed;
    const char *error; /* "" or why the whole pass failed, or the first step that was not tried */
    int64_t applied, skipped, failed_steps, not_run;
    int64_t duration_ms;
};

/* A step that reached a target, from its history rows. */
struct store_run_step {
    int64_t id; /* of the newest row; grows */
    const char *migration_id, *schema, *version, *connection, *backend;
    const char *status; /* pending (no end is known), applied, failed, rolled_back */
    const char *error_message;
    int64_t attempts, duration_ms;      /* 0 if unknown */
    int64_t started_at_us, ended_at_us; /* 0 if unknown */
};

struct store_runs {
    struct arena arena;
    struct store_run *rows; /* newest first */
    size_t count;
};

struct store_run_lanes {
    struct arena arena;
    struct store_run_lane *rows; /* by number */
    size_t count;
};

struct store_run_steps {
    struct arena arena;
    struct store_run_step *rows; /* by id */
    size_t count;
};

/* Which runs to list; empty strings and NULL do not restrict. */
struct store_run_filter {
    const char *id; /* exactly this one */
    const char *connection, *kind, *executed_by;
    const char *status;             /* a name as above */
    const char *before_id;          /* cursor: only runs with a smaller id, which are older */
    const char *const *connections; /* only these; NULL: all (what a token may see) */
    size_t connection_count;
};

/* An Idempotency-Key. Unique per (owner, key) until it expires. */
struct store_key {
    const char *owner; /* name of the token that sent it */
    const char *key;
    const char *fingerprint; /* of method, path and body */
    const char *run_id;      /* the run that the key is to stand for */
    int64_t now_us, expires_at_us;
};

struct store_key_claim {
    struct arena arena;
    bool claimed; /* the key is new, or was claimed for this very run: run. It stands for: */
    const char *fingerprint;
    const char *run_id;
    const char *answer; /* "" if none was kept (yet) */
};

/* A server that uses this state database says that it is alive. Who is silent is told by the clock
 * of the database (SQLite: of the machine), not by `now_us`. A run that is put as running brings
 * the row of its server. */
struct store_beat {
    const char *server_id; /* unique per start of a process */
    int64_t now_us;        /* when runs that are found ended; which keys have expired */
    int64_t dead_after_us; /* servers that were silent for so long are dead */
    int64_t keep_runs_us;  /* runs that ended longer ago are removed, with their lanes; 0: none.
                              Their steps stay: they are history */
    bool goodbye;          /* the last one: the row goes; what still runs is interrupted */
};

struct store_beat_result {
    int64_t interrupted; /* runs of dead servers that were `running` and are `interrupted` now */
};

/* One schema of a connection, as the executions show it; those in no schema ("") are left out. */
struct store_tenant {
    const char *schema;
    const char *version; /* newest applied, "" if none */
    int64_t applied;     /* of the migrations without a schema of their own, those gone included */
    int64_t counted;     /* of those that the filter counts: how many are applied, */
    int64_t failed;      /* and how many are not and failed last */
    int64_t last_run_us;
};

struct store_tenants {
    struct arena arena;
    struct store_tenant *rows; /* by schema, bytewise */
    size_t count;
};

struct store_tenant_filter {
    const char *connection;
    const char *schema;       /* only this one; NULL: all */
    const char *after_schema; /* cursor, "" at the start */
    size_t limit;             /* 0: all */
    /* What counts: base IDs, NULL for all that have no schema of their own, and no version above
     * upto_version, NULL for all. */
    const char *const *migration_ids;
    size_t id_count;
    const char *upto_version;
};

#endif
