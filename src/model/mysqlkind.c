#include "model/mysqlkind.h"

#include <strings.h>

#include "base/base.h"
#include "model/mysqlscan.h"

enum {
    KIND_IF_FAR = 12,      /* tokens in front of IF [NOT] EXISTS */
    KIND_CLAUSES_MAX = 16, /* of one ALTER TABLE whose names are looked for in it */
};

static const struct sql_token no_token = {.kind = SQL_OTHER};

/* A walk along the tokens that count. */
struct kind_walk {
    const struct sql_scan *scan;
    const char *text;
    size_t at, last;
    size_t parens;
};

static const struct sql_token *kind_next(struct kind_walk *walk)
{
    while (walk->at < walk->last) {
        const struct sql_token *token = &walk->scan->tokens[walk->at++];

        if (sql_token_is_comment(token) || mysql_token_is_mark(walk->text, token))
            continue;
        if (token->kind == SQL_OPEN)
            walk->parens++;
        else if (token->kind == SQL_CLOSE && walk->parens > 0)
            walk->parens--;
        return token;
    }
    return &no_token;
}

static bool kind_is(const struct kind_walk *walk, const struct sql_token *token, const char *word)
{
    return sql_token_is(walk->text, token, word);
}

static bool kind_is_any(const struct kind_walk *walk, const struct sql_token *token,
                        const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (kind_is(walk, token, words[i]))
            return true;
    return false;
}

static bool kind_is_comma(const struct kind_walk *walk, const struct sql_token *token)
{
    return token->kind == SQL_OTHER && token != &no_token && walk->parens == 0 &&
           walk->text[token->start] == ',';
}

void mysql_lead(const struct sql_scan *scan, const struct sql_span *span, const char *text,
                const struct sql_token **lead, size_t count)
{
    struct kind_walk walk = {.scan = scan, .text = text, .at = span->first, .last = span->last};

    for (size_t i = 0; i < count; i++)
        lead[i] = kind_next(&walk);
}

/* Whether IF [NOT] EXISTS stands among the first words; gives the walk back as it was. */
static bool kind_has_if(const struct kind_walk *from)
{
    struct kind_walk walk = *from;
    bool after_if = false;

    for (size_t i = 0; i < KIND_IF_FAR; i++) {
        const struct sql_token *token = kind_next(&walk);

        if (token == &no_token || token->kind == SQL_OPEN || kind_is_comma(&walk, token))
            return false;
        if (after_if && kind_is(&walk, token, "exists"))
            return true;
        if (!after_if || !kind_is(&walk, token, "not"))
            after_if = kind_is(&walk, token, "if");
    }
    return false;
}

static bool kind_has_comma(const struct kind_walk *from)
{
    struct kind_walk walk = *from;
    const struct sql_token *token;

    while ((token = kind_next(&walk)) != &no_token)
        if (kind_is_comma(&walk, token))
            return true;
    return false;
}

/* --- ALTER TABLE, clause by clause --- */

static enum mysql_kind kind_of_add(struct kind_walk *walk)
{
    static const char *const named[] = {"index", "key", "constraint"};
    static const char *const others[] = {"unique", "fulltext",  "spatial", "foreign",
                                         "check",  "partition", "system",  "period"};
    const struct sql_token *token = kind_next(walk), *next;

    if (kind_is(walk, token, "primary") || kind_is(walk, token, "column"))
        return MYSQL_ONCE;
    if (kind_is_any(walk, token, named, ARRAY_SIZE(named))) {
        next = kind_next(walk);
        if (next->kind == SQL_QUOTED)
            return MYSQL_ONCE;
        return next->kind == SQL_WORD && !kind_is(walk, next, "using") &&
                       !kind_is(walk, next, "foreign") && !kind_is(walk, next, "unique") &&
                       !kind_is(walk, next, "check")
                   ? MYSQL_ONCE
                   : MYSQL_DDL;
    }
    if (kind_is_any(walk, token, others, ARRAY_SIZE(others)) || token->kind == SQL_OPEN)
        return MYSQL_DDL;
    return MYSQL_ONCE; /* a column without the word */
}

