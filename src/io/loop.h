#ifndef BFM_IO_LOOP_H
#define BFM_IO_LOOP_H

#include <uv.h>

#include "base/op.h"

/*
 * The event loop: libuv's, plus the timers and deferred calls of base/sched.h. One per process, one
 * thread. The sched's time is libuv's; its tasks run in the same iteration they were deferred in,
 * or the next one.
 */
struct loop;

/* NULL when memory or file descriptors are out. */
struct loop *loop_create(void);
/* Runs until loop_stop(), or until nothing is left to wait for. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* Closes the loop's own handles, runs what is left of them and frees the loop. Aborts if a handle
 * of anybody else is still open (uv_loop_close() must return 0). */
void loop_destroy(struct loop *loop);

struct sched *loop_sched(struct loop *loop);
uv_loop_t *loop_uv(struct loop *loop); /* for io/ and driver/ only */

/* For io/signals: a signal cuts libuv's waiting short, and libuv then forgets how long it waited.
 * The turn's measure starts anew. */
void loop_note_signal(struct loop *loop);

/* The longest time one iteration kept the loop busy since the last call, in microseconds; starts
 * anew. */
uint64_t loop_take_longest_us(struct loop *loop);
/* The same of the processor's time alone: what the loop did itself, however busy the machine is. */
uint64_t loop_take_longest_cpu_us(struct loop *loop);

enum {
    LOOP_TURN_BOUNDS = 10,
};
/* Upper bounds of `turns` below, in microseconds, but for the last. */
extern const uint64_t loop_turn_bounds[LOOP_TURN_BOUNDS];

/* How long iterations kept the loop busy, since it was created. */
struct loop_stats {
    uint64_t turns[LOOP_TURN_BOUNDS + 1];
    uint64_t busy_us;
    uint64_t longest_us; /* of the past one to two minutes */
};
void loop_get_stats(const struct loop *loop, struct loop_stats *out);

#endif
