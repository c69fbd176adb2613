#include "model/sqlcheck.h"

#include <string.h>
#include <strings.h>

#include "base/base.h"
#include "model/mysqlcheck.h"
#include "model/variables.h"

enum {
    CHECK_LEAD = 2, /* words of a statement that tell what it is */
};

static const struct sql_token no_token = {.kind = SQL_OTHER};

/* The next token of the statement that is no comment, from *at on; at the end an empty one. */
static const struct sql_token *check_next(const struct sql_scan *scan, const struct sql_span *span,
                                          size_t *at)
{
    while (*at < span->last) {
        const struct sql_token *token = &scan->tokens[(*at)++];

        if (!sql_token_is_comment(token))
            return token;
    }
    return &no_token;
}

static void check_lead(const struct sql_scan *scan, const struct sql_span *span,
                       const struct sql_token *lead[CHECK_LEAD])
{
    size_t at = span->first;

    for (size_t i = 0; i < CHECK_LEAD; i++)
        lead[i] = check_next(scan, span, &at);
}

static bool check_is_any(const char *text, const struct sql_token *token, const char *const *words,
                         size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (sql_token_is(text, token, words[i]))
            return true;
    return false;
}

static bool check_is_transaction_control(const char *text, const struct sql_token *const *lead)
{
    static const char *const alone[] = {"begin", "commit",    "end",    "rollback",
                                        "abort", "savepoint", "release"};

    if (check_is_any(text, lead[0], alone, ARRAY_SIZE(alone)))
        return true;
    return (sql_token_is(text, lead[0], "start") || sql_token_is(text, lead[0], "prepare")) &&
           sql_token_is(text, lead[1], "transaction");
}

/* COPY ... FROM STDIN or TO STDOUT: the words stand outside of the query's parentheses. */
static bool check_is_copy_over_wire(const struct sql_scan *scan, const struct sql_span *span,
                                    const char *text)
{
    const struct sql_token *previous = &no_token;
    size_t at = span->first, depth = 0;

    while (at < span->last) {
        const struct sql_token *token = check_next(scan, span, &at);

        if (token->kind == SQL_OPEN)
            depth++;
        else if (token->kind == SQL_CLOSE && depth > 0)
            depth--;
        if (depth == 0 &&
            ((sql_token_is(text, previous, "from") && sql_token_is(text, token, "stdin")) ||
             (sql_token_is(text, previous, "to") && sql_token_is(text, token, "stdout"))))
            return true;
        previous = token;
    }
    return false;
}

int sql_check_refuse(struct err *err, const char *text, const struct sql_token *token,
                     size_t statement, const char *why)
{
    int len = token->end - token->start < 40 ? (int)(token->end - token->start) : 40;

    err_set(err, ERR_INVALID, "%.*s: %s", len, text + token->start, why);
    if (err != NULL) {
        err->statement = (unsigned)statement + 1;
        err->line = sql_line_at(text, token->start);
    }
    return ERR_INVALID;
}

/* GreptimeDB would say that it does not know them, or forget what they said. */
static const char *check_greptimedb(const char *text, const struct sql_token *const *lead)
{
    if (check_is_transaction_control(text, lead))
        return "GreptimeDB has no transactions: each statement of a script takes effect by itself";
    if (sql_token_is(text, lead[0], "use"))
        return "USE does not last until the next statement, as each is a request of its own; "
               "declare the database as the schema, or write it in front of names";
    if (sql_token_is(text, lead[0], "set"))
        return "SET does not last until the next statement, as each is a request of its own; write "
               "what it would say into the statements, such as an offset behind a time";
    return NULL;
}

static int check_statement(const struct sql_scan *scan, size_t n, const char *text, size_t len,
                           struct err *err)
{
    const struct sql_span *span = &scan->spans[n];
    const struct sql_token *lead[CHECK_LEAD];

