#include "api/http_cors.h"

#include <string.h>
#include <strings.h>

#define CORS_METHODS "POST, OPTIONS, GET, PUT, DELETE, PATCH"
#define CORS_HEADERS                                                                       \
    "Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, accept, " \
    "origin, Cache-Control, X-Requested-With, X-Client-Type, Idempotency-Key, Last-Event-ID"
#define CORS_BLANKS " \t"

int cors_parse(struct cors *cors, const char *text, struct arena *arena)
{
    const char **origins;
    size_t commas = 0;

    *cors = (struct cors){0};
    if (text == NULL || strcmp(text, "*") == 0) {
        cors->any = true;
        return 0;
    }
    if (strcmp(text, "none") == 0)
        return 0;
    for (const char *at = text; *at != '\0'; at++)
        commas += *at == ',';
    origins = arena_calloc(arena, commas + 1, sizeof(*origins));
    if (origins == NULL)
        return ERR_NOMEM;
    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        const char *next = text[len] == ',' ? text + len + 1 : text + len;
        size_t blanks = strspn(text, CORS_BLANKS);

        text += blanks < len ? blanks : len;
        len -= blanks < len ? blanks : len;
        while (len > 0 && strchr(CORS_BLANKS "/", text[len - 1]) != NULL)
            len--;
        if (len == 1 && text[0] == '*')
            cors->any = true;
        if (len > 0) {
            origins[cors->count] = arena_strndup(arena, text, len);
            if (origins[cors->count++] == NULL)
                return ERR_NOMEM;
        }
        text = next;
    }
    cors->origins = origins;
    return 0;
}

const char *cors_allowed(const struct cors *cors, const char *origin)
{
    if (origin == NULL)
        return NULL;
    if (cors->any)
        return "*";
    for (size_t i = 0; i < cors->count; i++)
        if (strcasecmp(cors->origins[i], origin) == 0)
            return origin;
    return NULL;
}

void cors_add_headers(const struct cors *cors, struct http_request *request)
{
    const char *allowed = cors_allowed(cors, http_header(request, "Origin"));

    if (allowed == NULL)
        return;
    http_add_header(request, "Access-Control-Allow-Origin", allowed);
    http_add_header(request, "Access-Control-Allow-Methods", CORS_METHODS);
    http_add_header(request, "Access-Control-Allow-Headers", CORS_HEADERS);
    http_add_header(request, "Access-Control-Max-Age", "86400");
    if (!cors->any)
        http_add_header(request, "Vary", "Origin");
}
