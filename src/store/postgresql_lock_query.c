/* What the session of the locks is asked, and what it answers. */
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "store/postgresql_lock_private.h"

/* Prepared once a session, as every step needs them: planning would take longer than all the rest.
 * bfm_try takes both keys or none; bfm_look is a statement of its own, so that it sees what whoever
 * had the lock has written. */
static const char lock_statements[] =
    "SET plan_cache_mode = force_generic_plan;"
    "PREPARE bfm_give(int,int,int,int) AS SELECT pg_advisory_unlock($1,$2),"
    "pg_advisory_unlock($3,$4);"
    "PREPARE bfm_try(int,int,int,int) AS SELECT CASE WHEN pg_try_advisory_lock($1,$2) THEN CASE"
    " WHEN pg_try_advisory_lock($3,$4) THEN true ELSE NOT pg_advisory_unlock($1,$2) END"
    " ELSE false END;"
    "PREPARE bfm_look(text,text,text,text) AS SELECT 1 FROM %s.migrations_executions"
    " WHERE migration_id IN ($1,$2) AND schema = $3 AND connection = $4 AND applied LIMIT 1;";

enum {
    LOCK_STATEMENTS = 4,
};

static void query_put_keys(struct buf *sql, const char *statement, const struct store_lock *lock)
{
    buf_printf(sql, "EXECUTE %s(%" PRId32 ",%" PRId32 ",%" PRId32 ",%" PRId32 ");", statement,
               lock->keys[0].high, lock->keys[0].low, lock->keys[1].high, lock->keys[1].low);
}

static int query_put_look(struct pgstore_locks *locks, const struct store_lock *lock)
{
    const char *const texts[] = {lock->id, lock->specific, lock->schema, lock->connection};
    struct buf *sql = &locks->sql;
    int rc = 0;

    buf_puts(sql, "EXECUTE bfm_look");
    for (size_t i = 0; i < ARRAY_SIZE(texts) && rc == 0; i++) {
        buf_putc(sql, i == 0 ? '(' : ',');
        rc = pg_put_literal(sql, locks->conn, texts[i]);
    }
    buf_puts(sql, ");");
    return rc;
}

int locks_put_query(struct pgstore_locks *locks)
{
    struct buf *sql = &locks->sql;
    struct list *node;
    size_t statements = 0;
    int rc = 0;

    buf_truncate(sql, 0);
    if (!locks->is_taught) {
        buf_printf(sql, lock_statements, locks->pg->quoted_schema);
        statements = LOCK_STATEMENTS;
        locks->is_taught = true;
    }
    for (; (node = list_pop_front(&locks->given_back)) != NULL; statements++) {
        query_put_keys(sql, "bfm_give", lock_of(node));
        mem_free(lock_of(node));
    }
    list_foreach(at, &locks->asked) {
        struct store_lock *lock = lock_of(at);

        lock->asking = true;
        lock->answer = statements;
        query_put_keys(sql, "bfm_try", lock);
        if (lock->looks && rc == 0)
            rc = query_put_look(locks, lock);
        statements += lock->looks ? 2 : 1;
    }
    return rc != 0 ? rc : sql->rc;
}

bool locks_was_had(const struct pg_results *results, const struct store_lock *lock)
{
    const PGresult *result = lock->answer < results->count ? results->results[lock->answer] : NULL;

    return result != NULL && PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "t") == 0;
}

bool locks_is_applied(const struct pg_results *results, const struct store_lock *lock)
{
    return lock->looks && lock->answer + 1 < results->count &&
           PQntuples(results->results[lock->answer + 1]) > 0;
}
