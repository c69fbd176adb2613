#ifndef BFM_API_HTTP_JSON_H
#define BFM_API_HTTP_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Members of a JSON object, each with a comma in front unless it is the first one. */
void json_put_bool(struct buf *out, const char *key, bool value);
void json_put_int(struct buf *out, const char *key, int64_t value);
void json_put_time(struct buf *out, const char *key, int64_t wall_us); /* "" if it is 0 */
/* Left out if the text is empty, or the time 0. */
void json_put_some(struct buf *out, const char *key, const char *text);
/* A text in a buffer, whose failure becomes that of `out`. */
void json_put_some_of(struct buf *out, const char *key, const struct buf *text);
void json_put_some_time(struct buf *out, const char *key, int64_t wall_us);
void json_put_strings(struct buf *out, const char *key, const char *const *strings, size_t count);
/* The key alone, with its colon; the value follows. */
void json_put_key(struct buf *out, const char *key);

#endif
