#ifndef BFM_MIGRATE_LANE_INTERNAL_H
#define BFM_MIGRATE_LANE_INTERNAL_H

#include "migrate/run_internal.h"

/* The machine is in lane.c; what it does in its states is in the other files lane_*.c. */

enum {
    LANE_STEPS_PER_TURN = 1000, /* settled without their target */
};

enum lane_state {
    LANE_CHECKING,
    LANE_SKIPPING,
    LANE_LOCKING,
    LANE_GUARDING,
    LANE_CLAIMING,
    LANE_LOOKING,
    LANE_ADOPTING,
    LANE_EXECUTING,
    LANE_SETTLING,
    LANE_CLOSING,
    LANE_PAUSING,
    LANE_DONE,
};

/* What steps of this lane have in common that cannot run because of an earlier one. */
struct lane_block {
    struct lane_block *next;
    const char *connection, *schema;
    const struct err *reason;
};

/* A lock that a step needs: its own, held alone, or that of a migration it depends on, shared. */
struct lane_lock {
    size_t node;
    const char *id, *schema;
    enum lock_mode mode;
    bool inherited;     /* the step before holds it alone and passes it on */
    bool applied, busy; /* of what it depends on, as it was last seen */
    struct lock lock;
};

/* All of them, by (id, schema); zeroed memory holds nothing. */
struct lane_locks {
    struct lane_lock *items; /* NULL: nothing held or waited for */
    struct lane_lock *own;
    size_t count, taken;
    const struct plan_node *node;
    struct store_lock *guard; /* among servers; NULL: none is held */
};

enum lane_sight {
    LANE_CLEAR,   /* the step may run */
    LANE_BUSY,    /* another server is at work on what it depends on */
    LANE_BLOCKED, /* it must not run: lane->failure says why */
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
    int counted_at; /* state that engine->lanes_at counts it in, if is_counted */
    bool is_counted;
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
    struct lane_locks locks, next;
    struct store_lock_grant grant;    /* of locks.guard, as it comes */
    struct lane_ahead *ahead;         /* of next.guard; NULL: not asked for */
    struct backend_adoption adoption; /* of an undo of what an older server applied */
    uint64_t locking_since_ms;
    struct run_item item; /* what is known of it so far */
    struct backend_step step_request;
    struct backend_result step_result;
    struct store_place *places; /* what is looked at behind the lock */
    size_t place_count;
    struct store_standings seen;
    uint64_t looking_since_ms;
    struct store_record records[3]; /* an outcome, its run's own end, the next start */
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
size_t lane_index(const struct lane *lane); /* of its result in the run */
const char *lane_schema(const struct lane *lane,
                        const struct plan_node *node); /* effective; "" for none */

/* lane_check.c: true: checked to the end (result->err says what is missing); false: an operation is
 * under way */
bool lane_check_requirements(struct lane *lane);

/* lane_locks.c: what a step holds while it runs. */
/* Takes what can be had at once. 0: all are held; LANE_LOCKS_WAIT: one is waited for; else failed.
 */
enum {
    LANE_LOCKS_WAIT = 1,
};
int lane_take_locks(struct lane *lane, const struct plan_node *node);
/* The one that was waited for is held: goes on. As above. */
int lane_take_more_locks(struct lane *lane);
/* Who held the step's own lock before has done what it is for. */
bool lane_has_wish(const struct lane *lane);
void lane_release_locks(struct lane *lane, enum lock_news news);
/* The same for the next step, without waiting, while this one still holds its own. */
bool lane_try_next_locks(struct lane *lane, const struct plan_node *node);
/* This step is over with `news`; the next one holds what it needs. */
void lane_pass_locks(struct lane *lane, enum lock_news news);
void lane_forget_next(struct lane *lane);

/* lane_guard.c: taking turns with other servers. */
bool lane_has_guard(const struct lane *lane);
int lane_start_guard(struct lane *lane); /* for the step it is at */
/* It was had. False: the state says by now that there is nothing left to do. */
bool lane_keep_guard(struct lane *lane);
void lane_release_guard(struct lane *lane, struct lane_locks *locks);
/* Asks for that of the next step without waiting, if there is one. */
void lane_start_ahead(struct lane *lane, const struct plan_node *node);
/* Gives it to lane->next if it was had and there is something to do; true also where there are
 * none.
 */
bool lane_take_ahead(struct lane *lane, const struct plan_node *node);
void lane_drop_ahead(struct lane *lane);

/* lane_look.c: what the step relies on, looked at again behind the lock. */
bool lane_has_look(const struct lane *lane);
int lane_start_look(struct lane *lane);
enum lane_sight lane_judge_look(struct lane *lane);
void lane_end_look(struct lane *lane);
void lane_fail_busy(struct lane *lane); /* it was waited for long enough */

/* lane_step.c */
const struct plan_node *lane_node(const struct lane *lane); /* of the step it is at */
void lane_announce(struct lane *lane); /* an event for each step that is planned to run */
/* Settles steps that need no target, up to a turn's worth of them. */
enum lane_progress lane_skip_to_runnable(struct lane *lane);
void lane_begin_item(struct lane *lane);
void lane_finish_step(struct lane *lane, enum run_item_kind kind);
/* For backend_step.on_attempt; its owner is the lane. */
void lane_on_attempt(const struct backend_step *step, unsigned attempt, const struct err *why);
void lane_note_failure(struct lane *lane, int rc); /* reason: what lane->op.err says */

/* lane_record.c */
void lane_prepare_step(struct lane *lane);
/* The next step that will run if this one succeeds; NULL if there is none that a turn reaches. */
const struct plan_node *lane_peek(const struct lane *lane);
/* An undo of what an older server applied, which kept no journal. */
bool lane_is_unjournaled(const struct lane *lane);
/* Has it put into the journal first. */
int lane_start_adoption(struct lane *lane);
int lane_write_claim(struct lane *lane);
int lane_write_outcome(struct lane *lane);
int lane_write_cut_off(struct lane *lane);
void lane_judge_outcome(struct lane *lane);
/* The target is not asked: lane->failure says why. */
void lane_judge_refused(struct lane *lane);
void lane_note_unrecorded(struct lane *lane);

#endif
