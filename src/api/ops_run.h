#ifndef BFM_API_OPS_RUN_H
#define BFM_API_OPS_RUN_H

#include "api/grant.h"
#include "api/ops_replay.h"
#include "api/ops_resolve.h"
#include "base/buf.h"

/* What many lanes make of the failure of some. */
struct ops_failures {
    bool given; /* by the client: a retry keeps what is recorded otherwise */
    bool limited;
    size_t max; /* with `limited`: lanes that may fail before the others are left alone */
};

/* How a run is to be run; zeroed: its end is waited for. Borrowed until done. */
struct ops_run_how {
    /* The operation ends as soon as the run is on record; `accepted` is set then. A dry run is
     * never on record, and waited for. */
    bool async;
    const char *retry_of;                             /* run ID; NULL: of none */
    const char *key;                                  /* Idempotency-Key; NULL: none */
    const char *fingerprint;                          /* of the request that the key came with */
    void (*answer)(struct run *run, struct buf *out); /* makes what is kept for the key */
    struct ops_failures failures;
};

/* Up (bfm-api.md §4.3). */
struct ops_up_request {
    const char *connection; /* required, not "" */
    const struct plan_filter
        *target; /* required; an empty target.connection becomes `connection` */
    const char *const *schemas;
    size_t schema_count;
    /* Instead of `schemas`: every schema that a migration without a schema of its own was applied
     * to, as far as the grant sees it. */
    bool from_state;
    bool no_lone_lane; /* no schema means none; implied by from_state */
    bool dry_run, ignore_dependencies;
    bool explain; /* of a dry run: items say why they are there, and there are no events */
    struct store_caller caller;
    struct ops_run_how how;
    const struct grant *grant; /* what the client may touch; with from_state until done */
};

/* Migrate, the brief's form (bfm-api.md §4.4): one pass over one schema. "" where not given. */
struct ops_migrate_request {
    const char *connection;
    const struct plan_filter *target;
    const char *schema, *schema_name, *environment;
    bool dry_run, ignore_dependencies;
    struct store_caller caller;
    struct ops_run_how how;
    const struct grant *grant;
};

/* Down and rollback (bfm-api.md §4.5, §4.6). */
struct ops_undo_request {
    const char *migration_id; /* any form of an ID, not "" */
    const char *const *schemas;
    size_t schema_count; /* 0: the ID's schema, else the declared one, else none */
    bool dry_run, ignore_dependencies;
    struct store_caller caller;
    struct ops_run_how how;
    const struct grant *grant; /* until done */
};

enum ops_run_kind {
    OPS_UP,
    OPS_MIGRATE,
    OPS_DOWN,
    OPS_ROLLBACK,
};

/*
 * A run and what to say about it. The operation itself fails with ERR_INVALID (the request),
 * ERR_NOT_FOUND, ERR_AMBIGUOUS (the ID), ERR_FORBIDDEN, ERR_SHUTDOWN or ERR_NOMEM, and then there
 * is nothing more to say. Otherwise `failure` tells whether the run failed as a whole, and the
 * lines what became of its migrations; there may be lines beside a failure.
 */
struct ops_run {
    enum ops_run_kind kind;
    struct run *run;                 /* NULL: the lines say why nothing was started */
    struct err failure;              /* code 0: none */
    size_t applied, skipped, errors; /* lines of each kind */

    bool accepted;                    /* it goes on without this; see run_id and run_status */
    bool replayed;                    /* the key stood for it already */
    char run_id[40];                  /* with `accepted` or `replayed` */
    enum store_run_status run_status; /* likewise */
    const char *kept_answer;          /* "STATUS BODY" of the first time; NULL: none, `run` or... */
    const struct ops_replay *rebuild; /* ...what the state database knows of it; NULL: not asked */

    /* rollback only */
    const char *message;
    bool nothing_to_undo;

