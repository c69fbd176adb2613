#include <string.h>

#include "base/utf8.h"
#include "driver/maria.h"

/*
 * By hand, as nothing here needs a connection: every session speaks utf8mb4 and has neither
 * NO_BACKSLASH_ESCAPES nor ANSI_QUOTES. In UTF-8 no byte of a longer character looks like a quote
 * or a backslash, so bytes can be looked at one by one.
 */

enum {
    MARIA_IDENTIFIER_MAX = 64, /* characters */
};

/* What stands behind the backslash for a character that cannot stand for itself; 0: it can. */
static char maria_escape_of(char c)
{
    switch (c) {
    case '\0':
        return '0';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\x1a':
        return 'Z';
    case '\'':
    case '"':
    case '\\':
        return c;
    default:
        return '\0';
    }
}

int maria_put_literal_n(struct buf *sql, const char *text, size_t len)
{
    size_t begin = 0;

    if (!utf8_is_valid(text, len))
        return ERR_INVALID;
    buf_putc(sql, '\'');
    for (size_t i = 0; i < len; i++) {
        char escape = maria_escape_of(text[i]);

        if (escape == '\0')
            continue;
        buf_append(sql, text + begin, i - begin);
        buf_putc(sql, '\\');
        buf_putc(sql, escape);
        begin = i + 1;
    }
    buf_append(sql, text + begin, len - begin);
    return buf_putc(sql, '\'');
}

int maria_put_literal(struct buf *sql, const char *text)
{
    return text == NULL ? buf_puts(sql, "NULL") : maria_put_literal_n(sql, text, strlen(text));
}

/* The servers take no character beyond U+FFFF, no blank at the end, and nothing empty. */
static bool maria_can_be_identifier(const char *text, size_t len)
{
    size_t characters = 0;

    if (len == 0 || text[len - 1] == ' ' || !utf8_is_valid(text, len))
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];

        if (byte >= 0xf0)
            return false;
        if ((byte & 0xc0) != 0x80)
            characters++;
    }
    return characters <= MARIA_IDENTIFIER_MAX;
}

int maria_put_identifier(struct buf *sql, const char *text)
{
    if (!maria_can_be_identifier(text, strlen(text)))
        return ERR_INVALID;
    buf_putc(sql, '`');
    for (; *text != '\0'; text++) {
        if (*text == '`')
            buf_putc(sql, '`');
        buf_putc(sql, *text);
    }
    return buf_putc(sql, '`');
}
