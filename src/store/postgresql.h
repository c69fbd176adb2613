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

#endif
