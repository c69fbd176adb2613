#include "model/mysqlscan.h"

#include <string.h>

enum {
    MYSQL_VERSION_MIN = 5, /* digits behind the mark of an executable comment */
    MYSQL_VERSION_MAX = 6,
};

struct mysql_scanner {
    struct sql_scan *scan;
    const char *text;
    size_t len;
    bool in_code; /* inside of an executable comment */
    size_t code_start;
};

static bool mysql_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool mysql_is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || mysql_is_digit(c) || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

static char mysql_byte(const struct mysql_scanner *scanner, size_t at)
{
    return at < scanner->len ? scanner->text[at] : '\0';
}

static bool mysql_begins(const struct mysql_scanner *scanner, size_t at, const char *what)
{
    size_t len = strlen(what);

    return scanner->len - at >= len && memcmp(scanner->text + at, what, len) == 0;
}

/* Offset behind the quote that closes the one at `at`; 0: none does. */
static size_t mysql_quoted_end(const struct mysql_scanner *scanner, size_t at)
{
    char quote = scanner->text[at++];

    for (; at < scanner->len; at++) {
        if (scanner->text[at] == '\\' && quote != '`')
            at++;
        else if (scanner->text[at] == quote && mysql_byte(scanner, at + 1) == quote)
            at++;
        else if (scanner->text[at] == quote)
            return at + 1;
    }
    return 0;
}

static size_t mysql_line_end(const struct mysql_scanner *scanner, size_t at)
{
    const char *end = memchr(scanner->text + at, '\n', scanner->len - at);

    return end != NULL ? (size_t)(end - scanner->text) : scanner->len;
}

static size_t mysql_block_end(const struct mysql_scanner *scanner, size_t at)
{
    const char *end = memmem(scanner->text + at + 2, scanner->len - at - 2, "*/", 2);

    return end != NULL ? (size_t)(end - scanner->text) + 2 : 0;
}

static size_t mysql_word_end(const struct mysql_scanner *scanner, size_t at, bool dots)
{
    while (at < scanner->len &&
           (mysql_is_word(scanner->text[at]) || (dots && scanner->text[at] == '.')))
        at++;
    return at;
}

/* Two dashes begin a comment only in front of a blank, a control character or the end. */
static bool mysql_is_line_comment(const struct mysql_scanner *scanner, size_t at)
{
    if (scanner->text[at] == '#')
        return true;
    return mysql_begins(scanner, at, "--") &&
           (at + 2 == scanner->len || (unsigned char)scanner->text[at + 2] <= ' ');
}

/* Length of the mark that opens an executable comment, 0 if it is none. */
static size_t mysql_mark_len(const struct mysql_scanner *scanner, size_t at)
{
    size_t end, digits;

    if (mysql_begins(scanner, at, "/*!"))
        end = at + 3;
    else if (mysql_begins(scanner, at, "/*M!"))
        end = at + 4;
    else
        return 0;
    for (digits = 0;
         digits < MYSQL_VERSION_MAX && mysql_is_digit(mysql_byte(scanner, end + digits));)
        digits++;
    return end - at + (digits >= MYSQL_VERSION_MIN ? digits : 0);
}

static int mysql_refuse(const struct mysql_scanner *scanner, size_t at, const char *why,
                        struct err *err)
{
    err_set(err, ERR_INVALID, "%s", why);
    if (err != NULL)
        err->line = sql_line_at(scanner->text, at);
    return ERR_INVALID;
}

/* The token at `at` that has no end of its own kind: 0 when it is refused. */
static size_t mysql_take_comment(const struct mysql_scanner *scanner, struct sql_token *token)
{
    size_t at = token->start;

    if (scanner->text[at] != '/') {
        token->kind = SQL_COMMENT_LINE;
        return mysql_line_end(scanner, at);
    }
    token->kind = mysql_begins(scanner, at, "/*+") ? SQL_OTHER : SQL_COMMENT_BLOCK;
    return mysql_block_end(scanner, at);
}

