#ifndef BFM_BASE_BASE_H
#define BFM_BASE_BASE_H

#include <stddef.h>

/* The struct of `type` whose field `member` is at `ptr`. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* Marks a case that continues into the next one on purpose. */
#define FALLTHROUGH __attribute__((fallthrough))

#define PRINTF_LIKE(nth, first) __attribute__((format(printf, nth, first)))

#endif
