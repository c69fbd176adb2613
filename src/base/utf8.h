#ifndef BFM_BASE_UTF8_H
#define BFM_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, up to
 * U+10FFFF). */
bool utf8_is_valid(const char *text, size_t len);

/* The largest length <= len that does not end in the middle of a character. */
size_t utf8_cut(const char *text, size_t len);

#endif
