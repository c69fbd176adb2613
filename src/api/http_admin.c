#include "api/http_answer.h"
#include "api/http_handlers.h"
#include "api/http_json.h"
#include "api/openapi.h"
#include "api/rpc_descriptors.h"
#include "base/json.h"

enum {
    ADMIN_BODY_MAX = 1024 * 1024,
};

/* --- order-batch --- */

static void release_order(struct call *call)
{
    ops_order_free(&call->out.order);
}

int start_order(struct call *call)
{
    int rc = ops_order_start(&call->api->ops, &call->op, &call->in.order, &call->out.order);

    if (rc == 0)
        call->release = release_order;
    return rc;
}

static bool more_of_order(struct pump *pump, struct buf *out)
{
    struct call *call = container_of(pump, struct call, pump);
    const struct ops_order *order = &call->out.order;
    struct call_cursor *cursor = &call->cursor;

    if (cursor->stage++ == 0) {
        buf_puts(out, "{\"ordered_migration_ids\":[");
        return true;
    }
    if (cursor->at == order->count) {
        buf_puts(out, "]}");
        return false;
    }
    buf_puts(out, cursor->at > 0 ? "," : "");
    json_put_string(out, order->ordered[cursor->at++]);
    return true;
}

void answer_order(struct call *call)
{
    call_pump(call, 200, more_of_order);
}

/* --- reindex --- */

static void release_reindex(struct call *call)
{
    ops_reindex_free(&call->out.reindex);
}

int start_reindex(struct call *call)
{
    int rc = ops_reindex_start(&call->api->ops, &call->op, call->grant, &call->out.reindex);

    if (rc == 0)
        call->release = release_reindex;
    return rc;
}

static bool more_strings(struct call *call, const char *const *strings, size_t count,
                         struct buf *out, const char *end)
{
    struct call_cursor *cursor = &call->cursor;

    if (cursor->at == count) {
        cursor->stage++;
        cursor->at = 0;
        buf_puts(out, end);
        return true;
    }
    buf_puts(out, cursor->at > 0 ? "," : "");
    json_put_string(out, strings[cursor->at++]);
    return true;
}

static bool more_of_reindex(struct pump *pump, struct buf *out)
{
    struct call *call = container_of(pump, struct call, pump);
    const struct api_reindex_result *result = &call->out.reindex.result;

    switch (call->cursor.stage) {
    case 0:
        call->cursor.stage++;
        buf_puts(out, "{\"added\":[");
        return true;
    case 1:
        return more_strings(call, result->added, result->added_count, out, "],\"removed\":[");
    case 2:
        return more_strings(call, result->removed, result->removed_count, out, "],\"updated\":[");
    case 3:
        return more_strings(call, result->updated, result->updated_count, out, "]");
    default:
        json_put_int(out, "total", (int64_t)result->total);
        buf_putc(out, '}');
        return false;
    }
}

void answer_reindex(struct call *call)
{
    call_pump(call, 200, more_of_reindex);
}

/* --- reconcile --- */

static void release_reconcile(struct call *call)
{
    ops_reconcile_free(&call->out.reconcile);
}

int start_reconcile(struct call *call)
{
    int rc = ops_reconcile_start(&call->api->ops, &call->op, call->grant, call->in.connection,
                                 &call->out.reconcile);

    if (rc == 0)
        call->release = release_reconcile;
    return rc;
}

void answer_reconcile(struct call *call)
{
    const struct reconcile *reconcile = call->out.reconcile.reconcile;
    struct buf body;

    buf_init(&body, ADMIN_BODY_MAX);
    buf_puts(&body, "{\"targets\":[");
    for (size_t i = 0; i < reconcile->count; i++) {
        const struct reconcile_target *target = &reconcile->targets[i];

        buf_puts(&body, i > 0 ? ",{" : "{");
        json_put_member(&body, "connection", target->connection);
        json_put_int(&body, "checked", (int64_t)target->checked);
        json_put_int(&body, "repaired", (int64_t)target->repaired);
        json_put_int(&body, "unknown", (int64_t)target->unknown);
        if (target->err.code != 0)
            json_put_member(&body, "error", err_text(&target->err));
        buf_putc(&body, '}');
    }
    buf_puts(&body, "]}");
    call_answer(call, 200, &body);
}

/* --- probes --- */

/* Says nothing about whether the server can work: a target that is down is no fault of it. */
static void put_targets(struct call *call, struct buf *out)
{
    const struct api_hooks *hooks = &call->api->ops.hooks;
    struct api_target target;
    size_t at;

    for (at = 0; hooks->target != NULL && hooks->target(hooks->arg, at, &target); at++) {
        if (at == 0)
            json_put_key(out, "targets");
        buf_puts(out, at > 0 ? ",{" : "[{");
        json_put_member(out, "connection", target.connection);
        json_put_member(out, "backend", target.backend);
        json_put_member(out, "status", target.status);
        if (target.contact_us != 0)
            json_put_time(out, "last_contact", target.contact_us);
        buf_putc(out, '}');
    }
    if (at > 0)
        buf_putc(out, ']');
}

void answer_health(struct call *call)
{
    const char *reason = ops_health(&call->api->ops);
    struct buf body;

    buf_init(&body, ADMIN_BODY_MAX);
    buf_printf(&body, "{\"status\":\"%s\",\"checks\":{", reason == NULL ? "healthy" : "unhealthy");
    json_put_member(&body, "executor", reason == NULL ? "ok" : reason);
    buf_putc(&body, '}');
    put_targets(call, &body);
    buf_putc(&body, '}');
    call_answer(call, reason == NULL ? 200 : 503, &body);
}

/* Whether to send requests here: not while stopping, not without the state database. */
void answer_ready(struct call *call)
{
    struct buf body;
    struct err err = {0};
    int rc = ops_check(&call->api->ops, true, &err);

    buf_init(&body, ADMIN_BODY_MAX);
    buf_putc(&body, '{');
    json_put_member(&body, "status", rc == 0 ? "ready" : "not ready");
    if (rc != 0)
        json_put_member(&body, "error", err_text(&err));
    put_targets(call, &body);
    buf_putc(&body, '}');
    call_answer(call, rc == 0 ? 200 : 503, &body);
}

/* --- description of the API --- */

static void answer_openapi(struct call *call, const char *type)
{
    struct buf body;

    buf_init(&body, ADMIN_BODY_MAX);
    buf_append(&body, openapi_text, openapi_len);
    call_answer_as(call, 200, type, &body);
}

void answer_openapi_json(struct call *call)
{
    answer_openapi(call, ANSWER_JSON);
}

void answer_openapi_yaml(struct call *call)
{
    answer_openapi(call, "application/x-yaml");
}

void answer_proto(struct call *call)
{
    struct buf body;

    buf_init(&body, ADMIN_BODY_MAX);
    buf_append(&body, rpc_proto, (size_t)(rpc_proto_end - rpc_proto));
    call_answer_as(call, 200, "text/plain; charset=utf-8", &body);
}
