#include "model/mysqlcheck.h"

#include <string.h>
#include <strings.h>

#include "base/base.h"
#include "model/mysqlbody.h"
#include "model/mysqlkind.h"
#include "model/mysqlscan.h"
#include "model/sqlcheck.h"
#include "model/variables.h"

enum {
    CHECK_LEAD = 4,
};

/* One statement to look at. */
struct mysql_checked {
    const struct sql_scan *scan;
    const struct sql_span *span;
    const char *text;
    const struct sql_token *lead[CHECK_LEAD];
};

static bool checked_is(const struct mysql_checked *checked, size_t n, const char *word)
{
    return sql_token_is(checked->text, checked->lead[n], word);
}

static bool checked_is_any(const struct mysql_checked *checked, size_t n, const char *const *words,
                           size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (checked_is(checked, n, words[i]))
            return true;
    return false;
}

/* Whether the token is this name, with or without quotes, or @@name. */
static bool checked_is_name(const struct mysql_checked *checked, const struct sql_token *token,
                            const char *name)
{
    const char *text = checked->text + token->start;
    size_t len = strlen(name), all = token->end - token->start;

    if (token->kind == SQL_WORD)
        return all == len && strncasecmp(text, name, len) == 0;
    if (token->kind == SQL_QUOTED)
        return all == len + 2 && strncasecmp(text + 1, name, len) == 0;
    return all == len + 2 && text[0] == '@' && text[1] == '@' &&
           strncasecmp(text + 2, name, len) == 0;
}

/* The first token of the statement that is this name, or NULL. */
static const struct sql_token *checked_find(const struct mysql_checked *checked, const char *name)
{
    for (size_t i = checked->span->first; i < checked->span->last; i++)
        if (checked_is_name(checked, &checked->scan->tokens[i], name))
            return &checked->scan->tokens[i];
    return NULL;
}

static struct mysql_checked checked_of(const struct sql_scan *scan, size_t n, const char *text)
{
    struct mysql_checked checked = {.scan = scan, .span = &scan->spans[n], .text = text};

    mysql_lead(scan, checked.span, text, checked.lead, CHECK_LEAD);
    return checked;
}

/* --- what is refused by its first words --- */

static bool checked_is_transaction_control(const struct mysql_checked *checked)
{
    static const char *const alone[] = {"commit", "rollback", "savepoint", "release", "xa"};

    if (checked_is_any(checked, 0, alone, ARRAY_SIZE(alone)))
        return true;
    if (checked_is(checked, 0, "begin"))
        return !checked_is(checked, 1, "not");
    if (checked_is(checked, 0, "start"))
        return checked_is(checked, 1, "transaction");
    return checked_is(checked, 0, "set") && checked_find(checked, "autocommit") != NULL;
}

static bool checked_is_table_lock(const struct mysql_checked *checked)
{
    if (checked_is(checked, 0, "lock") || checked_is(checked, 0, "unlock"))
        return true;
    return checked_is(checked, 0, "flush") &&
           (checked_find(checked, "lock") != NULL || checked_find(checked, "export") != NULL);
}

static bool checked_is_local_load(const struct mysql_checked *checked)
{
    return checked_is(checked, 0, "load") &&
           (checked_is(checked, 2, "local") || checked_is(checked, 3, "local"));
}

/* Why a statement that begins like this is refused, or NULL. */
static const char *checked_refusal(const struct mysql_checked *checked)
{
    if (checked_is(checked, 0, "delimiter"))
        return "this is a command of the mysql client, not SQL; leave the DELIMITER lines out and end "
               "each routine with a plain ';': BfM finds the end of BEGIN ... END by itself";
    if (checked_is(checked, 0, "source"))
        return "this is a command of the mysql client, not SQL";
    if (checked_is_transaction_control(checked))
        return "transaction control is not allowed in a script: statements that only change data "
               "are one transaction already, and data definition commits by itself";
    if (checked_is_table_lock(checked))
        return "locks of tables end transactions and last beyond the statement; they are not "
               "possible in a script";
    if (checked_is(checked, 0, "do"))
        return "DO passes over errors: a script that failed would count as applied; use SELECT";
    if (checked_is(checked, 0, "use"))
        return "each script runs in the database of its schema; write other databases in front of "
               "names";
    if (checked_is_local_load(checked))
        return "LOCAL files are on the client, which has none; use INSERT, or a file of the server";
    if (checked_is(checked, 0, "end"))
        return "this END has no BEGIN";
    return NULL;
}

/* --- what changes how the text behind it is read --- */

