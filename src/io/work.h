#ifndef BFM_IO_WORK_H
#define BFM_IO_WORK_H

#include "io/loop.h"

/*
 * Runs `fn(arg)` on a thread of libuv's pool and completes `op` with what it returned, on the loop.
 * `fn` may fill *err (the op's) when it fails. A cancel removes work that no thread has begun
 * (ERR_CANCELED); begun work goes on to its end and completes with its own result. `arg` must live
 * until done. Refused with ERR_NOMEM.
 */
int work_start(struct loop *loop, struct op *op, int (*fn)(void *arg, struct err *err), void *arg);

#endif
