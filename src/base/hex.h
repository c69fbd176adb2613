#ifndef BFM_BASE_HEX_H
#define BFM_BASE_HEX_H

#include <stddef.h>

#include "base/buf.h"

/* Appends two lower-case hex digits for each byte. Returns out->rc. */
int hex_put(struct buf *out, const void *data, size_t len);
/* `len` bytes from twice as many lower-case digits. 0 or ERR_INVALID. */
int hex_read(const char *text, size_t len, void *out);

#endif