static bool checked_string_has(const struct mysql_checked *checked, const struct sql_token *token,
                               const char *word)
{
    size_t len = strlen(word);

    if (token->kind != SQL_ESTRING && token->kind != SQL_WORD)
        return false;
    for (size_t at = token->start; at + len <= token->end; at++)
        if (strncasecmp(checked->text + at, word, len) == 0)
            return true;
    return false;
}

/* Behind the variable `name` and = or :=, from token *at on, which moves there; NULL: none. */
static const struct sql_token *checked_next_value(const struct mysql_checked *checked,
                                                  const char *name, size_t *at)
{
    const struct sql_scan *scan = checked->scan;

    while (*at < checked->span->last)
        if (checked_is_name(checked, &scan->tokens[(*at)++], name))
            break;
    while (*at < checked->span->last &&
           strchr(":=", checked->text[scan->tokens[*at].start]) != NULL)
        ++*at;
    return *at < checked->span->last ? &scan->tokens[*at] : NULL;
}

/* SET sql_mode with a mode in which quotes or backslashes mean something else, or with a number,
 * which does not say. */
static const struct sql_token *checked_find_odd_mode(const struct mysql_checked *checked)
{
    static const char *const modes[] = {
        "ansi",       "no_backslash_escapes", "oracle", "db2", "maxdb", "mssql",
        "postgresql", "empty_string_is_null"};
    const struct sql_token *token;
    size_t at = checked->span->first;

    if (!checked_is(checked, 0, "set"))
        return NULL;
    while ((token = checked_next_value(checked, "sql_mode", &at)) != NULL)
        if (checked->text[token->start] >= '0' && checked->text[token->start] <= '9')
            return token;
    if (checked_find(checked, "sql_mode") == NULL)
        return NULL;
    for (size_t i = checked->span->first; i < checked->span->last; i++)
        for (size_t mode = 0; mode < ARRAY_SIZE(modes); mode++)
            if (checked_string_has(checked, &checked->scan->tokens[i], modes[mode]))
                return &checked->scan->tokens[i];
    return NULL;
}

static bool checked_is_utf8(const struct mysql_checked *checked, const struct sql_token *value)
{
    static const char *const good[] = {"utf8", "default", "binary"};

    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        if (checked->text[value->start] == '@' || checked_string_has(checked, value, good[i]))
            return true;
    return false;
}

/* SET NAMES x, SET CHARACTER SET x, SET character_set_client = x: x, if it is not UTF-8. */
static const struct sql_token *checked_find_odd_charset(const struct mysql_checked *checked)
{
    const struct sql_token *value = NULL;
    size_t at = checked->span->first;

    if (!checked_is(checked, 0, "set"))
        return NULL;
    if (checked_is(checked, 1, "names") || checked_is(checked, 1, "charset"))
        value = checked->lead[2];
    else if (checked_is(checked, 1, "character"))
        value = checked->lead[3];
    if (value != NULL && !checked_is_utf8(checked, value))
        return value;
    while ((value = checked_next_value(checked, "character_set_client", &at)) != NULL)
        if (!checked_is_utf8(checked, value))
            return value;
    return NULL;
}

/* --- all of it --- */

static int mysql_check_statement(const struct sql_scan *scan, size_t n, const char *text,
                                 size_t len, struct err *err)
{
    const struct mysql_checked checked = checked_of(scan, n, text);
    const struct sql_token *lead = checked.lead[0], *odd;
    const char *why = checked_refusal(&checked);

    if (variables_is_at(text, lead->start, len) ||
        (lead->kind == SQL_WORD && variables_is_at(text, lead->end, len)))
        return sql_check_refuse(err, text, lead, n, "a statement cannot begin with a variable");
    if (why != NULL)
        return sql_check_refuse(err, text, lead, n, why);
    odd = checked_find_odd_mode(&checked);
    if (odd != NULL)
        return sql_check_refuse(err, text, odd, n,
                                "this mode changes what quotes and backslashes mean in the "
                                "statements behind it");
    odd = checked_find_odd_charset(&checked);
    if (odd != NULL)
        return sql_check_refuse(err, text, odd, n, "scripts are UTF-8; use utf8mb4");
    odd = checked_find(&checked, "release_all_locks");
    if (odd != NULL)
        return sql_check_refuse(err, text, odd, n,
                                "it would release the lock of the migration itself; use "
                                "RELEASE_LOCK with a name");
    for (size_t i = checked.span->first; i < checked.span->last; i++)
        if (scan->tokens[i].kind == SQL_BACKSLASH)
            return sql_check_refuse(err, text, &scan->tokens[i], n,
                                    "commands of the mysql client are not possible in a script");
    return 0;
}

