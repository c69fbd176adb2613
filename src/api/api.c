#include "api/api.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "api/grant.h"
#include "api/http_access.h"
#include "api/http_answer.h"
#include "api/http_auth.h"
#include "api/http_call.h"
#include "api/http_handlers.h"
#include "api/http_runtime.h"
#include "api/http_static.h"
#include "base/mem.h"

/* bfm-api.md §4.2: method, pattern, flags, the scope that the token needs, and the three steps.
 * What stands further up wins: literal segments over {id}. */
static const struct route routes[] = {
    {"POST", "/api/v1/migrate", ROUTE_STATE, GRANT_MIGRATE, read_migrate, start_migrate,
     answer_run},
    {"POST", "/api/v1/migrations/up", ROUTE_STATE, GRANT_MIGRATE, read_up, start_up, answer_run},
    {"POST", "/api/v1/migrations/down", ROUTE_STATE, GRANT_ROLLBACK, read_down, start_down,
     answer_run},
    {"POST", "/api/v1/migrations/order-batch", 0, GRANT_READ, read_order, start_order,
     answer_order},
    {"POST", "/api/v1/migrations/reindex", ROUTE_STATE, GRANT_ADMIN, NULL, start_reindex,
     answer_reindex},
    {"POST", "/api/v1/reconcile", ROUTE_STATE | ROUTE_OPTIONAL, GRANT_ADMIN, read_reconcile,
     start_reconcile, answer_reconcile},
    {"GET", "/api/v1/migrations/executions/recent", ROUTE_STATE, GRANT_READ, NULL, start_executions,
     answer_executions},
    {"GET", "/api/v1/migrations/skipped/recent", ROUTE_STATE, GRANT_READ, NULL, start_skipped,
     answer_skipped},
    {"GET", "/api/v1/migrations", ROUTE_STATE, GRANT_READ, NULL, start_list, answer_list},
    {"GET", "/api/v1/migrations/{id}", ROUTE_STATE, GRANT_READ, NULL, start_state, answer_detail},
    {"GET", "/api/v1/migrations/{id}/status", ROUTE_STATE, GRANT_READ, NULL, start_state,
     answer_status_of},
    {"GET", "/api/v1/migrations/{id}/applied", ROUTE_STATE, GRANT_READ, NULL, start_state,
     answer_applied},
    {"GET", "/api/v1/migrations/{id}/history", ROUTE_STATE, GRANT_READ, NULL, start_history,
     answer_history},
    {"GET", "/api/v1/migrations/{id}/executions", ROUTE_STATE, GRANT_READ, NULL, start_executions,
     answer_executions},
    {"GET", "/api/v1/migrations/{id}/skipped", ROUTE_STATE, GRANT_READ, NULL, start_skipped,
     answer_skipped},
    {"POST", "/api/v1/migrations/{id}/rollback", ROUTE_STATE | ROUTE_OPTIONAL, GRANT_ROLLBACK,
     read_rollback, start_rollback, answer_run},
    {"POST", "/api/v1/migrations/{id}/resolve", ROUTE_STATE, GRANT_MIGRATE, read_doubt, start_doubt,
     answer_doubt},
    {"GET", "/api/v1/plan", ROUTE_STATE, GRANT_READ, NULL, start_plan, answer_plan},
    {"GET", "/api/v1/tenants", ROUTE_STATE, GRANT_READ, NULL, start_tenants, answer_tenants},
    {"GET", "/api/v1/gate", ROUTE_STATE, GRANT_READ, NULL, start_gate, answer_gate},
    {"GET", "/api/v1/runs", ROUTE_STATE, GRANT_READ, NULL, start_run_list, answer_run_list},
    {"GET", "/api/v1/runs/{id}", ROUTE_STATE, GRANT_READ, NULL, start_show, answer_show},
    {"POST", "/api/v1/runs/{id}/cancel", ROUTE_STATE, GRANT_MIGRATE | GRANT_ROLLBACK | GRANT_ADMIN,
     NULL, start_cancel, answer_cancel},
    {"POST", "/api/v1/runs/{id}/retry", ROUTE_STATE | ROUTE_OPTIONAL,
     GRANT_MIGRATE | GRANT_ROLLBACK, read_retry, start_retry, answer_run},
    {"GET", "/api/v1/events", 0, GRANT_READ, NULL, start_events, answer_events},
    {"GET", "/api/v1/runs/{id}/events", 0, GRANT_READ, NULL, start_events, answer_events},
    {"GET", "/api/v1/health", ROUTE_OPEN | ROUTE_PROBE | ROUTE_QUIET, 0, NULL, NULL, answer_health},
    {"GET", "/health", ROUTE_OPEN | ROUTE_PROBE | ROUTE_QUIET, 0, NULL, NULL, answer_health},
    {"GET", "/readyz", ROUTE_OPEN | ROUTE_PROBE | ROUTE_QUIET, 0, NULL, NULL, answer_ready},
    {"GET", "/livez", ROUTE_OPEN | ROUTE_PROBE | ROUTE_QUIET, 0, NULL, NULL, answer_live},
    {"GET", "/metrics", ROUTE_PROBE | ROUTE_QUIET | ROUTE_METRICS, GRANT_READ, NULL, start_metrics,
     answer_metrics},
    {"GET", "/api/v1/openapi.json", ROUTE_OPEN | ROUTE_PROBE, 0, NULL, NULL, answer_openapi_json},
    {"GET", "/api/v1/openapi.yaml", ROUTE_OPEN | ROUTE_PROBE, 0, NULL, NULL, answer_openapi_yaml},
    {"GET", "/api/v1/migration.proto", ROUTE_OPEN | ROUTE_PROBE, 0, NULL, NULL, answer_proto},
};

