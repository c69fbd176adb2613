#ifndef BFM_BASE_SCHED_H
#define BFM_BASE_SCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

/*
 * Timers and deferred calls for code that does not know the event loop. In the server the loop
 * drives a sched with real time; a test drives one by hand with virtual time. Nothing here
 * allocates or fails.
 */

/* Calls `run` once in the next turn. Zeroed memory is an idle task; the owner must unqueue it
 * before it dies. */
struct task {
    void (*run)(struct task *task);
    struct list link; /* private */
};

/* Calls `fire` once when its time has come. Zeroed memory with `fire` set is an idle timer. */
struct timer {
    void (*fire)(struct timer *timer);
    uint64_t due; /* private, as all below */
    uint64_t seq;
    struct timer *child, *next, *prev;
    bool armed;
};

struct sched {
    uint64_t now_ms; /* time of the current turn, monotonic */
    struct list ready;
    struct timer *heap;
    uint64_t seq;
    void (*wake)(struct sched *sched); /* may be NULL: called when a task was queued or the earliest
                                          timer changed */
};

void sched_init(struct sched *sched, uint64_t now_ms);

void sched_defer(struct sched *sched, struct task *task); /* no effect if it is queued already */
void sched_undefer(struct task *task);                    /* no effect if it is not queued */

/* Arms the timer to fire `ms` from now; an armed one is moved. Equal times fire in the order of
 * arming. */
void sched_start_timer(struct sched *sched, struct timer *timer, uint64_t ms);
void sched_stop_timer(struct sched *sched, struct timer *timer); /* no effect if it is not armed */

/* One turn: sets the time, fires what is due, runs the tasks queued before the call or by those
 * timers. Timers armed meanwhile wait for the next turn, so that a turn ends. */
void sched_run(struct sched *sched, uint64_t now_ms);

bool sched_has_tasks(const struct sched *sched);
/* Milliseconds from now_ms to the earliest timer; false if there is none. */
bool sched_next_timer(const struct sched *sched, uint64_t *in_ms);

#endif
