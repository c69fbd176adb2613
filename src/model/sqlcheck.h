#ifndef BFM_MODEL_SQLCHECK_H
#define BFM_MODEL_SQLCHECK_H

#include "model/sqlscan.h"

/* For the files that check: refuses statement number `statement` (from 0) at a token, for `why`. */
int sql_check_refuse(struct err *err, const char *text, const struct sql_token *token,
                     size_t statement, const char *why);

/*
 * Refuses what must not be in a script, statement by statement (spans of sql_split()): transaction
 * control, psql's meta-commands, COPY over the connection, and a variable where the first word says
 * what a statement is; in GreptimeDB also USE and SET. In MySQL (mysqlcheck.c) also what the
 * client's programs do by themselves, and what changes how the text behind it is read. ERR_INVALID
 * with a text, the number of the statement and its line.
 */
int sql_check(const struct sql_scan *scan, const char *text, size_t len, struct err *err);

/*
 * Refuses what a script without a transaction cannot have: statements whose only effect is on their
 * session or transaction, as each statement may have another one; in MySQL temporary tables and
 * LAST_INSERT_ID() and the like. Like sql_check().
 */
int sql_check_outside(const struct sql_scan *scan, const char *text, struct err *err);

/*
 * Whether running the statements may leave settings, locks, temporary objects or the like on the
 * session: everything but statements that are known not to.
 */
bool sql_dirties_session(const struct sql_scan *scan, const char *text);

#endif