    check_lead(scan, span, lead);
    if (variables_is_at(text, lead[0]->start, len) ||
        (lead[0]->kind == SQL_WORD && variables_is_at(text, lead[0]->end, len)))
        return sql_check_refuse(err, text, lead[0], n, "a statement cannot begin with a variable");
    if (scan->dialect == SQL_GREPTIMEDB && check_greptimedb(text, lead) != NULL)
        return sql_check_refuse(err, text, lead[0], n, check_greptimedb(text, lead));
    if (check_is_transaction_control(text, lead))
        return sql_check_refuse(err, text, lead[0], n,
                                "transaction control is not allowed in a script: each migration is "
                                "one transaction already, or none with bfm-transaction: off");
    if (sql_token_is(text, lead[0], "copy") && check_is_copy_over_wire(scan, span, text))
        return sql_check_refuse(err, text, lead[0], n,
                                "COPY FROM STDIN and TO STDOUT are not possible in a script; use "
                                "INSERT");
    for (size_t i = span->first; i < span->last; i++)
        if (scan->tokens[i].kind == SQL_BACKSLASH)
            return sql_check_refuse(err, text, &scan->tokens[i], n,
                                    "meta-commands of psql are not possible in a script");
    return 0;
}

int sql_check(const struct sql_scan *scan, const char *text, size_t len, struct err *err)
{
    if (scan->dialect == SQL_MYSQL)
        return mysql_check(scan, text, len, err);
    for (size_t n = 0; n < scan->span_count; n++) {
        int rc = check_statement(scan, n, text, len, err);

        if (rc != 0)
            return rc;
    }
    return 0;
}

/* --- functions that leave something on their session --- */

static bool check_has_prefix(const char *name, size_t len, const char *const *prefixes,
                             size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(prefixes[i]);

        if (len >= n && strncasecmp(name, prefixes[i], n) == 0)
            return true;
    }
    return false;
}

static bool check_is_session_name(const char *name, size_t len)
{
    static const char *const prefixes[] = {"pg_advisory_lock",   "pg_try_advisory_lock",
                                           "pg_advisory_unlock", "set_config",
                                           "dblink_connect",     "setseed"};

    return len > 4 && strchr("pPsSdD", name[0]) != NULL &&
           check_has_prefix(name, len, prefixes, ARRAY_SIZE(prefixes));
}

static bool check_is_session_call(const char *name)
{
    return check_is_session_name(name, strlen(name));
}

/* An identifier that hides its letters: U&"\0061" */
static bool check_is_hidden_name(const char *text, const struct sql_token *token)
{
    return token->kind == SQL_UNICODE && token->end - token->start > 2 &&
           text[token->start + 2] == '"';
}

static bool check_may_be_session_call(const char *text, const struct sql_token *token)
{
    size_t start = token->start + (token->kind == SQL_QUOTED);

    if (check_is_hidden_name(text, token))
        return true;
    return (token->kind == SQL_WORD || token->kind == SQL_QUOTED) &&
           check_is_session_name(text + start, token->end - start);
}

/* --- scripts without a transaction --- */

static bool check_is_temporary(const char *text, const struct sql_token *token)
{
    return sql_token_is(text, token, "temp") || sql_token_is(text, token, "temporary");
}

/* CREATE [OR REPLACE] [LOCAL | GLOBAL] TEMP ..., or SELECT ... INTO [LOCAL | GLOBAL] TEMP ... */
static bool check_makes_temporary(const struct sql_scan *scan, const struct sql_span *span,
                                  const char *text)
{
    static const char *const before[] = {"create", "into", "replace", "local", "global"};
    const struct sql_token *previous = &no_token;
    size_t at = span->first;

    while (at < span->last) {
        const struct sql_token *token = check_next(scan, span, &at);

        if (check_is_temporary(text, token) &&
            check_is_any(text, previous, before, ARRAY_SIZE(before)))
            return true;
        previous = token;
    }
    return false;
}

static bool check_needs_session(const struct sql_scan *scan, const struct sql_span *span,
                                const char *text, const struct sql_token *const *lead)
{
    static const char *const words[] = {"set",        "reset",  "discard",  "prepare", "execute",
                                        "deallocate", "listen", "unlisten", "declare", "fetch",
                                        "move",       "close",  "lock",     "load"};
    static const char *const makers[] = {"create", "select", "with"};

    if (check_is_any(text, lead[0], words, ARRAY_SIZE(words)))
        return true;
    return check_is_any(text, lead[0], makers, ARRAY_SIZE(makers)) &&
           check_makes_temporary(scan, span, text);
}

