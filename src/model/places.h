#ifndef BFM_MODEL_PLACES_H
#define BFM_MODEL_PLACES_H

#include "base/err.h"
#include "model/migration.h"
#include "model/sqlscan.h"

/*
 * Sets `place` and `in_dollar` of every variable among the parts of an SQL text, from its tokens.
 * The body of a dollar-quoted string is scanned as SQL of its own, unless its LANGUAGE is another
 * one or it cannot be scanned: then only values that mean the same everywhere can stand in it.
 * ERR_INVALID with the line where a variable would make up a dollar quote's tag; ERR_NOMEM.
 */
int places_find(struct template_part *parts, size_t count, const char *text, size_t len,
                const struct sql_scan *scan, enum sql_dialect dialect, struct err *err);

#endif
