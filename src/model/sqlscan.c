#include "model/sqlscan.h"

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "model/mysqlscan.h"
#include "model/sqlmask.h"

/* Bytes of a message in protobuf's wire form. Tokens are read straight from it: unpacking them into
 * structs first costs as much again as scanning. */
struct wire {
    const uint8_t *at, *end;
};

enum {
    WIRE_TOKENS = 2 << 3 | 2, /* fields of ScanResult and ScanToken: number and wire type */
    WIRE_TOKEN_START = 1 << 3,
    WIRE_TOKEN_END = 2 << 3,
    WIRE_TOKEN_CODE = 4 << 3,
    WIRE_TOKEN_KEYWORD = 5 << 3,
};

static const char out_of_memory[] = "out of memory";

void sql_scan_init(struct sql_scan *scan)
{
    *scan = (struct sql_scan){0};
    buf_init(&scan->copy, SQL_TEXT_MAX);
}

void sql_scan_free(struct sql_scan *scan)
{
    mem_free(scan->tokens);
    mem_free(scan->spans);
    buf_free(&scan->copy);
    sql_scan_init(scan);
}

static bool wire_varint(struct wire *wire, uint32_t *value)
{
    uint64_t bits = 0;

    for (unsigned shift = 0; wire->at < wire->end && shift < 64; shift += 7) {
        uint8_t byte = *wire->at++;

        bits |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *value = (uint32_t)bits;
            return true;
        }
    }
    return false;
}

/* The next message of a repeated field `tag`; fields of numbers in front of it are passed over. */
static bool wire_message(struct wire *wire, uint32_t tag, struct wire *message)
{
    uint32_t found, value;

    while (wire_varint(wire, &found) && wire_varint(wire, &value)) {
        if (found != tag)
            continue;
        if (value > (size_t)(wire->end - wire->at))
            return false;
        *message = (struct wire){.at = wire->at, .end = wire->at + value};
        wire->at += value;
        return true;
    }
    return false;
}

static enum sql_kind sql_kind_of(uint32_t code, const char *text)
{
    switch (code) {
    case PG_QUERY__TOKEN__SCONST:
        if (text[0] == '$')
            return SQL_DOLLAR;
        return text[0] == 'e' || text[0] == 'E' ? SQL_ESTRING : SQL_STRING;
    case PG_QUERY__TOKEN__BCONST:
    case PG_QUERY__TOKEN__XCONST:
        return SQL_STRING;
    case PG_QUERY__TOKEN__USCONST:
    case PG_QUERY__TOKEN__UIDENT:
        return SQL_UNICODE;
    case PG_QUERY__TOKEN__IDENT:
        return text[0] == '"' ? SQL_QUOTED : SQL_WORD;
    case PG_QUERY__TOKEN__SQL_COMMENT:
        return SQL_COMMENT_LINE;
    case PG_QUERY__TOKEN__C_COMMENT:
        return SQL_COMMENT_BLOCK;
    case ';':
        return SQL_SEMICOLON;
    case '(':
        return SQL_OPEN;
    case ')':
        return SQL_CLOSE;
    case '\\':
        return SQL_BACKSLASH;
    default: /* every keyword is a word of its own token; what is left begins with no letter */
        return (text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z') ? SQL_WORD
                                                                                        : SQL_OTHER;
    }
}

int sql_scan_add(struct sql_scan *scan, struct sql_token token)
{
    struct sql_token *tokens;
    size_t cap = scan->token_cap > 0 ? scan->token_cap * 2 : 256;

    if (scan->token_count == scan->token_cap) {
        tokens = mem_realloc(scan->tokens, cap * sizeof(*tokens));
        if (tokens == NULL)
            return ERR_NOMEM;
        scan->tokens = tokens;
        scan->token_cap = cap;
    }
    scan->tokens[scan->token_count++] = token;
    return 0;
}

/* The scanner reports no end for U&'...': it is where the blanks in front of the next token begin.
 */
static void sql_scan_end_unicode(struct sql_scan *scan, const char *text, size_t next)
{
    struct sql_token *last;

    if (scan->token_count == 0)
        return;
    last = &scan->tokens[scan->token_count - 1];
    if (last->kind != SQL_UNICODE)
        return;
    while (next > last->start && strchr(" \t\r\n\f", text[next - 1]) != NULL)
        next--;
    last->end = (uint32_t)next;
}

static int sql_scan_read(struct sql_scan *scan, const char *text, size_t len,
                         const PgQueryProtobuf *packed)
{
    struct wire wire = {.at = (const uint8_t *)packed->data};
    struct wire message = {0};

    wire.end = wire.at + packed->len;
    while (wire_message(&wire, WIRE_TOKENS, &message)) {
        uint32_t field, value, start = 0, end = 0, code = 0;

        while (wire_varint(&message, &field) && wire_varint(&message, &value)) {
            if (field == WIRE_TOKEN_START)
                start = value;
            else if (field == WIRE_TOKEN_END)
                end = value;
            else if (field == WIRE_TOKEN_CODE)
                code = value;
        }
        if (start > end || end > len)
            return ERR_INVALID;
        sql_scan_end_unicode(scan, text, start);
        if (sql_scan_add(scan, (struct sql_token){.start = start,
                                                  .end = end,
                                                  .kind = sql_kind_of(code, text + start)}) != 0)
            return ERR_NOMEM;
    }
    sql_scan_end_unicode(scan, text, len);
    return 0;
}

/* The scanner counts characters from 1. */
static size_t sql_error_offset(const char *text, int cursor)
{
    size_t at = 0;

    while (cursor > 1 && text[at] != '\0') {
        at++;
        while (((unsigned char)text[at] & 0xc0) == 0x80)
            at++;
        cursor--;
    }
    return at;
}

/* The part of the message that does not repeat the rest of the script. */
static int sql_error(const char *text, const PgQueryError *error, struct err *err)
{
    const char *rest = strstr(error->message, " at or near ");
    int len = rest != NULL ? (int)(rest - error->message) : (int)strlen(error->message);

    if (strncmp(error->message, out_of_memory, sizeof(out_of_memory) - 1) == 0)
        return err_set(err, ERR_NOMEM, "%s", out_of_memory);
    err_set(err, ERR_INVALID, "%.*s", len, error->message);
    if (err != NULL)
        err->line = sql_line_at(text, sql_error_offset(text, error->cursorpos));
    return ERR_INVALID;
}

/* Scans once; *junk tells whether it failed for a number that this scanner is too old for. */
static int sql_scan_once(struct sql_scan *scan, const char *text, size_t len, bool *junk,
                         struct err *err)
{
    PgQueryScanResult result = pg_query_scan(text);
    int rc;

