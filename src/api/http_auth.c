#include "api/http_auth.h"

#include <string.h>
#include <strings.h>

#include "base/base.h"

/* NULL with the text of the 401 answer if there is no token in the header. */
static const char *auth_read_token(const char *header, const char **why)
{
    const char *space;

    *why = "missing Authorization header";
    if (header == NULL || header[0] == '\0')
        return NULL;
    *why = "invalid Authorization header format";
    space = strchr(header, ' ');
    if (space == NULL)
        return NULL;
    *why = "authorization header must use Bearer scheme";
    if ((size_t)(space - header) != strlen("Bearer") ||
        strncasecmp(header, "Bearer", strlen("Bearer")) != 0)
        return NULL;
    return space + 1;
}

const struct grant *auth_find_grant(const struct tokens *tokens, const char *header,
                                    const char **why)
{
    const char *token = auth_read_token(header, why);
    const struct grant *grant = token != NULL ? tokens_find(tokens, token) : NULL;

    if (grant != NULL && grant_is_alive(grant))
        return grant;
    if (token != NULL)
        *why = grant != NULL ? "API token has expired" : "invalid API token";
    grant_unref(grant);
    return NULL;
}

static bool header_is_one_of(http_header_fn *header, const void *arg, const char *name,
                             const char *a, const char *b)
{
    const char *value = header(arg, name);

    return value != NULL && (strcmp(value, a) == 0 || strcmp(value, b) == 0);
}

bool auth_is_dashboard(http_header_fn *header, const void *arg)
{
    static const char *const browsers[] = {"Mozilla", "Chrome", "Safari",
                                           "Firefox", "Edge",   "Opera"};
    const char *agent = header(arg, "User-Agent");

    if (header_is_one_of(header, arg, "X-Client-Type", "frontend", "FfM") ||
        header_is_one_of(header, arg, "X-Requested-With", "XMLHttpRequest", "FfM") ||
        header(arg, "Origin") != NULL)
        return true;
    for (size_t i = 0; agent != NULL && i < ARRAY_SIZE(browsers); i++)
        if (strstr(agent, browsers[i]) != NULL)
            return true;
    return false;
}
