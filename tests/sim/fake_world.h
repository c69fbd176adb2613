#ifndef BFM_TESTS_SIM_FAKE_WORLD_H
#define BFM_TESTS_SIM_FAKE_WORLD_H

#include "migrate/engine.h"

/*
 * A world for the machines of migrate/ without I/O: virtual time, a store and a target in memory.
 * Every operation of either is counted; operation number `fail_at` (from 1) fails with `fail_rc`.
 * The target keeps effects and journal together, as a transaction would.
 */
/* A row of the history. */
struct fake_history {
    char *id, *schema, *run_id, *context;
    const char *status;
    int64_t at_us;
    enum store_owner owner; /* what the row of its run says */
};

struct fake_world {
    struct sched sched;
    uint64_t now_ms;
    struct engine engine;

    struct store store;
    struct backend backend;
    struct engine_target target;

    uint64_t ops;     /* operations started so far */
    uint64_t fail_at; /* 0: none fails */
    int fail_rc;
    bool fail_sticky; /* all later ones fail too */
    bool fail_store_only, fail_target_only;
    bool fail_refused; /* the start call refuses instead of the operation failing */

    uint64_t step_spread; /* up to four times this is added, so that lanes drift apart */
    uint64_t step_ms;     /* how long a step takes; 0: next turn */
    unsigned running;     /* steps under way */
    unsigned most_running;
    unsigned asked;    /* steps that the target was asked to run */
    unsigned executed; /* steps that reached the target */
    bool no_checksums; /* the store's rows are an older server's */
    unsigned retries;  /* a step is tried again so often, because of retry_err */
    struct err retry_err;
    unsigned doubt; /* statement of 3 that resolve() finds in doubt; 0: none */
    bool doubt_of_undo;
    bool doubt_is_lost;        /* it takes the decision, and its answer does not come */
    const char *broken;        /* migrations whose name this is fail on the target */
    const char *broken_schema; /* NULL, or they fail in schemas whose names begin so */

    struct map effects; /* "id@schema" -> itself: what the target has */
    struct map applied; /* "id@schema" -> itself: what the store believes */
    struct arena arena; /* for keys */
    char log[65536];    /* "pending id@schema\n" ...: what the store was told, in order */
    size_t log_len;
    struct fake_history *history; /* malloc'ed */
    size_t history_count, history_cap;
    uint64_t look_ms; /* how long get_standing() takes */
    unsigned looks;   /* get_standing() was asked so often */
    char run_row[32]; /* what the row of the last run says: its status, "" for none */
    size_t run_lanes; /* and how many lanes it has */
    unsigned run_puts;
    unsigned skips;
    char context[512]; /* the last execution context that names dependencies */
};

void fake_world_init(struct fake_world *world, const struct registry_file *files, size_t count);
/* Asserts that nothing is left held or under way. */
void fake_world_free(struct fake_world *world);

const char *fake_status_name(enum store_run_status status);

/* One turn of the scheduler; virtual time jumps to the next timer when nothing else is to do.
 * False: idle. */
bool fake_world_turn(struct fake_world *world);
void fake_world_settle(struct fake_world *world); /* turns until idle */

bool fake_world_has_effect(const struct fake_world *world, const char *id, const char *schema);
bool fake_world_believes(const struct fake_world *world, const char *id, const char *schema);
void fake_world_set_effect(struct fake_world *world, const char *id, const char *schema,
                           bool there);
void fake_world_set_belief(struct fake_world *world, const char *id, const char *schema,
                           bool there);
/* A row that a server left behind; `owner` says what its run's own row says. */
void fake_world_leave_pending(struct fake_world *world, const char *id, const char *schema,
                              const char *run_id, int64_t at_us, enum store_owner owner);
/* Rows `pending` without an end by the same run, and rows of a status by a run. */
size_t fake_world_unended(const struct fake_world *world);
size_t fake_world_ends(const struct fake_world *world, const char *run_id, const char *status);
/* Whether the store believes exactly what the target has. */
bool fake_world_agrees(const struct fake_world *world);

#endif
