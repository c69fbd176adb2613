#ifndef BFM_MIGRATE_ENGINE_H
#define BFM_MIGRATE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"
#include "base/buf.h"
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
enum {
    ENGINE_LOST_AFTER_MS = 600 * 1000,
    ENGINE_LANE_STATES = 16, /* at most */
};

struct engine_config {
    uint64_t lock_wait_ms; /* BFM_LOCK_WAIT */
    /* As work_start() of io/work.h, with `work_arg` for the loop: large plans are made where they
     * do not keep the loop busy. NULL: they are made at once. */
    int (*work)(void *work_arg, struct op *op, int (*fn)(void *arg, struct err *err), void *arg);
    void *work_arg;
    /* How often and how long a step's outcome is offered again to a state database that is away. */
    uint64_t settle_retry_ms;   /* first pause, doubled each time up to 5 s */
    uint64_t settle_give_up_ms; /* then the run answers that the target is ahead */
    /* A step whose run left no word for so long counts as cut off; 0: ENGINE_LOST_AFTER_MS. Runs
     * with a row of their own (store/runs.h) need no such guess. */
    uint64_t lost_after_ms;
    const char *server_id; /* unique per start of the process, in the rows of runs; borrowed */
};

enum run_event_kind {
    RUN_EVENT_QUEUED,
    RUN_EVENT_RUNNING,
    RUN_EVENT_ATTEMPT, /* it is tried again; err says why, attempts which try comes */
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
    const struct err *err; /* FAILED, ATTEMPT; else NULL */
    bool not_run;          /* FAILED: it was left out, because of what failed before */
    unsigned attempts;
    uint64_t duration_ms;
};

/* Why a step is tried again, of an ATTEMPT's error: "lock_timeout", "connection_lost", "deadlock",
 * "serialization", "timeout", "other". */
const char *run_event_reason(const struct err *why);

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
    struct map runs_by_id;  /* the same, run ID -> struct run_full */
    struct list reconciles; /* under way */
    uint64_t event_seq;
    size_t lanes_at[ENGINE_LANE_STATES]; /* lanes under way, by what they wait for */
    bool stopping;
    void (*on_idle)(
        struct engine *engine); /* called when the last run and reconcile ended while stopping */
    struct task stop_task;
};

/* A connection of the configuration. `backend` is NULL where it has no address or a setting cannot
 * be used; then `why` says so. */
struct engine_target {
    const char *connection;
    enum backend_kind kind;
    const char *default_schema; /* {C}_SCHEMA or NULL */
    struct backend *backend;
    const char *why;
    /* The state database has what the target's journal says of the migrations that are known; else
     * that nothing is in the state proves nothing. Set by the reconciler; what could not be
     * recorded ends it. */
    bool compared;
    bool compared_in_part; /* the journal has rows of migrations that are not known yet */
};

void engine_init(struct engine *engine, struct sched *sched, struct store *store,
                 const struct engine_config *config);
void engine_free(struct engine *engine); /* no run is under way */
int engine_add_target(struct engine *engine, struct engine_target *target); /* borrowed */
struct engine_target *engine_target(const struct engine *engine,
                                    const char *connection); /* NULL if unknown */
/* Takes over the reference; runs under way keep theirs. Targets that were compared in part are to
 * be compared again. */
void engine_set_registry(struct engine *engine, struct registry *registry);
void engine_listen(struct engine *engine, struct engine_listener *listener);
void engine_unlisten(struct engine_listener *listener);
/* What lanes counted in lanes_at[at] wait for: "locking", "executing", ...; NULL: nothing. */
const char *engine_lane_state(size_t at);
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

/* How a run is kept in the state database (store/runs.h). Strings are copied. */
struct run_record {
    const char *kind;     /* "up", "migrate", "down", "rollback"; NULL: the run is not recorded */
    const char *request;  /* JSON object: enough to ask again */
    const char *retry_of; /* NULL: of none */
    const char *id;       /* NULL: a new one */
    /* Before anything else is done the row is durable, and `recorded` is called, if there is one,
     * unless that fails: then the run does. */
    bool first;
    void (*recorded)(struct run *run);
    /* NULL, or makes the answer that is kept with the row: called once, when the run has ended. One
     * that does not fit the buffer is not kept. */
    void (*answer)(struct run *run, struct buf *out);
};

