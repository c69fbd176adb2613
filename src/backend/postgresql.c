#include "backend/postgresql_private.h"

#include "base/mem.h"

enum {
    PGB_LOCK_TIMEOUT_MS = 5000,
    PGB_LOCK_WAIT_MIN_MS = 100, /* inserting itself takes short locks, e.g. to extend the table */
    PGB_DOUBT_WAIT_MS = 30000,
    PGB_MAX_ATTEMPTS = 5,
};

struct sched *pgb_sched(const struct pgb *pgb)
{
    return loop_sched(pgb->loop);
}

int pgb_put_journal(struct buf *sql, const struct pgb *pgb, struct pg_conn *conn)
{
    int rc = pg_put_identifier(sql, conn, pgb->settings.journal_schema);

    buf_puts(sql, ".journal");
    return rc != 0 ? rc : sql->rc;
}

bool pgb_has_room(const struct pgb *pgb)
{
    struct pg_pool_stats stats;

    pg_pool_get_stats(pgb->pool, &stats);
    return stats.waiting == 0 && (stats.idle > 0 || stats.open < pgb->settings.pool.max_open);
}

/* --- the end --- */

static void pgb_free(struct pgb *pgb)
{
    mem_free(pgb->connection);
    mem_free(pgb->default_schema);
    mem_free(pgb->journal_schema);
    mem_free(pgb);
}

static void pgb_on_pool_closed(struct op *op, int rc)
{
    struct pgb *pgb = container_of(op, struct pgb, close_pool);
    struct op *close_op = pgb->close_op;

    (void)rc;
    pgb_free(pgb);
    op_finish(close_op, 0);
}

static void pgb_close_pool(struct pgb *pgb)
{
    op_init(&pgb->close_pool, pgb_on_pool_closed);
    pg_pool_close(pgb->pool, &pgb->close_pool);
}

void pgb_begin(struct pgb *pgb)
{
    pgb->active++;
}

void pgb_end(struct pgb *pgb)
{
    if (--pgb->active == 0 && pgb->close_op != NULL)
        pgb_close_pool(pgb);
}

static int pgb_close(struct backend *backend, struct op *op)
{
    struct pgb *pgb = container_of(backend, struct pgb, pub);

    op_begin(op, pgb, NULL);
    pgb->close_op = op;
    if (pgb->active == 0)
        pgb_close_pool(pgb);
    return 0;
}

static void pgb_get_stats(struct backend *backend, struct pool_stats *out)
{
    pg_pool_report(container_of(backend, struct pgb, pub)->pool, out);
}

/* --- the beginning --- */

static const struct backend_ops pgb_ops = {
    .kind = BACKEND_POSTGRESQL,
    .execute = pgb_execute,
    .inspect = pgb_inspect,
    .read_journal = pgb_read_journal,
    .adopt = pgb_adopt,
    .resolve = pgb_resolve,
    .ping = pgb_ping,
    .get_stats = pgb_get_stats,
    .close = pgb_close,
};

static int pgb_copy_settings(struct pgb *pgb, const struct backend_pg_settings *from)
{
    struct backend_pg_settings *to = &pgb->settings;

    *to = *from;
    pgb->connection = mem_strdup(from->connection);
    pgb->journal_schema = mem_strdup(from->journal_schema != NULL ? from->journal_schema : "bfm");
    if (from->default_schema != NULL)
        pgb->default_schema = mem_strdup(from->default_schema);
    if (pgb->connection == NULL || pgb->journal_schema == NULL ||
        (from->default_schema != NULL && pgb->default_schema == NULL))
        return ERR_NOMEM;
    to->connection = pgb->connection;
    to->journal_schema = pgb->journal_schema;
    to->default_schema = pgb->default_schema;
    to->pool.max_open = from->pool.max_open > 0 ? from->pool.max_open : 1;
    to->lock_timeout_ms = from->lock_timeout_ms > 0 ? from->lock_timeout_ms : PGB_LOCK_TIMEOUT_MS;
    if (to->lock_wait_ms < PGB_LOCK_WAIT_MIN_MS)
        to->lock_wait_ms = PGB_LOCK_WAIT_MIN_MS;
    to->doubt_wait_ms = from->doubt_wait_ms > 0 ? from->doubt_wait_ms : PGB_DOUBT_WAIT_MS;
    to->max_attempts = from->max_attempts > 0 ? from->max_attempts : PGB_MAX_ATTEMPTS;
    return 0;
}

struct backend *backend_postgresql_create(struct loop *loop,
                                          const struct backend_pg_settings *settings)
{
    struct pgb *pgb = mem_calloc(1, sizeof(*pgb));

    if (pgb == NULL)
        return NULL;
    pgb->loop = loop;
    if (pgb_copy_settings(pgb, settings) != 0)
        goto err_after_alloc;
    pgb->pool = pg_pool_create(loop, &settings->pool);
    if (pgb->pool == NULL)
        goto err_after_alloc;
    pgb->settings.pool = (struct pg_settings){.max_open = pgb->settings.pool.max_open};
    pgb->pub = (struct backend){.ops = &pgb_ops,
                                .connection = pgb->connection,
                                .default_schema = pgb->default_schema,
                                .parallel = pgb->settings.pool.max_open};
    return &pgb->pub;

err_after_alloc:
    pgb_free(pgb);
    return NULL;
}

int backend_postgresql_set_password(struct backend *backend, const char *password)
{
    return pg_pool_set_password(container_of(backend, struct pgb, pub)->pool, password);
}
