#ifndef BFM_API_API_H
#define BFM_API_API_H

#include <stdbool.h>

#include "api/hooks.h"
#include "api/tokens.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/http.h"
#include "io/loop.h"
#include "migrate/engine.h"
#include "store/store.h"

/*
 * The HTTP mouth of BfM (bfm-api.md §4): translates requests into the operations of ops.h and
 * their results into answers. Single-threaded, on the loop.
 */
struct api;

/* Strings are borrowed until api_free(). */
struct api_config {
    struct loop *loop;
    struct engine *engine;
    struct store *store;
    const char *token;        /* BFM_API_TOKEN, not empty */
    struct token_set *tokens; /* with it and those of a file; NULL: only it. Takes a reference */
    const char *cors_allowed_origins; /* BFM_CORS_ALLOWED_ORIGINS; NULL means "*" */
    const char *frontend_path;        /* BFM_FRONTEND_PATH, an existing directory; NULL: none */

    /* /runtime-config.js, served only with a frontend_path (bfm-api.md §9) */
    const char *frontend_api_url; /* BFM_FRONTEND_API_URL; NULL means "/api" */
    bool frontend_expose_token;   /* BFM_FRONTEND_EXPOSE_TOKEN: token and login are given out */
    bool frontend_auth_enabled;   /* BFM_FRONTEND_AUTH_ENABLED */
    const char *frontend_username, *frontend_password; /* NULL: none */

    enum log_level access_log_level; /* of the one line per request; LOG_INFO is usual */
    struct metrics *metrics;         /* where figures are kept, and what GET /metrics shows; NULL:
                                        there are none. Must outlive the api, but for its families */
    bool metrics_open;               /* no token is needed to see them */
    bool grpc_open;       /* BFM_GRPC_AUTH=off: gRPC calls without a token may do everything */
    const char *sfm_path; /* BFM_SFM_PATH; NULL: the scripts in the program */
    struct api_hooks hooks;
};

/* Returns 0, ERR_NOMEM, or ERR_INVALID with the reason. */
int api_create(const struct api_config *config, struct api **out, struct err *err);
/* Other secrets from now on; requests under way keep their grants. The strings are borrowed as
 * those of the configuration, the reference to the tokens is taken over. */
void api_set_secrets(struct api *api, const char *token, struct token_set *tokens,
                     const char *frontend_password);
/* Every request was answered before. NULL is fine. */
void api_free(struct api *api);

/* For http_server_start(), with the api as `arg`. */
void api_begin(void *arg, struct http_request *request);
void api_handle(void *arg, struct http_request *request);
void api_access(void *arg, const struct http_request *request);

#endif
