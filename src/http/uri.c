#include <string.h>

#include "http/http.h"

static int uri_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "%xy" stands for, or -1; 0 is as wrong as no hex digits. */
static int uri_escape(const char *text, const char *end)
{
    int high, low;

    if (end - text < 3)
        return -1;
    high = uri_hex(text[1]);
    low = uri_hex(text[2]);
    if (high < 0 || low < 0 || high + low == 0)
        return -1;
    return high * 16 + low;
}

char *http_decode(struct arena *arena, const char *text, size_t len, bool plus_is_space)
{
    const char *end = text + len;
    char *decoded = arena_strndup(arena, text, len);
    char *out = decoded;
    int byte;

    if (decoded == NULL || memchr(text, '\0', len) != NULL)
        return NULL;
    while (text < end) {
        if (*text != '%') {
            *out = *text++;
            if (*out == '+' && plus_is_space)
                *out = ' ';
            out++;
            continue;
        }
        byte = uri_escape(text, end);
        if (byte < 0)
            return NULL;
        *out++ = (char)byte;
        text += 3;
    }
    *out = '\0';
    return decoded;
}

static bool uri_name_is(struct arena *arena, const char *text, size_t len, const char *name)
{
    const char *decoded;

    if (len < strlen(name)) /* decoding never makes it longer */
        return false;
    decoded = http_decode(arena, text, len, true);
    return decoded != NULL && strcmp(decoded, name) == 0;
}

char *http_query_param(struct http_request *request, const char *name)
{
    const char *pair = http_query(request);
    struct arena *arena = http_arena(request);

    while (*pair != '\0') {
        size_t len = strcspn(pair, "&");
        const char *equals = memchr(pair, '=', len);
        size_t name_len = equals != NULL ? (size_t)(equals - pair) : len;

        if (uri_name_is(arena, pair, name_len, name)) {
            const char *value = equals != NULL ? equals + 1 : pair + len;

            return http_decode(arena, value, (size_t)(pair + len - value), true);
        }
        pair += len;
        if (*pair == '&')
            pair++;
    }
    return NULL;
}
