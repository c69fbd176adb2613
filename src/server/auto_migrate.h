#ifndef BFM_SERVER_AUTO_MIGRATE_H
#define BFM_SERVER_AUTO_MIGRATE_H

#include "api/ops_run.h"
#include "base/sm.h"
#include "base/trace.h"
#include "server/config.h"

/*
 * BFM_AUTO_MIGRATE (bfm-api.md §6.8): shortly after the start, runs whatever needs no schema from
 * a request, one connection after the other, in rounds until nothing fails or the rounds are used
 * up. One of the mouths of the operations; nobody has to wait for it.
 */
struct auto_migrate {
    struct sm sm;
    struct ops ops;
    const struct config *config; /* borrowed */
    void (*on_stopped)(struct auto_migrate *auto_migrate);

    struct op op;
    struct timer timer;
    struct ops_run run;
    struct plan_filter filter;
    char context[512];
    char request_id[TRACE_ID_SIZE]; /* made for each run: nobody sent one */
    size_t at;                      /* connection whose turn it is */
    unsigned round;
    size_t applied, failed; /* in this round */
    bool stopping;
};

/* The operations borrow what is in `ops`, which outlives it. */
void auto_migrate_start(struct auto_migrate *auto_migrate, const struct ops *ops,
                        const struct config *config,
                        void (*on_stopped)(struct auto_migrate *auto_migrate));
/* Starts nothing more; a run under way ends with the engine's. on_stopped comes once, never from
 * inside. */
void auto_migrate_stop(struct auto_migrate *auto_migrate);

#endif
