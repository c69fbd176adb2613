/* What every request that runs something may ask for besides: "async", and an Idempotency-Key. */
#include "api/http_handlers.h"
#include "api/ops_how.h"

static int key_make_fingerprint(struct call *call)
{
    const char *body, *what;
    size_t len;

    body = http_body(call->request, &len);
    what =
        arena_printf(&call->arena, "%s %s", http_method(call->request), http_path(call->request));
    if (what == NULL)
        return ERR_NOMEM;
    return ops_how_make_fingerprint(&call->arena, what, body, len, &call->how.fingerprint);
}

static int key_read(struct call *call, struct err *err)
{
    const char *key = http_header(call->request, "Idempotency-Key");
    const char *rule;

    if (key == NULL)
        return 0;
    rule = http_header_count(call->request, "Idempotency-Key") > 1 ? "must be given once"
                                                                   : ops_how_check_key(key);
    if (rule != NULL)
        return err_set(err, ERR_INVALID, "header Idempotency-Key %s", rule);
    call->how.key = key;
    call->how.answer = keep_run_answer;
    if (key_make_fingerprint(call) != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    return 0;
}

static void read_failures(struct fields *fields, struct ops_failures *out)
{
    const char *on_error = fields_string(fields, "on_error");
    size_t max;
    bool has_max = fields_count(fields, "max_failures", &max);

    if (fields->rc == 0)
        fields->rc = ops_how_read_failures(on_error, has_max, max, out, fields->err);
}

int read_how(struct call *call, struct fields *fields)
{
    call->how.async = fields_bool(fields, "async");
    read_failures(fields, &call->how.failures);
    if (fields->rc == 0)
        fields->rc = key_read(call, fields->err);
    return fields->rc;
}