    /* private */
    struct ops *ops;
    struct op *op;
    struct op step;
    struct task task;
    struct arena arena;
    struct ops_resolve resolve;
    struct ops_undo_request undo;
    struct ops_up_request up; /* with from_state, as this and what follows */
    struct store_tenant_filter fleet;
    struct store_tenants tenants;
    struct ops_run_how how;
    const char *owner; /* of the key */
    struct ops_replay replay;
    const char *lone_error; /* the only line of a run that was not started */
    bool rebuilds_schemas;  /* with `rebuild`: schemas were asked for */
};

int ops_up_start(struct ops *ops, struct op *op, const struct ops_up_request *request,
                 struct ops_run *out);
int ops_migrate_start(struct ops *ops, struct op *op, const struct ops_migrate_request *request,
                      struct ops_run *out);
int ops_down_start(struct ops *ops, struct op *op, const struct ops_undo_request *request,
                   struct ops_run *out);
int ops_rollback_start(struct ops *ops, struct op *op, const struct ops_undo_request *request,
                       struct ops_run *out);
void ops_run_free(struct ops_run *run); /* zeroed memory is fine */

enum ops_lines {
    OPS_LINES_APPLIED,
    OPS_LINES_SKIPPED,
    OPS_LINES_ERRORS,
};

/* Where an iteration over a run's items is; zeroed memory is its start. */
struct ops_cursor {
    size_t lane, item;
};

/* The lines of one kind, in lane order, then step order. Replaces what `line` holds; its max bounds
 * a line (a failed buf has rc set). */
enum ops_next ops_run_next_line(const struct ops_run *run, enum ops_lines which,
                                struct ops_cursor *at, struct buf *line);
/* The items that did more than be skipped. */
enum ops_next ops_run_next_detail(const struct ops_run *run, struct ops_cursor *at,
                                  const struct run_item **item);
/* The same lines of a run with `rebuild`, as far as they are on record: nothing is known of what
 * was skipped. */
enum ops_next ops_run_again_line(const struct ops_run *run, enum ops_lines which,
                                 struct ops_cursor *at, struct buf *line);
/* A step of it: whether it took effect, why not, and its ID as in the answer to a run of `kind`. */
bool ops_run_again_is_done(const struct store_run_step *step);
const char *ops_run_again_error(const struct store_run_step *step);
void ops_run_again_put_id(const struct ops_run *run, enum ops_run_kind kind,
                          const struct store_run_step *step, struct buf *line);
/* "applied", "rolled_back", "dry_run", "failed", "not_run". */
const char *ops_run_item_status(const struct ops_run *run, const struct run_item *item);
/* What a plan says of an item: "run", "skip", "refuse", "not_run". */
const char *ops_run_item_action(const struct run_item *item);

/* For ops_run*.c: counts the lines and decides on `failure` and `message`. */
void ops_run_judge(struct ops_run *run);
/* For ops_run.c: hands the request, with how and owner set in `run`, to the engine, which copies
 * it. 0: run->op is finished later. */
int ops_run_begin(struct ops_run *run, struct run_request *request, struct err *err);
void ops_run_cancel_op(struct op *op);
/* For ops_run*.c: what was done is to be told from `again`. */
void ops_run_rebuild(struct ops_run *run, const struct ops_replay *again);
/* For ops_run*.c: checks an up and begins it. */
int ops_up_begin(struct ops_run *run, const struct ops_up_request *request, struct err *err);
/* ops_run_fleet.c: finds the schemas, then begins. Starts run->op. */
int ops_run_find_fleet(struct ops_run *run, const struct ops_up_request *request);
/* What there is to say about a run that has ended, whoever started it. `out` borrows it; give back
 * with ops_run_unview(). */
void ops_run_view(struct run *run, struct ops_run *out);
void ops_run_unview(struct ops_run *out);

/* The line of an ID as in a run's answer; `requested` NULL: no schema was. */
void ops_run_put_id(enum ops_run_kind kind, const char *requested,
                    const struct migration *migration, const char *schema, struct buf *line);

#endif
