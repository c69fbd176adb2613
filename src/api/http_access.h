#ifndef BFM_API_HTTP_ACCESS_H
#define BFM_API_HTTP_ACCESS_H

#include "api/http_route.h"
#include "base/trace.h"
#include "http/http.h"

/*
 * What is kept of a request for the line and the figures that are made when it is over: the context
 * of the HTTP layer's request, in its arena. NULL when there was no memory for it.
 */
struct access_note {
    struct trace trace;
    const struct route *route; /* NULL: none fits */
    bool is_static;            /* a file of the dashboard */
    const char *token;         /* name of the one that it came with; NULL: none, or a wrong one */
};

struct access_note *access_note(const struct http_request *request);

/* These three take a request without a note, too. */
void access_note_route(struct http_request *request, const struct route *route);
void access_note_static(struct http_request *request);
void access_note_token(struct http_request *request, const char *name);

/* "" where there is none. */
const struct trace *access_trace(const struct http_request *request);

#endif
