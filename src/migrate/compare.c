#include "migrate/compare.h"

static void compare_end(struct compare *compare, const struct err *err)
{
    if (err->code != 0)
        op_fail(compare->op, err);
    else
        op_finish(compare->op, 0);
}

static void compare_on_reconciled(struct reconcile *reconcile)
{
    struct compare *compare = reconcile->data;
    struct err err = reconcile->err.code != 0 ? reconcile->err : reconcile->targets[0].err;

    compare->left = reconcile->targets[0].left;
    compare->reconcile = NULL;
    reconcile_free(reconcile);
    if (err.code == 0 && compare->op->canceled) /* before it had begun: it proves nothing */
        err_set(&err, ERR_CANCELED, "%s", err_code_text(ERR_CANCELED));
    compare_end(compare, &err);
}

static int compare_begin(struct compare *compare, struct err *err)
{
    return reconcile_start(compare->engine, compare->connection, compare_on_reconciled, compare,
                           &compare->reconcile, err);
}

static void compare_on_pause(struct op *op, int rc)
{
    struct compare *compare = container_of(op, struct compare, pause);
    struct err err = op->err;

    if (rc != 0 || compare_begin(compare, &err) != 0)
        compare_end(compare, &err);
}

static void compare_cancel(struct op *op)
{
    struct compare *compare = op->impl;

    op_cancel(&compare->pause);
    if (compare->reconcile != NULL)
        reconcile_cancel(compare->reconcile);
}

int compare_start(struct compare *compare, struct engine *engine, const char *connection,
                  uint64_t pause_ms, struct op *op)
{
    const struct engine_target *target = engine_target(engine, connection);
    int rc;

    if (target->backend == NULL)
        return op_refuse(op, ERR_UNSUPPORTED, "connection %s: %s", connection, target->why);
    *compare = (struct compare){.engine = engine, .connection = connection, .op = op};
    op_init(&compare->pause, compare_on_pause);
    if (pause_ms > 0)
        rc = op_sleep_start(&compare->nap, engine->sched, &compare->pause, pause_ms);
    else
        rc = compare_begin(compare, &op->err);
    if (rc != 0)
        return rc;
    op_begin(op, compare, compare_cancel);
    return 0;
}
