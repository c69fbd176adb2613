#ifndef BFM_API_OPS_REPLAY_H
#define BFM_API_OPS_REPLAY_H

#include "api/ops.h"
#include "base/arena.h"

/*
 * Idempotency keys. A key is claimed for a run before anything of it is done; who comes second gets
 * that run. A key is kept for 24 hours, per owner.
 */
enum {
    OPS_KEY_MAX = 255,            /* printable ASCII characters */
    OPS_REPLAY_LINES_MAX = 10000, /* steps, and lanes, of an answer that is made again */
};

enum ops_replay_outcome {
    OPS_REPLAY_NEW,      /* the key is the caller's: run, under `run_id` */
    OPS_REPLAY_MISMATCH, /* the key stands for another request */
    OPS_REPLAY_ANSWER,   /* it has ended: `answer` is "STATUS BODY" */
    OPS_REPLAY_RUN,      /* it has ended just now: `run`, held */
    OPS_REPLAY_GOES_ON, /* it is under way, and nobody wants to wait; or it has ended, with `row` */
    OPS_REPLAY_REBUILD, /* it has ended, and its answer has to be made from row, lanes and steps */
};

struct ops_replay_request {
    const char *owner, *key, *fingerprint; /* borrowed until done */
    const char *run_id;                    /* the run that the key is claimed for */
    bool wait;                             /* for the end of a run that is under way */
};

/* Fails with ERR_STORE, ERR_SHUTDOWN, ERR_NOMEM. */
struct ops_replay {
    enum ops_replay_outcome outcome;
    char run_id[40];
    const char *answer;
    struct run *run;
    enum store_run_status status;
    struct store_runs row; /* one */
    struct store_run_lanes lanes;
    struct store_run_steps steps;

    /* private */
    struct ops *ops;
    struct op *op;
    struct op step;
    struct op_sleep sleep;
    struct run_waiter waiter;
    struct ops_replay_request request;
    struct store_key key;
    struct store_key_claim claim;
    struct store_run_filter filter;
    struct arena arena;
    uint64_t since_ms;
    int stage;
    bool asked_again; /* for the answer, after the run has ended */
    bool is_own;      /* this server claimed the key */
};

int ops_replay_start(struct ops *ops, struct op *op, const struct ops_replay_request *request,
                     struct ops_replay *out);
void ops_replay_free(struct ops_replay *replay); /* zeroed memory is fine */

#endif