static enum mysql_kind kind_of_clause(struct kind_walk *walk, const struct sql_token *word)
{
    static const char *const once[] = {"drop", "rename", "change"};
    static const char *const again[] = {
        "modify",    "alter",   "engine",    "comment",    "default", "charset",
        "character", "collate", "convert",   "row_format", "force",   "enable",
        "disable",   "lock",    "algorithm", "wait",       "nowait",  "auto_increment"};

    if ((kind_is(walk, word, "add") || kind_is(walk, word, "drop")) && kind_has_if(walk))
        return MYSQL_REPEATABLE;
    if (kind_is(walk, word, "add"))
        return kind_of_add(walk);
    if (kind_is_any(walk, word, once, ARRAY_SIZE(once)))
        return MYSQL_ONCE;
    return kind_is_any(walk, word, again, ARRAY_SIZE(again)) ? MYSQL_REPEATABLE : MYSQL_DDL;
}

/* What can come behind the table's name. */
static bool kind_is_verb(const struct kind_walk *walk, const struct sql_token *token)
{
    static const char *const verbs[] = {
        "add",       "drop",       "modify",  "change",  "rename",        "alter",
        "engine",    "comment",    "convert", "default", "charset",       "character",
        "force",     "row_format", "collate", "order",   "enable",        "disable",
        "truncate",  "exchange",   "discard", "import",  "reorganize",    "wait",
        "partition", "algorithm",  "lock",    "nowait",  "auto_increment"};

    return kind_is_any(walk, token, verbs, ARRAY_SIZE(verbs));
}

/* Whether it says the same name, with or without quotes. */
static bool kind_is_same_name(const struct kind_walk *walk, const struct sql_token *a,
                              const struct sql_token *b)
{
    size_t skip_a = a->kind == SQL_QUOTED, skip_b = b->kind == SQL_QUOTED;
    size_t len = a->end - a->start - 2 * skip_a;

    return (b->kind == SQL_WORD || b->kind == SQL_QUOTED) &&
           len == b->end - b->start - 2 * skip_b &&
           strncasecmp(walk->text + a->start + skip_a, walk->text + b->start + skip_b, len) == 0;
}

/* Whether what the clause behind `clause` adds or takes away is named nowhere else in the
 * statement, which `from` begins. */
static bool kind_names_alone(struct kind_walk clause, struct kind_walk from)
{
    static const char *const passed[] = {"column", "index", "key", "constraint"};
    const struct sql_token *name = kind_next(&clause), *token;
    size_t count = 0;

    while (kind_is_any(&clause, name, passed, ARRAY_SIZE(passed)))
        name = kind_next(&clause);
    if (name->kind != SQL_WORD && name->kind != SQL_QUOTED)
        return false;
    while ((token = kind_next(&from)) != &no_token)
        count += kind_is_same_name(&from, name, token);
    return count == 1;
}

/* The clauses of one ALTER TABLE. */
struct kind_clauses {
    enum mysql_kind kind;
    size_t count;
    bool takes, gives; /* names */
    bool mixed;        /* what one takes another may give */
    bool certain;      /* but not all of it */
};

static void kind_take_clause(struct kind_clauses *clauses, const struct kind_walk *from,
                             const struct kind_walk *walk, const struct sql_token *word)
{
    struct kind_walk clause = *walk;
    enum mysql_kind one = kind_of_clause(&clause, word);
    bool renames = kind_is(walk, word, "rename") || kind_is(walk, word, "change");
    bool takes = renames || kind_is(walk, word, "drop");
    bool gives = renames || kind_is(walk, word, "add");

    if ((takes && clauses->gives) || (gives && clauses->takes))
        clauses->mixed = true;
    clauses->takes = clauses->takes || takes;
    clauses->gives = clauses->gives || gives;
    if (one == MYSQL_ONCE && !clauses->certain && clauses->count++ < KIND_CLAUSES_MAX)
        clauses->certain = kind_names_alone(*walk, *from);
    if (one == MYSQL_ONCE || (one == MYSQL_DDL && clauses->kind == MYSQL_REPEATABLE))
        clauses->kind = one;
}

