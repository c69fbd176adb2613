#ifndef BFM_IO_SIGNALS_H
#define BFM_IO_SIGNALS_H

#include "io/loop.h"

/* SIGTERM, SIGINT and SIGHUP, delivered on the loop. They do not keep the loop running. */
struct signals;

/* NULL when memory or file descriptors are out. `on_signal` is called for each, any number of
 * times.
 */
struct signals *signals_start(struct loop *loop, void (*on_signal)(void *arg, int signum),
                              void *arg);
/* No call afterwards, and the signals are ignored; the memory goes in the loop's next iteration.
 * NULL is fine. */
void signals_stop(struct signals *signals);

#endif
