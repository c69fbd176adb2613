#ifndef BFM_API_OPS_WATCH_H
#define BFM_API_OPS_WATCH_H

#include "api/events.h"
#include "api/ops.h"

/* Borrowed until done. */
struct ops_watch_request {
    const char *run_id;  /* NULL: of all runs */
    const char *last_id; /* of the last event that the client has (events_format_id()); "": none */
    const struct grant *grant;
};

/*
 * Where a stream of events begins, to be used at once: valid in the callback. Fails with
 * ERR_NOT_FOUND for a run that there is not, or that the grant does not see, and as the state
 * database does, which is asked only about a run that this server has no events of.
 */
struct ops_watch {
    uint64_t next;     /* the first event to give */
    const char *reset; /* what is missing in front of it; NULL: nothing */
    bool ends;         /* behind the reset: this server has no events of the run, and gets none */
    bool nothing;      /* the client has everything there was and will be */

    /* private */
    struct ops *ops;
    const struct events *events;
    struct op *op;
    struct op step;
    struct ops_watch_request request;
    struct store_run_filter filter;
    struct store_runs row;
};

int ops_watch_start(struct ops *ops, const struct events *events, struct op *op,
                    const struct ops_watch_request *request, struct ops_watch *out);
void ops_watch_free(struct ops_watch *watch); /* zeroed memory is fine */

/* Whether no event of the run is in the window or will come: what a reader lost was the last of it.
 * Never for NULL, all runs. */
bool ops_watch_is_over(const struct ops *ops, const struct events *events, const char *run_id);

#endif
