#ifndef BFM_MIGRATE_ENGINE_H
#define BFM_MIGRATE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"
#include "base/map.h"
#include "base/sched.h"
#include "migrate/locks.h"
#include "model/plan.h"
#include "model/registry.h"
#include "store/store.h"

/*
 * What all runs share: the current registry, the state store, the targets, the locks between runs
 * and the stream of events. One per server. Owns its registry reference; borrows store and
 * backends.
 */
struct engine_config {
    uint64_t lock_wait_ms; /* BFM_LOCK_WAIT */
    /* How often and how long a step's outcome is offered again to a state database that is away. */
    uint64_t settle_retry_ms;   /* first pause, doubled each time up to 5 s */
    uint64_t settle_give_up_ms; /* then the run answers that the target is ahead */
};

enum run_event_kind {
    RUN_EVENT_QUEUED,
    RUN_EVENT_RUNNING,
    RUN_EVENT_APPLIED, /* also: undone */
    RUN_EVENT_SKIPPED,
    RUN_EVENT_FAILED,
    RUN_EVENT_RUN_STARTED, /* no migration */
    RUN_EVENT_RUN_ENDED,
};

/* One event. Valid during the call only. */
struct run_event {
    uint64_t seq; /* per process, from 1, no gaps */
    enum run_event_kind kind;
    const struct run *run;
    const struct migration *migration; /* NULL for events of the run */
    const char *schema;
    const struct err *err; /* FAILED; else NULL */
    unsigned attempts;
    uint64_t duration_ms;
};

/* A reader of events; embedded by its owner, who removes it before it dies. */
struct engine_listener {
    void (*on_event)(struct engine_listener *listener, const struct run_event *event);
    struct list link;
};

struct engine {
    struct sched *sched;
    struct store *store;
    struct registry *registry;
    struct map backends; /* connection -> struct engine_target */
    struct locks locks;
    struct engine_config config;
    struct list listeners;
    struct list runs;       /* under way */
    struct list reconciles; /* under way */
    uint64_t event_seq;
    bool stopping;
    void (*on_idle)(
        struct engine *engine); /* called when the last run and reconcile ended while stopping */
    struct task stop_task;
};

/* A connection of the configuration. `backend` is NULL while its kind is not built in; then `why`
 * says so. */
struct engine_target {
    const char *connection;
    enum backend_kind kind;
    const char *default_schema; /* {C}_SCHEMA or NULL */
    struct backend *backend;
    const char *why;
};

void engine_init(struct engine *engine, struct sched *sched, struct store *store,
                 const struct engine_config *config);
void engine_free(struct engine *engine); /* no run is under way */
int engine_add_target(struct engine *engine, struct engine_target *target); /* borrowed */
struct engine_target *engine_target(const struct engine *engine,
                                    const char *connection); /* NULL if unknown */
/* Takes over the reference; runs under way keep theirs. */
void engine_set_registry(struct engine *engine, struct registry *registry);
void engine_listen(struct engine *engine, struct engine_listener *listener);
void engine_unlisten(struct engine_listener *listener);
/* No new runs (ERR_SHUTDOWN); lanes stop behind the step they are at. on_idle comes when no run is
 * left, at once (but not from inside) if there is none. */
void engine_stop(struct engine *engine, void (*on_idle)(struct engine *engine));
/* Cancels what is running now; outcomes are still found out and recorded. */
void engine_cancel_all(struct engine *engine);

/* --- runs --- */

enum run_kind {
    RUN_UP,
    RUN_DOWN,
};

struct run_request {
    enum run_kind kind;
    const char *connection;            /* up: required */
    struct plan_filter filter;         /* up */
    const struct migration *migration; /* down */
    const char *const *schemas;        /* one lane each, duplicates dropped */
    size_t schema_count;               /* 0: one lane without a requested schema */
    bool dry_run;
    bool ignore_dependencies;
    struct store_caller caller;
};

enum run_item_kind {
    RUN_ITEM_APPLIED,     /* took effect (up: applied, down: undone) */
    RUN_ITEM_SKIPPED,     /* up: applied already */
    RUN_ITEM_NOT_APPLIED, /* down: there was nothing to undo */
    RUN_ITEM_DRY_RUN,     /* would run */
    RUN_ITEM_FAILED,      /* err says why */
    RUN_ITEM_NOT_RUN,     /* err says what failed before */
};

/* What became of one migration in one lane. */
struct run_item {
    const struct migration *migration;
    const char *schema; /* effective; "" if it has none */
    enum run_item_kind kind;
    bool dependency; /* not selected, only required */
    unsigned attempts;
    uint64_t duration_ms;
    const struct err *err; /* NULL unless FAILED or NOT_RUN */
    const char *notices;   /* NULL or lines */
};

struct run_lane_result {
    const char *requested; /* requested schema, NULL if none was */
    const struct run_item *items;
    size_t count;
    struct err err; /* code != 0: the whole pass failed (unreachable target, dependencies); items
                       before it stay */
};

/* A run. All memory is its own; the request is copied. */
struct run {
    char id[40]; /* unique, sorts by time */
    struct engine *engine;
    const struct run_request *request; /* the copy */
    const struct registry *registry;   /* the snapshot it keeps */
    struct run_lane_result *lanes;
    size_t lane_count;
    struct err
        err; /* code != 0: nothing was done at all (state database away, conflict of an undo) */
    int64_t started_us, ended_us; /* wall time */
    void *data;                   /* the caller's */
};

/*
 * Starts a run. `done` is called once, later, never from inside; then the caller reads the result
 * and calls run_free(). The caller going away does not stop a run. Refused with ERR_NOMEM,
 * ERR_SHUTDOWN, ERR_NOT_FOUND
 * ("connection {c} not found"), ERR_INVALID (a schema name that cannot be used).
 */
int run_start(struct engine *engine, const struct run_request *request,
              void (*done)(struct run *run), void *data, struct run **out, struct err *err);
/* Asks to end early, for the reason `why` (ERR_CANCELED, ERR_SHUTDOWN). done still comes. */
void run_cancel(struct run *run, int why);
void run_free(struct run *run);

/* --- reconciler: journals against state --- */

struct reconcile_target {
    const char *connection;
    size_t checked;  /* journal and state rows compared */
    size_t repaired; /* state rows put right */
    size_t unknown;  /* journal rows of migrations nobody knows */
    struct err err;  /* code != 0: this target could not be compared to the end */
};

struct reconcile {
    struct reconcile_target *targets;
    size_t count;
    struct err err; /* code != 0: the state database failed */
    void *data;
};

/* Compares every target, or the one named. As run_start(); free with reconcile_free(). */
int reconcile_start(struct engine *engine, const char *connection,
                    void (*done)(struct reconcile *reconcile), void *data, struct reconcile **out,
                    struct err *err);
void reconcile_cancel(struct reconcile *reconcile);
void reconcile_free(struct reconcile *reconcile);

#endif
