#ifndef BFM_API_HTTP_ETAG_H
#define BFM_API_HTTP_ETAG_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Entity tags (RFC 9110 §8.8.3) made of what a file holds: the same on every server and after every
 * start, whatever the file's time is.
 */
enum {
    ETAG_SIZE = 40, /* with quotes and NUL */
};

/* Returns 0 or ERR_NOMEM. Reads everything: for a pool thread. */
int etag_make(const void *data, size_t len, char out[ETAG_SIZE]);

/* Whether the value of If-None-Match (NULL: absent) has `etag`: the peer's copy is still good. */
bool etag_is_listed(const char *list, const char *etag);

#endif
