#include "base/op.h"

#include <assert.h>

void op_init(struct op *op, void (*done)(struct op *op, int rc))
{
    *op = (struct op){.done = done};
}

void op_begin(struct op *op, void *impl, void (*cancel)(struct op *op))
{
    assert(!op->active);
    op->active = true;
    op->canceled = false;
    op->impl = impl;
    op->cancel = cancel;
    op->rc = 0;
    err_clear(&op->err);
}

void op_cancel(struct op *op)
{
    if (!op->active || op->canceled)
        return;
    op->canceled = true;
    if (op->cancel != NULL)
        op->cancel(op);
}

void op_finish(struct op *op, int rc)
{
    assert(op->active);
    op->active = false;
    op->cancel = NULL;
    op->impl = NULL;
    if (rc == 0)
        err_clear(&op->err);
    else if (op->err.code == 0)
        err_set(&op->err, rc, "%s", err_code_text(rc));
    op->done(op, rc);
}

static void op_on_task(struct task *task)
{
    struct op *op = container_of(task, struct op, task);

    op_finish(op, op->rc);
}

void op_finish_later(struct op *op, struct sched *sched, int rc)
{
    assert(op->active);
    op->cancel = NULL;
    op->rc = rc;
    op->task.run = op_on_task;
    sched_defer(sched, &op->task);
}

void op_fail(struct op *op, const struct err *err)
{
    op->err = *err;
    op_finish(op, err->code);
}

int op_refuse(struct op *op, int rc, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    err_vset(&op->err, rc, format, args);
    va_end(args);
    return rc;
}

static void op_sleep_on_fire(struct timer *timer)
{
    struct op_sleep *sleep = container_of(timer, struct op_sleep, timer);

    op_finish(sleep->op, 0);
}

static void op_sleep_cancel(struct op *op)
{
    struct op_sleep *sleep = op->impl;

    sched_stop_timer(sleep->sched, &sleep->timer);
    op_finish_later(op, sleep->sched, ERR_CANCELED);
}

int op_sleep_start(struct op_sleep *sleep, struct sched *sched, struct op *op, uint64_t ms)
{
    sleep->sched = sched;
    sleep->op = op;
    sleep->timer.fire = op_sleep_on_fire;
    op_begin(op, sleep, op_sleep_cancel);
    sched_start_timer(sched, &sleep->timer, ms);
    return 0;
}