const struct route *api_routes(size_t *count)
{
    *count = ARRAY_SIZE(routes);
    return routes;
}

/* The one token without a file. */
static int api_make_tokens(struct api *api)
{
    struct token_set *set;
    int rc = token_set_make(api->config.token, NULL, 0, NULL, NULL, &set);

    if (rc == 0)
        tokens_use(&api->tokens, set);
    return rc;
}

static int api_prepare(struct api *api, struct err *err)
{
    const struct api_config *config = &api->config;
    char root[PATH_MAX];

    if (config->token == NULL || config->token[0] == '\0')
        return err_set(err, ERR_INVALID, "the API token is empty");
    if (config->tokens != NULL)
        tokens_use(&api->tokens, token_set_ref(config->tokens));
    else if (api_make_tokens(api) != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
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
    list_init(&api->health.readers);
    events_init(&api->events, config->engine, loop_sched(config->loop));
    rc = api_prepare(api, err);
    if (rc != 0) {
        api_free(api);
        return rc;
    }
    api_metrics_init(&api->metrics, config->metrics);
    *out = api;
    return 0;
}

void api_set_secrets(struct api *api, const char *token, struct token_set *tokens,
                     const char *frontend_password)
{
    api->config.token = token;
    api->config.frontend_password = frontend_password;
    tokens_use(&api->tokens, tokens);
}

void api_free(struct api *api)
{
    if (api == NULL)
        return;
    assert(api->calls == 0);
    events_free(&api->events);
    tokens_close(&api->tokens);
    arena_free(&api->arena);
    mem_free(api);
}

/* NULL if it was refused. */
static const struct grant *api_find_grant(const struct api *api, struct http_request *request,
                                          const struct route *route)
{
    const char *why = "invalid Authorization header format";
    const struct grant *grant = NULL;
    struct err err;

    if (http_header_count(request, "Authorization") <= 1)
        grant = auth_find_grant(&api->tokens, http_header(request, "Authorization"), &why);
    if (grant == NULL) {
        http_add_header(request, "WWW-Authenticate", "Bearer");
        answer_error(request, 401, why);
    } else if (grant_check_scopes(grant, route->scopes, &err) != 0 ||
               ((route->flags & ROUTE_METRICS) != 0 && grant_check_all(grant, NULL, &err) != 0)) {
        answer_err(request, &err);
        grant_unref(grant);
        grant = NULL;
    }
    if (grant != NULL)
        access_note_token(request, grant->name);
    return grant;
}

static bool api_is_open(const struct api *api, const struct route *route)
{
    return (route->flags & ROUTE_OPEN) != 0 ||
           ((route->flags & ROUTE_METRICS) != 0 && api->config.metrics_open);
}

static void api_handle_route(struct api *api, struct http_request *request,
                             const struct route_match *match)
{
    const struct grant *grant = NULL;

    if ((match->route->flags & ROUTE_METRICS) != 0 && api->metrics.all == NULL) {
        answer_error(request, 404, "no metrics are kept: BFM_METRICS is off");
        return;
    }
    if (!api_is_open(api, match->route)) {
        grant = api_find_grant(api, request, match->route);
        if (grant == NULL)
            return;
    }
    call_start(api, request, match, grant);
}

static void api_handle_static(struct api *api, struct http_request *request)
{
    bool reads =
        strcmp(http_method(request), "GET") == 0 || strcmp(http_method(request), "HEAD") == 0;

    if (api->frontend_root != NULL)
        access_note_static(request);
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
        access_note_route(request, match.route);
        api_handle_route(api, request, &match);
        return;
    case ROUTE_WRONG_METHOD:
        access_note_route(request, match.route);
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
