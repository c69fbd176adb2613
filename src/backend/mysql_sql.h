#ifndef BFM_BACKEND_MYSQL_SQL_H
#define BFM_BACKEND_MYSQL_SQL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * The text of the queries that a step sends. Pure: names and values come in quoted. Failures show
 * in buf->rc. Every text ends without a semicolon.
 */
struct mysql_names {
    const char *journal;  /* the journal's qualified name */
    const char *schema;   /* literal: the effective schema, '' without one */
    const char *database; /* identifier: what names without a database mean */
    const char *id;       /* literal: the migration */
    const char *checksum; /* literal: of the up script */
    const char *run;      /* literal: the run id */
    const char *lock;     /* literal: the name of the step's lock */
};

/* Limits of a session, in milliseconds; whole seconds are what the server knows of most. */
struct mysql_limits {
    int64_t lock_ms;      /* 0: none */
    int64_t statement_ms; /* -1: as the session has it; 0: none */
    bool is_mariadb;
};

/* Where a row of the journal is: how far a script came that ran statement by statement. */
struct mysql_place {
    const char *kind;   /* up, started, done, undo started, undo done */
    size_t statement;   /* NULL for "up" */
    const char *run;    /* literal; to move from: NULL is any */
    int64_t applied_us; /* to move to; 0: now */
    /* literal, to move to: while it is incomplete of the statements up to this one
     * (model/prefix.h); NULL: names->checksum */
    const char *checksum;
};

/* Columns of a journal row. */
enum mysql_column {
    MYSQL_COLUMN_KIND,
    MYSQL_COLUMN_RUN,
    MYSQL_COLUMN_STATEMENT, /* 0 if NULL */
    MYSQL_COLUMN_CHECKSUM,
    MYSQL_COLUMN_APPLIED_US,
    MYSQL_COLUMN_SESSION,
};

void mysql_put_limits(struct buf *sql, const struct mysql_limits *limits);
void mysql_put_lock_limit(struct buf *sql, int64_t ms);
/* The statement's limit as a session has it from the beginning. */
void mysql_put_no_limit(struct buf *sql, bool is_mariadb);
void mysql_put_create_database(struct buf *sql, const char *ident);
void mysql_put_create_journal(struct buf *sql, const char *journal);
void mysql_put_look(struct buf *sql, const struct mysql_names *names);
/* One row: 1 if the lock is had after so many seconds at most, and the session that has it. */
void mysql_put_lock(struct buf *sql, const char *lock, unsigned seconds);
/* The same row for a session that has it already. */
void mysql_put_has_lock(struct buf *sql);
void mysql_put_unlock(struct buf *sql, const char *lock);
/* Fails with 1062 if there is a row. */
void mysql_put_insert(struct buf *sql, const struct mysql_names *names,
                      const struct mysql_place *to);
/* Change the row if it is at `from`. */
void mysql_put_move(struct buf *sql, const struct mysql_names *names,
                    const struct mysql_place *from, const struct mysql_place *to);
void mysql_put_remove(struct buf *sql, const struct mysql_names *names,
                      const struct mysql_place *from);
/* Fails with 1690 unless the statement in front of it changed one row: what comes behind it in the
 * same query does not run then. */
void mysql_put_guard(struct buf *sql);

#endif
