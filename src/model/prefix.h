#ifndef BFM_MODEL_PREFIX_H
#define BFM_MODEL_PREFIX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "model/migration.h"

/*
 * What a script that runs statement by statement is compared by while it is incomplete: only its
 * first `count` statements matter then, those that took effect and the one that was started. What
 * comes behind, and what stands between statements, may be changed.
 *
 * The checksum is a chain, so that the next one costs its own statement only:
 *   c(0) = SHA-256 of nothing, c(n) = SHA-256 of c(n-1) in hex and the text of statement n
 * with line ends as LF and variables as they are written.
 */

/* `count` is at most script->statement_count. 0, ERR_NOMEM or ERR_LIMIT. */
int script_prefix_checksum(const struct script *script, size_t count, char out[HASH_SHA256_HEX]);

/* The same for a caller that goes on and on with one script. All zero at first. */
struct script_prefix {
    size_t count;
    char checksum[HASH_SHA256_HEX]; /* "" at first */
};
int script_prefix_move(struct script_prefix *prefix, const struct script *script, size_t count);

/*
 * Whether the script begins with the `count` statements that `checksum` is of: their checksum, or
 * the whole script's, as was recorded before. A person who changed the row by hand says by "" that
 * it does. 0, ERR_NOMEM or ERR_LIMIT.
 */
int script_prefix_compare(const struct script *script, size_t count, const char *checksum,
                          bool *same);

/* Says that it does not, and what to do. `reached`: the last of these statements, and `how`: "done"
 * or the like. Returns `code`. */
int script_prefix_refuse(struct err *err, int code, const struct script *script, size_t reached,
                         const char *how);

#endif
