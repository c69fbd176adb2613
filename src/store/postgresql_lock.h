#ifndef BFM_STORE_POSTGRESQL_LOCK_H
#define BFM_STORE_POSTGRESQL_LOCK_H

#include "store/postgresql_private.h"

/* How a lock is known to every server that uses the state database (bfm-api.md §6.7). */
struct pgstore_lock_key {
    int32_t high, low;
};
struct pgstore_lock_key pgstore_lock_key(const char *id, const char *schema,
                                         const char *connection);

/*
 * Advisory locks of one server, all on one session of its own: what is asked for and given back in
 * a turn travels together, and what is free is had without a wait of its own. A lock that somebody
 * has is asked for again after a moment, until the wait is over. When the session is lost its locks
 * are: whoever has one goes on, the target's journal decides then.
 */
struct pgstore_locks;

/* Connects with the first lock. NULL when memory is out. */
struct pgstore_locks *pgstore_locks_create(struct store_pg *pg, const struct pg_settings *settings);
/* Nobody waits. Done when the session has ended and everything is freed. Always starts. */
void pgstore_locks_close(struct pgstore_locks *locks, struct op *op);
int pgstore_locks_set_password(struct pgstore_locks *locks, const char *password);

/* As store_ops.lock and store_ops.unlock. */
int pgstore_lock(struct store *store, struct op *op, const struct store_lock_want *want,
                 struct store_lock_grant *out);
void pgstore_unlock(struct store *store, struct store_lock *lock);

#endif
