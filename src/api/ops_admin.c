#include "api/ops_admin.h"

static void reindex_on_step(struct op *step, int rc)
{
    struct ops_reindex *reindex = container_of(step, struct ops_reindex, step);

    if (rc != 0)
        op_fail(reindex->op, &step->err);
    else
        op_finish(reindex->op, 0);
}

static void reindex_cancel(struct op *op)
{
    struct ops_reindex *reindex = op->impl;

    op_cancel(&reindex->step);
}

int ops_reindex_start(struct ops *ops, struct op *op, const struct grant *grant,
                      struct ops_reindex *out)
{
    struct err err;
    int rc;

    *out = (struct ops_reindex){.op = op};
    if (grant_check_all(grant, NULL, &err) != 0)
        return op_refuse(op, err.code, "%s", err_text(&err));
    arena_init(&out->result.arena);
    op_init(&out->step, reindex_on_step);
    rc = ops->hooks.reindex(ops->hooks.arg, &out->step, &out->result);
    if (rc != 0)
        return op_refuse(op, rc, "%s", err_text(&out->step.err));
    op_begin(op, out, reindex_cancel);
    return 0;
}

void ops_reindex_free(struct ops_reindex *reindex)
{
    arena_free(&reindex->result.arena);
    *reindex = (struct ops_reindex){0};
}

static void reconcile_on_done(struct reconcile *done)
{
    struct ops_reconcile *reconcile = done->data;

    if (done->err.code != 0)
        op_fail(reconcile->op, &done->err);
    else
        op_finish(reconcile->op, 0);
}

static void reconcile_cancel_op(struct op *op)
{
    struct ops_reconcile *reconcile = op->impl;

    reconcile_cancel(reconcile->reconcile);
}

int ops_reconcile_start(struct ops *ops, struct op *op, const struct grant *grant,
                        const char *connection, struct ops_reconcile *out)
{
    struct err err = {0};
    int rc;

    *out = (struct ops_reconcile){.op = op};
    if (connection != NULL && connection[0] == '\0')
        connection = NULL;
    if (grant_check_all(grant, connection, &err) != 0)
        return op_refuse(op, err.code, "%s", err_text(&err));
    rc = reconcile_start(ops->engine, connection, reconcile_on_done, out, &out->reconcile, &err);
    if (rc != 0) {
        out->reconcile = NULL;
        return op_refuse(op, rc, "%s", err_text(&err));
    }
    op_begin(op, out, reconcile_cancel_op);
    return 0;
}

void ops_reconcile_free(struct ops_reconcile *reconcile)
{
    if (reconcile->reconcile != NULL)
        reconcile_free(reconcile->reconcile);
    reconcile->reconcile = NULL;
}

const char *ops_health(const struct ops *ops)
{
    return ops->hooks.health(ops->hooks.arg);
}
