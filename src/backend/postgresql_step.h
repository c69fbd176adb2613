#ifndef BFM_BACKEND_POSTGRESQL_STEP_H
#define BFM_BACKEND_POSTGRESQL_STEP_H

#include "backend/postgresql_classify.h"
#include "backend/postgresql_private.h"
#include "model/prefix.h"

/* clang-format off */
/*
 * One step (backend_ops.execute). With a transaction:
 *
 *             ┌────────────────── PAUSING <───────────────────┐
 *             v                                               │
 *  start ─> ACQUIRING ─> EXECUTING ─> [UNWATCHING] ─> [CLEARING] ─> DONE
 *                            ^                                │
 *                            └─────────── MENDING <───────────┘
 *
 * PAUSING    before another try, or before another look at what somebody else is doing
 * ACQUIRING  waiting for a connection
 * EXECUTING  the one query of the step is under way; or a probe, which only finds out: when it was
 *            cancelled in doubt, or when an outcome is still unknown behind the last try
 * UNWATCHING the look for who blocks it ends (only if one is under way)
 * CLEARING   ROLLBACK of what failed, with a look at the journal where that decides
 * MENDING    the journal's table is being created
 * DONE       the caller is told
 *
 * Happy path: ACQUIRING, EXECUTING, DONE. A failure that may pass by itself goes round by PAUSING,
 * a missing journal or schema at once; every other goes to DONE by step_fail(). A cancel cuts
 * PAUSING, ACQUIRING and the running statement short; while the outcome of an earlier try is
 * unknown only the statement, and a probe comes then.
 *
 * Without a transaction, in place of EXECUTING (postgresql_notx.c):
 *
 *  ACQUIRING ─> LOOKING ─> [CLAIMING] ─┬─> [CHECKING ─> [DROPPING]] ─> STARTING ─┐
 *                  ^                   │                                         v
 *                  │                   ├──────────────────────────────────────> RUNNING
 *                  │                   │   (in a transaction of its own)         │
 *                  │                   │                                         v
 *               PAUSING                ├─────────── next statement <───────── [RECORDING]
 *                                      │
 *                                      └─> FINISHING ─> DONE
 *
 *  UNDOING: a statement failed, the row goes back; from there to PAUSING or DONE
 *
 * LOOKING    what the journal says about this migration decides where to go on
 * CLAIMING   the row is made ours by compare-and-swap
 * CHECKING   the catalog is asked what an earlier try of a statement left behind
 * DROPPING   an invalid index is being dropped
 * STARTING   "statement n was started" is being recorded
 * RUNNING    the statement
 * RECORDING  "statement n is done" is being recorded
 * FINISHING  the row becomes a complete one (down: goes away)
 */
/* clang-format on */
enum step_state {
    STEP_PAUSING,
    STEP_ACQUIRING,
    STEP_EXECUTING,
    STEP_UNWATCHING,
    STEP_CLEARING,
    STEP_MENDING,
    STEP_LOOKING,
    STEP_CLAIMING,
    STEP_CHECKING,
    STEP_DROPPING,
    STEP_STARTING,
    STEP_RUNNING,
    STEP_RECORDING,
    STEP_UNDOING,
    STEP_FINISHING,
    STEP_DONE,
};

/* What comes behind CLEARING or UNDOING. */
enum step_next {
    NEXT_LOOK,   /* the journal row decides */
    NEXT_AGAIN,  /* the same at once */
    NEXT_MEND,   /* create the journal, then the same */
    NEXT_SCHEMA, /* the schema is missing */
    NEXT_PAUSE,  /* a later try */
    NEXT_FAIL,
};

/* A journal row as it was found. */
struct step_row {
    bool exists;
    bool is_complete;
    bool is_started; /* else the statement is done */
    bool is_undo;
    bool is_ours;
    bool is_alive; /* a session is at work on it */
    size_t statement;
    int64_t applied_us;
    int64_t age_ms;
    char kind[16];
    char run[PGB_RUN_MAX];
    char checksum[HASH_SHA256_HEX];
};

struct pgb_step {
    struct sm sm;
    struct pgb *pgb;
    struct op *op; /* the caller's */
    const struct backend_step *step;
    struct backend_result *result;
    const struct script *script;
    struct template_values values;
    char run[PGB_RUN_MAX];          /* run id, safe within a comment */
    char marker_tail[PGB_TAIL_MAX]; /* " <hash of schema and id> * /" */
    char marker[PGB_MARKER_MAX];    /* comment in front of the queries */
    struct arena arena;             /* of names */
    struct pgsql_names names;       /* made with the first connection */

    struct op work; /* the one thing waited for */
    int rc;         /* what it ended with */
    struct op_sleep nap;
    struct pg_conn *conn;
    struct pg_results results;
    struct buf sql;
    struct pgsql_layout layout;
    struct pgb_watch watch;

    enum step_next next;
    struct err err;     /* the reason to be given */
    struct buf notices; /* of the try that counts */
    bool new_schema;    /* create the schema in the next try */
    bool sent;          /* the last query has left: else nothing can have come of it */
    bool canceled;
    bool in_doubt;           /* a try may have taken effect unseen */
    bool probing;            /* the query under way only finds out */
    bool counted;            /* the last query of the script counts as a try */
    bool soiled;             /* something may be left on the session: never give it to anybody */
    bool session_set;        /* the session has the search path and the limits of the step */
    unsigned repairs;        /* tries at once */
    unsigned misses;         /* connections not got in a row */
    uint64_t doubt_since_ms; /* the last try whose outcome is unknown was lost */
    struct err lost;         /* why */

