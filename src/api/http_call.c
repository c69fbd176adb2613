#include "api/http_call.h"

#include <stdlib.h>
#include <string.h>

#include "api/http_access.h"
#include "api/http_answer.h"
#include "api/http_auth.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "io/work.h"

enum {
    CALL_INLINE_BODY = 64 * 1024, /* longer bodies are parsed off the loop */
    CALL_LINE_MAX = 128 * 1024,
    CALL_CONTEXT_MAX = 64 * 1024,
};

void call_end(struct call *call)
{
    struct api *api = call->api;

    if (call->release != NULL)
        call->release(call);
    grant_unref(call->grant);
    buf_free(&call->cursor.line);
    arena_free(&call->arena);
    mem_free(call);
    api->calls--;
}

void call_fail(struct call *call, const struct err *err)
{
    answer_err(call->request, err);
    call_end(call);
}

void call_answer_as(struct call *call, int status, const char *type, struct buf *body)
{
    http_add_header(call->request, "Content-Type", type);
    if (body->rc == 0)
        http_respond_buf(call->request, status, body);
    else
        answer_nomem(call->request);
    buf_free(body);
    call_end(call);
}

void call_answer(struct call *call, int status, struct buf *body)
{
    call_answer_as(call, status, ANSWER_JSON, body);
}

static void call_on_pumped(struct pump *pump)
{
    call_end(container_of(pump, struct call, pump));
}

void call_pump_as(struct call *call, int status, const char *type,
                  bool (*more)(struct pump *pump, struct buf *out))
{
    call->pump =
        (struct pump){.more = more, .done = call_on_pumped, .status = status, .type = type};
    http_set_data(call->request, &call->pump);
    pump_start(&call->pump, call->request, loop_sched(call->api->config.loop));
}

void call_pump(struct call *call, int status, bool (*more)(struct pump *pump, struct buf *out))
{
    call_pump_as(call, status, ANSWER_JSON, more);
}

const char *call_param(struct call *call, const char *name)
{
    const char *value = http_query_param(call->request, name);

    return value != NULL ? value : "";
}

int call_refuse_cursor(struct call *call, int rc)
{
    if (rc == ERR_NOMEM)
        return op_refuse(&call->op, rc, "out of memory");
    return op_refuse(&call->op, rc, "parameter \"cursor\" is no next_cursor of this list");
}

/* --- the operation --- */

static void call_on_done(struct op *op, int rc)
{
    struct call *call = container_of(op, struct call, op);

    if (rc != 0)
        call_fail(call, &op->err);
    else
        call->route->answer(call);
}

static void call_start_operation(struct call *call)
{
    if (call->route->start == NULL) {
        call->route->answer(call);
        return;
    }
    op_init(&call->op, call_on_done);
    if (call->route->start(call) != 0)
        call_fail(call, &call->op.err);
}

/* --- the body --- */

static int call_parse_body(void *arg, struct err *err)
{
    struct call *call = arg;
    const char *body;
    cJSON *json = NULL;
    size_t len;
    int rc;

    body = http_body(call->request, &len);
    if (len == 0 && (call->route->flags & ROUTE_OPTIONAL) == 0)
        return err_set(err, ERR_INVALID, "the request body must be a JSON object");
    rc = len > 0 ? json_parse(body, len, &json, err) : 0;
    if (rc == 0)
        rc = call->route->read(call, json, err);
    cJSON_Delete(json);
    return rc;
}

static void call_on_parsed(struct op *op, int rc)
{
    struct call *call = container_of(op, struct call, op);

    if (rc != 0)
        call_fail(call, &op->err);
    else
        call_start_operation(call);
}

