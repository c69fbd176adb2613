#include "model/mysqlbody.h"

#include <string.h>

#include "base/base.h"
#include "model/mysqlscan.h"

/*
 *  LEAD ─┬─> ROUTINE ─┐ behind the parameters
 *        ├─> TRIGGER ─┤ behind EACH ROW
 *        ├─> EVENT ───┴─> HEAD ─┬─> BODY
 *        ├─> BODY (BEGIN NOT ATOMIC, IF ... at the top)
 *        └─> PLAIN <────────────┘ one statement without blocks
 */
enum body_phase {
    PHASE_LEAD, /* the first words tell what it is */
    PHASE_ROUTINE,
    PHASE_TRIGGER,
    PHASE_EVENT,
    PHASE_HEAD, /* in front of the body */
    PHASE_BODY,
    PHASE_PLAIN,
};

/* DECLARE ... HANDLER FOR condition, condition statement */
enum body_handler {
    HANDLER_NONE,
    HANDLER_WORD, /* FOR comes */
    HANDLER_CONDITION,
    HANDLER_BEHIND, /* a condition is complete */
};

enum {
    BODY_LEAD_MAX = 16, /* tokens between CREATE and PROCEDURE: definers are that long */
};

static bool body_is(const struct mysql_body *body, const struct sql_token *token, const char *word)
{
    return sql_token_is(body->text, token, word);
}

static bool body_is_any(const struct mysql_body *body, const struct sql_token *token,
                        const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (body_is(body, token, words[i]))
            return true;
    return false;
}

static bool body_is_char(const struct mysql_body *body, const struct sql_token *token, char c)
{
    return token->kind == SQL_OTHER && token->end - token->start == 1 &&
           body->text[token->start] == c;
}

void mysql_body_init(struct mysql_body *body, const struct sql_scan *scan, const char *text)
{
    *body = (struct mysql_body){.scan = scan, .text = text, .previous = {.kind = SQL_SEMICOLON}};
}

void mysql_body_begin(struct mysql_body *body)
{
    bool in_code = body->in_code;

    mysql_body_init(body, body->scan, body->text);
    body->in_code = in_code;
}

/* The token behind number `n` that counts. */
static struct sql_token body_next(const struct mysql_body *body, size_t n)
{
    const struct sql_scan *scan = body->scan;

    for (n++; n < scan->token_count; n++)
        if (!sql_token_is_comment(&scan->tokens[n]) &&
            !mysql_token_is_mark(body->text, &scan->tokens[n]))
            return scan->tokens[n];
    return (struct sql_token){.kind = SQL_SEMICOLON};
}

/* --- blocks --- */

static enum mysql_block body_top(const struct mysql_body *body)
{
    return (enum mysql_block)body->blocks[body->depth - 1];
}

static bool body_top_is(const struct mysql_body *body, enum mysql_block block)
{
    return body->depth > 0 && body_top(body) == block;
}

static void body_push(struct mysql_body *body, enum mysql_block block, size_t n)
{
    if (body->depth == MYSQL_BODY_DEPTH) {
        body->too_deep = true;
        return;
    }
    body->blocks[body->depth] = (unsigned char)block;
    body->opened[body->depth++] = (uint32_t)n;
}

static void body_pop(struct mysql_body *body)
{
    enum mysql_block block = body_top(body);

    body->depth--;
    body->after_end = block != MYSQL_BLOCK_BEGIN && block != MYSQL_BLOCK_CASE_EXPR;
}

