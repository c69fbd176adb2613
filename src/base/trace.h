#ifndef BFM_BASE_TRACE_H
#define BFM_BASE_TRACE_H

#include <stdbool.h>

enum {
    TRACE_REQUEST_MAX = 128, /* bytes of a client's request ID */
    TRACE_ID_SIZE = 33,      /* 32 hex digits and NUL */
    TRACE_SPAN_SIZE = 17,    /* 16 hex digits and NUL */
};

/*
 * What ties log lines together: a request's ID, taken from the client or made, and its place in a
 * trace of W3C Trace Context, if the client is in one. On the loop's thread only.
 */
struct trace {
    char request_id[TRACE_REQUEST_MAX + 1]; /* never "" once it was begun */
    char trace_id[TRACE_ID_SIZE];           /* "": the client is in no trace */
    char span_id[TRACE_SPAN_SIZE];          /* of this request; "" likewise */
};

/* `request_id` (X-Request-ID) counts if it is 1 to TRACE_REQUEST_MAX printable ASCII characters,
 * `traceparent` if it is one; NULL: there is none. */
void trace_begin(struct trace *trace, const char *request_id, const char *traceparent);

/* A new ID of 32 hex digits: unique, but not secret. */
void trace_make_id(char out[TRACE_ID_SIZE]);

/* Whether it is a traceparent of any version that can be read as version 00; fills `trace_id`. */
bool trace_parse_parent(const char *text, char trace_id[TRACE_ID_SIZE]);

#endif
