#ifndef BFM_API_OPS_DOUBT_H
#define BFM_API_OPS_DOUBT_H

#include "api/ops_resolve.h"
#include "migrate/doubt.h"

/* A decision about a statement in doubt. Borrowed until done. */
struct ops_doubt_request {
    const char *migration_id; /* any form of an ID, not "" */
    const char *schema;       /* "": the ID's, else the declared one, else {C}_SCHEMA */
    const char *as;           /* "applied" or "not_applied" */
    struct store_caller caller;
    const struct grant *grant;
};

/*
 * Fails with ERR_INVALID (the request), ERR_NOT_FOUND (the migration, or nothing is in doubt
 * there), ERR_AMBIGUOUS (the ID), ERR_FORBIDDEN, ERR_CONFLICT (somebody is at work there, the
 * target has no such thing, the script is gone or was changed), or as the target and the state
 * database do.
 */
struct ops_doubt {
    struct doubt doubt; /* when done with 0 */

    /* private */
    struct ops *ops;
    struct op *op;
    struct op step;
    struct ops_doubt_request request;
    struct ops_resolve resolve;
};

int ops_doubt_start(struct ops *ops, struct op *op, const struct ops_doubt_request *request,
                    struct ops_doubt *out);
void ops_doubt_free(struct ops_doubt *doubt); /* zeroed memory is fine */

#endif
