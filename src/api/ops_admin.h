#ifndef BFM_API_OPS_ADMIN_H
#define BFM_API_OPS_ADMIN_H

#include "api/grant.h"
#include "api/ops.h"

/* Reads the tree anew and says what changed. */
struct ops_reindex {
    struct api_reindex_result result;

    /* private */
    struct op *op;
    struct op step;
};

/* ERR_FORBIDDEN for a grant that does not see everything. */
int ops_reindex_start(struct ops *ops, struct op *op, const struct grant *grant,
                      struct ops_reindex *out);
void ops_reindex_free(struct ops_reindex *reindex); /* zeroed memory is fine */

/* Compares journals and state of one connection, or of all with `connection` NULL or "". Fails with
 * ERR_NOT_FOUND for an unknown connection, and ERR_FORBIDDEN for a grant that does not see all of
 * it. */
struct ops_reconcile {
    struct reconcile *reconcile;

    /* private */
    struct op *op;
};

int ops_reconcile_start(struct ops *ops, struct op *op, const struct grant *grant,
                        const char *connection, struct ops_reconcile *out);
void ops_reconcile_free(struct ops_reconcile *reconcile); /* zeroed memory is fine */

/* NULL: healthy. Else the reason. */
const char *ops_health(const struct ops *ops);

#endif
