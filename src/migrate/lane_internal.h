#ifndef BFM_MIGRATE_LANE_INTERNAL_H
#define BFM_MIGRATE_LANE_INTERNAL_H

#include "migrate/run_internal.h"

/* The machine is in lane.c; what it does in its states is in lane_step.c and lane_check.c. */

enum lane_state {
    LANE_CHECKING,
    LANE_SKIPPING,
    LANE_LOCKING,
    LANE_CLAIMING,
    LANE_EXECUTING,
    LANE_SETTLING,
    LANE_PAUSING,
    LANE_DONE,
};

/* What steps of this lane have in common that cannot run because of an earlier one. */
struct lane_block {
    struct lane_block *next;
    const char *connection, *schema;
    const struct err *reason;
};

enum lane_progress {
    LANE_FOUND, /* a step that needs its target */
    LANE_END,   /* no step is left */
    LANE_MORE,  /* enough for this turn */
};

struct lane {
    struct run_full *run;
    struct run_lane_result *result;
    struct run_plan *plan;
    struct list link; /* run->lanes */
    struct sm sm;
    struct op op;
    int rc; /* of the last operation */

    size_t at;                 /* step of the plan the lane is at */
    struct run_item *items;    /* result->items while they grow: room for every step */
    struct lane_block *blocks; /* per (connection, schema) with a failure; in the run's arena */
    const struct err *
        *node_failures; /* why a node failed or did not run; NULL until there is one */

    /* what is required before anything runs */
    struct backend_check *checks;
    size_t check_at, check_count; /* the batch under way */

    /* the step under way */
    struct lock lock, next_lock;
    struct run_item item; /* what is known of it so far */
    struct backend_step step_request;
    struct backend_result step_result;
    struct store_record records[2];
    struct store_caller
        caller;         /* of the step's own records: the request's, perhaps with more context */
    struct err failure; /* code != 0: why it failed */
    enum run_item_kind outcome;
    enum lock_news news;
    enum store_event record_event;
    uint64_t step_started_ms;

    /* offers to the state database */
    struct op_sleep sleep;
    uint64_t offered_since_ms, pause_ms;
    int back_to; /* state to try again after PAUSING */
};

struct lane *lane_create(struct run_full *run, size_t index); /* NULL when memory is out */
void lane_free(struct lane *lane);                            /* tells the run */

const struct plan_step *lane_step(const struct lane *lane);
const char *lane_schema(const struct lane *lane,
                        const struct plan_node *node); /* effective; "" for none */

/* lane_check.c: true: checked to the end (result->err says what is missing); false: an operation is
 * under way */
bool lane_check_requirements(struct lane *lane);

/* lane_step.c */
const struct plan_node *lane_node(const struct lane *lane); /* of the step it is at */
void lane_announce(struct lane *lane); /* an event for each step that is planned to run */
/* Settles steps that need no target, up to a turn's worth of them. */
enum lane_progress lane_skip_to_runnable(struct lane *lane);
void lane_begin_item(struct lane *lane);
void lane_finish_step(struct lane *lane, enum run_item_kind kind);
void lane_note_failure(struct lane *lane, int rc); /* reason: what lane->op.err says */

/* lane_record.c */
void lane_prepare_step(struct lane *lane);
int lane_write_claim(struct lane *lane);
int lane_write_outcome(struct lane *lane);
void lane_judge_outcome(struct lane *lane);
void lane_note_unrecorded(struct lane *lane);

#endif
