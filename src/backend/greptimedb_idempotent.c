#include "backend/greptimedb_idempotent.h"

#include "base/base.h"

/* A walk along the tokens of one statement, without its comments. */
struct words {
    const struct sql_scan *scan;
    const char *text;
    size_t at;
};

static void words_skip_comments(struct words *words)
{
    while (words->at < words->scan->token_count &&
           sql_token_is_comment(&words->scan->tokens[words->at]))
        words->at++;
}

static const struct sql_token *words_peek(struct words *words)
{
    words_skip_comments(words);
    return words->at < words->scan->token_count ? &words->scan->tokens[words->at] : NULL;
}

/* Passes over the word if it is the next one. */
static bool words_take(struct words *words, const char *word)
{
    const struct sql_token *token = words_peek(words);

    if (token == NULL || !sql_token_is(words->text, token, word))
        return false;
    words->at++;
    return true;
}

static bool words_take_any(struct words *words, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (words_take(words, list[i]))
            return true;
    return false;
}

static bool words_take_if_not_exists(struct words *words)
{
    return words_take(words, "if") && words_take(words, "not") && words_take(words, "exists");
}

static bool words_is_sign(const struct words *words, const struct sql_token *token, char sign)
{
    return token->kind == SQL_OTHER && token->end - token->start == 1 &&
           words->text[token->start] == sign;
}

/* Up to a comma outside of parentheses, which is passed over; false at the end. */
static bool words_pass_comma(struct words *words)
{
    const struct sql_token *token;
    size_t depth = 0;

    while ((token = words_peek(words)) != NULL) {
        words->at++;
        if (token->kind == SQL_OPEN)
            depth++;
        else if (token->kind == SQL_CLOSE && depth > 0)
            depth--;
        else if (depth == 0 && words_is_sign(words, token, ','))
            return true;
    }
    return false;
}

static bool repeat_create(struct words *words)
{
    static const char *const kinds[] = {"table", "database", "schema", "view", "flow", "trigger"};
    bool replaces = words_take(words, "or") && words_take(words, "replace");

    words_take(words, "external");
    if (!words_take_any(words, kinds, ARRAY_SIZE(kinds)))
        return false;
    return replaces || words_take_if_not_exists(words);
}

/* With several names, one that is missing can make the server drop something else. */
static bool repeat_drop(struct words *words)
{
    static const char *const kinds[] = {"table", "database", "schema", "view", "flow", "trigger"};

    return words_take_any(words, kinds, ARRAY_SIZE(kinds)) && words_take(words, "if") &&
           words_take(words, "exists") && !words_pass_comma(words);
}

/* [catalog.][schema.]name */
static void words_pass_name(struct words *words)
{
    const struct sql_token *token;

    words->at++;
    while ((token = words_peek(words)) != NULL && words_is_sign(words, token, '.'))
        words->at += 2;
}

/* Every column that it adds has to be guarded. */
static bool repeat_alter(struct words *words)
{
    if (!words_take(words, "table"))
        return false;
    words_pass_name(words);
    do {
        if (!words_take(words, "add"))
            return false;
        words_take(words, "column");
        if (!words_take_if_not_exists(words))
            return false;
    } while (words_pass_comma(words));
    return true;
}

bool gtdb_is_repeatable(struct sql_scan *scan, const char *sql, size_t len)
{
    static const char *const harmless[] = {"select", "show", "desc", "describe", "truncate"};
    struct words words = {.scan = scan, .text = sql};

    if (sql_scan_text(scan, sql, len, SQL_GREPTIMEDB, NULL) != 0)
        return false;
    if (words_take_any(&words, harmless, ARRAY_SIZE(harmless)))
        return true;
    if (words_take(&words, "create"))
        return repeat_create(&words);
    if (words_take(&words, "drop"))
        return repeat_drop(&words);
    return words_take(&words, "alter") && repeat_alter(&words);
}
