#ifndef BFM_MODEL_MYSQLKIND_H
#define BFM_MODEL_MYSQLKIND_H

#include "model/migration.h"
#include "model/sqlscan.h"

/*
 * What a statement of MySQL or MariaDB does to the transaction around it, and what can be done
 * about it when nobody knows whether it took effect. Their data definition commits by itself; each
 * such statement is atomic.
 */
enum mysql_kind {
    MYSQL_DML,     /* keeps the transaction */
    MYSQL_SESSION, /* SET, SELECT INTO @a, PREPARE: keeps it; to be said again on another session */
    MYSQL_TEMPORARY,  /* temporary tables: keeps it; gone with the session */
    MYSQL_REPEATABLE, /* commits; running it twice does no harm (IF EXISTS, OR REPLACE) */
    MYSQL_ONCE,       /* commits; cannot work twice (CREATE TABLE t) */
    MYSQL_DDL,        /* commits; nobody but a human can tell */
    MYSQL_OPAQUE,     /* may commit inside and take effect in part (CALL) */
};

/* The kind of the statement `span`. Pure. */
enum mysql_kind mysql_classify(const struct sql_scan *scan, const struct sql_span *span,
                               const char *text);
bool mysql_kind_keeps_transaction(enum mysql_kind kind);
/* Whether all statements of a script can run in one transaction. */
bool mysql_script_keeps_transaction(const struct script *script);

/* The first `count` tokens of a statement that are neither comments nor marks of executable ones;
 * behind its end an empty one. */
void mysql_lead(const struct sql_scan *scan, const struct sql_span *span, const char *text,
                const struct sql_token **lead, size_t count);

#endif
