#ifndef BFM_MODEL_MYSQLCHECK_H
#define BFM_MODEL_MYSQLCHECK_H

#include "model/sqlscan.h"

/* What sqlcheck.h says, for scripts of MySQL and MariaDB; called from there. */
int mysql_check(const struct sql_scan *scan, const char *text, size_t len, struct err *err);
int mysql_check_outside(const struct sql_scan *scan, const char *text, struct err *err);
bool mysql_dirties_session(const struct sql_scan *scan, const char *text);

#endif
