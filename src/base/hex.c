#include "base/hex.h"

#include "base/err.h"

int hex_put(struct buf *out, const void *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *bytes = data;

    for (size_t i = 0; i < len; i++) {
        buf_putc(out, digits[bytes[i] >> 4]);
        buf_putc(out, digits[bytes[i] & 15]);
    }
    return out->rc;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_read(const char *text, size_t len, void *out)
{
    unsigned char *bytes = out;

    for (size_t i = 0; i < len; i++) {
        int high = digit_value(text[2 * i]), low = digit_value(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return ERR_INVALID;
        bytes[i] = (unsigned char)(high << 4 | low);
    }
    return 0;
}
