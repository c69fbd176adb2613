#ifndef BFM_BACKEND_DOWN_H
#define BFM_BACKEND_DOWN_H

#include <stdint.h>

enum {
    BACKEND_DOWN_GRACE_MS = 3000, /* a target unreachable for longer fails at once */
};

/* For how long nobody has reached a target, as far as its steps have noticed. Zeros: it is there.
 * What was noticed longer ago than the grace is over: then this is another time. */
struct backend_down {
    uint64_t since_ms; /* 0: it was reached the last time */
    uint64_t seen_ms;  /* the last time that it was not */
};

/* It was not reached, in tries that began at `since_ms`: for how long by now. */
uint64_t backend_down_note(struct backend_down *down, uint64_t now_ms, uint64_t since_ms);
void backend_down_end(struct backend_down *down);

#endif
