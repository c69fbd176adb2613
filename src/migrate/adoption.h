#ifndef BFM_MIGRATE_ADOPTION_H
#define BFM_MIGRATE_ADOPTION_H

#include "migrate/engine.h"

/*
 * Takes over what older servers applied: they kept no journal in their targets, so the state
 * database is all that is known. What it says is put into the target's journal, once:
 *
 *  - Only executions without a checksum are taken over. No server of ours writes such a row, and
 *    the row gets a checksum when it is in the journal, before anything else relies on that. From
 *    then on it is like any other: a journal that lacks it (a target restored or made anew) means
 *    that it is not applied, whatever the state says.
 *  - The journal comes first. A crash in between leaves a row in the journal and an execution
 *    without a checksum, and doing it again changes nothing but the latter.
 *  - What is taken over was looked at again just before, behind the lock of (migration, schema) in
 *    this process and that of the connection among servers: an undo by another server, which took
 *    it over itself before, cannot come in between.
 *  - A target that has not even the schema is another one than the older server knew; nothing is
 *    put there.
 */

/* Whether it can be done there. */
bool adoption_is_possible(const struct engine *engine, const struct backend *backend);

/*
 * Sets `adopted` of each item. The caller holds the lock of each (migration, schema); the items
 * must live until done. ERR_LOCKED when another server is at it for longer than wait_ms,
 * ERR_STORE, what the backend says, ERR_CANCELED, ERR_NOMEM.
 */
int adoption_start(struct engine *engine, struct backend *backend, struct backend_adoption *items,
                   size_t count, uint64_t wait_ms, struct op *op);

#endif
