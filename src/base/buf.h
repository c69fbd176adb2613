#ifndef BFM_BASE_BUF_H
#define BFM_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

#include "base/base.h"

/*
 * A growing byte buffer with a maximum. `data` is always NUL-terminated behind `len` (it may be
 * NULL while nothing was appended). A failed append sets `rc` (ERR_NOMEM or ERR_LIMIT), changes
 * nothing else, and every later append fails too: a caller may append many times and test `rc`
 * once.
 */
struct buf {
    char *data; /* read-only for the caller */
    size_t len; /* read-only for the caller; shorten with buf_truncate() */
    size_t cap;
    size_t max; /* `len` never exceeds it */
    int rc;     /* first failure, 0 if none */
};

void buf_init(struct buf *buf, size_t max);
void buf_free(struct buf *buf);                 /* back to an empty buffer with the same maximum */
void buf_truncate(struct buf *buf, size_t len); /* also clears rc */
void buf_drop(struct buf *buf, size_t len);     /* the first bytes; the rest moves there */
int buf_append(struct buf *buf, const void *data, size_t len);
int buf_puts(struct buf *buf, const char *text);
int buf_putc(struct buf *buf, char c);
int buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
int buf_vprintf(struct buf *buf, const char *format, va_list args) PRINTF_LIKE(2, 0);
/* Room for `len` more bytes without another allocation. */
int buf_reserve(struct buf *buf, size_t len);
/* The content as a string of its own, to be freed with mem_free(); the buffer becomes empty. NULL
 * if rc is set. */
char *buf_take(struct buf *buf);
/* The content as a C string; "" while nothing was appended. */
const char *buf_str(const struct buf *buf);

#endif
