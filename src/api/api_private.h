#ifndef BFM_API_API_PRIVATE_H
#define BFM_API_API_PRIVATE_H

#include "api/api.h"
#include "api/events.h"
#include "api/grant.h"
#include "api/http_cors.h"
#include "api/metrics.h"
#include "api/ops.h"

/* Clients that wait for the server's health to change (rpc_health.c). */
struct health_watch {
    struct list readers; /* struct rpc.link */
    struct timer timer;  /* runs while there are any: when to look again */
};

/* What both mouths have: HTTP and gRPC. */
struct api {
    struct api_config config;
    struct ops ops;
    struct arena arena; /* what was made from the configuration */
    struct cors cors;
    struct tokens tokens;
    struct events events;
    struct api_metrics metrics;
    struct health_watch health;
    const char *frontend_root; /* frontend_path without links; NULL: none */
    size_t calls;              /* under way */
    size_t guests;             /* calls that last, of clients without a token */
};

#endif
