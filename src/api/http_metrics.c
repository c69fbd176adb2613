/* GET /metrics and GET /livez. */
#include "api/http_access.h"
#include "api/http_handlers.h"
#include "io/work.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* /proc is read where the loop does not wait for it. */
int start_metrics(struct call *call)
{
    return work_start(call->api->config.loop, &call->op, process_read, &call->out.process);
}

static bool more_of_metrics(struct pump *pump, struct buf *out)
{
    struct call *call = container_of(pump, struct call, pump);

    return metrics_render(call->api->metrics.all, &call->cursor.metrics, out);
}

void answer_metrics(struct call *call)
{
    struct api_metrics *metrics = &call->api->metrics;

    api_metrics_set_process(metrics, &call->out.process);
    metrics_sample(metrics->all);
    call_pump_as(call, 200, METRICS_TYPE, more_of_metrics);
}

/* That this is answered is the whole answer. */
void answer_live(struct call *call)
{
    struct buf body;

    buf_init(&body, 64);
    buf_puts(&body, "{\"status\":\"alive\"}");
    call_answer(call, 200, &body);
}
