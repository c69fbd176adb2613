/* The rules about a request's head that need whole fields (RFC 9112 section 3 and 6). */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/base.h"
#include "http/parse.h"

static bool check_host_text(const char *host)
{
    for (; *host != '\0'; host++) {
        if (!isalnum((unsigned char)*host) && strchr("-._~!$&'()*+,;=%:[]", *host) == NULL)
            return false;
    }
    return true;
}

static bool check_host(struct http_message *message)
{
    const char *host = http_message_field(message, "Host");
    size_t count = http_message_field_count(message, "Host");

    if (count == 0 && message->minor == 0)
        return true;
    if (count == 0)
        return http_message_refuse(message, 400, "malformed request: missing Host header");
    if (count > 1 || !check_host_text(host))
        return http_message_refuse(message, 400, "malformed request: invalid Host header");
    return true;
}

/* What cannot be framed for certain is refused, as somebody in front may frame it otherwise. */
static bool check_framing(struct http_message *message)
{
    size_t codings = http_message_field_count(message, "Transfer-Encoding");
    size_t lengths = http_message_field_count(message, "Content-Length");

    if (lengths > 1 || (lengths > 0 && codings > 0))
        return http_message_refuse(message, 400, "malformed request: invalid Content-Length");
    if (codings == 0)
        return true;
    if (codings > 1 || message->minor == 0 || !message->has_body) /* chunked is not the last one */
        return http_message_refuse(message, 400, "malformed request: invalid Transfer-Encoding");
    if (strcasecmp(http_message_field(message, "Transfer-Encoding"), "chunked") != 0)
        return http_message_refuse(message, 501, "only the transfer coding chunked is known");
    return true;
}

static bool check_expect(struct http_message *message)
{
    const char *expect = http_message_field(message, "Expect");

    if (expect == NULL || message->minor == 0)
        return true;
    if (http_message_field_count(message, "Expect") > 1 || strcasecmp(expect, "100-continue") != 0)
        return http_message_refuse(message, 417, "only the expectation 100-continue is known");
    message->expects_continue = message->has_body;
    return true;
}

/* Where the path of an absolute target begins; NULL if it is not one of http or https. */
static char *check_skip_authority(char *target)
{
    char *authority = strstr(target, "://");
    size_t len;

    if (authority == NULL)
        return NULL;
    if (strncasecmp(target, "http:", 5) != 0 && strncasecmp(target, "https:", 6) != 0)
        return NULL;
    authority += 3;
    len = strcspn(authority, "/?");
    return len > 0 && memchr(authority, '@', len) == NULL ? authority + len : NULL;
}

static bool check_target_text(const char *target)
{
    for (; *target != '\0'; target++) {
        if (!isgraph((unsigned char)*target) || *target == '#')
            return false;
    }
    return true;
}

static bool check_target(struct http_message *message, char *target)
{
    char *path = target, *query;

    if (strcmp(message->method, "CONNECT") == 0)
        return http_message_refuse(message, 501, "CONNECT is not supported");
    if (target[0] != '/' && !(strcmp(target, "*") == 0 && strcmp(message->method, "OPTIONS") == 0))
        path = check_skip_authority(target);
    if (path == NULL || !check_target_text(target))
        return http_message_refuse(message, 400, "malformed request: invalid request target");
    query = strchr(path, '?');
    if (query != NULL)
        *query++ = '\0';
    message->path = *path != '\0' ? path : "/";
    message->query = query != NULL ? query : "";
    return true;
}

bool http_message_check(struct http_message *message, char *target)
{
    return check_target(message, target) && check_framing(message) && check_host(message) &&
           check_expect(message);
}
