#ifndef BFM_API_OPS_RUN_H
#define BFM_API_OPS_RUN_H

#include "api/ops_resolve.h"
#include "base/buf.h"

/* Up (bfm-api.md §4.3). */
struct ops_up_request {
    const char *connection; /* required, not "" */
    const struct plan_filter
        *target; /* required; an empty target.connection becomes `connection` */
    const char *const *schemas;
    size_t schema_count;
    bool dry_run, ignore_dependencies;
    struct store_caller caller;
};

/* Migrate, the brief's form (bfm-api.md §4.4): one pass over one schema. "" where not given. */
struct ops_migrate_request {
    const char *connection;
    const struct plan_filter *target;
    const char *schema, *schema_name, *environment;
    bool dry_run, ignore_dependencies;
    struct store_caller caller;
};

/* Down and rollback (bfm-api.md §4.5, §4.6). */
struct ops_undo_request {
    const char *migration_id; /* any form of an ID, not "" */
    const char *const *schemas;
    size_t schema_count; /* 0: the ID's schema, else the declared one, else none */
    bool dry_run, ignore_dependencies;
    struct store_caller caller;
};

enum ops_run_kind {
    OPS_UP,
    OPS_MIGRATE,
    OPS_DOWN,
    OPS_ROLLBACK,
};

/*
 * A run and what to say about it. The operation itself fails with ERR_INVALID (the request),
 * ERR_NOT_FOUND, ERR_AMBIGUOUS (the ID), ERR_SHUTDOWN or ERR_NOMEM, and then there is nothing more
 * to say. Otherwise `failure` tells whether the run failed as a whole, and the lines what became of
 * its migrations; there may be lines beside a failure.
 */
struct ops_run {
    enum ops_run_kind kind;
    struct run *run;                 /* NULL: the lines say why nothing was started */
    struct err failure;              /* code 0: none */
    size_t applied, skipped, errors; /* lines of each kind */

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
    const char *lone_error; /* the only line of a run that was not started */
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
/* "applied", "rolled_back", "dry_run", "failed", "not_run". */
const char *ops_run_item_status(const struct ops_run *run, const struct run_item *item);

/* For ops_run*.c: counts the lines and decides on `failure` and `message`. */
void ops_run_judge(struct ops_run *run);

#endif
