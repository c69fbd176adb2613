#ifndef BFM_MODEL_CHECKSUM_H
#define BFM_MODEL_CHECKSUM_H

#include "base/buf.h"
#include "base/hash.h"
#include "model/sqlscan.h"

/*
 * SHA-256 over what a script means. `scratch` is overwritten; its maximum is to be at least twice
 * the text's length. Return 0, ERR_NOMEM or ERR_LIMIT.
 */

/* Appends the text with line ends as LF. Failures show in scratch->rc. */
void checksum_put(struct buf *scratch, const char *text, size_t len);

/* SQL: tokens as they are (line ends in them as LF), each run of blanks and comments one blank. */
int checksum_sql(const struct sql_scan *scan, const char *text, struct buf *scratch,
                 char out[HASH_SHA256_HEX]);

/* Anything else: the text with its ends trimmed and line ends as LF. */
int checksum_text(const char *text, size_t len, struct buf *scratch, char out[HASH_SHA256_HEX]);

#endif
