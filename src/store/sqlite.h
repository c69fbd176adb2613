#ifndef BFM_STORE_SQLITE_H
#define BFM_STORE_SQLITE_H

#include "io/loop.h"
#include "store/store.h"

/*
 * The state database in an SQLite file of this machine: the tables of bfm-api.md §7 with times as
 * microseconds and arrays as JSON text. All work is done on the thread pool, one job at a time.
 * Several servers may use one file. NULL when memory is out; the file is opened by prepare().
 */
struct store *store_sqlite_create(struct loop *loop, const char *path);

#endif