/* All clauses take effect together: one that cannot work twice is enough. But columns can be
 * swapped, or dropped and added again, which works any number of times. */
static enum mysql_kind kind_of_alter_table(struct kind_walk walk)
{
    const struct kind_walk from = walk;
    struct kind_clauses clauses = {.kind = MYSQL_REPEATABLE};
    bool begins = false, in_name = true; /* schema.name, perhaps behind IF EXISTS */
    const struct sql_token *token;

    kind_next(&walk);
    while ((token = kind_next(&walk)) != &no_token) {
        if (in_name) {
            begins = kind_is_verb(&walk, token);
            in_name = !begins;
        }
        if (begins)
            kind_take_clause(&clauses, &from, &walk, token);
        begins = !in_name && kind_is_comma(&walk, token);
    }
    if (in_name || (clauses.kind == MYSQL_ONCE && clauses.mixed && !clauses.certain))
        return MYSQL_DDL;
    return clauses.kind;
}

/* --- by the first words --- */

/* Behind TEMPORARY: what is not a table can commit (CREATE TEMPORARY SEQUENCE does). */
static enum mysql_kind kind_of_temporary(struct kind_walk walk)
{
    return kind_is(&walk, kind_next(&walk), "table") ? MYSQL_TEMPORARY : MYSQL_OPAQUE;
}

static enum mysql_kind kind_of_create(struct kind_walk walk, const struct sql_token *what)
{
    static const char *const accounts[] = {"user", "role"};
    struct kind_walk behind = walk;

    if (kind_is(&walk, what, "or")) {
        kind_next(&behind); /* REPLACE */
        return kind_is(&behind, kind_next(&behind), "temporary") ? kind_of_temporary(behind)
                                                                 : MYSQL_REPEATABLE;
    }
    if (kind_is(&walk, what, "temporary"))
        return kind_of_temporary(walk);
    if (kind_has_if(&walk))
        return MYSQL_REPEATABLE;
    if (kind_is_any(&walk, what, accounts, ARRAY_SIZE(accounts)) && kind_has_comma(&walk))
        return MYSQL_OPAQUE;
    return MYSQL_ONCE;
}

static enum mysql_kind kind_of_drop(struct kind_walk walk, const struct sql_token *what)
{
    if (kind_is(&walk, what, "temporary"))
        return MYSQL_TEMPORARY;
    if (kind_is(&walk, what, "prepare"))
        return MYSQL_SESSION;
    if (kind_has_if(&walk))
        return MYSQL_REPEATABLE;
    return kind_has_comma(&walk) ? MYSQL_OPAQUE : MYSQL_ONCE; /* of many, some may be dropped */
}

static enum mysql_kind kind_of_alter(struct kind_walk walk, const struct sql_token *what)
{
    static const char *const again[] = {"database", "schema", "view", "user"};

    while (kind_is(&walk, what, "online") || kind_is(&walk, what, "ignore"))
        what = kind_next(&walk);
    if (kind_is(&walk, what, "table"))
        return kind_of_alter_table(walk);
    return kind_is_any(&walk, what, again, ARRAY_SIZE(again)) ? MYSQL_REPEATABLE : MYSQL_DDL;
}

static enum mysql_kind kind_of_rename(struct kind_walk walk, const struct sql_token *what)
{
    if (!kind_has_comma(&walk))
        return MYSQL_ONCE;
    return kind_is(&walk, what, "user") ? MYSQL_OPAQUE : MYSQL_DDL; /* tables can be swapped */
}

