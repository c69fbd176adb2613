#ifndef BFM_MIGRATE_RUN_INTERNAL_H
#define BFM_MIGRATE_RUN_INTERNAL_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/sm.h"
#include "migrate/compare.h"
#include "migrate/engine.h"

/* What the files of a run share; nobody outside migrate/ includes this. */

enum {
    RUN_LANES_PER_SLICE = 64,    /* lanes started in one turn of the loop */
    RUN_STEPS_PER_SLICE = 20000, /* and steps of theirs, beyond the first lane's */
    RUN_ROWS_PER_SLICE = 5000,
    RUN_SKIPS_PER_WRITE = 500,
    RUN_BLOCKERS_MAX = 700, /* bytes of names in the refusal of an undo */
    RUN_PLANS_KEPT = 64,    /* plans shared between lanes with the same applied bits */
};

/* A plan with the applied bits that led to it, shared by `users` lanes. */
struct run_plan {
    struct plan plan;
    struct err err; /* code != 0: no plan, the pass fails with this */
    bool kept;      /* in the cache, freed with the run */
    uint8_t bits[]; /* applied, then nodes without a schema: run->bits_len bytes each */
};

/* run_row.c: the run's row in the state database. */
struct run_row {
    struct sm sm;
    struct op op;
    struct op_sleep sleep;
    struct store_run row; /* what is written, borrowed by the store */
    struct store_run_lane *lanes;
    size_t lane_count, lane_at, lane_chunk;
    struct buf answer;
    uint64_t offered_since_ms, pause_ms;
};

struct run_full {
    struct run pub;
    struct sm sm;
    struct list link; /* engine->runs */
    struct arena arena;
    struct run_request request;
    struct registry *registry;
    struct plan_graph graph;
    void (*done)(struct run *run);
    struct op op;
    struct task task;
    unsigned refs; /* the caller's and the machine's */
    int rc;        /* of the last operation */
    int stop;      /* why the run ends early, 0: it does not */
    bool hard;     /* running statements are interrupted too */

    /* what is applied: a bit per node, for each lane */
    struct store_scope *scopes;
    size_t scope_count;
    struct store_executions rows;
    size_t rows_at;
    struct map node_by_id;     /* base ID -> struct plan_node */
    struct map lane_by_schema; /* requested schema -> struct run_lane_result */
    size_t bits_len;           /* bytes per lane */
    uint8_t *bits;             /* lane i: bits + i * bits_len */
    bool *unjournaled;      /* undo: lane i was applied by an older server, which kept no journal */
    struct compare compare; /* undo: the target's journal with the state */
    bool has_compared;
    uint64_t comparing_since_ms;

    /* undo: who depends on it */
    const struct plan_dependent *dependents;
    struct map dependent_by_id; /* base ID -> struct plan_dependent */
    size_t dependent_count, dependent_at;
    size_t dependent_row;
    bool dependent_asked;
    bool undoes_declared; /* rows of any schema may depend on what is undone */
    const char
        *own_schema; /* effective schema of the lane that requested none; NULL if there is none */
    struct store_executions dependent_rows;
    struct buf blockers; /* applied dependents, for the refusal; its rc says that there are more */

    /* lanes under way */
    size_t next_lane, active, limit;
    struct list lanes;     /* struct lane */
    struct map plans;      /* bits -> struct run_plan */
    struct run_plan *made; /* for next_lane, NULL if it shares one or there was no memory */
    bool plan_asked;       /* next_lane's plan was looked for */
    bool did_something;    /* a step reached a target */

    /* skipped steps, written after the answer */
    struct store_record *skips;
    size_t skip_count, skip_cap;
    size_t skip_at, skip_chunk; /* written so far; under way */
    bool skips_over;

    struct run_row row;
    struct list waiters; /* struct run_waiter */
};

/* engine.c */
/* Whether the one who was at work there is gone: its run has ended without a word, or is so old
 * that it must have. */
bool engine_has_lost(const struct engine *engine, const struct store_standing *row);
void engine_emit(struct engine *engine, enum run_event_kind kind, const struct run_full *run,
                 const struct run_item *item);
void engine_check_idle(struct engine *engine);
/* Runs `fn(arg)` on a thread if `size` things are many, else at once; completes `op` with its
 * result. What it touches must be left alone until then. Refused with ERR_NOMEM. */
int engine_work(struct engine *engine, size_t size, struct op *op,
                int (*fn)(void *arg, struct err *err), void *arg);

/* reconcile.c */
void reconcile_stop(struct list *link); /* `link` is in engine->reconciles */

