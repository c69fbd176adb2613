#ifndef BFM_MIGRATE_COMPARE_H
#define BFM_MIGRATE_COMPARE_H

#include "migrate/engine.h"

/*
 * One target's journal, compared with the state database on behalf of an operation that waits for
 * it: a reconcile of one connection as an op. Lives in whoever waits.
 */
struct compare {
    size_t left; /* once done: differences in what runs were at, left to them */

    /* private */
    struct engine *engine;
    const char *connection;
    struct op *op; /* the caller's */
    struct reconcile *reconcile;
    struct op pause;
    struct op_sleep nap;
};

/* After `pause_ms`. Done with 0 when the state has what the journal has, but for `left`; else why
 * the target could not be compared: ERR_UNSUPPORTED if it has no address. */
int compare_start(struct compare *compare, struct engine *engine, const char *connection,
                  uint64_t pause_ms, struct op *op);

#endif
