#include "api/cursor.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hex.h"
#include "base/utf8.h"

/* The text is made of the kind and of the parts, with a NUL behind each part. */
int cursor_put(struct buf *out, char kind, const char *const *parts, size_t count)
{
    assert(count <= CURSOR_PARTS_MAX);
    hex_put(out, &kind, 1);
    for (size_t i = 0; i < count; i++)
        hex_put(out, parts[i], strlen(parts[i]) + 1);
    return out->rc;
}

static int split(const char *data, size_t len, const char **parts, size_t count)
{
    const char *end = data + len;

    for (size_t i = 0; i < count; i++) {
        const char *stop = memchr(data, '\0', (size_t)(end - data));

        if (stop == NULL || !utf8_is_valid(data, (size_t)(stop - data)))
            return ERR_INVALID;
        parts[i] = data;
        data = stop + 1;
    }
    return data == end ? 0 : ERR_INVALID;
}

int cursor_read(const char *text, char kind, struct arena *arena, const char **parts, size_t count)
{
    size_t digits = strlen(text), len = digits / 2;
    char *data;
    int rc;

    if (digits < 2 || digits % 2 != 0)
        return ERR_INVALID;
    data = arena_alloc(arena, len);
    if (data == NULL)
        return ERR_NOMEM;
    rc = hex_read(text, len, data);
    if (rc == 0 && data[0] != kind)
        rc = ERR_INVALID;
    return rc == 0 ? split(data + 1, len - 1, parts, count) : rc;
}

int cursor_read_number(const char *part, int64_t max, int64_t *out)
{
    if (part[0] == '\0' || part[strspn(part, "0123456789")] != '\0')
        return ERR_INVALID;
    errno = 0;
    *out = strtoll(part, NULL, 10);
    return errno == 0 && *out <= max ? 0 : ERR_INVALID;
}
