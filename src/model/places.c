#include "model/places.h"

#include <string.h>

#include "model/mysqlscan.h"

enum {
    PLACES_DEPTH_MAX = 4,       /* dollar quotes inside dollar quotes */
    PLACES_LANGUAGE_FAR = 1024, /* tokens between a body and its LANGUAGE */
};

/* One text to look at: text[start, end), the whole script or a dollar-quoted body in it. */
struct places {
    struct template_part *parts;
    size_t count;
    const char *text;
    size_t start, end;
    const struct sql_scan *scan; /* offsets from `start`; NULL: could not be scanned */
    enum sql_dialect dialect;
    unsigned depth;
    struct err *err;
};

static bool place_is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

/* The byte at an offset; a blank outside of the text. */
static char place_byte(const struct places *places, size_t at)
{
    if (at < places->start || at >= places->end)
        return ' ';
    return places->text[at];
}

/* Whether quotes around the value would join it with something else, or tear it from it. */
static bool place_touches_word(const struct places *places, size_t n)
{
    const struct template_part *part = &places->parts[n];
    char before = place_byte(places, part->start - 1), after = place_byte(places, part->end);

    if (n > 0 && places->parts[n - 1].var != TEMPLATE_NONE)
        return true;
    if (n + 1 < places->count && places->parts[n + 1].var != TEMPLATE_NONE &&
        places->parts[n + 1].end <= places->end)
        return true;
    if (places->dialect == SQL_MYSQL && before == '@')
        return true;
    return place_is_word_byte(before) || place_is_word_byte(after) ||
           strchr("$\"`&", before) != NULL || strchr("$\"`&", after) != NULL;
}

static enum template_place place_in_token(const struct places *places,
                                          const struct sql_token *token)
{
    const char first = places->text[places->start + token->start];

    switch (token->kind) {
    case SQL_STRING:
        return TEMPLATE_IN_STRING;
    case SQL_ESTRING:
        return first == '"' ? TEMPLATE_IN_EDOUBLE : TEMPLATE_IN_ESTRING;
    case SQL_QUOTED:
        return places->dialect != SQL_POSTGRESQL && first == '`' ? TEMPLATE_IN_BACKQUOTED
                                                                 : TEMPLATE_IN_QUOTED;
    case SQL_WORD: /* no word holds braces but a masked `...` */
        return TEMPLATE_IN_BACKQUOTED;
    case SQL_COMMENT_LINE:
    case SQL_COMMENT_BLOCK:
        return TEMPLATE_IN_COMMENT;
    case SQL_UNICODE:
    case SQL_DOLLAR:
    case SQL_OTHER:
    case SQL_SEMICOLON:
    case SQL_OPEN:
    case SQL_CLOSE:
    case SQL_BACKSLASH:
        break;
    }
    return TEMPLATE_IN_WORD;
}

/*
 * Whether the run of tag letters and variables around part `n` has a '$' on both sides: a value
 * could then open or close a dollar quote. *end is where the run ends.
 */
static bool place_is_tag(const struct places *places, size_t n, size_t *end)
{
    size_t left = places->parts[n].start, right = places->parts[n].end;
    size_t next = n + 1;

    while (left > places->start && place_is_word_byte(places->text[left - 1]))
        left--;
    for (;;) {
        while (next < places->count &&
               (places->parts[next].var == TEMPLATE_NONE || places->parts[next].start < right))
            next++;
        if (next < places->count && places->parts[next].start == right && right < places->end)
            right = places->parts[next].end;
        else if (right < places->end && place_is_word_byte(places->text[right]))
            right++;
        else
            break;
    }
    *end = right;
    return left > places->start && places->text[left - 1] == '$' && right < places->end &&
           places->text[right] == '$';
}

static int place_refuse(const struct places *places, const struct template_part *part,
                        const char *why)
{
    err_set(places->err, ERR_INVALID, "%s", why);
    if (places->err != NULL)
        places->err->line = sql_line_at(places->text, part->start);
    return ERR_INVALID;
}

/* Refuses part `n` if it would make up a tag. Runs that end in front of *checked are done. */
static int place_check_tag(const struct places *places, size_t n, size_t *checked)
{
    const struct template_part *part = &places->parts[n];

    if (part->start < *checked)
        return 0;
    if (!part->in_dollar && part->place != TEMPLATE_IN_PLAIN &&
        part->place != TEMPLATE_IN_PLAIN_MYSQL && part->place != TEMPLATE_IN_WORD)
        return 0;
    if (!place_is_tag(places, n, checked))
        return 0;
    return place_refuse(places, part, "a variable cannot be part of a dollar quote's tag");
}

/* Some values would make another kind of quote of the one behind them (e'...', u&'...'), or an
 * identifier of a dollar quote; behind a backslash the first byte of a value would lose its
 * meaning. */
static int place_check_sides(const struct places *places, const struct sql_token *token, size_t n)
{
    const struct template_part *part = &places->parts[n];
    char after = place_byte(places, part->end), next = place_byte(places, part->end + 1);
    size_t slashes = 0;

    if (token == NULL) {
        if (after == '\'' || after == '$' || (after == '"' && places->dialect == SQL_MYSQL) ||
            (after == '&' && (next == '\'' || next == '"')))
            return place_refuse(places, part,
                                "a variable cannot stand directly in front of a quote");
        return 0;
    }
    while (token->kind == SQL_ESTRING && places->text[part->start - 1 - slashes] == '\\')
        slashes++;
    if (slashes % 2 == 1)
        return place_refuse(places, part, "a variable cannot stand behind a backslash");
    return 0;
}