/* Where the parser cannot tell: in these, a name with parentheses is rather one than a call. */
static bool check_is_about_functions(const char *text, const struct sql_token *const *lead)
{
    static const char *const words[] = {"create", "alter",   "drop",    "grant",
                                        "revoke", "comment", "security"};

    return check_is_any(text, lead[0], words, ARRAY_SIZE(words));
}

/* The name of a function that is called and leaves something on its session, or NULL. */
static const struct sql_token *check_find_session_call(const struct sql_scan *scan,
                                                       const struct sql_span *span,
                                                       const char *text,
                                                       const struct sql_token *const *lead)
{
    const struct sql_token *name = NULL;
    size_t start = scan->tokens[span->first].start, at;

    for (at = span->first; at < span->last && name == NULL; at++)
        if (check_may_be_session_call(text, &scan->tokens[at]))
            name = &scan->tokens[at];
    if (name == NULL)
        return NULL;
    switch (sql_find_calls(text + start, scan->tokens[span->last - 1].end - start,
                           check_is_session_call)) {
    case SQL_CALLS_NONE:
        return NULL;
    case SQL_CALLS_SOME:
        return name;
    case SQL_CALLS_UNKNOWN:
        break;
    }
    if (check_is_about_functions(text, lead) || check_is_hidden_name(text, name) ||
        check_next(scan, span, &at)->kind != SQL_OPEN)
        return NULL;
    return name;
}

int sql_check_outside(const struct sql_scan *scan, const char *text, struct err *err)
{
    if (scan->dialect == SQL_MYSQL)
        return mysql_check_outside(scan, text, err);
    for (size_t n = 0; n < scan->span_count; n++) {
        const struct sql_span *span = &scan->spans[n];
        const struct sql_token *lead[CHECK_LEAD], *why;

        check_lead(scan, span, lead);
        why = check_needs_session(scan, span, text, lead)
                  ? lead[0]
                  : check_find_session_call(scan, span, text, lead);
        if (why != NULL)
            return sql_check_refuse(
                err, text, why, n,
                "settings, temporary tables, prepared statements, cursors and "
                "locks do not last from one statement to the next with "
                "bfm-transaction: off; use the headers bfm-lock-timeout and "
                "bfm-statement-timeout, write schemas in front of names, or put "
                "it into a function or into a migration with a transaction");
    }
    return 0;
}

/* Words that make any statement suspect, as functions or as what CREATE makes. */
static bool check_is_suspect(const char *text, const struct sql_token *token)
{
    static const char *const temporary[] = {"pg_temp"};
    size_t start = token->start + (token->kind == SQL_QUOTED);

    if (check_may_be_session_call(text, token) || check_is_temporary(text, token))
        return true;
    return (token->kind == SQL_WORD || token->kind == SQL_QUOTED) &&
           check_has_prefix(text + start, token->end - start, temporary, ARRAY_SIZE(temporary));
}

static bool check_is_clean_lead(const char *text, const struct sql_token *const *lead)
{
    static const char *const clean[] = {"create",   "drop",     "insert",  "update",     "delete",
                                        "merge",    "comment",  "grant",   "revoke",     "truncate",
                                        "reindex",  "refresh",  "analyze", "vacuum",     "cluster",
                                        "security", "reassign", "notify",  "checkpoint", "lock"};
    static const char *const scoped[] = {"local", "constraints", "transaction"};

    if (sql_token_is(text, lead[0], "alter"))
        return !sql_token_is(text, lead[1], "system");
    if (sql_token_is(text, lead[0], "set"))
        return check_is_any(text, lead[1], scoped, ARRAY_SIZE(scoped));
    return check_is_any(text, lead[0], clean, ARRAY_SIZE(clean));
}

bool sql_dirties_session(const struct sql_scan *scan, const char *text)
{
    if (scan->dialect == SQL_MYSQL)
        return mysql_dirties_session(scan, text);
    for (size_t n = 0; n < scan->span_count; n++) {
        const struct sql_span *span = &scan->spans[n];
        const struct sql_token *lead[CHECK_LEAD];

        check_lead(scan, span, lead);
        if (!check_is_clean_lead(text, lead))
            return true;
        for (size_t i = span->first; i < span->last; i++)
            if (check_is_suspect(text, &scan->tokens[i]))
                return true;
    }
    return false;
}
