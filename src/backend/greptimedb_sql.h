#ifndef BFM_BACKEND_GREPTIMEDB_SQL_H
#define BFM_BACKEND_GREPTIMEDB_SQL_H

#include <stdbool.h>

#include "base/buf.h"

/* Names and texts on their way to GreptimeDB. Pure. */

/* Whether it can name a database. */
bool gtdb_name_is_valid(const char *name);
/* Path and query that run a statement in a database; `brief`: rows of answers do not matter. */
int gtdb_put_path(struct buf *out, const char *database, bool brief);
int gtdb_put_identifier(struct buf *out, const char *name);
int gtdb_put_literal(struct buf *out, const char *text);

#endif
