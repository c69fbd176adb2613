#ifndef BFM_SERVER_BRINGUP_H
#define BFM_SERVER_BRINGUP_H

#include <stdbool.h>

#include "base/op.h"
#include "base/sm.h"
#include "migrate/engine.h"
#include "server/catalog.h"
#include "server/pulse.h"
#include "store/store.h"

/*
 * Gets the state database into use, in the background and as often as it takes: reads the
 * migrations, prepares the tables, lists the migrations there, compares the targets' journals with
 * it, and meanwhile and from then on watches whether it still answers. When it comes back after it
 * was away, all but the reading is done again.
 */
struct bringup {
    struct sm sm;
    struct sched *sched;
    struct store *store;
    struct engine *engine;
    struct catalog *catalog;
    const char *state_file;
    void (*on_stopped)(struct bringup *bringup);

    struct op op;
    struct op_sleep pause;
    struct pulse pulse;
    struct reconcile *reconcile; /* under way */
    struct err uncompared;       /* why the last comparison failed; else clear */
    struct err lost;             /* since a table was missed; else clear */
    int rc;                      /* of the last operation */
    unsigned failures;           /* in a row */
    bool prepared;
    bool ready;   /* what needs the state database can be answered */
    bool compare; /* the journals are to be compared once more */
    bool stopping;
};

/* Starts at once; the other parts outlive it. `state_file` is what the state database is kept in,
 * for the log; NULL if it is none. `on_stopped` comes once, after bringup_stop(). */
void bringup_start(struct bringup *bringup, struct engine *engine, struct catalog *catalog,
                   const char *state_file, void (*on_stopped)(struct bringup *bringup));
/* on_stopped is never called from inside. */
void bringup_stop(struct bringup *bringup);

/* Has the journals compared with the state database once more, as soon as nothing else is done:
 * some server has left steps without an end. */
void bringup_compare(struct bringup *bringup);

bool bringup_is_ready(const struct bringup *bringup);
/* NULL when ready, else why not, for clients. */
const char *bringup_reason(const struct bringup *bringup);

#endif
