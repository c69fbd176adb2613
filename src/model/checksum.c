#include "model/checksum.h"

#include <string.h>

#include "model/metadata.h"

void checksum_put(struct buf *scratch, const char *text, size_t len)
{
    const char *end = text + len;

    while (text < end) {
        const char *cr = memchr(text, '\r', (size_t)(end - text));
        const char *stop = cr != NULL ? cr : end;

        buf_append(scratch, text, (size_t)(stop - text));
        if (cr != NULL && (cr + 1 == end || cr[1] != '\n'))
            buf_putc(scratch, '\r');
        text = stop + 1;
    }
}

int checksum_sql(const struct sql_scan *scan, const char *text, struct buf *scratch,
                 char out[HASH_SHA256_HEX])
{
    size_t end = 0;

    buf_truncate(scratch, 0);
    for (size_t i = 0; i < scan->token_count; i++) {
        const struct sql_token *token = &scan->tokens[i];

        if (sql_token_is_comment(token))
            continue;
        if (token->start > end && scratch->len > 0)
            buf_putc(scratch, ' ');
        checksum_put(scratch, text + token->start, token->end - token->start);
        end = token->end;
    }
    if (scratch->rc != 0)
        return scratch->rc;
    return hash_sha256_hex(buf_str(scratch), scratch->len, out);
}

int checksum_text(const char *text, size_t len, struct buf *scratch, char out[HASH_SHA256_HEX])
{
    struct slice trimmed = metadata_trim((struct slice){.at = text, .len = len});

    buf_truncate(scratch, 0);
    checksum_put(scratch, trimmed.at, trimmed.len);
    if (scratch->rc != 0)
        return scratch->rc;
    return hash_sha256_hex(buf_str(scratch), scratch->len, out);
}
