#ifndef BFM_API_OPS_ORDER_H
#define BFM_API_OPS_ORDER_H

#include "api/grant.h"
#include "api/ops.h"
#include "base/arena.h"

struct ops_order_request {
    const char *const *ids; /* any form; the schema in them plays no part */
    size_t count;
    const char *connection; /* required, not "" */
    const struct grant *grant;
};

/*
 * The same strings in the order in which their migrations have to run, those of one migration
 * adjacent. Fails with ERR_INVALID for an ID that is unknown, ambiguous or of another connection,
 * and ERR_DEPENDENCY for a cycle or a missing dependency.
 */
struct ops_order {
    const char **ordered;
    size_t count;

    /* private */
    struct op *op;
    struct op step;
    struct ops_order_request request;
    struct registry *registry;
    struct arena arena;
};

int ops_order_start(struct ops *ops, struct op *op, const struct ops_order_request *request,
                    struct ops_order *out);
void ops_order_free(struct ops_order *order); /* zeroed memory is fine */

#endif