    struct step_row row;
    size_t at;     /* index of the statement to run */
    bool doubtful; /* it was started before, and nobody knows what became of it */
    bool claimed;  /* the row was ours at some time */
    bool atomic;   /* it runs in a transaction of its own, together with its mark in the journal */
    size_t known_done;           /* the statement (from 1) that was seen to work, recorded or not */
    size_t known_unsent;         /* the statement (from 1) that was never sent, though started */
    const char *claim_run;       /* literal, down: the run id that the complete row had */
    int64_t claim_applied_us;    /* and when it was applied */
    const char *claim_checksum;  /* and its checksum; literal */
    const char *left_run;        /* literal: the run that started the doubtful statement; NULL: it
                                    was this one */
    int64_t left_applied_us;     /* and when */
    struct script_prefix prefix; /* of the row that the query makes */
    char prefix_quoted[HASH_SHA256_HEX + 2]; /* literal */
    uint64_t poll_since_ms;                  /* waiting for somebody else's work since; 0: not */
    uint64_t alive_ms; /* when a session was last seen at work on the row; 0: never */
    struct pgsql_statement kind;
};

/* postgresql_step.c */
void step_move(struct pgb_step *step, enum step_state next);
/* Moves on to wait for what a start function returned. True: it did not start, handle step->rc. */
bool step_await(struct pgb_step *step, enum step_state next, int rc);
/* Sends step->sql and waits in `next`. */
bool step_ask(struct pgb_step *step, enum step_state next);
void step_give_back(struct pgb_step *step);
const PGresult *step_last_result(const struct pgb_step *step);
bool step_is_down(const struct pgb_step *step);

/* postgresql_outcome.c: each leaves the state it was called in. */
bool step_succeed(struct pgb_step *step, enum backend_outcome outcome);
/* Somebody else's complete row was found, in step->row. */
bool step_was_applied(struct pgb_step *step);
/* The door for every failure: step->err is set. */
bool step_fail(struct pgb_step *step);
bool step_fail_with(struct pgb_step *step, int code, const char *format, ...) PRINTF_LIKE(3, 4);
bool step_sql_failed(struct pgb_step *step); /* step->sql could not be built */
bool step_fail_on_incomplete_row(struct pgb_step *step);
bool step_pause(struct pgb_step *step, uint64_t ms);
/* Another try later, or the failure in step->err when there were enough. */
bool step_try_later(struct pgb_step *step);
bool step_may_try_later(const struct pgb_step *step);
/* Names who was seen blocking, if step->err is about a lock. */
void step_add_blocker(struct pgb_step *step);
/* Another try at once, or the failure when there were enough of those. */
bool step_repair(struct pgb_step *step);
/* The connection was lost with the query under way. */
bool step_on_unknown(struct pgb_step *step);
bool step_on_no_connection(struct pgb_step *step);
/* The schema is missing, unless the last answer has a row: the next try creates it if that is
 * allowed, else it is a failure. */
bool step_on_no_schema(struct pgb_step *step);
/* Creates the journal's table, then tries again. */
bool step_mend(struct pgb_step *step);
bool step_mended(struct pgb_step *step);
/* Reads the row that pgsql_put_look() asked for. */
void step_read_row(struct pgb_step *step, const PGresult *result);
/* Turns what the server refused into step->err. */
void step_note_error(struct pgb_step *step, const struct pgb_answer *answer,
                     const struct pgb_source *source);

/* postgresql_names.c */
/* Makes step->names, once, with the first connection. */
bool step_make_names(struct pgb_step *step);
/* Makes names.create_schema if new_schema asks for it. 0 or ERR_NOMEM. */
int step_make_schema_sql(struct pgb_step *step);
/* In the step's arena; NULL when memory is out. */
const char *step_quote_literal(struct pgb_step *step, const char *text);
/* DO with the body that `put_body` writes for a schema. */
void step_put_do(struct pgb_step *step, struct buf *sql, const char *schema,
                 void (*put_body)(struct buf *, const char *, const char *, uint64_t));
void step_set_marker(struct pgb_step *step, const char *run_id);

/* postgresql_tx.c */
bool tx_execute(struct pgb_step *step);
bool tx_judge(struct pgb_step *step);
bool tx_cleared(struct pgb_step *step);

/* postgresql_notx.c: the journal row decides */
bool notx_look(struct pgb_step *step);
bool notx_once(struct pgb_step *step);
bool notx_wait(struct pgb_step *step); /* somebody else is at work, or may be */
bool notx_lost(struct pgb_step *step); /* the connection was, with a query under way */

/* postgresql_notx_statement.c: one statement of such a script. Each sends a query. */
bool notx_next(struct pgb_step *step);
bool notx_start(struct pgb_step *step);
bool notx_run(struct pgb_step *step);
bool notx_ran(struct pgb_step *step); /* its answer is there */
bool notx_record(struct pgb_step *step);
bool notx_check(struct pgb_step *step);
bool notx_checked(struct pgb_step *step); /* its answer is there */
/* The row goes back to what it was before the statement; `next` comes then. */
bool notx_undo(struct pgb_step *step, enum step_next next, bool started);
void notx_begin_sql(struct pgb_step *step);
/* What the query moves the row to, incomplete. Behind notx_begin_sql(): failures show in
 * step->sql. */
struct pgsql_place notx_goal(struct pgb_step *step, bool started, size_t statement);
/* Puts in front of what must not happen on a session of a pooler's choice. */
void notx_put_no_pooler(struct pgb_step *step);
const char *notx_kind(const struct pgb_step *step, bool started);
void notx_note_session_settings(struct pgb_step *step);

#endif
