#ifndef BFM_API_OPS_RESOLVE_H
#define BFM_API_OPS_RESOLVE_H

#include "api/grant.h"
#include "api/ops.h"
#include "base/arena.h"
#include "model/ids.h"

/*
 * What an ID given by a client stands for (bfm-api.md §3.4), among what the grant sees. The
 * operation succeeds with `found` false for an unknown ID, and fails with ERR_AMBIGUOUS for one
 * that can mean several things. It fails with ERR_FORBIDDEN for an ID that itself names a place
 * that the grant does not see, whether or not anything is there.
 */
struct ops_resolve {
    bool found;
    const struct migration *migration;   /* NULL: its script is gone, only the state knows it */
    const char *migration_id;            /* base ID */
    const char *schema;                  /* NULL: an ID without a schema */
    const struct store_status *recorded; /* set when `migration` is NULL */

    /* private */
    struct ops *ops;
    struct op *op;
    struct op step;
    struct task task;
    struct arena arena;
    struct registry *registry;
    const char *id;
    const struct grant *grant;
    const struct ids_match *refused; /* the first one that the grant does not see; NULL: none */
    struct ids_matches matches;
    size_t at;
    bool asked_state;
    struct store_executions rows;
    size_t row_at;
    struct store_statuses statuses;
};

/* `id` and `grant` are borrowed until done. */
int ops_resolve_start(struct ops *ops, struct op *op, const char *id, const struct grant *grant,
                      struct ops_resolve *resolve);
void ops_resolve_free(struct ops_resolve *resolve); /* zeroed memory is fine */

#endif
