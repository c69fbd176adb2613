#ifndef BFM_MODEL_HEADER_H
#define BFM_MODEL_HEADER_H

#include "base/arena.h"
#include "model/metadata.h"
#include "model/sqlscan.h"

/*
 * Native metadata of an SQL script: `bfm-...:` in comments in front of the first statement, one per
 * line; `bfm-tags` also behind it within the first 80 lines. ERR_INVALID with text and line for a
 * header that is unknown, malformed or given twice; ERR_NOMEM.
 */
int header_read(const struct sql_scan *scan, const char *text, struct arena *arena,
                struct metadata *metadata, struct err *err);

#endif
