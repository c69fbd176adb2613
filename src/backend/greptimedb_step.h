#ifndef BFM_BACKEND_GREPTIMEDB_STEP_H
#define BFM_BACKEND_GREPTIMEDB_STEP_H

#include "backend/greptimedb_private.h"
#include "model/prefix.h"
#include "model/template.h"

/* clang-format off */
/*
 * One step (backend_ops.execute). GreptimeDB has no transactions, so a script goes statement by
 * statement, and a row of the ledger holds how far it is. Each move of the row is a compare-and-
 * swap; "statement n is done, n+1 was begun" is one of them, so k statements cost k+1.
 *
 *           ┌─> POLLING ─┐
 *           │            v
 *  start ─> └──────── LOOKING ─> [PREPARING] ─> MOVING ──┬─> RUNNING ─┬─> [PAUSING] ─> RUNNING
 *                        ^                        ^      │            │
 *                        │                        │      │            └─> [SETTLING] ─> MOVING
 *                      AWAY ─> CHECKING ──────────┘      │
 *                        ^         ^                     └─> DONE
 *                        └─ LOOKING, CHECKING, MOVING
 *
 * LOOKING    the row is being read: it decides where to go on
 * POLLING    before another look at a row that somebody else works on, or may
 * PREPARING  the database is being created
 * MOVING     the row is being swapped: to "statement n was begun", to what it was before a
 *            statement that was refused, or to the end
 * AWAY       the ledger cannot be asked: before the next try
 * CHECKING   the row is being read, which tells what became of a swap
 * RUNNING    the statement is under way
 * SETTLING   its answer is there; the heartbeat of the row is still under way
 * PAUSING    before another try of the statement, or of the database
 * DONE       the caller is told
 *
 * While the row is ours, a heartbeat moves its revision every third of stale_ms, beside PREPARING,
 * RUNNING and PAUSING. Happy path: LOOKING, MOVING, RUNNING, MOVING, ..., DONE. When the statement
 * finds that there is no database, RUNNING goes back to PREPARING once, and every state can go to
 * DONE by gts_fail().
 *
 * A failure that had no effect puts the row back (MOVING), then DONE. One whose effect is not known
 * leaves it as it is, "begun": the next step waits until the row is known to be nobody's (struct
 * gtdb_watch), then repeats what can be repeated and reports the rest, for a person to decide
 * (resolve).
 *
 * A cancel cuts POLLING, PREPARING and PAUSING short, and AWAY where nothing ran; a statement is
 * not undone by closing its socket, so its answer is waited for, GTDB_CANCEL_GRACE_MS at most.
 */
/* clang-format on */
enum gtdb_state {
    GTS_LOOKING,
    GTS_POLLING,
    GTS_PREPARING,
    GTS_MOVING,
    GTS_AWAY,
    GTS_CHECKING,
    GTS_RUNNING,
    GTS_SETTLING,
    GTS_PAUSING,
    GTS_DONE,
};

/* What comes once the row has moved. */
enum gtdb_then {
    THEN_RUN,     /* the statement that it says was begun */
    THEN_SUCCEED, /* the step took effect as a whole */
    THEN_FAIL,    /* step->err says why */
};

struct gtdb_step {
    struct sm sm;
    struct gtdb *gtdb;
    struct op *op; /* the caller's */
    const struct backend_step *step;
    struct backend_result *result;
    const struct script *script;
    struct template_values values;
    const char *database;
    char run_id[GTDB_RUN_MAX];

    struct op work; /* the one thing waited for */
    int rc;         /* what it ended with */
    struct op_sleep nap;
    struct gtdb_call call;
    struct gtdb_result answer;
    struct buf sql;
    struct sql_scan scan;
    struct err err;     /* the reason to be given */
    struct timer grace; /* of a cancelled statement */
    bool canceled;

