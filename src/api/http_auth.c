#include "api/http_auth.h"

#include <string.h>
#include <strings.h>

#include "base/base.h"
#include "base/hash.h"

const char *auth_check(const char *header, const char *token)
{
    const char *space;
    size_t len = strlen(token);

    if (header == NULL || header[0] == '\0')
        return "missing Authorization header";
    space = strchr(header, ' ');
    if (space == NULL)
        return "invalid Authorization header format";
    if ((size_t)(space - header) != strlen("Bearer") ||
        strncasecmp(header, "Bearer", strlen("Bearer")) != 0)
        return "authorization header must use Bearer scheme";
    if (strlen(space + 1) != len || !hash_equal_const_time(space + 1, token, len))
        return "invalid API token";
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
