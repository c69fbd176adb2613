#ifndef BFM_MODEL_JSONTEXT_H
#define BFM_MODEL_JSONTEXT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * JSON as it was written: what is taken over from a script keeps its bytes, as a parser that makes
 * numbers of digits would change them. Every function trusts text that json_parse() has accepted.
 */

/* From `at`: behind the blanks; behind the blanks and the value that follows. */
size_t json_text_skip_blanks(const char *text, size_t len, size_t at);
size_t json_text_skip_value(const char *text, size_t len, size_t at);

/* Appends text[from, to) without the blanks between its tokens. */
int json_text_put_compact(struct buf *out, const char *text, size_t from, size_t to);

/* The numbers in text[from, to) are JSON's own: a parser may be more generous. ERR_INVALID names
 * the first that is not. */
int json_text_check_numbers(const char *text, size_t from, size_t to, struct err *err);

#endif
