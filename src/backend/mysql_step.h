#ifndef BFM_BACKEND_MYSQL_STEP_H
#define BFM_BACKEND_MYSQL_STEP_H

#include "backend/mysql_private.h"
#include "model/mysqlkind.h"
#include "model/prefix.h"

/* clang-format off */
/*
 * One step (backend_ops.execute). Where every statement keeps the transaction it runs in
 * (mysql_tx.c):
 *
 *             ┌────────────────── PAUSING <────────────────┐
 *             v                                            │
 *  start ─> ACQUIRING ─> EXECUTING ─> [CLEARING] ──────────┼─> [RELEASING] ─> DONE
 *                         ^  ^ │          │                │
 *                         │  └─┘          │                │
 *                         └─── [MENDING] <┘ <──────────────┘
 *
 * Else statement by statement (mysql_wise.c):
 *
 *  ACQUIRING ─> LOOKING ─> [REPLAYING] ─> RUNNING ─> ... ─> RUNNING ─> [RELEASING] ─> DONE
 *                ^  │                        │  ^
 *                │  └─> MENDING              v  │ it had worked after all
 *             PAUSING <────────────────── UNDOING ─> [RELEASING] ─> DONE
 *
 * PAUSING    before another try, or before another look at what somebody else is doing
 * ACQUIRING  waiting for a connection
 * EXECUTING  statements of the one transaction are under way; or a probe, which only finds out
 * CLEARING   ROLLBACK of what failed, with a look at the journal where that decides
 * MENDING    the journal's table is being created
 * LOOKING    the lock of the step is taken, and what the journal says decides where to go on
 * REPLAYING  SETs that came before are said again, as this is another session
 * RUNNING    a statement, together with its marks in the journal
 * UNDOING    it failed: its mark goes back, and the journal is looked at
 * RELEASING  the lock is given back
 * DONE       the caller is told
 */
/* clang-format on */
enum mys_state {
    MYS_PAUSING,
    MYS_ACQUIRING,
    MYS_EXECUTING,
    MYS_CLEARING,
    MYS_MENDING,
    MYS_LOOKING,
    MYS_REPLAYING,
    MYS_RUNNING,
    MYS_UNDOING,
    MYS_RELEASING,
    MYS_DONE,
};

/* What comes behind CLEARING or UNDOING. */
enum mys_next {
    MYS_NEXT_LOOK, /* the journal row decides */
    MYS_NEXT_MEND, /* create the journal, then the same */
    MYS_NEXT_PAUSE,
    MYS_NEXT_FAIL,
};

/* A journal row as it was found. */
struct mys_row {
    bool exists;
    bool is_complete;
    bool is_started; /* else the statement is done */
    bool is_undo;
    bool is_ours;
    size_t statement;
    int64_t applied_us;
    char kind[16];
    char run[MYB_RUN_MAX];
    char checksum[HASH_SHA256_HEX];
};

/* Where the parts of a query are: statements of it counted from 0; SIZE_MAX: not in it. */
struct mys_layout {
    size_t database_at; /* CREATE DATABASE */
    size_t use_at;
    size_t lock_at;
    size_t journal_at;
    size_t guard_at; /* the mark in front of the statement was made */
    size_t script_at;
    size_t done_at;      /* the mark behind the statement */
    size_t first, count; /* statements of the script */
    size_t commit_at;
    size_t end; /* how many so far */
};

struct mys_step {
    struct sm sm;
    struct myb *myb;
    struct op *op; /* the caller's */
    const struct backend_step *step;
    struct backend_result *result;
    const struct script *script;
    struct template_values values;
    char run[MYB_RUN_MAX];
    struct arena arena; /* of names */
    struct mysql_names names;
    struct mysql_limits limits;

    struct op work; /* the one thing waited for */
    int rc;         /* what it ended with */
    struct op_sleep nap;
    struct timer timer; /* of a statement, where the server has none */
    struct maria_conn *conn;
    struct maria_results results;
    struct buf sql;
    struct mys_layout layout;

    enum mys_next next;
    struct err err;     /* the reason to be given */
    bool wise;          /* statement by statement */
    bool new_schema;    /* create the database in the next try */
    bool mend_database; /* the journal's database is missing too */
    bool sent;          /* the last query has left */
    bool canceled;
    bool timed_out; /* by our timer */
    bool in_doubt;  /* a try may have taken effect unseen */
    bool probing;   /* the query under way only finds out */
    bool counted;   /* the last query of the script counts as a try */
    bool soiled;    /* something may be left on the session */
    bool locked;    /* the session has the step's lock */
    unsigned repairs, misses;
    uint64_t doubt_since_ms;
    struct err lost; /* why */

