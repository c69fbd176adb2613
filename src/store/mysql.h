#ifndef BFM_STORE_MYSQL_H
#define BFM_STORE_MYSQL_H

#include "driver/maria.h"
#include "store/store.h"

/*
 * The state database in MySQL or MariaDB (InnoDB, utf8mb4, compared bytewise): the tables of
 * bfm-api.md §7 in the database settings->database, which is made when it is missing. Tables of an
 * earlier version of its own are used in place, what they lack is added. Copies the settings. NULL
 * when memory is out. Connects with the first operation.
 *
 * A batch of writes is one transaction. When its connection breaks it is sent once more: rows carry
 * run_id under a unique index, so what was committed after all is found and nothing is done twice.
 */
struct store *store_mysql_create(struct loop *loop, const struct maria_settings *settings);

/* As maria_pool_set_password(). */
int store_mysql_set_password(struct store *store, const char *password);

#endif
