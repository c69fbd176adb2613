/* SQL of all dialects: whatever is scanned and divided lies in order inside of the text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/checksum.h"
#include "model/sqlcheck.h"
#include "model/sqlscan.h"
#include "model/sqlsplit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tokens(const struct sql_scan *scan, size_t len)
{
    size_t end = 0;

    for (size_t i = 0; i < scan->token_count; i++) {
        if (scan->tokens[i].start < end || scan->tokens[i].end <= scan->tokens[i].start ||
            scan->tokens[i].end > len)
            abort();
        end = scan->tokens[i].end;
    }
}

static void check_statements(const struct sql_statement *statements, size_t count, size_t len)
{
    size_t end = 0;
    unsigned line = 1;

    for (size_t i = 0; i < count; i++) {
        if (statements[i].start < end || statements[i].end <= statements[i].start ||
            statements[i].end > len || statements[i].line < line)
            abort();
        end = statements[i].end;
        line = statements[i].line;
    }
}

static void scan_and_split(const char *text, size_t len, enum sql_dialect dialect)
{
    const struct sql_statement *statements;
    char sum[HASH_SHA256_HEX];
    struct sql_scan scan;
    struct arena arena;
    struct buf scratch;
    struct err err = {0};
    size_t count;

    sql_scan_init(&scan);
    arena_init(&arena);
    buf_init(&scratch, SQL_TEXT_MAX);
    if (sql_scan_text(&scan, text, len, dialect, &err) == 0) {
        check_tokens(&scan, len);
        if (sql_split(&scan, text, len, &arena, &statements, &count) != 0)
            abort();
        check_statements(statements, count, len);
        (void)sql_check(&scan, text, len, &err);
        (void)sql_check_outside(&scan, text, &err);
        (void)sql_dirties_session(&scan, text);
        if (checksum_sql(&scan, text, &scratch, sum) != 0)
            abort();
    } else if (err.line == 0 || err.text[0] == '\0') {
        abort();
    }
    buf_free(&scratch);
    arena_free(&arena);
    sql_scan_free(&scan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum sql_dialect dialects[] = {SQL_POSTGRESQL, SQL_GREPTIMEDB, SQL_MYSQL};
    char *text;

    if (size == 0 || memchr(data + 1, '\0', size - 1) != NULL ||
        !utf8_is_valid((const char *)data + 1, size - 1))
        return 0;
    text = mem_strndup((const char *)data + 1, size - 1);
    scan_and_split(text, size - 1, dialects[data[0] % ARRAY_SIZE(dialects)]);
    mem_free(text);
    return 0;
}