static enum mysql_kind kind_of_set(const struct kind_walk *walk, const struct sql_token *what)
{
    static const char *const commits[] = {"password", "default"};

    if (kind_is(walk, what, "statement"))
        return MYSQL_OPAQUE;
    return kind_is_any(walk, what, commits, ARRAY_SIZE(commits)) ? MYSQL_REPEATABLE : MYSQL_SESSION;
}

/* SELECT ... INTO @a and SELECT @a := ... are said again like SET @a = (SELECT ...). */
static enum mysql_kind kind_of_select(struct kind_walk walk, const struct sql_token *token)
{
    bool into = false, variable = false;

    for (; token != &no_token; token = kind_next(&walk)) {
        char c = walk.text[token->start];

        if ((into && c == '@') || (variable && c == ':'))
            return MYSQL_SESSION;
        into = kind_is(&walk, token, "into");
        variable = token->kind == SQL_OTHER && c == '@';
    }
    return MYSQL_DML;
}

static enum mysql_kind kind_of_word(const struct kind_walk *walk, const struct sql_token *word,
                                    const struct sql_token *what)
{
    static const char *const keeps[] = {"insert", "update", "delete",   "replace", "with",
                                        "values", "table",  "do",       "show",    "explain",
                                        "desc",   "signal", "describe", "handler"};
    static const char *const again[] = {"analyze", "check", "checksum", "optimize",
                                        "repair",  "flush", "cache",    "grant"};
    static const char *const tables[] = {"table", "tables", "local", "no_write_to_binlog"};
    static const char *const commits[] = {"truncate",  "revoke", "import", "install",
                                          "uninstall", "kill",   "reset",  "purge"};

    if (kind_is(walk, word, "select"))
        return kind_of_select(*walk, what);
    if (word->kind == SQL_OPEN || kind_is_any(walk, word, keeps, ARRAY_SIZE(keeps)))
        return MYSQL_DML;
    if (kind_is(walk, word, "prepare") || kind_is(walk, word, "deallocate"))
        return MYSQL_SESSION;
    if (kind_is(walk, word, "analyze") && !kind_is_any(walk, what, tables, ARRAY_SIZE(tables)))
        return MYSQL_DML; /* MariaDB's ANALYZE UPDATE ... runs it */
    if (kind_is(walk, word, "load"))
        return kind_is(walk, what, "index") ? MYSQL_REPEATABLE : MYSQL_DML;
    if (kind_is_any(walk, word, again, ARRAY_SIZE(again)))
        return MYSQL_REPEATABLE;
    return kind_is_any(walk, word, commits, ARRAY_SIZE(commits)) ? MYSQL_DDL : MYSQL_OPAQUE;
}

enum mysql_kind mysql_classify(const struct sql_scan *scan, const struct sql_span *span,
                               const char *text)
{
    struct kind_walk walk = {.scan = scan, .text = text, .at = span->first, .last = span->last};
    const struct sql_token *word = kind_next(&walk);
    const struct sql_token *what = kind_next(&walk);

    if (kind_is(&walk, word, "create"))
        return kind_of_create(walk, what);
    if (kind_is(&walk, word, "drop"))
        return kind_of_drop(walk, what);
    if (kind_is(&walk, word, "alter"))
        return kind_of_alter(walk, what);
    if (kind_is(&walk, word, "rename"))
        return kind_of_rename(walk, what);
    if (kind_is(&walk, word, "set"))
        return kind_of_set(&walk, what);
    return kind_of_word(&walk, word, what);
}

bool mysql_kind_keeps_transaction(enum mysql_kind kind)
{
    return kind == MYSQL_DML || kind == MYSQL_SESSION || kind == MYSQL_TEMPORARY;
}

bool mysql_script_keeps_transaction(const struct script *script)
{
    for (size_t i = 0; i < script->statement_count; i++)
        if (!mysql_kind_keeps_transaction((enum mysql_kind)script->statements[i].kind))
            return false;
    return true;
}
