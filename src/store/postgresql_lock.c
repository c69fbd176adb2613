/* One lock, and all of them: what the store is asked. The session is in postgresql_lock_session.c.
 */
#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "store/postgresql_lock_private.h"

struct pgstore_lock_key pgstore_lock_key(const char *id, const char *schema, const char *connection)
{
    uint64_t hash = hash_fnv1a(HASH_FNV_START, id, strlen(id) + 1);

    hash = hash_fnv1a(hash, schema, strlen(schema) + 1);
    hash = hash_fnv1a(hash, connection, strlen(connection));
    return (struct pgstore_lock_key){.high = (int32_t)(uint32_t)(hash >> 32),
                                     .low = (int32_t)(uint32_t)hash};
}

/* --- one lock --- */

static void lock_cancel(struct op *op)
{
    struct store_lock *lock = op->impl;
    struct sched *sched = locks_sched(lock->locks);

    lock->canceled = true;
    if (lock->asking)
        return;
    list_remove(&lock->link);
    mem_free(lock);
    op_finish_later(op, sched, ERR_CANCELED);
}

/* The texts of a lock, behind it in one piece of memory. */
static struct store_lock *lock_create(const char *id, const char *schema, const char *connection)
{
    size_t id_size = strlen(id) + 1, schema_size = strlen(schema) + 1;
    size_t connection_size = strlen(connection) + 1;
    struct store_lock *lock =
        mem_calloc(1, sizeof(*lock) + 2 * id_size + 2 * schema_size + connection_size);
    char *text;

    if (lock == NULL)
        return NULL;
    text = (char *)(lock + 1);
    lock->id = memcpy(text, id, id_size);
    text += id_size;
    lock->schema = memcpy(text, schema, schema_size);
    text += schema_size;
    lock->connection = memcpy(text, connection, connection_size);
    text += connection_size;
    lock->specific = text;
    memcpy(text, schema, schema_size - 1);
    text[schema_size - 1] = '_';
    memcpy(text + schema_size, id, id_size);
    return lock;
}

int pgstore_lock(struct store *store, struct op *op, const struct store_lock_want *want,
                 struct store_lock_grant *out)
{
    struct store_pg *pg = container_of(store, struct store_pg, core.store);
    struct pgstore_locks *locks = pg->locks;
    const char *id = want->migration != NULL ? want->migration->id : "bfm adoption";
    struct store_lock *lock;

    *out = (struct store_lock_grant){.lock = NULL};
    if (locks->close_op != NULL)
        return op_refuse(op, ERR_SHUTDOWN, "the server is stopping");
    if (locks->off) {
        op_begin(op, NULL, NULL);
        op_finish_later(op, locks_sched(locks), 0);
        return 0;
    }
    lock = lock_create(id, want->schema, want->connection);
    if (lock == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    lock->locks = locks;
    lock->op = op;
    lock->out = out;
    lock->looks = want->migration != NULL;
    lock->keys[0] = pgstore_lock_key(id, want->schema, want->connection);
    lock->keys[1] = pgstore_lock_key(lock->specific, want->schema, want->connection);
    lock->try_at_ms = locks_sched(locks)->now_ms;
    lock->until_ms = lock->try_at_ms + want->wait_ms;
    list_push_back(&locks->wanted, &lock->link);
    locks_wake(locks);
    op_begin(op, lock, lock_cancel);
    return 0;
}

void pgstore_unlock(struct store *store, struct store_lock *lock)
{
    struct pgstore_locks *locks = lock->locks;

    (void)store;
    assert(lock->op == NULL);
    if (lock->session != locks->session) { /* lost with its session */
        mem_free(lock);
        return;
    }
    locks->held--;
    list_push_back(&locks->given_back, &lock->link);
    locks_wake(locks);
}

/* --- all of them --- */

struct pgstore_locks *pgstore_locks_create(struct store_pg *pg, const struct pg_settings *settings)
{
    struct pgstore_locks *locks = mem_calloc(1, sizeof(*locks));
    struct pg_settings own = *settings;

    if (locks == NULL)
        return NULL;
    own.max_open = 1;
    own.max_idle = 1;
    own.application_name = "bfm-state-locks";
    locks->pool = pg_pool_create(pg->loop, &own);
    if (locks->pool == NULL) {
        mem_free(locks);
        return NULL;
    }
    locks->pg = pg;
    locks_init_session(locks);
    return locks;
}

static void locks_on_pool_closed(struct op *op, int rc)
{
    struct pgstore_locks *locks = container_of(op, struct pgstore_locks, close_pool);
    struct op *close_op = locks->close_op;

    (void)rc;
    sched_undefer(&locks->task);
    buf_free(&locks->sql);
    mem_free(locks);
    op_finish(close_op, 0);
}

void pgstore_locks_close(struct pgstore_locks *locks, struct op *op)
{
    op_begin(op, locks, NULL);
    locks->close_op = op;
    op_init(&locks->close_pool, locks_on_pool_closed);
    locks_wake(locks);
}

int pgstore_locks_set_password(struct pgstore_locks *locks, const char *password)
{
    return pg_pool_set_password(locks->pool, password);
}
