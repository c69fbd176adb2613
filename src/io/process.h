#ifndef BFM_IO_PROCESS_H
#define BFM_IO_PROCESS_H

#include <stdint.h>

#include "base/err.h"

/* What the system knows about this process; 0 where it does not say. */
struct process_figures {
    uint64_t resident_bytes, virtual_bytes;
    uint64_t cpu_us; /* user and system, all threads */
    uint64_t open_files, max_files;
    uint64_t started_us; /* wall time */
};

/* Fills the struct process_figures that `arg` is. Reads /proc, which takes a while with many open
 * files: for work_start(). Always 0. */
int process_read(void *arg, struct err *err);

#endif