    struct mys_row row;
    size_t at;             /* index of the statement to run */
    bool doubtful;         /* it was started before, and nobody knows what became of it */
    bool records;          /* the query only records that it is done */
    bool restores;         /* the mark goes back */
    bool replayed;         /* this session has had the SETs in front */
    size_t known_done;     /* the statement (from 1) that was seen to work, recorded or not */
    const char *row_run;   /* literal: the run that the row is of */
    const char *claim_run; /* literal, down: the run that the complete row was of */
    int64_t claim_applied_us;
    const char *claim_checksum;              /* literal */
    struct script_prefix prefix;             /* of the row that the query makes */
    char prefix_quoted[HASH_SHA256_HEX + 2]; /* literal */
    uint64_t poll_since_ms;                  /* waiting for somebody else since; 0: not */
    char holder[24];                         /* the session that has the lock */
};

/* mysql_step.c */
void mys_move(struct mys_step *step, enum mys_state next);
/* Moves on to wait for what a start function returned. True: it did not start, handle step->rc. */
bool mys_await(struct mys_step *step, enum mys_state next, int rc);
/* Sends step->sql and waits in `next`. */
bool mys_ask(struct mys_step *step, enum mys_state next);
void mys_give_back(struct mys_step *step);
bool mys_is_down(const struct mys_step *step);
void mys_begin_sql(struct mys_step *step);
/* Separates statements of step->sql; returns the number of the one that comes. */
size_t mys_put_next(struct mys_step *step);
/* The limit of one statement that only our timer knows of; 0: none, or the server keeps it. */
uint64_t mys_own_limit_ms(const struct mys_step *step);

/* mysql_outcome.c: each leaves the state it was called in. */
bool mys_succeed(struct mys_step *step, enum backend_outcome outcome);
/* Somebody else's complete row was found, in step->row. */
bool mys_was_applied(struct mys_step *step);
/* The door for every failure: step->err is set. */
bool mys_fail(struct mys_step *step);
bool mys_fail_with(struct mys_step *step, int code, const char *format, ...) PRINTF_LIKE(3, 4);
bool mys_fail_on_incomplete_row(struct mys_step *step);
bool mys_pause(struct mys_step *step, uint64_t ms);
/* Another try later, or the failure in step->err when there were enough. */
bool mys_try_later(struct mys_step *step);
bool mys_may_try_later(const struct mys_step *step);
/* Another try at once, or the failure when there were enough of those. */
bool mys_repair(struct mys_step *step);
/* The connection was lost with the query under way. */
bool mys_on_unknown(struct mys_step *step);
bool mys_on_no_connection(struct mys_step *step);
/* The database is missing: the next try creates it if that is allowed, else it is a failure. */
bool mys_on_no_schema(struct mys_step *step);
/* Creates the journal's table, then tries again. */
bool mys_mend(struct mys_step *step);
bool mys_mended(struct mys_step *step);
void mys_read_row(struct mys_step *step, const struct maria_result *result);

/* mysql_error.c */
/* Turns what the server refused into step->err. `at`: which statement of the query failed. */
void mys_note_error(struct mys_step *step, size_t at);
/* Whether a failure with this number may pass by itself. */
bool myb_may_pass(unsigned error);
/* Says what a ROLLBACK could not undo, if its warnings tell. True: they do. */
bool mys_note_not_rolled_back(struct mys_step *step, const struct maria_result *warnings);

/* mysql_tx.c */
/* USE, with CREATE DATABASE in front if that is wanted. */
void mys_put_database(struct mys_step *step);
bool mys_tx_execute(struct mys_step *step);
bool mys_tx_judge(struct mys_step *step);
bool mys_tx_cleared(struct mys_step *step);

/* mysql_wise.c: the journal row decides */
bool mys_wise_look(struct mys_step *step);
bool mys_wise_looked(struct mys_step *step);
bool mys_wise_replayed(struct mys_step *step);

/* mysql_wise_marks.c: the row around the statement that the step is at */
const struct sql_statement *mys_wise_statement(const struct mys_step *step);
enum mysql_kind mys_wise_kind(const struct mys_step *step);
bool mys_wise_is_last(const struct mys_step *step);
/* What the row is in front of it: its kind "" where there is none. */
struct mysql_place mys_wise_before(const struct mys_step *step);
/* Each puts a part of the query. */
void mys_wise_put_started(struct mys_step *step);
void mys_wise_put_done(struct mys_step *step);
void mys_wise_put_restore(struct mys_step *step);
/* All marks of the query that worked were of the row. */
bool mys_wise_is_marked(const struct mys_step *step);
bool mys_wise_fail_unmarked(struct mys_step *step);
/* The query failed at `at`: the mark in front of the statement met another row than was read. */
bool mys_wise_is_taken(const struct mys_step *step, size_t at);
bool mys_wise_fail_taken(struct mys_step *step);

/* mysql_wise_statement.c */
bool mys_wise_next(struct mys_step *step);
bool mys_wise_run(struct mys_step *step);
bool mys_wise_ran(struct mys_step *step);
bool mys_wise_undone(struct mys_step *step);
/* A query of our own failed. */
bool mys_wise_on_failure(struct mys_step *step);

#endif