/* run_applied.c: which rows to ask for, and from rows to bits. Return 0 or ERR_NOMEM. */
int run_make_scopes(struct run_full *run);
int run_prepare_bits(struct run_full *run);
bool run_index_rows(struct run_full *run); /* one slice; true: there is more */
/* Takes back what run_index_rows() found out, for another look-up. */
void run_forget_applied(struct run_full *run);
/* Undo: whether a lane finds nothing to undo in the state, on a target that was not compared. */
bool run_lacks_proof(const struct run_full *run);
const char *run_effective_schema(const struct run_full *run, const struct plan_node *node,
                                 const char *requested);
const uint8_t *run_lane_bits(const struct run_full *run, size_t lane);
/* What a lane knows of a node. It learns more while it is under way, its plan stays. */
bool run_is_applied(const struct run_full *run, size_t lane, size_t node);
void run_set_applied(struct run_full *run, size_t lane, size_t node, bool applied);
/* Whether somebody else is at work there who may still be alive. */
bool run_is_at_work(const struct run_full *run, const struct store_standing *row);

/* run_undo.c: what depends on the migration that is undone */
int run_find_dependents(struct run_full *run); /* 0 or ERR_NOMEM */
/* Whether the dependent that is next could do with another migration: its lanes judge that. */
bool run_dependent_has_choice(const struct run_full *run);
/* Looks through a slice of its executions for what forbids the undo. False: there is more. */
bool run_check_dependent(struct run_full *run);
/* The places that decide whether it may be undone in a schema; the caller frees *out. */
int run_list_undo_places(const struct run_full *run, const char *schema, struct store_place **out,
                         size_t *count);
/* 0, or ERR_CONFLICT with the reason for what stands there, or ERR_NOMEM. */
int run_judge_undo(const struct run_full *run, const char *schema,
                   const struct store_standings *seen, struct err *err);

/* run_places.c */
int run_check_places(struct run_full *run, struct err *err);

/* run_plan.c */
/* Remembers a row for the skipped list; out of memory loses the row and nothing else. */
void run_add_skip(struct run_full *run, const struct run_item *item);
/* Sees to it that next_lane has a plan. False: it is being made, run->op tells when. */
bool run_prepare_plan(struct run_full *run);
/* The plan of next_lane, once prepared; NULL when memory is out. */
struct run_plan *run_take_plan(struct run_full *run);
void run_put_plan(struct run_plan *plan);

/* lane.c */
int lane_start(struct run_full *run, size_t index); /* 0, or ERR_NOMEM: the lane's result says so */
void lane_stop(struct list *link, bool hard);       /* `link` is in run->lanes */

/* lane_view.c: what can be seen of a lane while it is under way, and its counts */
struct lane;
void lane_note_start(struct lane *lane);
void lane_note_position(struct lane *lane); /* after every move */
void lane_note_item(struct lane *lane, enum run_item_kind kind);
void lane_note_end(struct lane *lane);
/* The lane has its result, whether it ever started or not. */
void run_note_lane_end(struct run_full *run, struct run_lane_result *result);

/* run_row.c */
void run_row_init(struct run_full *run);
void run_row_free(struct run_full *run);
/* Starts to write that the run is under way, unless that was done or it is not recorded. What is
 * written later in this turn travels with it. 0, or what the store refused with, in row.op.err. */
int run_row_begin(struct run_full *run);
/* Starts to write how the run ended. No effect before the beginning has ended, and the second time.
 */
void run_row_end(struct run_full *run);
bool run_row_is_begun(const struct run_full *run);     /* or about to be */
bool run_row_is_beginning(const struct run_full *run); /* about to be */
bool run_row_is_over(const struct run_full *run);      /* nothing is left to wait for */
bool run_row_is_late(const struct run_full *run);      /* the answer must not wait any longer */

/* run_start.c */
int run_plan(struct run_full *run); /* starts to make the graph; refusals in op.err */
int run_load(struct run_full *run); /* starts the look-up; likewise */
void run_unref(struct run_full *run);

/* run.c */
void run_init_machine(struct run_full *run);
void run_on_row(struct run_full *run); /* run_row.c has got further */
/* Ends a run early: waits are cut short, with `hard` running statements too. */
void run_stop(struct run_full *run, int why, bool hard);
/* Called by a lane as its last act; `lane` is freed. */
void run_on_lane_done(struct run_full *run, struct list *lane_link);
/* run_start.c: unique, sorts by time; or `given`, where that is not NULL. */
void run_make_id(char out[40], const char *given);

#endif
