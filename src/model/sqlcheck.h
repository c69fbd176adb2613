#ifndef BFM_MODEL_SQLCHECK_H
#define BFM_MODEL_SQLCHECK_H

#include "model/sqlscan.h"

/*
 * Refuses what must not be in a script, statement by statement (spans of sql_split()): transaction
 * control, psql's meta-commands, COPY over the connection, and a variable where the first word says
 * what a statement is. ERR_INVALID with a text, the number of
 * the statement and its line.
 */
int sql_check(const struct sql_scan *scan, const char *text, size_t len, struct err *err);

/*
 * Refuses what a script without a transaction cannot have (PostgreSQL): statements whose only
 * effect is on their session or transaction, as each statement may have another one. Like
 * sql_check().
 */
int sql_check_outside(const struct sql_scan *scan, const char *text, struct err *err);

/*
 * Whether running the statements may leave settings, locks, temporary objects or the like on the
 * session: everything but statements that are known not to.
 */
bool sql_dirties_session(const struct sql_scan *scan, const char *text);

#endif
