#ifndef BFM_MODEL_SQLSCAN_H
#define BFM_MODEL_SQLSCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * The tokens of SQL text, by libpg_query's scanner: the server's own lexer, so that strings, dollar
 * quotes and nested comments end where the server thinks they end. sqlscan.c and sqlcalls.c are the
 * only files that know that library. It does not know MySQL.
 */
enum sql_dialect {
    SQL_POSTGRESQL,
    SQL_GREPTIMEDB, /* backslash is an ordinary character, `x` an identifier, comments do not nest
                     */
    SQL_MYSQL,      /* also MariaDB; by a scanner of our own: mysqlscan.h */
};

enum sql_kind {
    SQL_OTHER, /* numbers, operators, parameters, punctuation */
    SQL_WORD,  /* identifier or keyword without quotes; in GreptimeDB `...` too */
    SQL_QUOTED,
    SQL_STRING,  /* '...', also B'' and X'' */
    SQL_ESTRING, /* E'...'; in MySQL '...' and "..." */
    SQL_UNICODE, /* U&'...' or U&"..." */
    SQL_DOLLAR,  /* $tag$...$tag$ */
    SQL_COMMENT_LINE,
    SQL_COMMENT_BLOCK,
    SQL_SEMICOLON,
    SQL_OPEN, /* ( */
    SQL_CLOSE,
    SQL_BACKSLASH,
};

struct sql_token {
    uint32_t start, end; /* text[start, end) */
    enum sql_kind kind;
};

/* Tokens of one statement: [first, last), comments inside included, the semicolon not. */
struct sql_span {
    uint32_t first, last;
};

/* A scanned text. Reused from text to text, so that scanning a tree allocates next to nothing. */
struct sql_scan {
    enum sql_dialect dialect; /* of the text */
    struct sql_token *tokens;
    size_t token_count, token_cap;
    struct sql_span *spans; /* by sql_split() */
    size_t span_count, span_cap;
    struct buf copy; /* private */
};

enum {
    SQL_TEXT_MAX = 16 * 1024 * 1024,
};

void sql_scan_init(struct sql_scan *scan);
void sql_scan_free(struct sql_scan *scan);

/*
 * Scans text[0, len), len <= SQL_TEXT_MAX, without NUL bytes, valid UTF-8. ERR_INVALID with a text
 * and a line for what the scanner refuses (something unterminated), ERR_NOMEM.
 */
int sql_scan_text(struct sql_scan *scan, const char *text, size_t len, enum sql_dialect dialect,
                  struct err *err);

/* For the scanners: one more token. 0 or ERR_NOMEM. */
int sql_scan_add(struct sql_scan *scan, struct sql_token token);

/* Whether the token is this word without quotes; `word` in lower case. */
bool sql_token_is(const char *text, const struct sql_token *token, const char *word);
bool sql_token_is_comment(const struct sql_token *token);

/* Text [start, end) of one statement, semicolon left out. */
struct sql_range {
    size_t start, end;
};

/*
 * Divides text into statements by the parser, for what the scanner cannot tell (bodies of
 * SQL-standard functions). The array is to be freed with mem_free(). ERR_INVALID when the parser
 * does not know the syntax, which says nothing about the server; ERR_NOMEM.
 */
int sql_parse_ranges(const char *text, struct sql_range **out, size_t *count);

/*
 * Whether running one statement calls a function that `wanted` says yes to (it gets the name
 * without its schema, as the server understands it). A set_config() for the transaction alone does
 * not count, nor what a function, view or rule is only defined to call. UNKNOWN when the parser
 * does not know the syntax, the statement is longer than 8 KiB, or memory is out. sqlcalls.c
 */
enum sql_calls {
    SQL_CALLS_NONE,
    SQL_CALLS_SOME,
    SQL_CALLS_UNKNOWN,
};
enum sql_calls sql_find_calls(const char *text, size_t len, bool (*wanted)(const char *name));

/* Whether a lower-case word must be quoted to be an identifier anywhere. */
bool sql_is_keyword(const char *word);

/* 1-based line of an offset. */
unsigned sql_line_at(const char *text, size_t at);

#endif
