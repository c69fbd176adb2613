#ifndef BFM_API_OPS_RUNS_H
#define BFM_API_OPS_RUNS_H

#include "api/grant.h"
#include "api/ops.h"
#include "base/arena.h"

enum {
    OPS_RUNS_DEFAULT = 50, /* runs, lanes or steps of one page */
    OPS_RUNS_MAX = 500,
};

/* Whether the text can be the ID of a run. */
bool ops_runs_is_id(const char *text);

/* Runs of the connections that the grant sees, newest first; a page of `limit` (1 to OPS_RUNS_MAX),
 * or less where few of very many are seen. ERR_INVALID for a status or kind that there is not,
 * ERR_FORBIDDEN for a connection that is not seen. Filter and grant are borrowed until done. */
struct ops_runs {
    struct store_run *rows;
    size_t count;
    const char *next_cursor; /* "" : there is no more */

    /* private */
    struct ops *ops;
    struct op *op;
    struct op step;
    struct store_run_filter filter;
    const struct grant *grant;
    size_t limit;
    unsigned reads;
    struct arena arena;
    struct store_runs found;
};

int ops_runs_start(struct ops *ops, struct op *op, const struct store_run_filter *filter,
                   const struct grant *grant, size_t limit, struct ops_runs *out);
void ops_runs_free(struct ops_runs *runs); /* zeroed memory is fine */

/* A lane, and where it is while the run is under way in this process. */
struct ops_show_lane {
    struct store_run_lane row;
    bool active;
    const char *waits_for;                       /* NULL unless active */
    const char *migration_id, *migration_schema; /* of the step it is at; NULL: between two */
};

/* Which part of a run to show. */
struct ops_show_request {
    const char *id;
    const struct grant *grant;        /* until done */
    size_t limit;                     /* of lanes, and of steps */
    int64_t lanes_after, steps_after; /* -1: from the start */
};

/*
 * One run with a page of its lanes (those that do or did something, or failed) and a page of its
 * steps (those that reached a target). From memory while it is under way in this process, else from
 * the state database. `found` is false for an unknown ID, or one that the grant does not see.
 */
struct ops_show {
    bool found;
    struct store_run run;
    struct ops_show_lane *lanes;
    size_t lane_count;
    const struct store_run_step *steps;
    size_t step_count;
    bool more_lanes, more_steps;

    /* private */
    struct ops *ops;
    struct op *op;
    struct op step;
    struct ops_show_request request;
    struct store_run_filter filter;
    struct arena arena;
    struct store_runs row;
    struct store_run_lanes lane_rows;
    struct store_run_steps step_rows;
    int stage;
};

int ops_show_start(struct ops *ops, struct op *op, const struct ops_show_request *request,
                   struct ops_show *out);
void ops_show_free(struct ops_show *show); /* zeroed memory is fine */

/* "running", "succeeded", "failed". */
const char *ops_show_lane_status(const struct ops_show_lane *lane);
/* Whether the grant may see what is summed up over the lane: one that no schema was asked for is
 * about all declared ones. */
bool ops_show_has_sums(const struct grant *grant, const struct ops_show_lane *lane);

/* Asks a run to end early. Fails with ERR_NOT_FOUND, ERR_FORBIDDEN, or ERR_CONFLICT when another
 * server runs it. */
struct ops_cancel {
    bool canceling; /* else it had ended before, with: */
    enum store_run_status status;

    /* private */
    struct ops *ops;
    struct op *op;
    struct op step;
    struct store_run_filter filter;
    const struct grant *grant;
    struct store_runs row;
};

int ops_cancel_start(struct ops *ops, struct op *op, const char *id, const struct grant *grant,
                     struct ops_cancel *out);
void ops_cancel_free(struct ops_cancel *cancel); /* zeroed memory is fine */

#endif