struct run_request {
    enum run_kind kind;
    const char *connection;            /* up: required */
    struct plan_filter filter;         /* up */
    const struct migration *migration; /* down */
    const char *const *schemas;        /* one lane each, duplicates dropped */
    size_t schema_count;               /* 0: one lane without a requested schema, or... */
    bool no_lone_lane;                 /* ...none at all */
    bool dry_run;
    bool explain; /* of a dry run: items say why they are there, and there are no events */
    bool ignore_dependencies;
    bool hides_dependents; /* down: a refusal does not say what depends on the migration, nor where
                            */
    /* Once more lanes than that have failed the others are left alone (ERR_HALTED): those that have
     * not begun do not, those under way end behind the step they are at. */
    bool limits_failures;
    size_t max_failures;
    struct store_caller caller;
    /* NULL, or asked about every place that the run could touch, those of dependencies too; what is
     * not 0 ends it as a whole (ERR_FORBIDDEN). Called before the run is on record or has done
     * anything; its argument must live until `recorded` or `done`. */
    int (*may_touch)(const void *arg, const char *connection, const char *schema, struct err *err);
    const void *may_touch_arg;
    struct run_record record; /* not of a dry run */
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
    const char *reason;    /* NULL unless asked to explain: "selected", "required by {id}" */
};

struct run_counts {
    int64_t applied; /* or undone */
    int64_t skipped, failed;
    int64_t not_run; /* a lane that was left alone before it began counts as one */
};

struct run_lane_result {
    const char *requested; /* requested schema, NULL if none was */
    const struct run_item *items;
    size_t count;
    size_t planned; /* how many items there will be, unless it ends early; 0: not known yet */
    struct err err; /* code != 0: the whole pass failed (unreachable target, dependencies); items
                       before it stay */
    const struct err *untried; /* NULL, or which step was the first to fail without a try, of which
                                  no record is kept, and why */
    struct run_counts counts;
    bool started, ended;
    uint64_t started_ms, ended_ms; /* monotonic */
    /* While it is under way: the step it is at, NULL between two, and what it waits for. */
    const struct migration *current;
    const char *current_schema;
    const char *waits_for; /* "locking", "executing", ... */
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
    struct run_counts counts;     /* of all lanes, so far */
    size_t lanes_failed;          /* so far; without those that were left alone */
    int64_t started_us, ended_us; /* wall time */
    void *data;                   /* the caller's */
};

/* Somebody else who wants to know when a run has ended; embedded. */
struct run_waiter {
    void (*ended)(struct run_waiter *waiter, struct run *run); /* in it: run_hold() to keep it */
    struct list link;
};

/*
 * Starts a run. `done` is called once, later, never from inside; then the caller reads the result
 * and calls run_free(). The caller going away does not stop a run. Refused with ERR_NOMEM,
 * ERR_SHUTDOWN, ERR_NOT_FOUND
 * ("connection {c} not found"), ERR_INVALID (a schema name that cannot be used).
 */
int run_start(struct engine *engine, const struct run_request *request,
              void (*done)(struct run *run), void *data, struct run **out, struct err *err);
/* The same in two steps: what run_create() made waits for run_go(), or goes by run_free(). A run
 * that run_go() refuses must be freed, too. */
int run_create(struct engine *engine, const struct run_request *request,
               void (*done)(struct run *run), void *data, struct run **out, struct err *err);
int run_go(struct run *run, const char *id,
           struct err *err); /* `id`: instead of its own, or NULL */
/* Asks to end early, for the reason `why` (ERR_CANCELED, ERR_SHUTDOWN). done still comes. False: it
 * is too late, every lane has ended. */
bool run_cancel(struct run *run, int why);
void run_hold(struct run *run); /* one more run_free() is needed */
void run_free(struct run *run);
/* The one with this ID that is under way, or whose end is just being recorded; NULL if there is
 * none. Borrowed until the turn ends. */
struct run *run_find(const struct engine *engine, const char *id);
/* What would be written of it and of a lane now; borrows from the run. */
void run_describe(const struct run *run, struct store_run *out);
void run_describe_lane(const struct run *run, size_t index, struct store_run_lane *out);
/* Whether it failed or was left alone: what a retry would do again. */
bool run_lane_failed(const struct run_lane_result *lane);
/* Whether every lane has ended; the result is complete then. */
bool run_has_ended(const struct run *run);
/* What the run came to, or RUNNING. */
enum store_run_status run_status(const struct run *run);
/* `run` has not ended. Told before the run's own `done`. */
void run_wait(struct run *run, struct run_waiter *waiter);
void run_unwait(struct run_waiter *waiter); /* no effect if it was told */

/* --- reconciler: journals against state --- */

struct reconcile_target {
    const char *connection;
    size_t checked;  /* journal and state rows compared */
    size_t repaired; /* executions put right; what others put right meanwhile does not count */
    size_t ended;    /* starts of steps that were without an end and have one now */
    size_t unknown;  /* journal rows of migrations nobody knows */
    size_t left;     /* differences in what a run is at, left to that run */
    size_t adopted;  /* what older servers applied and the journal has now */
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
