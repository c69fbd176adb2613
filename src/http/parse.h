#ifndef BFM_HTTP_PARSE_H
#define BFM_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * One request message, from bytes. Pure: no I/O, no loop. What the answer to a bad message is gets
 * decided here (status and reason), sending it is the connection's.
 */
enum {
    HTTP_FIELDS_MAX = 128, /* header fields of a request; more: 431 */
};

struct http_field {
    const char *name, *value;
};

/* All fields are read-only outside of the parser. */
struct http_message {
    /* complete once the head is; "" before */
    const char *method;
    const char *path, *query;
    unsigned minor; /* of HTTP/1.x */
    bool keep_alive;
    bool expects_continue;
    bool has_body;
    size_t field_count;
    struct http_field fields[HTTP_FIELDS_MAX];

    struct buf body;

    /* why it is bad */
    int status;
    const char *reason; /* a constant */
};

enum http_parsed {
    HTTP_PARSED_PART, /* everything was used, the message goes on */
    HTTP_PARSED_HEAD, /* the head is complete and good; call again, even without bytes */
    HTTP_PARSED_ALL,  /* the message is complete; the rest belongs to the next one */
    HTTP_PARSED_BAD,  /* see status and reason; no more bytes are taken */
};

/* `max_head`: request line and header fields together; `max_body` bytes. NULL when memory is out.
 */
struct http_message *http_message_create(size_t max_head, size_t max_body);
void http_message_free(struct http_message *message);

/* Takes *used of the `len` bytes. Pieces may be cut anywhere. */
enum http_parsed http_message_parse(struct http_message *message, const char *data, size_t len,
                                    size_t *used);

/* The first value of a field, NULL if absent; and how many there are. The name in any case. */
const char *http_message_field(const struct http_message *message, const char *name);
size_t http_message_field_count(const struct http_message *message, const char *name);

/* Private to the parser: takes the request target apart (in place) and applies the rules that
 * need whole header fields. Returns false with status and reason set. */
bool http_message_check(struct http_message *message, char *target);
bool http_message_refuse(struct http_message *message, int status, const char *reason);

#endif