/* A word that begins a statement: opens a block if it is one of theirs. */
static void body_open(struct mysql_body *body, const struct sql_token *token, size_t n)
{
    static const struct {
        const char *word;
        enum mysql_block block;
        bool starts; /* a statement comes next */
    } words[] = {
        {"begin", MYSQL_BLOCK_BEGIN, true},    {"if", MYSQL_BLOCK_IF, false},
        {"case", MYSQL_BLOCK_CASE, false},     {"loop", MYSQL_BLOCK_LOOP, true},
        {"while", MYSQL_BLOCK_DO_HEAD, false}, {"for", MYSQL_BLOCK_DO_HEAD, false},
        {"repeat", MYSQL_BLOCK_REPEAT, true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (body_is(body, token, words[i].word)) {
            body_push(body, words[i].block, n);
            body->start = words[i].starts;
        }
    }
}

static bool body_is_opener(const struct mysql_body *body, const struct sql_token *token)
{
    static const char *const words[] = {"begin", "if", "case", "loop", "while", "for", "repeat"};

    return body_is_any(body, token, words, ARRAY_SIZE(words));
}

/* Whether an expression may end in front of this: else END is a name in it. */
static bool body_ends_operand(const struct mysql_body *body)
{
    static const char *const words[] = {
        "case", "when", "then", "else",    "and", "or",    "not", "xor",    "in",    "is",
        "like", "div",  "mod",  "between", "as",  "rlike", "by",  "regexp", "until", "select"};
    const struct sql_token *previous = &body->previous;

    if (previous->kind == SQL_OTHER) {
        char c = body->text[previous->start];

        return (c >= '0' && c <= '9') || c == '@' || c == '?' || c == '\\';
    }
    if (previous->kind == SQL_OPEN || previous->kind == SQL_SEMICOLON)
        return false;
    return !body_is_any(body, previous, words, ARRAY_SIZE(words));
}

/* A word inside of a statement of the body. */
static void body_inner_word(struct mysql_body *body, const struct sql_token *token, size_t n)
{
    bool in_block = body_top_is(body, MYSQL_BLOCK_IF) || body_top_is(body, MYSQL_BLOCK_CASE);
    bool in_expr = body_top_is(body, MYSQL_BLOCK_CASE_EXPR) || body_top_is(body, MYSQL_BLOCK_UNTIL);

    if (body_is_char(body, &body->previous, '.'))
        return;
    if (body_is(body, token, "case"))
        body_push(body, MYSQL_BLOCK_CASE_EXPR, n);
    else if (in_expr && body_is(body, token, "end") && body_ends_operand(body))
        body_pop(body);
    else if (in_block && (body_is(body, token, "then") || body_is(body, token, "else")))
        body->start = true;
    else if (body_top_is(body, MYSQL_BLOCK_DO_HEAD) && body_is(body, token, "do")) {
        body->blocks[body->depth - 1] = MYSQL_BLOCK_DO;
        body->start = true;
    } else if (body->declares && body_is(body, token, "handler")) {
        body->handler = HANDLER_WORD;
    } else if (body_is(body, token, "atomic") && body_is(body, &body->previous, "not")) {
        body->start = true; /* BEGIN NOT ATOMIC */
    }
}

/* The first word of a statement of the body. */
static void body_first_word(struct mysql_body *body, const struct sql_token *token, size_t n)
{
    body->declares = body_is(body, token, "declare");
    if (body_is(body, token, "end") && body->depth > 0)
        body_pop(body);
    else if (body_is(body, token, "until") && body_top_is(body, MYSQL_BLOCK_REPEAT))
        body->blocks[body->depth - 1] = MYSQL_BLOCK_UNTIL;
    else if (body_is(body, token, "else"))
        body->start = true;
    else
        body_open(body, token, n);
}

/* Within DECLARE ... HANDLER FOR ...; true: its statement begins with this token. */
static bool body_in_handler(struct mysql_body *body, const struct sql_token *token)
{
    static const char *const more[] = {"not", "sqlstate", "value"};

    switch ((enum body_handler)body->handler) {
    case HANDLER_NONE:
        break;
    case HANDLER_WORD:
        if (body_is(body, token, "for"))
            body->handler = HANDLER_CONDITION;
        break;
    case HANDLER_CONDITION:
        if (!body_is_any(body, token, more, ARRAY_SIZE(more)))
            body->handler = HANDLER_BEHIND;
        break;
    case HANDLER_BEHIND:
        if (body_is_char(body, token, ',')) {
            body->handler = HANDLER_CONDITION;
            break;
        }
        body->handler = HANDLER_NONE;
        return true;
    }
    return false;
}

static void body_token(struct mysql_body *body, const struct sql_token *token, size_t n)
{
    bool start = body->start;

    if (token->kind == SQL_SEMICOLON) {
        body->handler = HANDLER_NONE;
        body->start = true;
        body->after_end = false;
        return;
    }
    body->start = false;
    if (body->after_end) { /* END IF */
        body->after_end = false;
        if (body_is_opener(body, token))
            return;
    }
    if (body->handler != HANDLER_NONE) {
        if (!body_in_handler(body, token))
            return;
        start = true;
    }
    if (body->is_label) {
        body->is_label = false;
        body->start = true;
    } else if (start && (token->kind == SQL_WORD || token->kind == SQL_QUOTED)) {
        struct sql_token next = body_next(body, n);

        if (body_is_char(body, &next, ':'))
            body->is_label = true;
        else if (token->kind == SQL_WORD)
            body_first_word(body, token, n);
    } else if (token->kind == SQL_WORD) {
        body_inner_word(body, token, n);
    }
}

/* --- in front of the body --- */

static void body_head(struct mysql_body *body, const struct sql_token *token, size_t n)
{
    static const char *const plain[] = {"return", "select",  "insert", "update",  "delete",
                                        "call",   "replace", "with",   "do",      "signal",
                                        "create", "drop",    "alter",  "truncate"};
    bool of_type =
        body_is(body, &body->previous, "returns") || body_is(body, &body->previous, "character");

    if (token->kind != SQL_WORD)
        return;
    if (body_is_opener(body, token)) {
        body->phase = PHASE_BODY;
        body_first_word(body, token, n);
    } else if (body_is_any(body, token, plain, ARRAY_SIZE(plain)) ||
               (body_is(body, token, "set") && !of_type)) {
        body->phase = PHASE_PLAIN;
    }
}

static void body_lead(struct mysql_body *body, const struct sql_token *token, size_t n)
{
    static const char *const defining[] = {"create", "alter"};
    static const char *const others[] = {"table", "view",     "index",  "database", "schema",
                                         "user",  "sequence", "server", "role",     "temporary"};
    struct sql_token next = body_next(body, n);
    bool is_value = body_is_char(body, &body->previous, '=');

    if (++body->lead == 1) {
        bool begins = body_is(body, token, "begin");

        if (begins ? body_is(body, &next, "not") : body_is_opener(body, token)) {
            body->phase = PHASE_BODY;
            body_first_word(body, token, n);
        } else if (!body_is_any(body, token, defining, ARRAY_SIZE(defining))) {
            body->phase = PHASE_PLAIN;
        }
        return;
    }
    if (body->lead > BODY_LEAD_MAX ||
        (!is_value && body_is_any(body, token, others, ARRAY_SIZE(others))))
        body->phase = PHASE_PLAIN;
    else if (is_value)
        return;
    else if (body_is(body, token, "procedure") || body_is(body, token, "function"))
        body->phase = PHASE_ROUTINE;
    else if (body_is(body, token, "trigger"))
        body->phase = PHASE_TRIGGER;
    else if (body_is(body, token, "event"))
        body->phase = PHASE_EVENT;
}

static void body_advance(struct mysql_body *body, const struct sql_token *token, size_t n)
{
    switch ((enum body_phase)body->phase) {
    case PHASE_LEAD:
        body_lead(body, token, n);
        break;
    case PHASE_ROUTINE:
        if (token->kind == SQL_CLOSE && body->parens == 0)
            body->phase = PHASE_HEAD;
        break;
    case PHASE_TRIGGER:
        if (body_is(body, token, "row") && body_is(body, &body->previous, "each"))
            body->phase = PHASE_HEAD;
        break;
    case PHASE_EVENT:
        if (body_is(body, token, "do") && body->parens == 0)
            body->phase = PHASE_HEAD;
        break;
    case PHASE_HEAD:
        body_head(body, token, n);
        break;
    case PHASE_BODY:
        body_token(body, token, n);
        break;
    case PHASE_PLAIN:
        break;
    }
}

bool mysql_body_ends(struct mysql_body *body, size_t n)
{
    const struct sql_token *token = &body->scan->tokens[n];
    bool ends;

    if (sql_token_is_comment(token))
        return false;
    if (mysql_token_is_mark(body->text, token)) {
        body->in_code = mysql_token_is_open_mark(body->text, token);
        return false;
    }
    if (token->kind == SQL_OPEN)
        body->parens++;
    else if (token->kind == SQL_CLOSE && body->parens > 0)
        body->parens--;
    ends = token->kind == SQL_SEMICOLON && body->depth == 0 && !body->too_deep;
    if (ends && body->in_code) {
        body->code_break = true;
        body->code_break_at = (uint32_t)n;
        ends = false;
    }
    if (!ends)
        body_advance(body, token, n);
    body->open_end = body->depth > 0 || body->too_deep;
    body->previous = *token;
    return ends;
}
