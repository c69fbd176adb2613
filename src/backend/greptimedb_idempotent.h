#ifndef BFM_BACKEND_GREPTIMEDB_IDEMPOTENT_H
#define BFM_BACKEND_GREPTIMEDB_IDEMPOTENT_H

#include "model/sqlscan.h"

/*
 * Whether a statement may simply be said again when nobody knows if it took effect: both times
 * leave the same behind, and the second does not fail because of the first. False for all that is
 * not known to be so, and when memory is out. An INSERT is not: whether the same key overwrites
 * depends on the table (append_mode).
 */
bool gtdb_is_repeatable(struct sql_scan *scan, const char *sql, size_t len);

#endif
