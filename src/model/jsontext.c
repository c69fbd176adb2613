#include "model/jsontext.h"

#include <string.h>

/* The parser takes every control character between tokens for a blank. */
static bool json_text_is_blank(char c)
{
    return (unsigned char)c <= ' ';
}

size_t json_text_skip_blanks(const char *text, size_t len, size_t at)
{
    while (at < len && json_text_is_blank(text[at]))
        at++;
    return at;
}

/* `at` is the opening quote; gives what is behind the closing one. */
static size_t json_text_skip_string(const char *text, size_t len, size_t at)
{
    for (at++; at < len && text[at] != '"'; at++)
        if (text[at] == '\\')
            at++;
    return at < len ? at + 1 : len;
}

size_t json_text_skip_value(const char *text, size_t len, size_t at)
{
    size_t depth = 0;

    at = json_text_skip_blanks(text, len, at);
    while (at < len) {
        char c = text[at];

        if (depth == 0 && (c == ',' || c == ']' || c == '}' || json_text_is_blank(c)))
            return at;
        if (c == '"') {
            at = json_text_skip_string(text, len, at);
            if (depth == 0)
                return at;
            continue;
        }
        at++;
        if (c == '[' || c == '{')
            depth++;
        else if ((c == ']' || c == '}') && --depth == 0)
            return at;
    }
    return len;
}

int json_text_put_compact(struct buf *out, const char *text, size_t from, size_t to)
{
    while (from < to) {
        size_t start = from = json_text_skip_blanks(text, to, from);

        while (from < to && !json_text_is_blank(text[from])) {
            if (text[from] == '"')
                from = json_text_skip_string(text, to, from);
            else
                from++;
        }
        buf_append(out, text + start, from - start);
    }
    return out->rc;
}

static size_t json_text_skip_digits(const char *text, size_t to, size_t at)
{
    while (at < to && text[at] >= '0' && text[at] <= '9')
        at++;
    return at;
}

/* RFC 8259: -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)? */
static bool json_text_is_number(const char *text, size_t at, size_t to)
{
    size_t start;

    if (at < to && text[at] == '-')
        at++;
    start = at;
    at = json_text_skip_digits(text, to, at);
    if (at == start || (text[start] == '0' && at > start + 1))
        return false;
    if (at < to && text[at] == '.') {
        start = ++at;
        at = json_text_skip_digits(text, to, at);
        if (at == start)
            return false;
    }
    if (at < to && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        if (at < to && (text[at] == '+' || text[at] == '-'))
            at++;
        start = at;
        at = json_text_skip_digits(text, to, at);
        if (at == start)
            return false;
    }
    return at == to;
}

int json_text_check_numbers(const char *text, size_t from, size_t to, struct err *err)
{
    while (from < to) {
        size_t start = from;

        if (text[from] == '"') {
            from = json_text_skip_string(text, to, from);
            continue;
        }
        while (from < to && strchr("+-.0123456789eE", text[from]) != NULL)
            from++;
        if (from == start) {
            from++;
            continue;
        }
        /* the letter e alone is part of true and false */
        if (text[start] != 'e' && !json_text_is_number(text, start, from))
            return err_set(err, ERR_INVALID, "\"%.*s\" is not a JSON number",
                           (int)(from - start < 40 ? from - start : 40), text + start);
    }
    return 0;
}
