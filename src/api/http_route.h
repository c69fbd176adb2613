#ifndef BFM_API_HTTP_ROUTE_H
#define BFM_API_HTTP_ROUTE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct call;

enum {
    ROUTE_OPEN = 1,     /* no token needed */
    ROUTE_STATE = 2,    /* needs the state database */
    ROUTE_PROBE = 4,    /* answered while stopping too */
    ROUTE_OPTIONAL = 8, /* the body may be left out */
    ROUTE_QUIET = 16,   /* left out of the access log */
    ROUTE_METRICS = 32, /* only where figures are kept; open if the configuration says so */
};

/*
 * One route. A path is matched segment by segment; "{id}" stands for one that is not empty. What
 * stands further up in the table wins.
 */
struct route {
    const char *method; /* "GET" takes HEAD too */
    const char *pattern;
    unsigned flags;
    unsigned scopes; /* of enum grant_scope: the token needs one of them; 0 with ROUTE_OPEN only */
    /* Turns the body into the call's request; may run on a pool thread, touches nothing else.
     * `body` is NULL if there is none. NULL: the body is not looked at. */
    int (*read)(struct call *call, const cJSON *body, struct err *err);
    /* Starts the operation on call->op. Refusals as in base/op.h. NULL: there is nothing to wait
     * for. */
    int (*start)(struct call *call);
    /* Answers once the operation is done. */
    void (*answer)(struct call *call);
};

enum route_found {
    ROUTE_FOUND,
    ROUTE_UNKNOWN,      /* 404 */
    ROUTE_WRONG_METHOD, /* 405 with `allow` */
};

struct route_match {
    const struct route *route;
    const char *id; /* still percent-encoded, within the path; NULL if the pattern has none */
    size_t id_len;
    char allow[64];
};

/* The table of the API, in api.c. */
const struct route *api_routes(size_t *count);

/* One trailing slash of the path is passed over. */
enum route_found route_find(const struct route *routes, size_t count, const char *method,
                            const char *path, struct route_match *out);

/* Whether the path is /api or something below it. */
bool route_is_api(const char *path);

#endif
