#include "base/buf.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

void buf_init(struct buf *buf, size_t max)
{
    *buf = (struct buf){.max = max};
}

void buf_free(struct buf *buf)
{
    mem_free(buf->data);
    buf_init(buf, buf->max);
}

void buf_truncate(struct buf *buf, size_t len)
{
    if (len < buf->len) {
        buf->len = len;
        buf->data[len] = '\0';
    }
    buf->rc = 0;
}

void buf_drop(struct buf *buf, size_t len)
{
    if (len == 0)
        return;
    buf->len -= len;
    memmove(buf->data, buf->data + len, buf->len + 1);
}

int buf_reserve(struct buf *buf, size_t len)
{
    size_t cap = buf->cap > 0 ? buf->cap : 64;
    char *data;

    if (buf->rc != 0)
        return buf->rc;
    if (len > buf->max - buf->len)
        return buf->rc = ERR_LIMIT;
    if (buf->data != NULL && buf->len + len < buf->cap)
        return 0;
    while (cap <= buf->len + len)
        cap += cap / 2;
    data = mem_realloc(buf->data, cap);
    if (data == NULL)
        return buf->rc = ERR_NOMEM;
    buf->data = data;
    buf->cap = cap;
    return 0;
}

int buf_append(struct buf *buf, const void *data, size_t len)
{
    if (buf_reserve(buf, len) != 0)
        return buf->rc;
    if (len > 0)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return 0;
}

int buf_puts(struct buf *buf, const char *text)
{
    return buf_append(buf, text, strlen(text));
}

int buf_putc(struct buf *buf, char c)
{
    return buf_append(buf, &c, 1);
}

int buf_vprintf(struct buf *buf, const char *format, va_list args)
{
    va_list again;
    char small[128];
    int len;

    va_copy(again, args);
    len = vsnprintf(small, sizeof(small), format, args);
    if (len >= 0 && (size_t)len < sizeof(small)) {
        buf_append(buf, small, (size_t)len);
    } else if (len >= 0 && buf_reserve(buf, (size_t)len) == 0) {
        vsnprintf(buf->data + buf->len, (size_t)len + 1, format, again);
        buf->len += (size_t)len;
    }
    va_end(again);
    return buf->rc;
}

int buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    buf_vprintf(buf, format, args);
    va_end(args);
    return buf->rc;
}

char *buf_take(struct buf *buf)
{
    char *data;

    if (buf->data == NULL && buf_append(buf, "", 0) != 0)
        return NULL;
    if (buf->rc != 0)
        return NULL;
    data = buf->data;
    buf_init(buf, buf->max);
    return data;
}

const char *buf_str(const struct buf *buf)
{
    return buf->data != NULL ? buf->data : "";
}
