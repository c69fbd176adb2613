#include "base/utf8.h"

#include <stdint.h>

/* Length of the well-formed sequence at `s`, 0 if there is none within `left` bytes. */
static size_t utf8_sequence(const unsigned char *s, size_t left)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t len;

    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        len = 2;
    else if (s[0] >= 0xe0 && s[0] <= 0xef)
        len = 3;
    else if (s[0] >= 0xf0 && s[0] <= 0xf4)
        len = 4;
    else
        return 0;
    if (left < len)
        return 0;
    if (s[0] == 0xe0)
        low = 0xa0; /* shorter forms exist */
    else if (s[0] == 0xed)
        high = 0x9f; /* surrogates */
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f; /* beyond U+10FFFF */
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

bool utf8_is_valid(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t at = 0;

    while (at < len) {
        size_t n = utf8_sequence(s + at, len - at);

        if (n == 0)
            return false;
        at += n;
    }
    return true;
}

size_t utf8_cut(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t start = len;

    for (size_t back = 1; back <= 4 && back <= len; back++) {
        start = len - back;
        if ((s[start] & 0xc0) != 0x80)
            return utf8_sequence(s + start, back) == back ? len : start;
    }
    return len;
}
