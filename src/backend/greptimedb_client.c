#include "backend/greptimedb_client.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/greptimedb_sql.h"
#include "base/json.h"
#include "model/sqlscan.h"

enum {
    CALL_PATH_MAX = 1024,
    CALL_FORM_MAX = 3 * SQL_TEXT_MAX + 1024, /* every byte escaped */
    CALL_GRACE_MS = 500, /* the server's own word about a timeout is waited for so long */
};

void gtdb_call_init(struct gtdb_call *call)
{
    *call = (struct gtdb_call){.headers = {NULL, NULL}};
    buf_init(&call->path, CALL_PATH_MAX);
    buf_init(&call->form, CALL_FORM_MAX);
}

void gtdb_call_free(struct gtdb_call *call)
{
    curl_answer_free(&call->answer);
    buf_free(&call->path);
    buf_free(&call->form);
}

int gtdb_call_start(struct gtdb_call *call, struct curl_peer *peer, struct op *op,
                    const struct gtdb_question *question)
{
    uint64_t timeout_ms = question->timeout_ms;

    curl_answer_free(&call->answer);
    call->answer = (struct curl_answer){.sent = CURL_NOT_SENT};
    buf_truncate(&call->path, 0);
    buf_truncate(&call->form, 0);
    gtdb_put_path(&call->path, question->database, question->brief);
    buf_puts(&call->form, "sql=");
    curl_put_escaped(&call->form, question->sql, question->len);
    if (call->path.rc != 0 || call->form.rc != 0) {
        int rc = call->path.rc != 0 ? call->path.rc : call->form.rc;

        return op_refuse(op, rc, "%s",
                         rc == ERR_LIMIT ? "the statement is too large" : err_code_text(rc));
    }
    snprintf(call->timeout, sizeof(call->timeout), "x-greptime-timeout: %" PRIu64 "ms", timeout_ms);
    call->headers[0] = call->timeout;
    call->request =
        (struct curl_request){.method = "POST",
                              .path = buf_str(&call->path),
                              .content_type = "application/x-www-form-urlencoded",
                              .body = buf_str(&call->form),
                              .len = call->form.len,
                              .headers = call->headers,
                              .timeout_ms = timeout_ms > 0 ? timeout_ms + CALL_GRACE_MS : 0};
    return curl_start(peer, op, &call->request, &call->answer);
}

/* --- what became of it --- */

static void judge_loss(const struct gtdb_call *call, int rc, const struct err *why,
                       struct gtdb_result *out)
{
    bool sent = call->answer.sent == CURL_MAYBE_SENT;

    out->verdict = sent ? GTDB_UNKNOWN : GTDB_BUSY;
    if (!sent && rc == ERR_LIMIT)
        out->verdict = GTDB_REFUSED;
    out->unreachable = !sent && (rc == ERR_UNREACHABLE || rc == ERR_TIMEOUT);
    err_set(&out->err, rc, "%s", err_text(why));
}

static void judge_without_json(int status, struct gtdb_result *out)
{
    int code = ERR_DB;

    out->verdict = gtdb_judge_status(status);
    if (status == 408)
        code = ERR_TIMEOUT;
    else if (status == 401 || status == 403)
        code = ERR_UNREACHABLE;
    err_set(&out->err, code, "GreptimeDB answered HTTP %d, %s", status, gtdb_status_text(status));
}

static void judge_code(int code, int status, const char *text, struct gtdb_result *out)
{
    const struct gtdb_code *known = gtdb_find_code(code);
    const char *name = known != NULL ? known->name : "";

    out->code = code;
    out->verdict = gtdb_judge_code(code, status);
    if (gtdb_code_is_about_user(code))
        err_set(&out->err, ERR_UNREACHABLE,
                "GreptimeDB %d %s: it refuses the user or the password of this connection", code,
                name);
    else
        err_set(&out->err, ERR_DB, "GreptimeDB %d%s%s: %s", code, name[0] != '\0' ? " " : "", name,
                text);
}

static void judge_json(const cJSON *body, int status, struct gtdb_result *out)
{
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(body, "code");
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(body, "error");
    const char *text = cJSON_IsString(error) ? error->valuestring : "no reason was given";

    if (cJSON_IsNumber(code) && code->valueint != 0)
        judge_code(code->valueint, status, text, out);
    else if (status == 200 && error == NULL)
        out->verdict = GTDB_WORKED;
    else if (cJSON_IsString(error) && status != 401 && status != 403) { /* those name the user */
        out->verdict = gtdb_judge_status(status);
        err_set(&out->err, ERR_DB, "GreptimeDB answered HTTP %d: %s", status, text);
    } else {
        judge_without_json(status, out);
    }
}

void gtdb_call_judge(const struct gtdb_call *call, int rc, const struct err *why,
                     struct gtdb_result *out)
{
    const struct curl_answer *answer = &call->answer;
    cJSON *body = NULL;

    *out = (struct gtdb_result){.verdict = GTDB_UNKNOWN};
    if (rc != 0) {
        judge_loss(call, rc, why, out);
        return;
    }
    if (answer->is_json)
        rc = json_parse(buf_str(&answer->body), answer->body.len, &body, NULL);
    if (rc == ERR_NOMEM)
        err_set(&out->err, ERR_NOMEM, "out of memory for GreptimeDB's answer");
    else if (body != NULL && cJSON_IsObject(body))
        judge_json(body, answer->status, out);
    else
        judge_without_json(answer->status, out);
    cJSON_Delete(body);
}

static bool answer_has(const cJSON *body, const char *text)
{
    const cJSON *output = cJSON_GetObjectItemCaseSensitive(body, "output");
    const cJSON *first = cJSON_GetArrayItem(output, 0);
    const cJSON *records = cJSON_GetObjectItemCaseSensitive(first, "records");
    const cJSON *row;

    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(records, "rows"))
    {
        const cJSON *cell = cJSON_GetArrayItem(row, 0);

        if (cJSON_IsString(cell) && strcmp(cell->valuestring, text) == 0)
            return true;
    }
    return false;
}

int gtdb_call_find(const struct gtdb_call *call, const char *text)
{
    const struct buf *answer = &call->answer.body;
    cJSON *body;
    int rc = json_parse(buf_str(answer), answer->len, &body, NULL);
    bool found;

    if (rc != 0)
        return rc == ERR_NOMEM ? ERR_NOMEM : 0;
    found = answer_has(body, text);
    cJSON_Delete(body);
    return found ? 1 : 0;
}
