#include "store/text.h"

#include <string.h>

#include "base/utf8.h"

size_t text_count_characters(const char *text, size_t len)
{
    size_t count = 0;

    for (size_t i = 0; i < len; i++)
        if (((unsigned char)text[i] & 0xC0) != 0x80)
            count++;
    return count;
}

/* Bytes of the character that starts here, 0 if none does. */
static size_t text_character(const char *text, size_t left)
{
    for (size_t len = 1; len <= 4 && len <= left; len++)
        if (utf8_is_valid(text, len))
            return len;
    return 0;
}

int text_put_clean(struct buf *out, const char *text)
{
    size_t left = strlen(text);

    while (left > 0) {
        size_t len = text_character(text, left);

        if (len > 0)
            buf_append(out, text, len);
        else
            buf_puts(out, "\xEF\xBF\xBD");
        len = len > 0 ? len : 1;
        text += len;
        left -= len;
    }
    return out->rc;
}
