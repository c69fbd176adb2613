#ifndef BFM_BASE_NEAREST_H
#define BFM_BASE_NEAREST_H

#include <stddef.h>

enum {
    NEAREST_EDITS_MAX = 2, /* up to which a known name is offered in place of one that is not */
};

/*
 * The name that `text` was most likely meant to be: the one that the fewest insertions, deletions
 * and replacements, fewer than *best, lead to. *best becomes their number. `nearest` if there is
 * none, so that several lists can be gone through one after another; begin with NULL and
 * NEAREST_EDITS_MAX + 1. Names of 256 bytes and more are near to nothing.
 */
const char *nearest_name(const char *text, const char *const *names, size_t count,
                         const char *nearest, size_t *best);

#endif
