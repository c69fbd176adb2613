#ifndef BFM_BASE_ARENA_H
#define BFM_BASE_ARENA_H

#include <stddef.h>

#include "base/base.h"

/*
 * Memory that dies together. Pieces from
 * arena_alloc() are aligned for any type, strings are not; none can be freed by itself.
 */
struct arena {
    struct arena_block *blocks;
    size_t used; /* bytes handed out, for reports */
};

void arena_init(struct arena *arena);
void arena_free(struct arena *arena); /* frees every piece; the arena is empty again */
/* Each returns NULL when memory is out; nothing else changes then. */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_calloc(struct arena *arena, size_t count, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t len);
char *arena_printf(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);
/* Makes every piece of `from` belong to `to`; `from` is left empty. */
void arena_adopt(struct arena *to, struct arena *from);

#endif