    scan->token_count = 0;
    *junk = false;
    if (result.error != NULL) {
        *junk = strstr(result.error->message, "junk after numeric literal") != NULL;
        rc = sql_error(text, result.error, err);
    } else {
        rc = sql_scan_read(scan, text, len, &result.pbuf);
        if (rc != 0)
            err_set(err, rc, "%s", rc == ERR_NOMEM ? out_of_memory : "the scanner's answer is odd");
    }
    pg_query_free_scan_result(result);
    return rc;
}

static int sql_scan_copy(struct sql_scan *scan, const char *text, size_t len, struct err *err)
{
    buf_truncate(&scan->copy, 0);
    if (buf_append(&scan->copy, text, len) != 0)
        return err_set(err, scan->copy.rc, "%s", err_code_text(scan->copy.rc));
    return 0;
}

int sql_scan_text(struct sql_scan *scan, const char *text, size_t len, enum sql_dialect dialect,
                  struct err *err)
{
    bool copied = false, junk;
    int rc;

    scan->span_count = 0;
    scan->dialect = dialect;
    if (dialect == SQL_MYSQL)
        return mysql_scan_text(scan, text, len, err);
    if (dialect == SQL_GREPTIMEDB || text[len] != '\0') {
        rc = sql_scan_copy(scan, text, len, err);
        if (rc == 0 && dialect == SQL_GREPTIMEDB)
            rc = sql_mask_greptimedb(scan->copy.data, len, err);
        if (rc != 0)
            return rc;
        copied = true;
    }
    rc = sql_scan_once(scan, copied ? scan->copy.data : text, len, &junk, err);
    if (rc == 0 || !junk)
        return rc;
    if (!copied) {
        rc = sql_scan_copy(scan, text, len, err);
        if (rc != 0)
            return rc;
    }
    sql_mask_numbers(scan->copy.data, len, dialect == SQL_GREPTIMEDB);
    return sql_scan_once(scan, scan->copy.data, len, &junk, err);
}

bool sql_token_is(const char *text, const struct sql_token *token, const char *word)
{
    size_t len = token->end - token->start;

    return token->kind == SQL_WORD && strlen(word) == len &&
           strncasecmp(text + token->start, word, len) == 0;
}

bool sql_token_is_comment(const struct sql_token *token)
{
    return token->kind == SQL_COMMENT_LINE || token->kind == SQL_COMMENT_BLOCK;
}

int sql_parse_ranges(const char *text, struct sql_range **out, size_t *count)
{
    PgQuerySplitResult result = pg_query_split_with_parser(text);
    int rc = result.error != NULL ? ERR_INVALID : 0;

    *out = NULL;
    *count = 0;
    if (rc == 0) {
        *out = mem_alloc((size_t)result.n_stmts * sizeof(**out));
        rc = *out != NULL ? 0 : ERR_NOMEM;
    }
    for (int i = 0; rc == 0 && i < result.n_stmts; i++) {
        size_t start = (size_t)result.stmts[i]->stmt_location;

        (*out)[i] =
            (struct sql_range){.start = start, .end = start + (size_t)result.stmts[i]->stmt_len};
        *count = (size_t)i + 1;
    }
    pg_query_free_split_result(result);
    return rc;
}

bool sql_is_keyword(const char *word)
{
    PgQueryScanResult result = pg_query_scan(word);
    struct wire wire = {0}, message = {0};
    uint32_t field, value;
    bool keyword = true; /* what cannot be judged gets quotes */

    if (result.error == NULL) {
        wire.at = (const uint8_t *)result.pbuf.data;
        wire.end = wire.at + result.pbuf.len;
        keyword = false;
        while (wire_message(&wire, WIRE_TOKENS, &message))
            while (wire_varint(&message, &field) && wire_varint(&message, &value))
                if (field == WIRE_TOKEN_KEYWORD &&
                    value != PG_QUERY__KEYWORD_KIND__UNRESERVED_KEYWORD)
                    keyword = true;
    }
    pg_query_free_scan_result(result);
    return keyword;
}

unsigned sql_line_at(const char *text, size_t at)
{
    const char *end = text + at;
    unsigned line = 1;

    for (const char *p = text; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
        line++;
    return line;
}
