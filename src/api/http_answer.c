#include "api/http_answer.h"

#include "base/json.h"

#define ANSWER_RETRY_AFTER "5" /* seconds */

enum {
    ANSWER_ERROR_MAX = 64 * 1024,
};

int answer_status(const struct err *err)
{
    switch ((enum err_code)err->code) {
    case ERR_INVALID:
    case ERR_DEPENDENCY:
        return 400;
    case ERR_FORBIDDEN:
        return 403;
    case ERR_NOT_FOUND:
        return 404;
    case ERR_CONFLICT:
    case ERR_AMBIGUOUS:
        return 409;
    case ERR_MISMATCH:
        return 422;
    case ERR_SHUTDOWN:
        return 503;
    case ERR_NOMEM:
    case ERR_CANCELED:
    case ERR_TIMEOUT:
    case ERR_LIMIT:
    case ERR_IO:
    case ERR_UNREACHABLE:
    case ERR_DB:
    case ERR_LOCKED:
    case ERR_IN_DOUBT:
    case ERR_STORE:
    case ERR_UNSUPPORTED:
    case ERR_HALTED:
        return 500;
    }
    return 500;
}

int answer_run_status(const struct ops_run *run)
{
    switch ((enum err_code)run->failure.code) {
    case ERR_CONFLICT:
    case ERR_SHUTDOWN:
        return answer_status(&run->failure);
    default:
        if (run->failure.code != 0) /* whatever stopped a run was not the request's fault */
            return 500;
    }
    if (run->kind == OPS_ROLLBACK)
        return run->nothing_to_undo ? 400 : 200;
    return run->errors > 0 ? 206 : 200;
}

void answer_add_retry(struct http_request *request)
{
    http_add_header(request, "Retry-After", ANSWER_RETRY_AFTER);
}

void answer_error(struct http_request *request, int status, const char *text)
{
    struct buf body;

    buf_init(&body, ANSWER_ERROR_MAX);
    buf_putc(&body, '{');
    json_put_member(&body, "error", text);
    buf_putc(&body, '}');
    http_add_header(request, "Content-Type", ANSWER_JSON);
    if (body.rc == 0) {
        http_respond_buf(request, status, &body);
        return;
    }
    buf_free(&body);
    answer_nomem(request);
}

void answer_err(struct http_request *request, const struct err *err)
{
    int status = answer_status(err);

    if (status == 503)
        answer_add_retry(request);
    answer_error(request, status, err_text(err));
}

void answer_unavailable(struct http_request *request, const struct err *err)
{
    answer_add_retry(request);
    answer_error(request, 503, err_text(err));
}

void answer_nomem(struct http_request *request)
{
    static const char body[] = "{\"error\":\"out of memory\"}";

    http_respond(request, 500, body, sizeof(body) - 1);
}
