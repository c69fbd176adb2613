/* What every request that runs something may ask for besides: "async", and an Idempotency-Key. */
#include <string.h>

#include "api/http_handlers.h"
#include "base/hash.h"

/* NULL if it is one, else the rule that it breaks. */
static const char *key_check(const char *key)
{
    size_t len = strlen(key);

    if (len == 0 || len > OPS_KEY_MAX)
        return "must have 1 to 255 characters";
    for (size_t i = 0; i < len; i++)
        if (key[i] < 0x20 || key[i] > 0x7e)
            return "must be printable ASCII";
    return NULL;
}

/* Of what makes two requests the same: method, path and body. */
static int key_make_fingerprint(struct call *call, const char **out)
{
    char body_hash[HASH_SHA256_HEX], hash[HASH_SHA256_HEX];
    const char *body, *text;
    size_t len;

    body = http_body(call->request, &len);
    if (hash_sha256_hex(body, len, body_hash) != 0)
        return ERR_NOMEM;
    text = arena_printf(&call->arena, "%s %s %s", http_method(call->request),
                        http_path(call->request), body_hash);
    if (text == NULL || hash_sha256_hex(text, strlen(text), hash) != 0)
        return ERR_NOMEM;
    *out = arena_strdup(&call->arena, hash);
    return *out != NULL ? 0 : ERR_NOMEM;
}

static int key_read(struct call *call, struct err *err)
{
    const char *key = http_header(call->request, "Idempotency-Key");
    const char *rule;

    if (key == NULL)
        return 0;
    rule = http_header_count(call->request, "Idempotency-Key") > 1 ? "must be given once"
                                                                   : key_check(key);
    if (rule != NULL)
        return err_set(err, ERR_INVALID, "header Idempotency-Key %s", rule);
    call->how.key = key;
    call->how.answer = keep_run_answer;
    if (key_make_fingerprint(call, &call->how.fingerprint) != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    return 0;
}

/* "continue" with a limit of failures goes on until that is reached. */
static void read_failures(struct fields *fields, struct ops_failures *out)
{
    const char *on_error = fields_string(fields, "on_error");
    bool stops = strcmp(on_error, "stop") == 0;
    bool goes_on = strcmp(on_error, "continue") == 0;
    bool has_max = fields_count(fields, "max_failures", &out->max);

    if (fields->rc != 0)
        return;
    if (on_error[0] != '\0' && !stops && !goes_on)
        fields->rc = err_set(fields->err, ERR_INVALID,
                             "field \"on_error\" must be \"continue\" or \"stop\"");
    else if (has_max && ((stops && out->max > 0) || (goes_on && out->max == 0)))
        fields->rc = err_set(fields->err, ERR_INVALID,
                             "field \"max_failures\" contradicts field \"on_error\"");
    out->given = has_max || stops || goes_on;
    out->limited = has_max || stops;
}

int read_how(struct call *call, struct fields *fields)
{
    call->how.async = fields_bool(fields, "async");
    read_failures(fields, &call->how.failures);
    if (fields->rc == 0)
        fields->rc = key_read(call, fields->err);
    return fields->rc;
}
