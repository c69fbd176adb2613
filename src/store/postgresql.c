#include "store/postgresql.h"

#include "base/mem.h"
#include "store/postgresql_lock.h"

static struct store_pg *pgstore_of(struct store_core *core)
{
    return container_of(core, struct store_pg, core);
}

static struct request *pgstore_first(struct list *list)
{
    return container_of(list->next, struct request, link);
}

static void pgstore_run_batch(struct store_core *core, struct list *batch)
{
    struct store_pg *pg = pgstore_of(core);
    struct request *first = pgstore_first(batch);

    switch (first->kind) {
    case REQUEST_PREPARE:
        pgstore_prepare_run(pg, first);
        return;
    case REQUEST_SYNC:
        pgstore_sync_run(pg, first);
        return;
    case REQUEST_CLAIM_KEY:
    case REQUEST_SWAP_LEDGER:
    case REQUEST_BEAT:
        pgstore_outcome_run(pg, batch);
        return;
    case REQUEST_WRITE:
    case REQUEST_PUT_RUN:
    case REQUEST_PING:
    case REQUEST_RUNS:
    case REQUEST_RUN_LANES:
    case REQUEST_RUN_STEPS:
    case REQUEST_TENANTS:
    case REQUEST_STANDING:
    case REQUEST_UNENDED:
    case REQUEST_LEDGER:
    case REQUEST_APPLIED:
    case REQUEST_EXECUTIONS:
    case REQUEST_STATUSES:
    case REQUEST_HISTORY:
    case REQUEST_SKIPPED:
        pgstore_write_run(pg, batch);
        return;
    }
}

static void pgstore_run_reads(struct store_core *core, struct list *reads)
{
    struct list *node;

    while ((node = list_pop_front(reads)) != NULL)
        pgstore_read_run(pgstore_of(core), container_of(node, struct request, link));
}

/* Writes, claims and syncs go on: between their steps a sync looks for itself. */
static void pgstore_cancel(struct store_core *core, struct request *request)
{
    (void)core;
    if (request->kind == REQUEST_PREPARE)
        pgstore_prepare_cancel(request);
    else if (core_is_read(request->kind))
        pgstore_read_cancel(request);
}

static void pgstore_release(struct request *request)
{
    if (request->kind == REQUEST_PREPARE)
        pgstore_prepare_free(request->state);
    else if (request->kind == REQUEST_SYNC)
        pgstore_sync_free(request->state);
    else
        pgstore_read_free(request->state);
}

static void pgstore_free(struct store_pg *pg)
{
    for (size_t i = 0; i < PGSTORE_SQL_COUNT; i++)
        mem_free(pg->texts[i]);
    mem_free(pg->quoted_schema);
    mem_free(pg->schema);
    mem_free(pg);
}

static void pgstore_on_pool_closed(struct op *op, int rc)
{
    struct store_pg *pg = container_of(op, struct store_pg, pool_op);
    struct op *close_op = pg->close_op;

    (void)rc;
    pgstore_free(pg);
    op_finish(close_op, 0);
}

static void pgstore_close_pool(struct store_pg *pg)
{
    op_init(&pg->pool_op, pgstore_on_pool_closed);
    pg_pool_close(pg->pool, &pg->pool_op);
}

static void pgstore_on_locks_closed(struct op *op, int rc)
{
    (void)rc;
    pgstore_close_pool(container_of(op, struct store_pg, locks_op));
}

static void pgstore_close(struct store_core *core, struct op *op)
{
    struct store_pg *pg = pgstore_of(core);

    pg->close_op = op;
    if (pg->locks == NULL) {
        pgstore_close_pool(pg);
        return;
    }
    op_init(&pg->locks_op, pgstore_on_locks_closed);
    pgstore_locks_close(pg->locks, &pg->locks_op);
}

static void pgstore_get_pool(struct store_core *core, struct pool_stats *out)
{
    pg_pool_report(pgstore_of(core)->pool, out);
}

static const struct core_ops pgstore_core_ops = {
    .run_batch = pgstore_run_batch,
    .run_reads = pgstore_run_reads,
    .cancel = pgstore_cancel,
    .release = pgstore_release,
    .get_pool = pgstore_get_pool,
    .close = pgstore_close,
};

static const struct store_ops pgstore_ops = {
    .name = "postgresql",
    CORE_STORE_OPS,
    .mark_adopted = pgstore_mark_adopted,
};

struct store *store_postgresql_create(struct loop *loop, const struct pg_settings *settings,
                                      const char *schema)
{
    struct store_pg *pg = mem_calloc(1, sizeof(*pg));

    if (pg == NULL)
        return NULL;
    pg->schema = mem_strdup(schema);
    if (pg->schema == NULL)
        goto err_after_alloc;
    pg->pool = pg_pool_create(loop, settings);
    if (pg->pool == NULL)
        goto err_after_schema;
    pg->loop = loop;
    pg->ops = pgstore_ops;
    core_init(&pg->core, &pg->ops, &pgstore_core_ops, loop_sched(loop));
    return &pg->core.store;

err_after_schema:
    mem_free(pg->schema);
err_after_alloc:
    mem_free(pg);
    return NULL;
}

int store_postgresql_use_locks(struct store *store, const struct pg_settings *settings)
{
    struct store_pg *pg = pgstore_of(container_of(store, struct store_core, store));

    pg->locks = pgstore_locks_create(pg, settings);
    if (pg->locks == NULL)
        return ERR_NOMEM;
    pg->ops.lock = pgstore_lock;
    pg->ops.unlock = pgstore_unlock;
    return 0;
}

int store_postgresql_set_password(struct store *store, const char *password)
{
    struct store_pg *pg = pgstore_of(container_of(store, struct store_core, store));
    int rc = pg_pool_set_password(pg->pool, password);

    if (rc == 0 && pg->locks != NULL)
        rc = pgstore_locks_set_password(pg->locks, password);
    return rc;
}
