#include "model/prefix.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "model/checksum.h"
#include "model/sqlscan.h"

static int prefix_extend(struct script_prefix *prefix, const struct script *script,
                         struct buf *scratch)
{
    const struct sql_statement *statement = &script->statements[prefix->count];
    int rc;

    buf_truncate(scratch, 0);
    buf_puts(scratch, prefix->checksum);
    checksum_put(scratch, script->text + statement->start, statement->end - statement->start);
    if (scratch->rc != 0)
        return scratch->rc;
    rc = hash_sha256_hex(scratch->data, scratch->len, prefix->checksum);
    if (rc == 0)
        prefix->count++;
    return rc;
}

int script_prefix_move(struct script_prefix *prefix, const struct script *script, size_t count)
{
    struct buf scratch;
    int rc = 0;

    if (prefix->checksum[0] == '\0' || count < prefix->count) {
        *prefix = (struct script_prefix){.count = 0};
        rc = hash_sha256_hex("", 0, prefix->checksum);
    }
    buf_init(&scratch, (size_t)2 * SQL_TEXT_MAX);
    while (rc == 0 && prefix->count < count)
        rc = prefix_extend(prefix, script, &scratch);
    buf_free(&scratch);
    return rc;
}

int script_prefix_checksum(const struct script *script, size_t count, char out[HASH_SHA256_HEX])
{
    struct script_prefix prefix = {.count = 0};
    int rc = script_prefix_move(&prefix, script, count);

    memcpy(out, prefix.checksum, sizeof(prefix.checksum));
    return rc;
}

int script_prefix_compare(const struct script *script, size_t count, const char *checksum,
                          bool *same)
{
    char of_prefix[HASH_SHA256_HEX];
    int rc;

    *same = false;
    if (script->file == NULL || count > script->statement_count)
        return 0;
    *same = checksum[0] == '\0' || strcmp(checksum, script->checksum) == 0;
    if (*same)
        return 0;
    rc = script_prefix_checksum(script, count, of_prefix);
    *same = rc == 0 && strcmp(checksum, of_prefix) == 0;
    return rc;
}

int script_prefix_refuse(struct err *err, int code, const struct script *script, size_t reached,
                         const char *how)
{
    char which[64], now[64] = "";

    if (reached == 1)
        snprintf(which, sizeof(which), "statement 1");
    else
        snprintf(which, sizeof(which), "statements 1-%zu", reached);
    if (reached > script->statement_count)
        snprintf(now, sizeof(now), " (it has only %zu now)", script->statement_count);
    return err_set(err, code,
                   "the script was changed since it stopped at statement %zu (%s): bring the old "
                   "text of %s back%s and run it again, to go on from there; only what comes "
                   "behind may be changed",
                   reached, how, which, now);
}
