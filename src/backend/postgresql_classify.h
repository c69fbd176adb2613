#ifndef BFM_BACKEND_POSTGRESQL_CLASSIFY_H
#define BFM_BACKEND_POSTGRESQL_CLASSIFY_H

#include <stdbool.h>

#include "base/buf.h"

enum {
    PGSQL_NAME_MAX = 256,
};

/*
 * What kind a statement of a script without a transaction is: whether it can have a transaction of
 * its own, and what can be done about it after a crash. Pure.
 */
enum pgsql_statement_kind {
    PGSQL_ATOMIC,       /* can run in a transaction, together with its mark in the journal */
    PGSQL_CREATE_INDEX, /* CREATE INDEX CONCURRENTLY name ON table: the catalog tells */
    PGSQL_DROP_INDEX,   /* DROP INDEX CONCURRENTLY name: the catalog tells */
    PGSQL_REINDEX,      /* REINDEX INDEX or TABLE CONCURRENTLY name: may leave invalid copies */
    PGSQL_REPEATABLE,   /* VACUUM, ANALYZE, SET, other REINDEX: running it twice does no harm */
    PGSQL_OPAQUE,       /* nobody but a human can tell */
};

struct pgsql_statement {
    enum pgsql_statement_kind kind;
    char index[PGSQL_NAME_MAX]; /* CREATE INDEX: the name as the catalog has it */
    char name[PGSQL_NAME_MAX];  /* CREATE INDEX: the table; DROP, REINDEX: the object; as written,
                                   for  to_regclass() */
    bool of_table;              /* REINDEX: `name` is a table */
};

void pgsql_classify(const char *sql, size_t len, struct pgsql_statement *out);

#endif
