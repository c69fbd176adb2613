#ifndef BFM_STORE_POSTGRESQL_H
#define BFM_STORE_POSTGRESQL_H

#include "driver/pg.h"
#include "store/store.h"

/*
 * The state database in PostgreSQL, schema `schema` (BFM_STATE_SCHEMA, made when it is missing):
 * the current layout of bfm-api.md §7, used in place when there, with columns of its own that are
 * nullable. Copies the settings. NULL when memory is out. Connects with the first operation.
 *
 * A batch of writes is one statement. When its connection breaks it is sent once more: rows carry
 * run_id under a unique index, so what was committed after all is found and nothing is done twice.
 */
struct store *store_postgresql_create(struct loop *loop, const struct pg_settings *settings,
                                      const char *schema);

/*
 * Makes store_ops.lock work, by advisory locks of one more session, opened when it is needed. Not
 * behind a pooler that gives sessions away after each transaction: that is found out, logged, and
 * nothing is locked then. Call it before anything else. Returns 0 or ERR_NOMEM.
 */
int store_postgresql_use_locks(struct store *store, const struct pg_settings *settings);

/* As pg_pool_set_password(). */
int store_postgresql_set_password(struct store *store, const char *password);

#endif
