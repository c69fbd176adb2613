#ifndef BFM_BASE_POOL_STATS_H
#define BFM_BASE_POOL_STATS_H

#include <stdbool.h>
#include <stdint.h>

/* Figures of a pool of connections to one database. All 0: there is none. */
struct pool_stats {
    unsigned max;            /* how many there may be */
    unsigned open, busy;     /* open or opening; lent to somebody */
    unsigned waiting;        /* those who want one, now */
    uint64_t waits, wait_us; /* ever: how often one was waited for, and how long in all */
    uint64_t failures;       /* connections that could not be opened */
    int64_t contact_us;      /* wall time of the last sign of life; 0: none yet */
    bool contacted, is_up;   /* there was a contact or a failure; the last of them was a contact */
};

#endif
