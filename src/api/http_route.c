#include "api/http_route.h"

#include <stdio.h>
#include <string.h>

static bool segment_is_id(const char *pattern, size_t len)
{
    return len == 4 && memcmp(pattern, "{id}", 4) == 0;
}

/* Both walk from slash to slash; `len` of the path leaves out a trailing one. */
static bool route_matches(const char *pattern, const char *path, size_t len,
                          struct route_match *out)
{
    const char *end = path + len;

    out->id = NULL;
    out->id_len = 0;
    while (*pattern == '/' && path < end && *path == '/') {
        size_t wanted = strcspn(++pattern, "/");
        size_t given;

        path++;
        given = (size_t)(end - path);
        if (memchr(path, '/', given) != NULL)
            given = (size_t)((const char *)memchr(path, '/', given) - path);
        if (segment_is_id(pattern, wanted) && given > 0) {
            out->id = path;
            out->id_len = given;
        } else if (given != wanted || memcmp(path, pattern, given) != 0) {
            return false;
        }
        pattern += wanted;
        path += given;
    }
    return *pattern == '\0' && path == end;
}

static bool method_matches(const struct route *route, const char *method)
{
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    return strcmp(route->method, method) == 0;
}

static void route_allow(const struct route *routes, size_t count, const char *pattern,
                        struct route_match *out)
{
    size_t used = 0;

    for (size_t i = 0; i < count && used < sizeof(out->allow); i++) {
        const char *also = strcmp(routes[i].method, "GET") == 0 ? ", HEAD" : "";

        if (strcmp(routes[i].pattern, pattern) == 0)
            used += (size_t)snprintf(out->allow + used, sizeof(out->allow) - used, "%s%s, ",
                                     routes[i].method, also);
    }
    if (used < sizeof(out->allow))
        snprintf(out->allow + used, sizeof(out->allow) - used, "OPTIONS");
}

enum route_found route_find(const struct route *routes, size_t count, const char *method,
                            const char *path, struct route_match *out)
{
    const struct route *first = NULL;
    size_t len = strlen(path);

    *out = (struct route_match){0};
    if (len > 1 && path[len - 1] == '/')
        len--;
    for (size_t i = 0; i < count; i++) {
        if (first != NULL && strcmp(routes[i].pattern, first->pattern) != 0)
            continue; /* a less exact pattern must not take over with another method */
        if (!route_matches(routes[i].pattern, path, len, out))
            continue;
        first = &routes[i];
        out->route = first;
        if (method_matches(first, method))
            return ROUTE_FOUND;
    }
    if (first == NULL)
        return ROUTE_UNKNOWN;
    route_allow(routes, count, first->pattern, out);
    return ROUTE_WRONG_METHOD;
}

bool route_is_api(const char *path)
{
    return strncmp(path, "/api", 4) == 0 && (path[4] == '/' || path[4] == '\0');
}
