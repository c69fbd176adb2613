#ifndef BFM_MIGRATE_DOUBT_H
#define BFM_MIGRATE_DOUBT_H

#include "base/sm.h"
#include "migrate/engine.h"

/*
 * A person's decision about a statement in doubt: made in the target's journal, behind the same
 * locks as a run's step, and recorded in the state database with who decided.
 */
struct doubt_request {
    const struct migration *migration;
    const char *schema; /* effective */
    bool applied;       /* the statement took effect */
    struct store_caller caller;
};

enum {
    DOUBT_MESSAGE_MAX = 640,
};

/* Zeroed by the start; the decision and the message are set when done with 0. */
struct doubt {
    struct backend_decision decision;
    char message[DOUBT_MESSAGE_MAX]; /* what follows from it */

    /* private */
    struct sm sm;
    struct engine *engine;
    struct backend *backend;
    struct op *op;
    struct op work;
    struct op_sleep sleep;
    int rc;
    struct store_caller caller;
    struct lock lock;
    struct store_lock_grant grant;
    struct store_record record;
    struct store_event_rows events; /* a page of the history */
    unsigned pages;
    bool decided; /* the journal has it */
    struct err err;
    struct arena arena;
    char run_id[40];
    uint64_t offered_since_ms, pause_ms;
};

/*
 * The request is borrowed until done. Refused or done with ERR_CONFLICT when nothing of that
 * target can be in doubt, it has no address, or somebody is at work on that migration and schema;
 * ERR_NOT_FOUND when nothing is in doubt there; but where the same decision was the last that was
 * done, its answer may have been lost: then done with 0, and the message says so; another one is
 * ERR_CONFLICT. ERR_STORE when the decision was made but could not
 * be recorded; otherwise as backend_ops.resolve.
 */
int doubt_start(struct engine *engine, struct op *op, const struct doubt_request *request,
                struct doubt *doubt);

#endif
