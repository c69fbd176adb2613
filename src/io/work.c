#include "io/work.h"

#include "base/mem.h"

struct work {
    uv_work_t req;
    struct op *op;
    int (*fn)(void *arg, struct err *err);
    void *arg;
    struct err err;
    int rc;
};

static void work_on_thread(uv_work_t *req)
{
    struct work *work = container_of(req, struct work, req);

    work->rc = work->fn(work->arg, &work->err);
}

static void work_on_done(uv_work_t *req, int status)
{
    struct work *work = container_of(req, struct work, req);
    struct op *op = work->op;
    int rc = status == UV_ECANCELED ? ERR_CANCELED : work->rc;

    if (rc != 0 && work->err.code != 0)
        op->err = work->err;
    mem_free(work);
    op_finish(op, rc);
}

static void work_cancel(struct op *op)
{
    struct work *work = op->impl;

    uv_cancel((uv_req_t *)&work->req); /* too late is fine: the work ends by itself */
}

int work_start(struct loop *loop, struct op *op, int (*fn)(void *arg, struct err *err), void *arg)
{
    struct work *work = mem_calloc(1, sizeof(*work));

    if (work == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    work->op = op;
    work->fn = fn;
    work->arg = arg;
    uv_queue_work(loop_uv(loop), &work->req, work_on_thread, work_on_done);
    op_begin(op, work, work_cancel);
    return 0;
}
