#ifndef BFM_MODEL_SQLMASK_H
#define BFM_MODEL_SQLMASK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/*
 * Changes a copy of SQL text, byte for byte in place, so that PostgreSQL's scanner finds in it the
 * tokens of another dialect at the same offsets.
 */

/*
 * GreptimeDB: contents of strings and quoted names become plain letters, `x` a plain identifier,
 * comments do not nest. ERR_INVALID with the line of a quote that is not closed.
 */
int sql_mask_greptimedb(char *text, size_t len, struct err *err);

/*
 * Numbers that are newer than the scanner (0x1F, 0b1, 1_000), or with `any` all that letters follow
 * (5m), become digits. What looks like one inside a string is changed too, which moves no token.
 */
void sql_mask_numbers(char *text, size_t len, bool any);

#endif
