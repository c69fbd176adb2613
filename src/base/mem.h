#ifndef BFM_BASE_MEM_H
#define BFM_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

/*
 * The allocator of everything in src/. Each function returns NULL when memory is out; callers test
 * it and report ERR_NOMEM. mem_free(NULL) does nothing. Sizes of 0 give a pointer that may be
 * freed.
 */
void *mem_alloc(size_t size);
void *mem_calloc(size_t count, size_t size);
void *mem_realloc(void *ptr, size_t size);
char *mem_strdup(const char *text);
char *mem_strndup(const char *text, size_t len);
void mem_free(void *ptr);
/* Makes room for one more item of `size` bytes in an array that doubles, beginning with 32: *items
 * may move. 0 or ERR_NOMEM. */
int mem_grow(void **items, size_t *cap, size_t count, size_t size);

/*
 * For tests: allocation number `nth` (1 = the next one) and, with `sticky`, all later ones return
 * NULL. nth 0 turns failing off. mem_fail_hit() tells whether a failure was handed out since.
 */
void mem_fail_at(uint64_t nth, int sticky);
int mem_fail_hit(void);
/* While paused nothing fails and nothing is counted: for the test's own allocations in between. */
void mem_fail_pause(int paused);

#endif
