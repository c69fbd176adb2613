#ifndef BFM_API_HTTP_CORS_H
#define BFM_API_HTTP_CORS_H

#include <stdbool.h>

#include "base/arena.h"
#include "http/http.h"

/* BFM_CORS_ALLOWED_ORIGINS, parsed. */
struct cors {
    bool any;
    const char *const *origins;
    size_t count;
};

/* "*", "none", or a comma list of origins; NULL means "*". Returns 0 or ERR_NOMEM. */
int cors_parse(struct cors *cors, const char *text, struct arena *arena);

/* What Access-Control-Allow-Origin says to an origin, NULL if it is not allowed. */
const char *cors_allowed(const struct cors *cors, const char *origin);

/* Adds the headers of bfm-api.md §4.1 to the answer, if the request's origin is allowed. */
void cors_add_headers(const struct cors *cors, struct http_request *request);

#endif