/* Blocks without an end. */
static int mysql_check_bodies(const struct sql_scan *scan, const char *text, struct err *err)
{
    struct mysql_body body;
    size_t n = 0;

    mysql_body_init(&body, scan, text);
    for (size_t i = 0; i < scan->token_count; i++) {
        while (n < scan->span_count && scan->spans[n].last <= i)
            n++;
        if (mysql_body_ends(&body, i))
            mysql_body_begin(&body);
        else if (body.code_break)
            return sql_check_refuse(err, text, &scan->tokens[body.code_break_at], n,
                                    "a statement cannot end inside of an executable comment");
    }
    if (n == scan->span_count && n > 0)
        n--;
    if (body.too_deep)
        return sql_check_refuse(err, text, &scan->tokens[body.opened[0]], n,
                                "too many blocks within each other");
    if (body.open_end)
        return sql_check_refuse(err, text, &scan->tokens[body.opened[0]], n,
                                "this block has no END");
    return 0;
}

/* A call of what only the session knows about the statement in front. */
static const struct sql_token *checked_find_memory(const struct mysql_checked *checked)
{
    static const char *const names[] = {"last_insert_id", "row_count", "found_rows"};

    for (size_t i = checked->span->first; i + 1 < checked->span->last; i++) {
        const struct sql_token *token = &checked->scan->tokens[i];

        for (size_t name = 0; name < ARRAY_SIZE(names) && token[1].kind == SQL_OPEN; name++)
            if (checked_is_name(checked, token, names[name]))
                return token;
    }
    return NULL;
}

/* What does not outlive its session cannot be in a script that commits inside and so may have to go
 * on in another one. */
static int mysql_check_session(const struct sql_scan *scan, const char *text, bool outside,
                               struct err *err)
{
    const struct sql_token *lost = NULL;
    const char *why = NULL;
    size_t at = 0;

    for (size_t n = 0; n < scan->span_count; n++) {
        const struct mysql_checked checked = checked_of(scan, n, text);
        enum mysql_kind kind = mysql_classify(scan, checked.span, text);

        outside = outside || !mysql_kind_keeps_transaction(kind);
        if (lost != NULL || !mysql_kind_keeps_transaction(kind))
            continue;
        at = n;
        lost = kind == MYSQL_TEMPORARY ? &scan->tokens[checked.span->first]
                                       : checked_find_memory(&checked);
        why = kind == MYSQL_TEMPORARY
                  ? "a temporary table is lost when the script has to go on in another session, "
                    "which can be after each statement that commits by itself; put it into a "
                    "migration that only changes data"
                  : "what it tells is lost when the script has to go on in another session, which "
                    "can be after each statement that commits by itself; look the value up, or put "
                    "it into a migration that only changes data";
    }
    return outside && lost != NULL ? sql_check_refuse(err, text, lost, at, why) : 0;
}

int mysql_check(const struct sql_scan *scan, const char *text, size_t len, struct err *err)
{
    for (size_t n = 0; n < scan->span_count; n++) {
        int rc = mysql_check_statement(scan, n, text, len, err);

        if (rc != 0)
            return rc;
    }
    if (mysql_check_bodies(scan, text, err) != 0)
        return ERR_INVALID;
    return mysql_check_session(scan, text, false, err);
}

int mysql_check_outside(const struct sql_scan *scan, const char *text, struct err *err)
{
    return mysql_check_session(scan, text, true, err);
}

/* User variables, settings, locks by name, and what is called or prepared. */
static bool mysql_may_dirty(const struct mysql_checked *checked)
{
    static const char *const leads[] = {
        "create", "drop",  "alter",    "insert",  "update", "delete", "replace", "select",  "with",
        "rename", "grant", "truncate", "analyze", "revoke", "table",  "values",  "optimize"};

    if (!checked_is_any(checked, 0, leads, ARRAY_SIZE(leads)) ||
        checked_find(checked, "get_lock") != NULL)
        return true;
    for (size_t i = checked->span->first; i < checked->span->last; i++)
        if (checked->scan->tokens[i].kind == SQL_OTHER &&
            checked->text[checked->scan->tokens[i].start] == '@')
            return true;
    return false;
}

bool mysql_dirties_session(const struct sql_scan *scan, const char *text)
{
    for (size_t n = 0; n < scan->span_count; n++) {
        const struct mysql_checked checked = checked_of(scan, n, text);

        if (mysql_may_dirty(&checked) ||
            mysql_classify(scan, checked.span, text) == MYSQL_TEMPORARY)
            return true;
    }
    return false;
}
