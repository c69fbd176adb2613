#ifndef BFM_BASE_JSON_H
#define BFM_BASE_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    JSON_DEPTH_MAX = 64,
};

#define JSON_NOWHERE SIZE_MAX

/*
 * Parses one JSON text (RFC 8259). Refused with ERR_INVALID and a text saying why: malformed JSON,
 * text behind the value, invalid UTF-8, a NUL character in a string, a key given twice in one
 * object, nesting deeper than JSON_DEPTH_MAX. ERR_NOMEM when memory is out. The result belongs to
 * the caller: cJSON_Delete().
 */
int json_parse(const char *text, size_t len, cJSON **out, struct err *err);

/* The same. When refused, *at is the offset of what is wrong (up to `len`), or JSON_NOWHERE. */
int json_parse_at(const char *text, size_t len, cJSON **out, size_t *at, struct err *err);

/* Appends a JSON string, quotes included. Invalid UTF-8 becomes U+FFFD. */
int json_put_string(struct buf *buf, const char *text);
int json_put_string_n(struct buf *buf, const char *text, size_t len);

/* Appends an array of strings. */
int json_put_array(struct buf *buf, const char *const *texts, size_t count);

/* Appends `"key":"text"`, with a comma in front unless the buffer ends in '{' or '['. */
int json_put_member(struct buf *buf, const char *key, const char *text);

#endif
