#include "api/http_runtime.h"

#include "api/http_answer.h"
#include "base/json.h"

enum {
    RUNTIME_MAX = 64 * 1024,
};

static void put_setting(struct buf *out, const char *key, const char *value)
{
    json_put_member(out, key, value != NULL ? value : "");
}

void runtime_answer(const struct api_config *config, struct http_request *request)
{
    bool login = config->frontend_expose_token && config->frontend_auth_enabled;
    const char *url = config->frontend_api_url;
    struct buf body;

    buf_init(&body, RUNTIME_MAX);
    buf_puts(&body, "window.__RUNTIME_CONFIG__ = {");
    put_setting(&body, "BFM_API_URL", url != NULL ? url : "/api");
    put_setting(&body, "BFM_API_TOKEN", config->frontend_expose_token ? config->token : "");
    put_setting(&body, "BFM_AUTH_ENABLED", login ? "true" : "false");
    put_setting(&body, "BFM_AUTH_USERNAME", login ? config->frontend_username : "");
    put_setting(&body, "BFM_AUTH_PASSWORD", login ? config->frontend_password : "");
    buf_puts(&body, "};\n");
    if (body.rc != 0) {
        buf_free(&body);
        http_add_header(request, "Content-Type", ANSWER_JSON);
        answer_nomem(request);
        return;
    }
    http_add_header(request, "Content-Type", "text/javascript; charset=utf-8");
    http_add_header(request, "Cache-Control", "no-store");
    http_respond_buf(request, 200, &body);
}
