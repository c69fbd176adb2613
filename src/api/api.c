#include "api/api.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "api/http_answer.h"
#include "api/http_auth.h"
#include "api/http_call.h"
#include "api/http_handlers.h"
#include "api/http_runtime.h"
#include "api/http_static.h"
#include "base/mem.h"

/* bfm-api.md §4.2. What stands further up wins: literal segments over {id}. */
static const struct route routes[] = {
    {"POST", "/api/v1/migrate", ROUTE_STATE, read_migrate, start_migrate, answer_run},
    {"POST", "/api/v1/migrations/up", ROUTE_STATE, read_up, start_up, answer_run},
    {"POST", "/api/v1/migrations/down", ROUTE_STATE, read_down, start_down, answer_run},
    {"POST", "/api/v1/migrations/order-batch", 0, read_order, start_order, answer_order},
    {"POST", "/api/v1/migrations/reindex", ROUTE_STATE, NULL, start_reindex, answer_reindex},
    {"POST", "/api/v1/reconcile", ROUTE_STATE | ROUTE_OPTIONAL, read_reconcile, start_reconcile,
     answer_reconcile},
    {"GET", "/api/v1/migrations/executions/recent", ROUTE_STATE, NULL, start_executions,
     answer_executions},
    {"GET", "/api/v1/migrations/skipped/recent", ROUTE_STATE, NULL, start_skipped, answer_skipped},
    {"GET", "/api/v1/migrations", ROUTE_STATE, NULL, start_list, answer_list},
    {"GET", "/api/v1/migrations/{id}", ROUTE_STATE, NULL, start_state, answer_detail},
    {"GET", "/api/v1/migrations/{id}/status", ROUTE_STATE, NULL, start_state, answer_status_of},
    {"GET", "/api/v1/migrations/{id}/applied", ROUTE_STATE, NULL, start_state, answer_applied},
    {"GET", "/api/v1/migrations/{id}/history", ROUTE_STATE, NULL, start_history, answer_history},
    {"GET", "/api/v1/migrations/{id}/executions", ROUTE_STATE, NULL, start_executions,
     answer_executions},
    {"GET", "/api/v1/migrations/{id}/skipped", ROUTE_STATE, NULL, start_skipped, answer_skipped},
    {"POST", "/api/v1/migrations/{id}/rollback", ROUTE_STATE | ROUTE_OPTIONAL, read_rollback,
     start_rollback, answer_run},
    {"GET", "/api/v1/health", ROUTE_OPEN | ROUTE_PROBE, NULL, NULL, answer_health},
    {"GET", "/health", ROUTE_OPEN | ROUTE_PROBE, NULL, NULL, answer_health},
    {"GET", "/readyz", ROUTE_OPEN | ROUTE_PROBE, NULL, NULL, answer_ready},
    {"GET", "/api/v1/openapi.json", ROUTE_OPEN | ROUTE_PROBE, NULL, NULL, answer_openapi_json},
    {"GET", "/api/v1/openapi.yaml", ROUTE_OPEN | ROUTE_PROBE, NULL, NULL, answer_openapi_yaml},
};

static int api_prepare(struct api *api, struct err *err)
{
    const struct api_config *config = &api->config;
    char root[PATH_MAX];

    if (config->token == NULL || config->token[0] == '\0')
        return err_set(err, ERR_INVALID, "the API token is empty");
    if (cors_parse(&api->cors, config->cors_allowed_origins, &api->arena) != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    if (config->frontend_path == NULL)
        return 0;
    if (realpath(config->frontend_path, root) == NULL)
        return err_set(err, ERR_INVALID, "BFM_FRONTEND_PATH is not a directory that can be read");
    api->frontend_root = arena_strdup(&api->arena, root);
    if (api->frontend_root == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    return 0;
}

int api_create(const struct api_config *config, struct api **out, struct err *err)
{
    struct api *api = mem_calloc(1, sizeof(*api));
    int rc;

    *out = NULL;
    if (api == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    api->config = *config;
    api->ops = (struct ops){config->loop, config->engine, config->store, config->hooks};
    arena_init(&api->arena);
    rc = api_prepare(api, err);
    if (rc != 0) {
        api_free(api);
        return rc;
    }
    *out = api;
    return 0;
}

void api_free(struct api *api)
{
    if (api == NULL)
        return;
    assert(api->calls == 0);
    arena_free(&api->arena);
    mem_free(api);
}

/* NULL if the request may go on, else the text of the 401. */
static const char *api_check_auth(const struct api *api, const struct http_request *request)
{
    if (http_header_count(request, "Authorization") > 1)
        return "invalid Authorization header format";
    return auth_check(http_header(request, "Authorization"), api->config.token);
}

static void api_handle_route(struct api *api, struct http_request *request,
                             const struct route_match *match)
{
    const char *reason = NULL;

    if ((match->route->flags & ROUTE_OPEN) == 0)
        reason = api_check_auth(api, request);
    if (reason == NULL) {
        call_start(api, request, match);
        return;
    }
    http_add_header(request, "WWW-Authenticate", "Bearer");
    answer_error(request, 401, reason);
}

static void api_handle_static(struct api *api, struct http_request *request)
{
    bool reads =
        strcmp(http_method(request), "GET") == 0 || strcmp(http_method(request), "HEAD") == 0;

    if (api->frontend_root == NULL) {
        answer_error(request, 404, "Not found");
    } else if (!reads) {
        http_add_header(request, "Allow", "GET, HEAD, OPTIONS");
        answer_error(request, 405, "method not allowed");
    } else if (strcmp(http_path(request), "/runtime-config.js") == 0) {
        runtime_answer(&api->config, request);
    } else {
        static_start(api, request);
    }
}

void api_handle(void *arg, struct http_request *request)
{
    struct api *api = arg;
    struct route_match match;

    cors_add_headers(&api->cors, request);
    if (strcmp(http_method(request), "OPTIONS") == 0) {
        http_respond(request, 204, NULL, 0);
        return;
    }
    switch (
        route_find(routes, ARRAY_SIZE(routes), http_method(request), http_path(request), &match)) {
    case ROUTE_FOUND:
        api_handle_route(api, request, &match);
        return;
    case ROUTE_WRONG_METHOD:
        http_add_header(request, "Allow", match.allow);
        answer_error(request, 405, "method not allowed");
        return;
    case ROUTE_UNKNOWN:
        break;
    }
    if (route_is_api(http_path(request)))
        answer_error(request, 404, "Not found");
    else
        api_handle_static(api, request);
}

static bool path_is_health(const char *path)
{
    size_t len = strlen(path);

    len -= len > 1 && path[len - 1] == '/';
    return (len == strlen("/health") && strncmp(path, "/health", len) == 0) ||
           (len == strlen("/api/v1/health") && strncmp(path, "/api/v1/health", len) == 0);
}

void api_access(void *arg, const struct http_request *request)
{
    const struct api *api = arg;
    const char *id = http_header(request, "X-Request-Id");

    if (path_is_health(http_path(request)))
        return;
    log_write(api->config.access_log_level, "request", LOG_STR("method", http_method(request)),
              LOG_STR("path", http_path(request)), LOG_INT("status", http_status(request)),
              LOG_INT("bytes", http_body_sent(request)),
              LOG_INT("duration_us", http_elapsed_us(request)),
              id != NULL ? LOG_STR("request_id", id) : (struct log_field){0});
}