    /* the row */
    struct gtdb_row have;   /* as it is known to be */
    struct gtdb_row want;   /* what a move makes of it, but for the revision */
    struct gtdb_row tried;  /* what the last swap asked for, of a move or of the heartbeat */
    struct gtdb_row origin; /* a complete one that a down took */
    struct ledger_query query;
    struct ledger_rows rows; /* being read */
    struct ledger_change change;
    struct script_prefix prefix;
    bool swapped;
    bool unsure; /* it is one of `have` and `tried` */
    bool tried_move;
    bool owned;             /* it is ours, or was */
    bool lost;              /* and is somebody else's now */
    bool moving;            /* a swap is to be made */
    enum gtdb_then then;    /* once it was */
    uint64_t away_since_ms; /* the ledger cannot be asked since; 0: it can */
    struct gtdb_watch watch;
    uint64_t poll_since_ms; /* waiting for somebody else since; 0: not */

    /* the heartbeat */
    struct timer beat_timer;
    struct op beat;
    struct ledger_query beat_query;
    struct ledger_rows beat_rows;
    struct ledger_change beat_change;
    bool beat_swapped;
    bool beat_reads;

    /* the statement */
    size_t at; /* its index */
    uint64_t sent_ms;
    unsigned tries;  /* of it, or of creating the database */
    unsigned misses; /* tries that found nobody, in a row */
    bool doubted;    /* a try of it may have taken effect */
    bool created;    /* the database was */
    bool preparing;  /* a pause is about it */
    size_t known;    /* statements of which it is sure here that they took effect */
};

/* greptimedb_step.c */
/* Moves on to wait for what a start function returned. True: it did not start, handle step->rc. */
bool gts_await(struct gtdb_step *step, enum gtdb_state next, int rc);
void gts_move(struct gtdb_step *step, enum gtdb_state next);
bool gts_nap(struct gtdb_step *step, enum gtdb_state next, uint64_t ms);
/* Goes on after what was waited for; the step may be gone behind it. */
void gts_go(struct gtdb_step *step);
bool gts_is_down(const struct gtdb_step *step);

/* greptimedb_outcome.c: each leaves the state it was called in. */
bool gts_succeed(struct gtdb_step *step, enum backend_outcome outcome);
/* The door for every failure: step->err is set. */
bool gts_fail(struct gtdb_step *step);
bool gts_fail_with(struct gtdb_step *step, int code, const char *format, ...) PRINTF_LIKE(3, 4);
/* The statement had no effect: the row goes back to what it was before, then step->err is told. */
bool gts_put_back(struct gtdb_step *step);
/* As gts_put_back(), because of a cancel. */
bool gts_give_up(struct gtdb_step *step);
/* Nobody knows whether the statement took effect, and it must not be repeated. `why`: this step's
 * own try of it, else NULL. */
bool gts_fail_in_doubt(struct gtdb_step *step, const struct err *why);
/* Somebody else has the row. */
bool gts_fail_taken(struct gtdb_step *step);
/* The ledger was away for too long. */
bool gts_fail_away(struct gtdb_step *step);
/* Says that the failure in step->err is of the statement at step->at. */
void gts_add_place(struct gtdb_step *step);

/* What the row is once the whole script has worked. */
void gts_finish_row(const struct gtdb_step *step, struct gtdb_row *row);

/* greptimedb_decide.c */
/* The row was read: on from there. */
bool gts_decide(struct gtdb_step *step);
/* Takes the row, or makes one. */
bool gts_claim(struct gtdb_step *step);

/* greptimedb_swap.c */
bool gts_look(struct gtdb_step *step);
bool gts_looked(struct gtdb_step *step);
/* Moves the row to step->want, whose checksum is set here; `then` comes behind. */
bool gts_swap(struct gtdb_step *step, enum gtdb_then then);
bool gts_swap_now(struct gtdb_step *step);
bool gts_swapped(struct gtdb_step *step);
bool gts_checked(struct gtdb_step *step);
bool gts_back(struct gtdb_step *step); /* from AWAY */

/* greptimedb_beat.c */
void gts_beat_init(struct gtdb_step *step);
void gts_beat_start(struct gtdb_step *step);
/* True: there is none under way. Else its end goes on with the step. */
bool gts_beat_stop(struct gtdb_step *step);

/* greptimedb_statement.c */
bool gts_prepare(struct gtdb_step *step);
bool gts_prepared(struct gtdb_step *step);
bool gts_run(struct gtdb_step *step);
bool gts_ran(struct gtdb_step *step);
bool gts_paused(struct gtdb_step *step);
/* Whether the statement at step->at may simply be said again. */
bool gts_is_repeatable(struct gtdb_step *step);

#endif