/* Whether the statement around token `at` says LANGUAGE and another one than SQL's own. */
static bool place_is_foreign(const struct places *places, size_t at)
{
    const struct sql_scan *scan = places->scan;
    const char *text = places->text + places->start;
    size_t n = at;

    while (n > 0 && at - n < PLACES_LANGUAGE_FAR && scan->tokens[n - 1].kind != SQL_SEMICOLON)
        n--;
    for (; n + 1 < scan->token_count && n < at + PLACES_LANGUAGE_FAR; n++) {
        struct sql_token name = scan->tokens[n + 1];

        if (scan->tokens[n].kind == SQL_SEMICOLON)
            return false;
        if (!sql_token_is(text, &scan->tokens[n], "language"))
            continue;
        if (name.kind == SQL_QUOTED || name.kind == SQL_STRING) {
            name =
                (struct sql_token){.start = name.start + 1, .end = name.end - 1, .kind = SQL_WORD};
        }
        return !sql_token_is(text, &name, "sql") && !sql_token_is(text, &name, "plpgsql");
    }
    return false;
}

static int places_walk(struct places *places, size_t first, size_t last);

/* The parts [first, last) inside the dollar-quoted token number `at`. */
static int places_in_dollar(struct places *places, size_t at, size_t first, size_t last)
{
    const struct sql_token *token = &places->scan->tokens[at];
    size_t start = places->start + token->start;
    const char *tag_end = strchr(places->text + start + 1, '$');
    size_t tag = tag_end != NULL ? (size_t)(tag_end + 1 - (places->text + start)) : 0;
    struct places body = *places;
    struct sql_scan scan;
    int rc = ERR_INVALID;

    sql_scan_init(&scan);
    body.depth++;
    body.scan = NULL;
    body.start = start + tag;
    body.end = places->start + token->end - tag;
    if (body.depth <= PLACES_DEPTH_MAX && places->dialect == SQL_POSTGRESQL &&
        !place_is_foreign(places, at))
        rc = sql_scan_text(&scan, places->text + body.start, body.end - body.start, SQL_POSTGRESQL,
                           NULL);
    if (rc == 0)
        body.scan = &scan;
    if (rc == ERR_NOMEM)
        err_set(places->err, ERR_NOMEM, "out of memory");
    else
        rc = places_walk(&body, first, last);
    sql_scan_free(&scan);
    return rc;
}

/* The token that holds part `n`, looking on from *at; NULL if tokens make up the variable itself.
 */
static const struct sql_token *place_holder(const struct places *places, size_t *at,
                                            const struct template_part *part)
{
    const struct sql_scan *scan = places->scan;

    while (*at < scan->token_count && places->start + scan->tokens[*at].end <= part->start)
        ++*at;
    if (*at == scan->token_count || places->start + scan->tokens[*at].start > part->start ||
        places->start + scan->tokens[*at].end < part->end)
        return NULL;
    return &scan->tokens[*at];
}

/* Whether token `at` is in an executable comment of MySQL; *in_code is what token *seen was. */
static bool place_is_code(const struct places *places, size_t at, size_t *seen, bool *in_code)
{
    const struct sql_scan *scan = places->scan;

    for (; *seen < at; ++*seen)
        if (mysql_token_is_mark(places->text, &scan->tokens[*seen]))
            *in_code = mysql_token_is_open_mark(places->text, &scan->tokens[*seen]);
    return *in_code;
}

static int places_walk(struct places *places, size_t first, size_t last)
{
    size_t at = 0, seen = 0, checked = 0;
    bool in_code = false;
    int rc = 0;

    for (size_t n = first; n < last && rc == 0; n++) {
        struct template_part *part = &places->parts[n];
        const struct sql_token *token = NULL;
        size_t next = n + 1;

        if (part->var == TEMPLATE_NONE)
            continue;
        part->in_dollar = places->depth > 0;
        part->place = TEMPLATE_IN_WORD;
        if (places->scan != NULL) {
            token = place_holder(places, &at, part);
            if (places->dialect == SQL_MYSQL)
                part->in_code = place_is_code(places, at, &seen, &in_code);
            if (token != NULL)
                part->place = place_in_token(places, token);
            else if (!place_touches_word(places, n))
                part->place =
                    places->dialect == SQL_MYSQL ? TEMPLATE_IN_PLAIN_MYSQL : TEMPLATE_IN_PLAIN;
        }
        if (token == NULL || token->kind != SQL_DOLLAR) {
            rc = place_check_tag(places, n, &checked);
            if (rc == 0 && places->scan != NULL)
                rc = place_check_sides(places, token, n);
            continue;
        }
        while (next < last && places->parts[next].end <= places->start + token->end)
            next++;
        rc = places_in_dollar(places, at, n, next);
        n = next - 1;
    }
    return rc;
}

int places_find(struct template_part *parts, size_t count, const char *text, size_t len,
                const struct sql_scan *scan, enum sql_dialect dialect, struct err *err)
{
    struct places places = {.parts = parts,
                            .count = count,
                            .text = text,
                            .end = len,
                            .scan = scan,
                            .dialect = dialect,
                            .err = err};

    return places_walk(&places, 0, count);
}
