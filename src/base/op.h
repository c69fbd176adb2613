#ifndef BFM_BASE_OP_H
#define BFM_BASE_OP_H

#include <stdbool.h>

#include "base/err.h"
#include "base/sched.h"

/*
 * One asynchronous operation, embedded in whoever waits for it. The contract of every function that
 * takes a `struct op *` to start something:
 *
 *   - it returns 0: op->done is called exactly once, later, never from inside the start call;
 *   - it returns a negative code: op->done is never called, and op->err holds the reason.
 *
 * When done is called with rc < 0, op->err holds the reason too; with rc == 0 op->err is clear.
 * Inside done the op may be started again or its memory freed.
 */
struct op {
    void (*done)(struct op *op, int rc); /* the caller's */
    struct err err;                      /* the caller's to read once done or refused */

    /* private to the operation */
    void (*cancel)(struct op *op); /* NULL: cannot be cut short */
    void *impl;                    /* the operation's own state */
    bool active;
    bool canceled; /* op_cancel() was called since the start */
    int rc;
    struct task task;
};

/* For the caller. `op` is zeroed memory or one that is not active. */
void op_init(struct op *op, void (*done)(struct op *op, int rc));
/* Asks for an early end; the operation still completes through done, later. No effect on an idle
 * op. */
void op_cancel(struct op *op);

/* For operations. op_begin() makes the op active; call it once nothing can fail any more. */
void op_begin(struct op *op, void *impl, void (*cancel)(struct op *op));
/* Completes now: the last thing the operation does, as `op` may be gone afterwards. */
void op_finish(struct op *op, int rc);
/* Completes in the next turn; for results that are there already. */
void op_finish_later(struct op *op, struct sched *sched, int rc);
/* Completes with the reason `err`: copied into op->err. */
void op_fail(struct op *op, const struct err *err);
/* What a refused start returns: records the reason. */
int op_refuse(struct op *op, int rc, const char *format, ...) PRINTF_LIKE(3, 4);

/* An op that completes after `ms` milliseconds with 0, or with ERR_CANCELED when canceled. */
struct op_sleep {
    struct timer timer;
    struct sched *sched;
    struct op *op;
};
int op_sleep_start(struct op_sleep *sleep, struct sched *sched, struct op *op, uint64_t ms);

#endif