static void call_read_body(struct call *call)
{
    struct err err = {0};
    size_t len;

    if (call->route->read == NULL) {
        call_start_operation(call);
        return;
    }
    http_body(call->request, &len);
    if (len <= CALL_INLINE_BODY) {
        if (call_parse_body(call, &err) != 0)
            call_fail(call, &err);
        else
            call_start_operation(call);
        return;
    }
    op_init(&call->op, call_on_parsed);
    if (work_start(call->api->config.loop, &call->op, call_parse_body, call) != 0)
        call_fail(call, &call->op.err);
}

/* --- what comes with every request --- */

static const char *call_header(const void *arg, const char *name)
{
    return http_header(arg, name);
}

static const char *call_who(const struct call *call, bool dashboard)
{
    if (call->grant != NULL && !call->grant->is_main)
        return call->grant->name;
    return dashboard ? "frontend_user" : TOKENS_MAIN_NAME;
}

static int call_read_caller(struct call *call)
{
    bool dashboard = auth_is_dashboard(call_header, call->request);
    const struct trace *trace = access_trace(call->request);
    struct buf context;

    buf_init(&context, CALL_CONTEXT_MAX);
    buf_puts(&context, "{\"connection_type\":\"http\"");
    json_put_member(&context, "endpoint", http_path(call->request));
    json_put_member(&context, "method", http_method(call->request));
    json_put_member(&context, "request_id", trace->request_id);
    buf_putc(&context, '}');
    call->caller = (struct store_caller){
        .executed_by = call_who(call, dashboard),
        .execution_method = dashboard ? "manual" : "api",
        .execution_context = context.rc == 0 ? arena_strdup(&call->arena, buf_str(&context)) : NULL,
        .request_id = trace->request_id,
        .trace_id = trace->trace_id,
        .span_id = trace->span_id,
    };
    buf_free(&context);
    return call->caller.execution_context != NULL ? 0 : ERR_NOMEM;
}

/* Digits only and not 0; anything else means the default. */
static size_t call_read_limit(struct call *call)
{
    const char *text = call_param(call, "limit");
    unsigned long long limit;

    if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0')
        return 0;
    limit = strtoull(text, NULL, 10);
    return limit < OPS_LIMIT_MAX ? (size_t)limit : OPS_LIMIT_MAX;
}

static int call_read_request(struct call *call, const struct route_match *match, struct err *err)
{
    const char *query = http_query(call->request);
    const char *decoded = http_decode(&call->arena, query, strlen(query), true);

    call->id = "";
    if (match->id != NULL)
        call->id = http_decode(&call->arena, match->id, match->id_len, false);
    if (call->id == NULL)
        return err_set(err, ERR_INVALID, "malformed percent-encoding in the path");
    if (decoded == NULL)
        return err_set(err, ERR_INVALID, "malformed percent-encoding in the query");
    if (!utf8_is_valid(decoded, strlen(decoded)))
        return err_set(err, ERR_INVALID, "the query is not valid UTF-8");
    call->limit = call_read_limit(call);
    if ((match->route->flags & ROUTE_OPEN) == 0 && call_read_caller(call) != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    return 0;
}

void call_start(struct api *api, struct http_request *request, const struct route_match *match,
                const struct grant *grant)
{
    struct call *call;
    struct err err = {0};

    if ((match->route->flags & ROUTE_PROBE) == 0 &&
        ops_check(&api->ops, (match->route->flags & ROUTE_STATE) != 0, &err) != 0) {
        answer_unavailable(request, &err);
        grant_unref(grant);
        return;
    }
    call = mem_calloc(1, sizeof(*call));
    if (call == NULL) {
        err_set(&err, ERR_NOMEM, "out of memory");
        answer_err(request, &err);
        grant_unref(grant);
        return;
    }
    api->calls++;
    call->api = api;
    call->request = request;
    call->route = match->route;
    call->grant = grant;
    arena_init(&call->arena);
    buf_init(&call->cursor.line, CALL_LINE_MAX);
    if (call_read_request(call, match, &err) != 0)
        call_fail(call, &err);
    else
        call_read_body(call);
}
