#include <string.h>

#include "base/mem.h"
#include "driver/maria_private.h"

static struct maria_pool *maria_pool_of(struct pool *pool)
{
    return container_of(pool, struct maria_pool, pool);
}

static struct pool_conn *maria_pool_create_conn(struct pool *pool)
{
    struct maria_conn *conn = maria_conn_create(maria_pool_of(pool));

    return conn != NULL ? &conn->pooled : NULL;
}

static int maria_pool_connect(struct pool_conn *pooled, struct err *err)
{
    return maria_connect_start(maria_conn_of(pooled), err);
}

static bool maria_pool_rest(struct pool_conn *pooled)
{
    struct maria_conn *conn = maria_conn_of(pooled);

    maria_conn_move(conn, MARIA_IDLE);
    return maria_conn_watch(conn, MYSQL_WAIT_READ) == 0;
}

static void maria_pool_lend(struct pool_conn *pooled, void *out)
{
    struct maria_conn *conn = maria_conn_of(pooled);
    struct maria_conn **slot = out;

    maria_conn_move(conn, MARIA_LENT);
    *slot = conn;
}

static bool maria_pool_is_fit(struct pool_conn *pooled)
{
    const struct maria_conn *conn = maria_conn_of(pooled);

    return !conn->broken && !conn->retire && !maria_in_transaction(conn);
}

static void maria_pool_close_conn(struct pool_conn *pooled)
{
    maria_conn_close(maria_conn_of(pooled));
}

static void maria_settings_free(struct maria_settings *settings)
{
    const char *const texts[] = {settings->host,     settings->port,        settings->user,
                                 settings->password, settings->database,    settings->sslmode,
                                 settings->ca_file,  settings->program_name};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        char *text = NULL;

        memcpy(&text, &texts[i], sizeof(text)); /* ours since maria_settings_copy() */
        mem_free(text);
    }
}

static void maria_pool_free(struct pool *pool)
{
    struct maria_pool *maria = maria_pool_of(pool);

    maria_settings_free(&maria->settings);
    mem_free(maria);
}

static const struct pool_kind maria_pool_kind = {
    .create = maria_pool_create_conn,
    .connect = maria_pool_connect,
    .rest = maria_pool_rest,
    .lend = maria_pool_lend,
    .is_fit = maria_pool_is_fit,
    .close = maria_pool_close_conn,
    .is_crowded = maria_error_is_crowded,
    .free = maria_pool_free,
};

static bool maria_text_copy(const char **text)
{
    if (*text == NULL)
        return true;
    *text = mem_strdup(*text);
    return *text != NULL;
}

static bool maria_settings_copy(struct maria_settings *to, const struct maria_settings *from)
{
    const char **texts[] = {&to->host,     &to->port,    &to->user,    &to->password,
                            &to->database, &to->sslmode, &to->ca_file, &to->program_name};
    bool complete = true;

    *to = *from;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        complete = maria_text_copy(texts[i]) && complete;
    return complete;
}

struct maria_pool *maria_pool_create(struct loop *loop, const struct maria_settings *settings)
{
    const struct pool_limits limits = {.max_open = settings->max_open,
                                       .max_idle = settings->max_idle,
                                       .max_lifetime_ms = settings->max_lifetime_ms,
                                       .max_idle_time_ms = settings->max_idle_time_ms};
    struct maria_pool *pool = mem_calloc(1, sizeof(*pool));

    if (pool == NULL)
        return NULL;
    if (!maria_settings_copy(&pool->settings, settings)) {
        maria_pool_free(&pool->pool);
        return NULL;
    }
    list_init(&pool->resetting);
    list_init(&pool->kills_waiting);
    pool_init(&pool->pool, &maria_pool_kind, loop, &limits);
    return pool;
}

int maria_pool_set_password(struct maria_pool *pool, const char *password)
{
    const char *copy = password;
    char *old = NULL;

    if (!maria_text_copy(&copy))
        return ERR_NOMEM;
    memcpy(&old, &pool->settings.password, sizeof(old)); /* ours since maria_settings_copy() */
    mem_free(old);
    pool->settings.password = copy;
    pool_forget_failure(&pool->pool); /* the old one may have been the reason */
    return 0;
}

int maria_pool_close(struct maria_pool *pool, struct op *op)
{
    int rc = pool_close(&pool->pool, op);

    maria_reset_close_all(pool);
    return rc;
}

void maria_pool_get_stats(const struct maria_pool *pool, struct maria_pool_stats *out)
{
    *out = (struct maria_pool_stats){.open = pool->pool.open,
                                     .idle = pool->pool.idle_count,
                                     .waiting = pool->pool.waiting,
                                     .lent = pool_lent(&pool->pool),
                                     .failed_since_ms = pool->pool.failed_since_ms};
}

void maria_pool_report(const struct maria_pool *pool, struct pool_stats *out)
{
    pool_report(&pool->pool, out);
}

int maria_acquire(struct maria_pool *pool, struct op *op, struct maria_conn **out)
{
    *out = NULL;
    return pool_acquire(&pool->pool, op, out);
}

void maria_release(struct maria_conn *conn)
{
    assert(conn->sm.state == MARIA_LENT);
    pool_release(&conn->pooled);
}

void maria_discard(struct maria_conn *conn)
{
    assert(conn->sm.state == MARIA_LENT);
    pool_discard(&conn->pooled);
}
