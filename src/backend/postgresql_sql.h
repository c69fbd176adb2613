#ifndef BFM_BACKEND_POSTGRESQL_SQL_H
#define BFM_BACKEND_POSTGRESQL_SQL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * The text of the queries that a step sends. Pure: every name and value comes in quoted already (by
 * the client library), so nothing here needs a connection. Failures show in buf->rc.
 */

/* What the texts of one step are made of. */
struct pgsql_names {
    const char *marker;        /* comment in front of every query of the step */
    const char *journal;       /* the journal's qualified name */
    const char *schema;        /* literal: the effective schema */
    const char *ident;         /* identifier: the effective schema */
    const char *schema_ident;  /* literal: the effective schema as an identifier */
    const char *path;          /* literal: the value of search_path */
    const char *id;            /* literal: the migration */
    const char *checksum;      /* literal: of the up script */
    const char *run;           /* literal: the run id */
    const char *create_schema; /* a statement that creates the schema if it is missing, or NULL */
    uint64_t journal_wait_ms;  /* for another writer of the same journal row */
    int64_t lock_timeout_ms;
    int64_t statement_timeout_ms; /* -1: as the session has it */
};

/* Where the parts of a step's query are: statements counted from 0, bytes from its start. */
struct pgsql_layout {
    size_t schema_at;  /* creates the schema; SIZE_MAX: no such statement */
    size_t journal_at; /* writes the journal */
    size_t guard_at;   /* makes sure that unqualified names mean the effective schema */
    size_t script_at;
    size_t script_start, script_end;
};

/*
 * A step in one query: head, script, tail. The head begins the transaction, writes the journal and
 * sets the limits and the search path. When the schema is missing, or may not be used, it fails at
 * guard_at: on an up with SQLSTATE 23502, on a down with 3F000 or 22012. On a down it fails at
 * journal_at with 22012 when the journal has no row.
 */
void pgsql_put_up_head(struct buf *sql, const struct pgsql_names *names,
                       struct pgsql_layout *layout);
void pgsql_put_down_head(struct buf *sql, const struct pgsql_names *names,
                         struct pgsql_layout *layout);
/* `clean`: also removes what the script may have left on the session. */
void pgsql_put_tail(struct buf *sql, bool clean);
/* Instead of script and tail: finds out whether the head can be done, and does nothing. */
void pgsql_put_probe_tail(struct buf *sql);

/* Statements that leave a session as a new one; each is allowed in a transaction. */
void pgsql_put_clean(struct buf *sql);

/* Columns of a journal row as pgsql_put_look() asks for them. */
enum pgsql_row {
    PGSQL_KIND,
    PGSQL_RUN,
    PGSQL_STATEMENT, /* 0 if NULL */
    PGSQL_CHECKSUM,
    PGSQL_APPLIED_US,
    PGSQL_AGE_MS,
    PGSQL_IS_ALIVE, /* 't': a session runs a query of the step that wrote the row */
};
/* `marker_tail`: literal, what stands behind the run id in the marker of such a step. */
void pgsql_put_look(struct buf *sql, const struct pgsql_names *names, const char *marker_tail);

/* One row if the effective schema exists. */
void pgsql_put_look_for_schema(struct buf *sql, const struct pgsql_names *names);

/* The bodies of DO blocks, to be quoted as a literal: race-safe as far as no error is shown for
 * what exists already. `wait_ms` is for somebody else who makes the same schema; it fails with
 * SQLSTATE 55P03 then. */
void pgsql_put_create_schema_body(struct buf *body, const char *schema_literal,
                                  const char *schema_ident, uint64_t wait_ms);
void pgsql_put_create_journal_body(struct buf *body, const char *schema_literal,
                                   const char *schema_ident, uint64_t wait_ms);

/*
 * Scripts without a transaction: the journal row says how far it is. Every move compares what the
 * row was and changes it in one statement, and returns one row if it was so.
 */
struct pgsql_place {
    const char *kind;   /* a plain word: up, started, done, undo started, undo done */
    size_t statement;   /* 0 is written as NULL for "up" */
    const char *run;    /* literal */
    int64_t applied_us; /* since 1970, to move to; 0: now */
    /* literal, to move to: while it is incomplete of the statements up to this one
     * (model/prefix.h); NULL: names->checksum */
    const char *checksum;
};
void pgsql_put_claim(struct buf *sql, const struct pgsql_names *names);
void pgsql_put_move(struct buf *sql, const struct pgsql_names *names,
                    const struct pgsql_place *from, const struct pgsql_place *to);
void pgsql_put_remove(struct buf *sql, const struct pgsql_names *names,
                      const struct pgsql_place *from);
/* The same, but the query fails with 22012 if the row was not so. */
void pgsql_put_move_or_fail(struct buf *sql, const struct pgsql_names *names,
                            const struct pgsql_place *from, const struct pgsql_place *to);
/*
 * What an earlier try of a statement left behind, by the session's search path. Created: the index
 * of that name on that table. Dropped: one row if there still is something of that name. Reindexed:
 * an invalid copy beside the index, or on the table.
 */
struct pgsql_check {
    const char *index; /* literal: CREATE INDEX: the name as the catalog has it */
    const char *name;  /* literal: the table or the index as written */
    bool of_table;
};
enum pgsql_found {
    PGSQL_IS_VALID,
    PGSQL_INDEX,       /* qualified and quoted */
    PGSQL_IS_BUILDING, /* somebody is creating it right now */
};
void pgsql_put_check_created(struct buf *sql, const struct pgsql_check *check);
void pgsql_put_check_dropped(struct buf *sql, const struct pgsql_check *check);
void pgsql_put_check_reindexed(struct buf *sql, const struct pgsql_check *check);
/* Fails with SQLSTATE PGSQL_POOLED unless `pid` is the server process that answers, as the
 * connection was told when it was made: a pooler makes up a number. */
#define PGSQL_POOLED "BFM01"
void pgsql_put_no_pooler(struct buf *sql, int pid);
/* Search path and limits for the rest of the transaction (local) or of the session. */
void pgsql_put_settings(struct buf *sql, const struct pgsql_names *names, bool local);

#endif
