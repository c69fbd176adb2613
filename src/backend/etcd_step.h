#ifndef BFM_BACKEND_ETCD_STEP_H
#define BFM_BACKEND_ETCD_STEP_H

#include "backend/etcd_pack.h"
#include "backend/etcd_private.h"
#include "backend/etcd_record.h"

/* clang-format off */
/*
 * One step (backend_ops.execute):
 *
 *                    ┌──────────── PAUSING <─────────────┐  the same request again
 *                    v                                   │
 *  [RENDERING] ─┬─> LOOKING ─┬─> [CHECKING] ─> SENDING ──┼─> [PROBING] ─> DONE
 *               │      ^     └───────────────────^       │
 *               │      └──── next chunk, or lost ────────┤
 *               └───────────────────────────^            v
 *                 all fits into one transaction        next chunk
 *
 * RENDERING a thread puts the values in the place of a long script's variables and reads it; a
 *           short one is through with that before the step starts
 * PAUSING   before the same request is sent again
 * LOOKING   the marker is being read, with what is needed to go on: current values of the keys that
 *           are changed next, where they are to be kept, or a record of values that were
 * CHECKING  the current values of the keys of such a record are being read
 * SENDING   a transaction is under way: one chunk, usually all of it
 * PROBING   the marker is read, as etcd has no space left and does not say whether it took effect
 * DONE      the caller is told
 *
 * Happy path: SENDING, DONE. Without a down script, or down: LOOKING, SENDING, DONE. Everything
 * that is changed is compared with what was seen, the marker first, so whoever loses a race only
 * looks again. A transaction whose outcome is unknown is sent again as it is: either it takes
 * effect now, or the marker tells whose it is. As the marker is never deleted (etcd_marker.h), no
 * copy of it takes effect a second time, however late it arrives. A failure goes to DONE by
 * etcdb_step_fail(); so does a cancel, which cuts everything short but a transaction whose outcome
 * is unknown.
 */
/* clang-format on */
enum etcdb_step_state {
    ETCDB_RENDERING,
    ETCDB_PAUSING,
    ETCDB_LOOKING,
    ETCDB_CHECKING,
    ETCDB_SENDING,
    ETCDB_PROBING,
    ETCDB_DONE,
};

struct etcdb_step {
    struct sm sm;
    struct etcdb *db;
    struct op *op; /* the caller's */
    const struct backend_step *step;
    struct backend_result *result;
    const struct script *script;       /* that runs; NULL: previous values are put back */
    struct etcd_operations operations; /* of it */
    struct arena arena;                /* names, rendered operations */
    const char *path;                  /* in front of the keys of the script */
    size_t path_len;
    struct slice marker_key;
    struct slice undo_start, undo_end; /* the range of its records */
    char attempt[33];
    char plan[17];

    struct op work; /* the one thing waited for */
    int rc;         /* what it ended with */
    struct op_sleep nap;
    struct etcdb_txn txn; /* the request that is, or was, under way */
    struct etcd_answer answer;
    enum etcdb_step_state again; /* the state that PAUSING goes back to */
    uint64_t called_ms;          /* when the request was sent */
    size_t made_for;             /* operations that the server was thought to take */

    struct etcdb_marker marker; /* as it was found, or left */
    int64_t marker_mod;         /* its revision; 0: it is not there */
    struct etcdb_marker next;   /* what the transaction under way makes of it */
    struct buf next_value;      /* the same as its text */
    bool looked;                /* the cluster was heard of */
    bool keeps;                 /* previous values */
    size_t looked_from;         /* the operation from which on keys were looked at */
    size_t take, page;          /* operations, and keys of a range, that are looked at at once */
    unsigned chunks;            /* that took effect by this step */

    struct arena seen_arena; /* what follows, and what it points to */
    struct etcdb_record record;
    size_t record_at;  /* which record is looked at, */
    bool record_known; /* once that is known; until then it is the last */
    bool verified;     /* all of them were, before the first is put back */

    struct err err; /* the reason to be given */
    bool canceled;
    bool in_doubt;           /* the transaction may have taken effect unseen */
    bool probe_tells;        /* PROBING ends the doubt: it is about one transaction only */
    uint64_t doubt_since_ms; /* since when that is so */
    unsigned pauses;         /* in a row */
    unsigned losses;         /* of comparisons, in a row */
};

