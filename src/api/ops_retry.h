#ifndef BFM_API_OPS_RETRY_H
#define BFM_API_OPS_RETRY_H

#include "api/ops_run.h"

struct ops_retry_request {
    const char *id; /* the run to retry */
    struct store_caller caller;
    struct ops_run_how how;    /* without retry_of */
    const struct grant *grant; /* until done */
};

/*
 * A new run with the request of another one, in the lanes where that failed or did not get to; in
 * all of them where it is not known which. Fails as a run does, and with ERR_NOT_FOUND for an
 * unknown ID, ERR_CONFLICT when the run is under way or nothing of it failed.
 */
struct ops_retry {
    /* private */
    struct ops *ops;
    struct op *op;
    struct op step;
    struct ops_run *run; /* the caller's, filled when done */
    struct ops_retry_request request;
    struct store_run_filter filter;
    struct store_runs row;
    struct store_run_lanes lanes;
    struct arena arena;
    const char **schemas;
    size_t schema_count;
    struct ops_recorded *recorded;
    int stage;
};

int ops_retry_start(struct ops *ops, struct op *op, const struct ops_retry_request *request,
                    struct ops_retry *out, struct ops_run *run);
void ops_retry_free(struct ops_retry *retry); /* zeroed memory is fine */

#endif
