#ifndef BFM_MODEL_SQLSPLIT_H
#define BFM_MODEL_SQLSPLIT_H

#include "base/arena.h"
#include "model/migration.h"
#include "model/sqlscan.h"

/*
 * Divides a scanned text into statements: fills scan->spans and gives the same as offsets and lines
 * in *out, in `arena`. Semicolons inside parentheses (rules) and inside BEGIN ATOMIC bodies do not
 * divide; nor, in MySQL, those in the bodies of routines. Empty statements are left out. Returns 0
 * or ERR_NOMEM.
 */
int sql_split(struct sql_scan *scan, const char *text, size_t len, struct arena *arena,
              const struct sql_statement **out, size_t *count);

#endif
