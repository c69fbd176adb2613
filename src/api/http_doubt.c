/* A person's word about a statement of which nobody knows whether it took effect. */
#include "api/http_answer.h"
#include "api/http_handlers.h"
#include "api/http_json.h"
#include "base/json.h"

enum {
    DOUBT_BODY_MAX = 16 * 1024,
};

int read_doubt(struct call *call, const cJSON *body, struct err *err)
{
    struct ops_doubt_request *doubt = &call->in.doubt;
    struct fields fields;

    fields_init(&fields, body, &call->arena, err);
    doubt->migration_id = call->id;
    doubt->schema = fields_string(&fields, "schema");
    doubt->as = fields_string(&fields, "as");
    doubt->caller = call->caller;
    doubt->grant = call->grant;
    return fields.rc;
}

static void release_doubt(struct call *call)
{
    ops_doubt_free(&call->out.doubt);
}

int start_doubt(struct call *call)
{
    int rc = ops_doubt_start(&call->api->ops, &call->op, &call->in.doubt, &call->out.doubt);

    if (rc == 0)
        call->release = release_doubt;
    return rc;
}

void answer_doubt(struct call *call)
{
    const struct doubt *doubt = &call->out.doubt.doubt;
    const struct backend_decision *decision = &doubt->decision;
    struct buf body;

    buf_init(&body, DOUBT_BODY_MAX);
    buf_putc(&body, '{');
    json_put_member(&body, "migration_id", decision->migration->id);
    json_put_member(&body, "schema", decision->schema);
    json_put_member(&body, "as", decision->applied ? "applied" : "not_applied");
    json_put_member(&body, "direction", decision->undo ? "down" : "up");
    json_put_int(&body, "statement", decision->statement);
    json_put_int(&body, "statements", decision->statements);
    json_put_bool(&body, "complete", decision->complete);
    json_put_member(&body, "message", doubt->message);
    buf_putc(&body, '}');
    call_answer(call, 200, &body);
}