/* etcd_step.c */
void etcdb_step_move(struct etcdb_step *step, enum etcdb_step_state next);
bool etcdb_step_is_down(const struct etcdb_step *step);
/* Sends step->txn and waits in `next`. */
bool etcdb_step_ask(struct etcdb_step *step, enum etcdb_step_state next);
bool etcdb_step_look(struct etcdb_step *step);
/* Waits before the request is sent again. */
bool etcdb_step_pause(struct etcdb_step *step, uint64_t ms);

/* etcd_prepare.c: names and operations. Each gives 0, or the reason in step->err (or *err). */
int etcdb_step_prepare(struct etcdb_step *step);
/* The operations are left to etcdb_step_render(), which is for a thread, and etcdb_step_check(). */
bool etcdb_step_is_large(const struct etcdb_step *step);
int etcdb_step_render(void *step, struct err *err);
int etcdb_step_check(struct etcdb_step *step); /* what can be said without asking etcd */

/* etcd_outcome.c: each leaves the state it was called in. */
bool etcdb_step_succeed(struct etcdb_step *step, enum backend_outcome outcome);
/* The door for every failure: step->err is set. */
bool etcdb_step_fail(struct etcdb_step *step);
bool etcdb_step_fail_with(struct etcdb_step *step, int code, const char *format, ...)
    PRINTF_LIKE(3, 4);
bool etcdb_step_no_memory(struct etcdb_step *step);
/* The request could not be written: step->txn says why. */
bool etcdb_step_fail_to_write(struct etcdb_step *step);
/* The call failed: another try, or the end. */
bool etcdb_step_on_failure(struct etcdb_step *step);
/* A comparison was lost against somebody who changed a key: looks again. */
bool etcdb_step_on_lost(struct etcdb_step *step);

/* etcd_judge.c: what the marker means, and what etcd answered */
/* What step->marker means. `body` has the keys that were looked at with it; NULL: none were. */
bool etcdb_step_decide(struct etcdb_step *step, const cJSON *body);
bool etcdb_step_looked(struct etcdb_step *step);
bool etcdb_step_judge(struct etcdb_step *step);
bool etcdb_step_probed(struct etcdb_step *step);

/* etcd_chunk.c: what is sent next */
/* Where there is nothing to look at first, sends at once. */
bool etcdb_step_begin(struct etcdb_step *step);
/* As many operations behind those that are done as go into one transaction. */
bool etcdb_step_send_chunk(struct etcdb_step *step);
/* The server takes fewer operations than was thought. */
bool etcdb_step_shrink(struct etcdb_step *step);
/* Operations that took effect by now. */
size_t etcdb_step_done(const struct etcdb_step *step);
/* What an up makes of the marker when `done` operations have taken effect, into step->next. */
void etcdb_step_set_next_up(struct etcdb_step *step, size_t done);
/* What a down makes of it. */
void etcdb_step_set_next_down(struct etcdb_step *step, enum etcdb_kind kind);
/* Bytes of what every transaction has beside the script's operations. */
size_t etcdb_step_own_bytes(const struct etcdb_step *step);
/* Starts a transaction: the marker is as it was seen. */
void etcdb_step_open(struct etcdb_step *step);
/* Behind the compares: the marker becomes step->next. What was kept goes with the tombstone. */
void etcdb_step_put_marker(struct etcdb_step *step);
bool etcdb_step_send(struct etcdb_step *step);

/* etcd_keep.c: a chunk of which previous values are kept */
void etcdb_keep_put_look(struct etcdb_step *step);
bool etcdb_keep_send(struct etcdb_step *step, const cJSON *body);
/* Less is looked at from now on; false: it is as little as can be. */
bool etcdb_keep_look_at_less(struct etcdb_step *step);

/* etcd_undo.c: previous values put back */
void etcdb_undo_put_look(struct etcdb_step *step);
bool etcdb_undo_next(struct etcdb_step *step, const cJSON *body);
bool etcdb_undo_checked(struct etcdb_step *step);

#endif
