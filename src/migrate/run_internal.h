#ifndef BFM_MIGRATE_RUN_INTERNAL_H
#define BFM_MIGRATE_RUN_INTERNAL_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/sm.h"
#include "migrate/engine.h"

/* What the files of a run share; nobody outside migrate/ includes this. */

enum {
    RUN_LANES_PER_SLICE = 64, /* lanes started in one turn of the loop */
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

struct run_full {
    struct run pub;
    struct sm sm;
    struct list link; /* engine->runs */
    unsigned refs;    /* the caller's and the machine's */
    struct arena arena;
    struct run_request request;
    struct registry *registry;
    struct plan_graph graph;
    void (*done)(struct run *run);
    struct op op;
    struct task task;
    int rc;    /* of the last operation */
    int stop;  /* why the run ends early, 0: it does not */
    bool hard; /* running statements are interrupted too */

    /* what is applied: a bit per node, for each lane */
    struct store_scope *scopes;
    size_t scope_count;
    struct store_executions rows;
    size_t rows_at;
    struct map node_by_id;     /* base ID -> struct plan_node */
    struct map lane_by_schema; /* requested schema -> struct run_lane_result */
    size_t bits_len;           /* bytes per lane */
    uint8_t *bits;             /* lane i: bits + i * bits_len */
    bool *unjournaled; /* undo: lane i was applied by an older server, which kept no journal */

    /* undo: who depends on it */
    const struct migration **dependents;
    size_t dependent_count, dependent_at;
    bool dependent_asked;
    size_t dependent_row;
    bool undoes_declared; /* rows of any schema may depend on what is undone */
    const char
        *own_schema; /* effective schema of the lane that requested none; NULL if there is none */
    struct store_executions dependent_rows;
    struct buf blockers; /* applied dependents, for the refusal; its rc says that there are more */

    /* lanes under way */
    size_t next_lane, active, limit;
    struct list lanes;  /* struct lane */
    struct map plans;   /* bits -> struct run_plan */
    bool did_something; /* a step reached a target */

    /* skipped steps, written after the answer */
    struct store_record *skips;
    size_t skip_count, skip_cap;
    size_t skip_at, skip_chunk; /* written so far; under way */
};

/* engine.c */
void engine_emit(struct engine *engine, enum run_event_kind kind, const struct run_full *run,
                 const struct run_item *item);
void engine_check_idle(struct engine *engine);

/* reconcile.c */
void reconcile_stop(struct list *link); /* `link` is in engine->reconciles */

/* run_applied.c: which rows to ask for, and from rows to bits. Return 0 or ERR_NOMEM. */
int run_make_scopes(struct run_full *run);
int run_prepare_bits(struct run_full *run);
bool run_index_rows(struct run_full *run); /* one slice; true: there is more */
const char *run_effective_schema(const struct run_full *run, const struct plan_node *node,
                                 const char *requested);
const uint8_t *run_lane_bits(const struct run_full *run, size_t lane);

/* run_plan.c */
/* Remembers a row for the skipped list; out of memory loses the row and nothing else. */
void run_add_skip(struct run_full *run, const struct run_item *item);
struct run_plan *run_get_plan(struct run_full *run, size_t lane); /* NULL when memory is out */
void run_put_plan(struct run_plan *plan);

/* lane.c */
int lane_start(struct run_full *run, size_t index); /* 0, or ERR_NOMEM: the lane's result says so */
void lane_stop(struct list *link, bool hard);       /* `link` is in run->lanes */

/* run_start.c */
void run_unref(struct run_full *run);

/* run.c */
void run_init_machine(struct run_full *run);
/* Ends a run early: waits are cut short, with `hard` running statements too. */
void run_stop(struct run_full *run, int why, bool hard);
/* Called by a lane as its last act; `lane` is freed. */
void run_on_lane_done(struct run_full *run, struct list *lane_link);
#endif
