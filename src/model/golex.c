#include "model/golex.h"

#include <stdint.h>
#include <string.h>

#include "base/utf8.h"

void go_lexer_init(struct go_lexer *lexer, const char *text, size_t len)
{
    *lexer = (struct go_lexer){.at = text, .end = text + len, .line = 1};
}

static bool go_is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool go_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool go_starts(const struct go_lexer *lexer, const char *with)
{
    size_t len = strlen(with);

    return (size_t)(lexer->end - lexer->at) >= len && memcmp(lexer->at, with, len) == 0;
}

/* Moves behind the blanks and comments; false at a comment that does not end. */
static bool go_skip(struct go_lexer *lexer)
{
    while (lexer->at < lexer->end) {
        if (*lexer->at == '\n') {
            lexer->line++;
            lexer->at++;
        } else if (strchr(" \t\r\v\f", *lexer->at) != NULL && *lexer->at != '\0') {
            lexer->at++;
        } else if (go_starts(lexer, "//")) {
            const char *stop = memchr(lexer->at, '\n', (size_t)(lexer->end - lexer->at));

            lexer->at = stop != NULL ? stop : lexer->end;
        } else if (go_starts(lexer, "/*")) {
            const char *stop = memmem(lexer->at + 2, (size_t)(lexer->end - lexer->at) - 2, "*/", 2);

            if (stop == NULL)
                return false;
            for (; lexer->at < stop + 2; lexer->at++)
                lexer->line += *lexer->at == '\n';
        } else {
            break;
        }
    }
    return true;
}

/* Bytes of the quoted text at `at`, quotes included; 0 if it does not end. */
static size_t go_quoted(const char *at, const char *end)
{
    char quote = *at;

    for (const char *p = at + 1; p < end; p++) {
        if (*p == quote)
            return (size_t)(p - at) + 1;
        if (quote != '`' && *p == '\n')
            return 0;
        if (quote != '`' && *p == '\\')
            p++;
    }
    return 0;
}

void go_next(struct go_lexer *lexer)
{
    struct go_token *token = &lexer->token;
    bool whole = go_skip(lexer);

    *token = (struct go_token){.kind = GO_OTHER, .at = lexer->at, .len = 1, .line = lexer->line};
    if (!whole) {
        token->kind = GO_BROKEN;
        return;
    }
    if (lexer->at == lexer->end) {
        token->kind = GO_END;
        token->len = 0;
        return;
    }
    if (strchr("\"`'", *lexer->at) != NULL && *lexer->at != '\0') {
        token->len = go_quoted(lexer->at, lexer->end);
        if (*lexer->at != '\'')
            token->kind = GO_STRING;
        if (token->len == 0)
            token->kind = GO_BROKEN;
    } else if (go_is_letter(*lexer->at) || go_is_digit(*lexer->at)) {
        token->kind = go_is_letter(*lexer->at) ? GO_NAME : GO_OTHER;
        while (lexer->at + token->len < lexer->end &&
               (go_is_letter(token->at[token->len]) || go_is_digit(token->at[token->len])))
            token->len++;
    }
    for (size_t i = 0; i < token->len; i++)
        lexer->line += token->at[i] == '\n';
    lexer->at += token->len;
}

bool go_is(const struct go_lexer *lexer, char punctuation)
{
    return lexer->token.kind == GO_OTHER && lexer->token.len == 1 &&
           lexer->token.at[0] == punctuation;
}

bool go_is_name(const struct go_lexer *lexer, const char *name)
{
    return lexer->token.kind == GO_NAME && strlen(name) == lexer->token.len &&
           memcmp(lexer->token.at, name, lexer->token.len) == 0;
}

static int go_digit(char c)
{
    if (go_is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;
}

/* Reads `count` digits; false if there are fewer. */
static bool go_digits(const char **at, const char *end, size_t count, int base, uint32_t *value)
{
    *value = 0;
    for (; count > 0; count--, ++*at) {
        if (*at == end || go_digit(**at) >= base)
            return false;
        *value = *value * (uint32_t)base + (uint32_t)go_digit(**at);
    }
    return true;
}

static size_t go_put_rune(char *out, uint32_t rune)
{
    if (rune < 0x80) {
        out[0] = (char)rune;
        return 1;
    }
    if (rune < 0x800) {
        out[0] = (char)(0xc0 | rune >> 6);
        out[1] = (char)(0x80 | (rune & 0x3f));
        return 2;
    }
    if (rune < 0x10000) {
        out[0] = (char)(0xe0 | rune >> 12);
        out[1] = (char)(0x80 | (rune >> 6 & 0x3f));
        out[2] = (char)(0x80 | (rune & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | (rune >> 18 & 7));
    out[1] = (char)(0x80 | (rune >> 12 & 0x3f));
    out[2] = (char)(0x80 | (rune >> 6 & 0x3f));
    out[3] = (char)(0x80 | (rune & 0x3f));
    return 4;
}

/* Reads the escape behind a backslash, never longer than its source; *len bytes are written. */
static bool go_escape(const char **at, const char *end, char *out, size_t *len)
{
    static const char plain[] = "abfnrtv\\\"'";
    static const char meaning[] = "\a\b\f\n\r\t\v\\\"'";
    const char *found;
    uint32_t value;
    char c;

    if (*at == end)
        return false;
    *len = 1;
    if (go_digit(**at) < 8) {
        if (!go_digits(at, end, 3, 8, &value) || value > 0xff)
            return false;
        out[0] = (char)value;
        return true;
    }
    c = *(*at)++;
    found = memchr(plain, c, sizeof(plain) - 1);
    if (found != NULL) {
        out[0] = meaning[found - plain];
        return true;
    }
    if (c == 'x' && go_digits(at, end, 2, 16, &value)) {
        out[0] = (char)value;
        return true;
    }
    if ((c != 'u' && c != 'U') || !go_digits(at, end, c == 'u' ? 4 : 8, 16, &value) ||
        value > 0x10ffff)
        return false;
    *len = go_put_rune(out, value);
    return true;
}

/* Writes the value of the literal between `at` and `end`, which is never longer. */
static bool go_decode(const char *at, const char *end, bool raw, char *out, size_t *len)
{
    size_t used = 0, more;

    while (at < end) {
        if (!raw && *at == '\\') {
            at++;
            if (!go_escape(&at, end, out + used, &more))
                return false;
            used += more;
        } else if (raw && *at == '\r') {
            at++; /* Go leaves them out */
        } else {
            out[used++] = *at++;
        }
    }
    *len = used;
    return memchr(out, '\0', used) == NULL && utf8_is_valid(out, used);
}

int go_string(const struct go_token *token, struct arena *arena, const char **out, struct err *err)
{
    size_t before = *out != NULL ? strlen(*out) : 0;
    size_t len = 0;
    char *value = arena_alloc(arena, before + token->len);

    if (value == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    if (before > 0)
        memcpy(value, *out, before);
    if (!go_decode(token->at + 1, token->at + token->len - 1, token->at[0] == '`', value + before,
                   &len))
        return err_set(err, ERR_INVALID, "a string that is not valid Go, not UTF-8 or holds a NUL");
    value[before + len] = '\0';
    *out = value;
    return 0;
}
