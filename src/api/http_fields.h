#ifndef BFM_API_HTTP_FIELDS_H
#define BFM_API_HTTP_FIELDS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

enum {
    FIELD_STRING_MAX = 64 * 1024, /* bytes of one string */
    FIELD_COUNT_MAX = 1000000000,
};

/*
 * Reads the fields of a JSON object. Absent and null are the same: the empty value. A value of the
 * wrong type sets `rc` to ERR_INVALID and *err to a text that names the field; later reads give
 * empty values then, so that a reader can test `rc` once, at the end. What is read is copied into
 * the arena.
 */
struct fields {
    const cJSON *object; /* NULL: everything is absent */
    const char *prefix;  /* "target.", "" at the top */
    struct arena *arena;
    struct err *err;
    int rc;
};

/* `body` may be NULL (no body). ERR_INVALID if it is there and no object. */
void fields_init(struct fields *fields, const cJSON *body, struct arena *arena, struct err *err);

const char *fields_string(struct fields *fields, const char *name); /* "" if absent */
bool fields_bool(struct fields *fields, const char *name);
/* A whole number that is not negative. False, and 0, if it is absent. */
bool fields_count(struct fields *fields, const char *name, size_t *out);
/* At most `max` entries. Never NULL. */
const char *const *fields_strings(struct fields *fields, const char *name, size_t max,
                                  size_t *count);
/* An object within; false if it is absent. `prefix` is its name and a dot. */
bool fields_object(struct fields *fields, const char *name, const char *prefix,
                   struct fields *inner);
/* Sets ERR_INVALID if the field is absent or null. */
void fields_require(struct fields *fields, const char *name);

#endif
