#ifndef BFM_MODEL_VARIABLES_H
#define BFM_MODEL_VARIABLES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "model/migration.h"
#include "model/sqlscan.h"

/* Finding the variables of a script once, when it is loaded (bfm-api.md §3.2). */

/* The first {{.Name}} of a known name in text[from, len); any other {{...}} is plain text. */
bool variables_next(const char *text, size_t from, size_t len, struct template_part *out);

/* Whether one begins at `at`. */
bool variables_is_at(const char *text, size_t at, size_t len);

/* Overwrites every variable with letters, so that a parser takes it for an identifier. */
void variables_mask(char *text, size_t len);

/*
 * Divides a script into parts, in `arena`. With `scan` (its tokens) each variable gets the place
 * where it stands in SQL; without, all get `place`. ERR_INVALID with the line where a variable
 * would make up a dollar quote's tag; ERR_NOMEM.
 */
int variables_scan(struct script *script, const struct sql_scan *scan, enum sql_dialect dialect,
                   enum template_place place, struct arena *arena, struct err *err);

#endif