static size_t mysql_take_other(const struct mysql_scanner *scanner, struct sql_token *token)
{
    const char *text = scanner->text;
    size_t at = token->start;

    token->kind = SQL_OTHER;
    if (mysql_is_word(text[at])) {
        if (!mysql_is_digit(text[at]))
            token->kind = SQL_WORD;
        return mysql_word_end(scanner, at, false);
    }
    if (mysql_begins(scanner, at, "@@"))
        return mysql_word_end(scanner, at + 2, false);
    switch (text[at]) {
    case '@':
        return mysql_word_end(scanner, at + 1, true);
    case ';':
        token->kind = SQL_SEMICOLON;
        break;
    case '(':
        token->kind = SQL_OPEN;
        break;
    case ')':
        token->kind = SQL_CLOSE;
        break;
    case '\\':
        if (mysql_byte(scanner, at + 1) == 'N' && !mysql_is_word(mysql_byte(scanner, at + 2)))
            return at + 2;
        token->kind = SQL_BACKSLASH;
        break;
    default:
        break;
    }
    return at + 1;
}

/* The token that begins at token->start. Returns 0 or ERR_INVALID. */
static int mysql_take(struct mysql_scanner *scanner, struct sql_token *token, struct err *err)
{
    const char c = scanner->text[token->start];
    size_t at = token->start, mark = mysql_mark_len(scanner, at), end;

    if (c == '\'' || c == '"' || c == '`') {
        token->kind = c == '`' ? SQL_QUOTED : SQL_ESTRING;
        end = mysql_quoted_end(scanner, at);
        if (end == 0)
            return mysql_refuse(
                scanner, at,
                c == '`' ? "unterminated quoted identifier" : "unterminated quoted string", err);
    } else if (mark > 0) {
        if (scanner->in_code)
            return mysql_refuse(scanner, at, "an executable comment inside of another one", err);
        scanner->in_code = true;
        scanner->code_start = at;
        token->kind = SQL_OTHER;
        end = at + mark;
    } else if (mysql_is_line_comment(scanner, at) || mysql_begins(scanner, at, "/*")) {
        end = mysql_take_comment(scanner, token);
        if (end == 0)
            return mysql_refuse(scanner, at, "unterminated /* comment", err);
    } else if (scanner->in_code && mysql_begins(scanner, at, "*/")) {
        scanner->in_code = false;
        token->kind = SQL_OTHER;
        end = at + 2;
    } else {
        end = mysql_take_other(scanner, token);
    }
    token->end = (uint32_t)end;
    return 0;
}

int mysql_scan_text(struct sql_scan *scan, const char *text, size_t len, struct err *err)
{
    struct mysql_scanner scanner = {.scan = scan, .text = text, .len = len};
    size_t at = 0;

    scan->token_count = 0;
    while (at < len) {
        struct sql_token token = {.start = (uint32_t)at};
        int rc;

        if ((unsigned char)text[at] <= ' ') {
            at++;
            continue;
        }
        rc = mysql_take(&scanner, &token, err);
        if (rc != 0)
            return rc;
        if (sql_scan_add(scan, token) != 0)
            return err_set(err, ERR_NOMEM, "out of memory");
        at = token.end;
    }
    if (scanner.in_code)
        return mysql_refuse(&scanner, scanner.code_start, "unterminated executable comment", err);
    return 0;
}

bool mysql_token_is_open_mark(const char *text, const struct sql_token *token)
{
    size_t len = token->end - token->start;

    text += token->start;
    return token->kind == SQL_OTHER && len >= 3 && text[0] == '/' && text[1] == '*' &&
           (text[2] == '!' || text[2] == 'M');
}

bool mysql_token_is_mark(const char *text, const struct sql_token *token)
{
    if (mysql_token_is_open_mark(text, token))
        return true;
    return token->kind == SQL_OTHER && token->end - token->start == 2 &&
           text[token->start] == '*' && text[token->start + 1] == '/';
}
