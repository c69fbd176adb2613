#ifndef BFM_SERVER_BEAT_H
#define BFM_SERVER_BEAT_H

#include <stdbool.h>

#include "base/op.h"
#include "store/store.h"

struct beat_hooks {
    void *arg;
    bool (*may)(void *arg);            /* whether the state database can be used */
    void (*on_interrupted)(void *arg); /* runs of servers that are gone were found */
};

/*
 * Tells the other servers on the state database, every few seconds, that this one is alive: runs
 * of a server that falls silent are shown as interrupted, by whoever notices. Also has runs removed
 * that ended too long ago.
 */
struct beat {
    struct store *store;
    struct sched *sched;
    struct beat_hooks hooks;
    void (*on_stopped)(struct beat *beat);

    struct op op;
    struct timer timer;
    struct store_beat said;
    struct store_beat_result result;
    bool heard; /* the last one arrived */
    bool stopping;
};

void beat_make_server_id(char out[40]); /* unique per call */

/* `server_id` is borrowed, as all parts outlive it. `keep_runs_ms`: 0 for ever. */
void beat_start(struct beat *beat, struct store *store, struct sched *sched, const char *server_id,
                uint64_t keep_runs_ms, const struct beat_hooks *hooks);
/* Says goodbye. on_stopped comes once, never from inside. */
void beat_stop(struct beat *beat, void (*on_stopped)(struct beat *beat));

#endif
