#ifndef BFM_MODEL_MYSQLSCAN_H
#define BFM_MODEL_MYSQLSCAN_H

#include "model/sqlscan.h"

/*
 * The tokens of MySQL's and MariaDB's SQL, as a session reads them that has neither ANSI_QUOTES nor
 * NO_BACKSLASH_ESCAPES:
 *
 *   SQL_ESTRING  '...' and "...", with backslashes; the letters in front (N, x, b, _utf8mb4) are a
 *                word of their own
 *   SQL_QUOTED   `...`
 *   SQL_OTHER    also @name, @@name, \N, an optimizer hint as a whole, and the marks of executable
 *                comments: what is between them is code that counts like any other
 *
 * Called by sql_scan_text(), with the same errors.
 */
int mysql_scan_text(struct sql_scan *scan, const char *text, size_t len, struct err *err);

/* Whether the token opens or closes an executable comment. */
bool mysql_token_is_mark(const char *text, const struct sql_token *token);
/* Whether it opens one. */
bool mysql_token_is_open_mark(const char *text, const struct sql_token *token);

#endif
