#include "model/sqlsplit.h"

#include <string.h>

#include "base/mem.h"
#include "model/mysqlbody.h"
#include "model/mysqlkind.h"
#include "model/variables.h"

/* Where the walk along the tokens stands. */
struct split {
    struct sql_scan *scan;
    const char *text;
    size_t len;
    size_t depth;              /* of open parentheses */
    size_t blocks;             /* of BEGIN ATOMIC and CASE inside it, which END closes */
    bool any_atomic;           /* of the whole text */
    struct sql_token previous; /* that is no comment */
};

static int split_add(struct sql_scan *scan, size_t first, size_t last)
{
    struct sql_span *spans;
    size_t cap = scan->span_cap > 0 ? scan->span_cap * 2 : 32;

    while (first < last && sql_token_is_comment(&scan->tokens[first]))
        first++;
    while (first < last && sql_token_is_comment(&scan->tokens[last - 1]))
        last--;
    if (first == last)
        return 0;
    if (scan->span_count == scan->span_cap) {
        spans = mem_realloc(scan->spans, cap * sizeof(*spans));
        if (spans == NULL)
            return ERR_NOMEM;
        scan->spans = spans;
        scan->span_cap = cap;
    }
    scan->spans[scan->span_count++] =
        (struct sql_span){.first = (uint32_t)first, .last = (uint32_t)last};
    return 0;
}

/* After AS or a dot, END and CASE are names. */
static bool split_is_label(const struct split *split)
{
    return sql_token_is(split->text, &split->previous, "as") ||
           (split->previous.kind == SQL_OTHER && split->text[split->previous.start] == '.');
}

static void split_word(struct split *split, const struct sql_token *token)
{
    if (sql_token_is(split->text, token, "atomic") &&
        sql_token_is(split->text, &split->previous, "begin")) {
        split->blocks++;
        split->any_atomic = true;
    } else if (split->blocks > 0 && sql_token_is(split->text, token, "case") &&
               !split_is_label(split)) {
        split->blocks++;
    } else if (split->blocks > 0 && sql_token_is(split->text, token, "end") &&
               !split_is_label(split)) {
        split->blocks--;
    }
}

/* Whether the token is a semicolon that ends a statement. */
static bool split_ends(struct split *split, const struct sql_token *token)
{
    bool ends = false;

    if (sql_token_is_comment(token))
        return false;
    if (token->kind == SQL_OPEN)
        split->depth++;
    else if (token->kind == SQL_CLOSE && split->depth > 0)
        split->depth--;
    else if (token->kind == SQL_WORD)
        split_word(split, token);
    else if (token->kind == SQL_SEMICOLON)
        ends = split->depth == 0 && split->blocks == 0;
    split->previous = *token;
    return ends;
}

static int split_by_tokens(struct split *split)
{
    struct sql_scan *scan = split->scan;
    size_t first = 0;

    scan->span_count = 0;
    for (size_t i = 0; i < scan->token_count; i++) {
        if (!split_ends(split, &scan->tokens[i]))
            continue;
        if (split_add(scan, first, i) != 0)
            return ERR_NOMEM;
        first = i + 1;
    }
    return split_add(scan, first, scan->token_count);
}

static int split_mysql(struct sql_scan *scan, const char *text)
{
    struct mysql_body body;
    size_t first = 0;

    mysql_body_init(&body, scan, text);
    scan->span_count = 0;
    for (size_t i = 0; i < scan->token_count; i++) {
        if (!mysql_body_ends(&body, i))
            continue;
        if (split_add(scan, first, i) != 0)
            return ERR_NOMEM;
        first = i + 1;
        mysql_body_begin(&body);
    }
    return split_add(scan, first, scan->token_count);
}

/* The parser's statements as tokens; a semicolon outside of all of them ends an empty one. */
static int split_by_ranges(struct sql_scan *scan, const struct sql_range *ranges, size_t count)
{
    size_t first = 0, range = 0;

    scan->span_count = 0;
    for (size_t i = 0; i < scan->token_count; i++) {
        const struct sql_token *token = &scan->tokens[i];

        while (range < count && ranges[range].end <= token->start)
            range++;
        if (token->kind != SQL_SEMICOLON || (range < count && token->start > ranges[range].start &&
                                             token->end <= ranges[range].end))
            continue;
        if (split_add(scan, first, i) != 0)
            return ERR_NOMEM;
        first = i + 1;
    }
    return split_add(scan, first, scan->token_count);
}

/* Lets the parser decide where it knows the syntax; variables look like identifiers to it. */
static int split_by_parser(struct split *split)
{
    struct sql_range *ranges;
    size_t count;
    char *copy = mem_strndup(split->text, split->len);
    int rc;

    if (copy == NULL)
        return ERR_NOMEM;
    variables_mask(copy, split->len);
    rc = sql_parse_ranges(copy, &ranges, &count);
    if (rc == 0)
        rc = split_by_ranges(split->scan, ranges, count);
    mem_free(ranges);
    mem_free(copy);
    return rc == ERR_NOMEM ? ERR_NOMEM : 0;
}

static int split_statements(const struct sql_scan *scan, const char *text, struct arena *arena,
                            const struct sql_statement **out)
{
    struct sql_statement *statements;
    const char *counted = text;
    unsigned line = 1;

    statements = arena_alloc(arena, scan->span_count * sizeof(*statements));
    if (statements == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < scan->span_count; i++) {
        size_t start = scan->tokens[scan->spans[i].first].start;
        size_t end = scan->tokens[scan->spans[i].last - 1].end;

        line += sql_line_at(counted, (size_t)(text + start - counted)) - 1;
        counted = text + start;
        statements[i] = (struct sql_statement){.start = start, .end = end, .line = line};
        if (scan->dialect == SQL_MYSQL)
            statements[i].kind = mysql_classify(scan, &scan->spans[i], text);
    }
    *out = statements;
    return 0;
}

int sql_split(struct sql_scan *scan, const char *text, size_t len, struct arena *arena,
              const struct sql_statement **out, size_t *count)
{
    struct split split = {.scan = scan, .text = text, .len = len};

    if (scan->dialect == SQL_MYSQL) {
        if (split_mysql(scan, text) != 0)
            return ERR_NOMEM;
    } else if (split_by_tokens(&split) != 0) {
        return ERR_NOMEM;
    }
    if (split.any_atomic && split_by_parser(&split) != 0)
        return ERR_NOMEM;
    if (split_statements(scan, text, arena, out) != 0)
        return ERR_NOMEM;
    *count = scan->span_count;
    return 0;
}
