#ifndef BFM_IO_SINK_H
#define BFM_IO_SINK_H

#include "io/loop.h"

/*
 * Where log lines go: a file descriptor that is never waited for. Lines are queued up to `max`
 * bytes and written by the loop in the order they came; what does not fit is dropped and counted,
 * and a line says how many once there is room again. Pipes, sockets and terminals are written
 * without blocking, files from the thread pool.
 */
struct sink;

/* NULL when memory or file descriptors are out, or `fd` is not open. */
struct sink *sink_create(struct loop *loop, int fd, size_t max);
/* Takes a copy. From any thread; `arg` is the sink. Fits log_set_sink(). */
void sink_push(void *arg, const char *line, size_t len);
uint64_t sink_dropped(struct sink *sink);
/*
 * Writes what is queued, at most for `wait_ms`, then closes. The op is done once nothing of the
 * sink is left; nobody may push any more. Always starts. The file descriptor stays open, in the
 * mode it was in.
 */
void sink_close(struct sink *sink, struct op *op, uint64_t wait_ms);

#endif
