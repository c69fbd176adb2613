#ifndef BFM_API_CURSOR_H
#define BFM_API_CURSOR_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"

enum {
    CURSOR_PARTS_MAX = 3,
};

/*
 * `cursor` and `next_cursor` (README.md, "Pages"): the place in a list behind which the next page
 * begins, as a text that clients pass on without looking into it: hex digits, so that it needs no
 * encoding in a URL. `kind` is a letter per list: the cursor of another list is refused.
 */

/* Appends one. Returns out->rc. */
int cursor_put(struct buf *out, char kind, const char *const *parts, size_t count);
/* The parts, which are UTF-8, in the arena. ERR_INVALID when it was not made by cursor_put() for
 * this kind with as many parts; ERR_NOMEM. */
int cursor_read(const char *text, char kind, struct arena *arena, const char **parts, size_t count);

/* A part that is a number from 0 to `max`; ERR_INVALID. */
int cursor_read_number(const char *part, int64_t max, int64_t *out);

#endif
