#include "model/sqlmask.h"

#include <string.h>

#include "model/sqlscan.h"

static bool mask_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Bytes that identifiers go on with. */
static bool mask_is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || mask_is_digit(c) || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

/* Offset behind the quote that closes the one at `at`; doubled quotes do not close. 0: none does.
 */
static size_t mask_quoted(const char *text, size_t len, size_t at)
{
    char quote = text[at++];

    for (; at < len; at++) {
        if (text[at] != quote)
            continue;
        if (at + 1 == len || text[at + 1] != quote)
            return at + 1;
        at++;
    }
    return 0;
}

/* Offset behind the dollar-quoted string at `at`, or behind the `$` if there is none. */
static size_t mask_dollar(const char *text, size_t len, size_t at)
{
    size_t tag = at + 1;
    const char *close;

    while (tag < len && text[tag] != '$' && mask_is_word(text[tag]))
        tag++;
    if (tag == len || text[tag] != '$' || mask_is_digit(text[at + 1]))
        return at + 1;
    tag++;
    close = memmem(text + tag, len - tag, text + at, tag - at);
    return close != NULL ? (size_t)(close - text) + (tag - at) : len;
}

static size_t mask_block_comment(char *text, size_t len, size_t at)
{
    const char *close = memmem(text + at + 2, len - at - 2, "*/", 2);
    size_t end;

    if (close == NULL)
        return len;
    end = (size_t)(close - text);
    for (size_t i = at + 2; i < end; i++)
        if (text[i] == '/' || text[i] == '*')
            text[i] = 'x';
    return end + 2;
}

static size_t mask_line_comment(const char *text, size_t len, size_t at)
{
    const char *end = memchr(text + at, '\n', len - at);

    return end != NULL ? (size_t)(end - text) : len;
}

/* The quoted part at `at`: gives the offset behind it. The scanner cannot be left to find that one
 * does not end, as it knows escapes (e'\'') that are none here. */
static int mask_one_quoted(char *text, size_t len, size_t *at, struct err *err)
{
    size_t start = *at, end = mask_quoted(text, len, start);

    if (end == 0) {
        err_set(err, ERR_INVALID, "unterminated quoted %s",
                text[start] == '\'' ? "string" : "identifier");
        if (err != NULL)
            err->line = sql_line_at(text, start);
        return ERR_INVALID;
    }
    for (size_t i = start + 1; i < end - 1; i++)
        if (text[i] != '\n') /* lines keep their numbers */
            text[i] = 'x';
    if (text[start] == '`')
        text[start] = text[end - 1] = 'x';
    else if (end - start == 2)
        text[start] = text[end - 1] = '\''; /* "" is a string there and nothing to the scanner */
    *at = end;
    return 0;
}

int sql_mask_greptimedb(char *text, size_t len, struct err *err)
{
    size_t at = 0;
    int rc = 0;

    while (at < len && rc == 0) {
        bool in_word = at > 0 && mask_is_word(text[at - 1]);

        if (text[at] == '\'' || text[at] == '"' || text[at] == '`')
            rc = mask_one_quoted(text, len, &at, err);
        else if (text[at] == '-' && at + 1 < len && text[at + 1] == '-')
            at = mask_line_comment(text, len, at);
        else if (text[at] == '/' && at + 1 < len && text[at + 1] == '*')
            at = mask_block_comment(text, len, at);
        else if (text[at] == '$' && !in_word)
            at = mask_dollar(text, len, at);
        else
            at++;
    }
    return rc;
}

/* Whether a run of digits, letters and underscores is a number of a newer PostgreSQL. */
static bool mask_is_new_number(const char *run, size_t len)
{
    bool based = len > 2 && run[0] == '0' && strchr("xXoObB", run[1]) != NULL;
    bool underscore = false;

    for (size_t i = based ? 2 : 0; i < len; i++) {
        if (run[i] == '_')
            underscore = true;
        else if (strchr(based ? "0123456789abcdefABCDEF" : "0123456789eE", run[i]) == NULL)
            return false;
    }
    return based || underscore;
}

void sql_mask_numbers(char *text, size_t len, bool any)
{
    size_t at = 0;

    while (at < len) {
        size_t end = at;

        while (end < len && mask_is_word(text[end]))
            end++;
        if (end == at)
            at++;
        else if (mask_is_digit(text[at]) && (any || mask_is_new_number(text + at, end - at)))
            memset(text + at, '0', end - at);
        at = end > at ? end : at;
    }
}
