#include "grpc/conn.h"

/* What a handler is told of its call, always in a turn of its own and never behind grpc_finish().
 */

static void told_run(struct task *task)
{
    struct grpc_call *call = container_of(task, struct grpc_call, task);

    if (call->gone || call->ending) {
        if (call->told_gone || call->on_gone == NULL)
            return;
        call->told_gone = true;
        call->on_gone(call);
    } else if (call->waiting) {
        call->waiting = false;
        if (call->on_drain != NULL)
            call->on_drain(call);
    }
}

void grpc_call_notify(struct grpc_call *call)
{
    if (call->finished)
        return;
    call->task.run = told_run;
    sched_defer(call->sched, &call->task);
}

void grpc_call_ask_end(struct grpc_call *call)
{
    if (!call->endless || call->gone)
        return;
    call->ending = true;
    grpc_call_notify(call);
}

void grpc_on_gone(struct grpc_call *call, void (*gone)(struct grpc_call *call))
{
    call->on_gone = gone;
    if (call->gone || call->ending)
        grpc_call_notify(call);
}

void grpc_on_drain(struct grpc_call *call, void (*drain)(struct grpc_call *call))
{
    call->on_drain = drain;
}

void grpc_set_endless(struct grpc_call *call)
{
    call->endless = true;
    if (call->server->stopping)
        grpc_call_ask_end(call);
}
