#include <stdio.h>
#include <string.h>

#include "backend/etcd_client_private.h"
#include "base/json.h"

/* The status of gRPC that an error carries. */
enum etcd_grpc {
    ETCD_GRPC_INVALID_ARGUMENT = 3,
    ETCD_GRPC_NOT_FOUND = 5,
    ETCD_GRPC_PERMISSION_DENIED = 7,
    ETCD_GRPC_RESOURCE_EXHAUSTED = 8,
    ETCD_GRPC_FAILED_PRECONDITION = 9,
    ETCD_GRPC_OUT_OF_RANGE = 11,
    ETCD_GRPC_UNAVAILABLE = 14,
    ETCD_GRPC_UNAUTHENTICATED = 16,
};

static const char etcd_common_name[] = "CommonName of client sending a request";

/* What the server says of its own connections holds their addresses. */
static void etcd_answer_set_message(struct etcd_answer *out, const char *message)
{
    static const char *const marks[] = {"dial ", " tcp ", " unix ", "://", "lookup "};
    bool has_address = false;

    for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
        has_address = has_address || strstr(message, marks[i]) != NULL;
    if (has_address)
        message = "the server's connection to itself or to another member failed";
    snprintf(out->message, sizeof(out->message), "%s", message);
}

static const cJSON *etcd_member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* {"error":"TEXT","message":"TEXT","code":N}, `error` missing in newer ones, and the errors of
 * streams, which are an object in `error`. */
static bool etcd_answer_read_error(struct etcd_answer *out)
{
    const cJSON *body = out->body, *code, *message;

    if (cJSON_IsObject(etcd_member(body, "error")))
        body = etcd_member(body, "error");
    code = etcd_member(body, "code");
    if (code == NULL)
        code = etcd_member(body, "grpc_code");
    message = etcd_member(body, "message");
    if (message == NULL)
        message = etcd_member(body, "error");
    if (!cJSON_IsNumber(code))
        return false;
    out->grpc = code->valueint;
    etcd_answer_set_message(out, cJSON_IsString(message) ? message->valuestring : "no reason");
    return true;
}

static enum etcd_class etcd_classify_invalid(const char *message)
{
    if (strstr(message, "user name is empty") != NULL ||
        strstr(message, "revision of auth store is old") != NULL)
        return ETCD_RENEW;
    if (strstr(message, "authentication failed") != NULL)
        return ETCD_FORBIDDEN;
    if (strstr(message, "too many operations") != NULL ||
        strstr(message, "request is too large") != NULL)
        return ETCD_TOO_LARGE;
    return ETCD_REFUSED;
}

static enum etcd_class etcd_classify_exhausted(const char *message)
{
    if (strstr(message, "larger than max") != NULL)
        return ETCD_TOO_LARGE;
    if (strstr(message, "etcdserver: too many requests") != NULL)
        return ETCD_LATER;
    if (strstr(message, "database space exceeded") != NULL)
        return ETCD_NO_SPACE;
    return ETCD_UNKNOWN;
}

static enum etcd_class etcd_classify_grpc(const struct etcd_answer *answer)
{
    switch (answer->grpc) {
    case ETCD_GRPC_INVALID_ARGUMENT:
        return etcd_classify_invalid(answer->message);
    case ETCD_GRPC_NOT_FOUND:
    case ETCD_GRPC_FAILED_PRECONDITION:
    case ETCD_GRPC_OUT_OF_RANGE:
        return ETCD_REFUSED;
    case ETCD_GRPC_PERMISSION_DENIED:
        return ETCD_FORBIDDEN;
    case ETCD_GRPC_RESOURCE_EXHAUSTED:
        return etcd_classify_exhausted(answer->message);
    case ETCD_GRPC_UNAVAILABLE:
        return strcmp(answer->message, "etcdserver: no leader") == 0 ? ETCD_NO_LEADER
                                                                     : ETCD_UNKNOWN;
    case ETCD_GRPC_UNAUTHENTICATED:
        return ETCD_RENEW;
    default:
        return ETCD_UNKNOWN;
    }
}

/* An answer that is none of the gateway's: it says so in plain text before it looks at the call. */
static enum etcd_class etcd_classify_text(const struct curl_answer *http, struct etcd_answer *out)
{
    if (strstr(buf_str(&http->body), etcd_common_name) != NULL)
        snprintf(out->message, sizeof(out->message),
                 "with authentication the gateway takes no client certificate that has a common "
                 "name (CN): use one without");
    else
        snprintf(out->message, sizeof(out->message),
                 "HTTP status %d, with nothing that etcd's gateway would say", http->status);
    return !http->is_json && http->status >= 400 && http->status < 500 ? ETCD_REFUSED
                                                                       : ETCD_UNKNOWN;
}

static enum etcd_class etcd_classify_answer(const struct curl_answer *http, struct etcd_answer *out)
{
    int rc = json_parse(buf_str(&http->body), http->body.len, &out->body, NULL);

    if (rc == ERR_NOMEM)
        return http->status == 200 ? ETCD_UNKNOWN : ETCD_NO_MEMORY;
    if (rc == 0 && http->status == 200 && cJSON_IsObject(out->body)) {
        out->grpc = 0;
        return ETCD_SUCCESS;
    }
    if (rc == 0 && http->status != 200 && etcd_answer_read_error(out))
        return etcd_classify_grpc(out);
    return etcd_classify_text(http, out);
}

static int etcd_class_code(enum etcd_class class)
{
    switch (class) {
    case ETCD_SUCCESS:
        return 0;
    case ETCD_ELSEWHERE:
    case ETCD_NO_LEADER:
    case ETCD_LATER:
        return ERR_UNREACHABLE;
    case ETCD_RENEW:
    case ETCD_FORBIDDEN:
        return ERR_FORBIDDEN;
    case ETCD_REFUSED:
        return ERR_DB;
    case ETCD_TOO_LARGE:
        return ERR_LIMIT;
    case ETCD_NO_MEMORY:
        return ERR_NOMEM;
    case ETCD_UNKNOWN:
    case ETCD_NO_SPACE:
        return ERR_IN_DOUBT;
    }
    return ERR_IN_DOUBT;
}

enum etcd_class etcd_classify(int rc, const struct curl_answer *http, struct etcd_answer *out,
                              struct err *err)
{
    enum etcd_class class;

    out->grpc = -1;
    if (rc != 0 && http->sent == CURL_NOT_SENT)
        return rc == ERR_NOMEM ? ETCD_NO_MEMORY : ETCD_ELSEWHERE;
    if (rc != 0)
        return ETCD_UNKNOWN;
    class = etcd_classify_answer(http, out);
    if (class == ETCD_SUCCESS)
        return class;
    if (out->message[0] != '\0')
        err_set(err, etcd_class_code(class), "etcd answered: %s", out->message);
    else
        err_set(err, ERR_NOMEM, "out of memory");
    return class;
}

void etcd_answer_free(struct etcd_answer *answer)
{
    cJSON_Delete(answer->body);
    *answer = (struct etcd_answer){.grpc = -1};
}
