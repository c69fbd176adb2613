#ifndef BFM_DRIVER_SQLITE_H
#define BFM_DRIVER_SQLITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/*
 * One connection to an SQLite file. Every function here may wait for the disk or for another
 * process: call them on a pool thread (io/work.h), one at a time per connection.
 *
 * Failures: ERR_DB when the statement itself was refused (a constraint), ERR_NOMEM, and ERR_STORE
 * for everything that is wrong with the file or the disk. No text holds the path.
 */
struct sqlite;
struct sqlite_stmt;

/* Opens the file, creating it with mode 0600; WAL mode, foreign keys on, waits up to 5 s for other
 * processes. */
int sqlite_open(const char *path, struct sqlite **out, struct err *err);
void sqlite_close(struct sqlite *db); /* NULL is fine */

/* True after a failure that a new connection might not have. */
bool sqlite_is_broken(const struct sqlite *db);
/* True if the path does not lead to the open file any more. */
bool sqlite_has_moved(struct sqlite *db);

/* Runs statements that return nothing of interest. */
int sqlite_exec(struct sqlite *db, const char *sql, struct err *err);
/* Ends an open transaction without keeping anything. */
void sqlite_rollback(struct sqlite *db);

/* A statement ready to be bound; prepared once per connection. `sql` is a constant: its address is
 * the key. */
int sqlite_prepare(struct sqlite *db, const char *sql, struct sqlite_stmt **out, struct err *err);
/* Parameters are numbered from 1. Text is borrowed until the statement is reset; NULL is SQL NULL.
 * A failure shows at the next step. */
void sqlite_bind_text(struct sqlite_stmt *stmt, int number, const char *text);
void sqlite_bind_int(struct sqlite_stmt *stmt, int number, int64_t value);
/* Sets *row when there is one; otherwise the statement has ended and is reset. */
int sqlite_step(struct sqlite_stmt *stmt, bool *row, struct err *err);
/* Steps to the end. */
int sqlite_run(struct sqlite_stmt *stmt, struct err *err);
void sqlite_reset(struct sqlite_stmt *stmt);
/* Rows changed by the statement that ended last. */
int sqlite_changes(struct sqlite *db);

/* Cells of the current row, columns from 0, valid until the next step. Text of NULL is NULL, the
 * number of NULL is 0. */
const char *sqlite_text(struct sqlite_stmt *stmt, int column);
int64_t sqlite_int(struct sqlite_stmt *stmt, int column);

#endif
