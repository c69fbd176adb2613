#ifndef BFM_BACKEND_BACKOFF_H
#define BFM_BACKEND_BACKOFF_H

#include <stdint.h>

/* How long to pause before try `nth` + 2: min_ms, doubled each time up to max_ms, and of that half
 * to one and a half, so that those who failed together do not come back together. */
uint64_t backend_backoff_ms(unsigned nth, uint64_t min_ms, uint64_t max_ms);

#endif
