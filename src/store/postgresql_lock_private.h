#ifndef BFM_STORE_POSTGRESQL_LOCK_PRIVATE_H
#define BFM_STORE_POSTGRESQL_LOCK_PRIVATE_H

#include "base/sm.h"
#include "store/postgresql_lock.h"

/* What the files postgresql_lock*.c share. */

enum lock_state {
    LOCKS_IDLE,
    LOCKS_ACQUIRING,
    LOCKS_PROVING,
    LOCKS_READY,
    LOCKS_ASKING,
};

/* A lock that is wanted, held, or to be given back. */
struct store_lock {
    struct list link; /* wanted, asked, or given back; none while it is held */
    struct pgstore_locks *locks;
    struct op *op; /* NULL: held */
    struct store_lock_grant *out;
    struct pgstore_lock_key keys[2];
    const char *id, *specific, *schema, *connection; /* of one piece with this */
    bool looks;  /* asks whether the state says that it is applied */
    bool asking; /* the query is under way */
    bool canceled;
    uint64_t try_at_ms, until_ms;
    uint64_t session; /* that holds it */
    size_t answer;    /* number of the result that is for it */
};

struct pgstore_locks {
    struct sm sm;
    struct store_pg *pg;
    struct pg_pool *pool;
    struct pg_conn *conn;
    uint64_t session; /* counts connections */
    bool off;         /* behind a pooler */
    bool is_taught;   /* the session has the statements */
    struct list wanted, asked, given_back;
    size_t held;
    struct op step;
    struct pg_results results;
    struct buf sql;
    struct task task;
    struct timer poll, linger;
    struct op *close_op;
    struct op close_pool;
};

static inline struct store_lock *lock_of(struct list *node)
{
    return container_of(node, struct store_lock, link);
}

/* postgresql_lock_session.c */
void locks_init_session(struct pgstore_locks *locks);
struct sched *locks_sched(const struct pgstore_locks *locks);
/* Something is wanted, given back, or to be closed. */
void locks_wake(struct pgstore_locks *locks);

/* postgresql_lock_query.c */
/* Gives back what is to be given back and asks for what is asked, in locks->sql. */
int locks_put_query(struct pgstore_locks *locks);
/* What the results say about one. */
bool locks_was_had(const struct pg_results *results, const struct store_lock *lock);
bool locks_is_applied(const struct pg_results *results, const struct store_lock *lock);

#endif
