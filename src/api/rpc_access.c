#include "api/http_auth.h"
#include "api/rpc.h"
#include "base/json.h"

/* Who asks, and whether he may. */

enum {
    ACCESS_CONTEXT_MAX = 4096,
    ACCESS_OPEN_MESSAGE = 4096, /* from somebody without a token: no name is as long */
    ACCESS_GUESTS_MAX = 2048,   /* a third of the calls that there is room for at a time */
};

#define ACCESS_EXECUTED_BY "grpc_client"

static const struct trace *access_trace_of(const struct grpc_call *call)
{
    static const struct trace none;
    const struct rpc_note *note = grpc_context(call);

    return note != NULL ? &note->trace : &none;
}

int rpc_read_caller(struct rpc *rpc)
{
    bool is_named = rpc->grant != NULL && !rpc->grant->is_main;
    const struct trace *trace = access_trace_of(rpc->call);
    struct buf context;

    buf_init(&context, ACCESS_CONTEXT_MAX);
    buf_puts(&context, "{\"connection_type\":\"grpc\"");
    json_put_member(&context, "endpoint", grpc_path(rpc->call));
    json_put_member(&context, "request_id", trace->request_id);
    buf_putc(&context, '}');
    rpc->caller = (struct store_caller){
        .executed_by = is_named ? rpc->grant->name : ACCESS_EXECUTED_BY,
        .execution_method = "api",
        .execution_context =
            context.rc == 0 ? arena_strdup(grpc_arena(rpc->call), buf_str(&context)) : NULL,
        .request_id = trace->request_id,
        .trace_id = trace->trace_id,
        .span_id = trace->span_id,
    };
    buf_free(&context);
    return rpc->caller.execution_context != NULL ? 0 : ERR_NOMEM;
}

static const struct grant *access_find_grant(const struct api *api, const struct grpc_call *call,
                                             const char **why)
{
    *why = "invalid Authorization header format";
    if (grpc_metadata_count(call, "authorization") > 1)
        return NULL;
    return auth_find_grant(&api->tokens, grpc_metadata(call, "authorization"), why);
}

bool rpc_authorize(struct api *api, struct grpc_call *call, const struct rpc_method *method,
                   const struct grant **grant)
{
    struct rpc_note *note = grpc_context(call);
    const char *why;
    struct err err;

    *grant = NULL;
    if ((method->flags & RPC_OPEN) != 0 ||
        (api->config.grpc_open && grpc_metadata(call, "authorization") == NULL))
        return true;
    *grant = access_find_grant(api, call, &why);
    if (*grant == NULL) {
        grpc_finish(call, GRPC_UNAUTHENTICATED, why);
        return false;
    }
    if (note != NULL && note->token == NULL)
        note->token = arena_strdup(grpc_arena(call), (*grant)->name);
    if (grant_check_scopes(*grant, method->scopes, &err) == 0)
        return true;
    grpc_finish(call, rpc_status(&err), err_text(&err));
    grant_unref(*grant);
    return false;
}

static bool access_lasts(const struct grpc_method *method)
{
    return method->client_streams || (rpc_method_of(method)->flags & RPC_LASTS) != 0;
}

/* Calls without a token and without an end must not fill the room that all calls share. */
static bool access_admit_guest(struct api *api, struct grpc_call *call)
{
    struct rpc_note *note = grpc_context(call);

    if (note == NULL || api->guests == ACCESS_GUESTS_MAX) {
        grpc_finish(call, GRPC_RESOURCE_EXHAUSTED,
                    note == NULL ? err_code_text(ERR_NOMEM)
                                 : "too many calls without a token are open; try again later");
        return false;
    }
    note->is_guest = true;
    api->guests++;
    return true;
}

bool rpc_admit(void *arg, struct grpc_call *call)
{
    const struct grpc_method *method = grpc_method(call);
    const struct grant *grant;

    if (method->client_streams || (rpc_method_of(method)->flags & RPC_OPEN) != 0) {
        grpc_limit_message(call, ACCESS_OPEN_MESSAGE);
        return !access_lasts(method) || access_admit_guest(arg, call);
    }
    if (!rpc_authorize(arg, call, rpc_method_of(method), &grant))
        return false;
    grant_unref(grant); /* the token may be gone when the message is there */
    return true;
}
