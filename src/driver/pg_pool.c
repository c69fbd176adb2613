#include <string.h>

#include "base/mem.h"
#include "driver/pg_private.h"

static struct pg_pool *pg_pool_of(struct pool *pool)
{
    return container_of(pool, struct pg_pool, pool);
}

static struct pool_conn *pg_pool_create_conn(struct pool *pool)
{
    struct pg_conn *conn = pg_conn_create(pg_pool_of(pool));

    return conn != NULL ? &conn->pooled : NULL;
}

static int pg_pool_connect(struct pool_conn *pooled, struct err *err)
{
    return pg_connect_start(pg_conn_of(pooled), err);
}

static bool pg_pool_rest(struct pool_conn *pooled)
{
    struct pg_conn *conn = pg_conn_of(pooled);

    pg_conn_move(conn, PG_IDLE);
    return pg_conn_watch(conn, UV_READABLE) == 0;
}

static void pg_pool_lend(struct pool_conn *pooled, void *out)
{
    struct pg_conn *conn = pg_conn_of(pooled);
    struct pg_conn **slot = out;

    pg_conn_move(conn, PG_LENT);
    *slot = conn;
}

static bool pg_pool_is_fit(struct pool_conn *pooled)
{
    const struct pg_conn *conn = pg_conn_of(pooled);

    return !conn->broken && !conn->retire && PQtransactionStatus(conn->pq) == PQTRANS_IDLE;
}

static void pg_pool_close_conn(struct pool_conn *pooled)
{
    pg_conn_close(pg_conn_of(pooled));
}

static void pg_settings_free(struct pg_settings *settings)
{
    const char *const texts[] = {settings->host,
                                 settings->port,
                                 settings->user,
                                 settings->password,
                                 settings->database,
                                 settings->sslmode,
                                 settings->application_name};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        char *text = NULL;

        memcpy(&text, &texts[i], sizeof(text)); /* ours since pg_settings_copy() */
        mem_free(text);
    }
}

static void pg_pool_free(struct pool *pool)
{
    struct pg_pool *pg = pg_pool_of(pool);

    pg_settings_free(&pg->settings);
    mem_free(pg);
}

static const struct pool_kind pg_pool_kind = {
    .create = pg_pool_create_conn,
    .connect = pg_pool_connect,
    .rest = pg_pool_rest,
    .lend = pg_pool_lend,
    .is_fit = pg_pool_is_fit,
    .close = pg_pool_close_conn,
    .is_crowded = pg_error_is_crowded,
    .free = pg_pool_free,
};

static bool pg_text_copy(const char **text)
{
    if (*text == NULL)
        return true;
    *text = mem_strdup(*text);
    return *text != NULL;
}

static bool pg_settings_copy(struct pg_settings *to, const struct pg_settings *from)
{
    const char **texts[] = {&to->host,
                            &to->port,
                            &to->user,
                            &to->password,
                            &to->database,
                            &to->sslmode,
                            &to->application_name};
    bool complete = true;

    *to = *from;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        complete = pg_text_copy(texts[i]) && complete;
    return complete;
}

struct pg_pool *pg_pool_create(struct loop *loop, const struct pg_settings *settings)
{
    const struct pool_limits limits = {.max_open = settings->max_open,
                                       .max_idle = settings->max_idle,
                                       .max_lifetime_ms = settings->max_lifetime_ms,
                                       .max_idle_time_ms = settings->max_idle_time_ms};
    struct pg_pool *pool = mem_calloc(1, sizeof(*pool));

    if (pool == NULL)
        return NULL;
    if (!pg_settings_copy(&pool->settings, settings)) {
        pg_pool_free(&pool->pool);
        return NULL;
    }
    pool_init(&pool->pool, &pg_pool_kind, loop, &limits);
    return pool;
}

int pg_pool_set_password(struct pg_pool *pool, const char *password)
{
    const char *copy = password;
    char *old = NULL;

    if (!pg_text_copy(&copy))
        return ERR_NOMEM;
    memcpy(&old, &pool->settings.password, sizeof(old)); /* ours since pg_settings_copy() */
    mem_free(old);
    pool->settings.password = copy;
    pool_forget_failure(&pool->pool); /* the old one may have been the reason */
    return 0;
}

int pg_pool_close(struct pg_pool *pool, struct op *op)
{
    return pool_close(&pool->pool, op);
}

void pg_pool_get_stats(const struct pg_pool *pool, struct pg_pool_stats *out)
{
    *out = (struct pg_pool_stats){.open = pool->pool.open,
                                  .idle = pool->pool.idle_count,
                                  .waiting = pool->pool.waiting,
                                  .lent = pool_lent(&pool->pool),
                                  .failed_since_ms = pool->pool.failed_since_ms};
}

void pg_pool_report(const struct pg_pool *pool, struct pool_stats *out)
{
    pool_report(&pool->pool, out);
}

int pg_acquire(struct pg_pool *pool, struct op *op, struct pg_conn **out)
{
    *out = NULL;
    return pool_acquire(&pool->pool, op, out);
}

void pg_release(struct pg_conn *conn)
{
    assert(conn->sm.state == PG_LENT);
    pool_release(&conn->pooled);
}

void pg_discard(struct pg_conn *conn)
{
    assert(conn->sm.state == PG_LENT);
    pool_discard(&conn->pooled);
}
