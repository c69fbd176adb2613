#include "store/mysql.h"

#include "base/mem.h"
#include "store/mysql_private.h"

enum {
    MYSTORE_NAME_MAX = 512, /* bytes of the quoted database */
};

static struct store_my *mystore_of(struct store_core *core)
{
    return container_of(core, struct store_my, core);
}

static void mystore_run_batch(struct store_core *core, struct list *batch)
{
    struct store_my *my = mystore_of(core);
    struct request *first = container_of(batch->next, struct request, link);

    switch (first->kind) {
    case REQUEST_PREPARE:
        mystore_prepare_run(my, first);
        return;
    case REQUEST_SYNC:
        mystore_sync_run(my, first);
        return;
    case REQUEST_CLAIM_KEY:
    case REQUEST_SWAP_LEDGER:
    case REQUEST_BEAT:
        mystore_outcome_run(my, batch);
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
    case REQUEST_APPLIED:
    case REQUEST_EXECUTIONS:
    case REQUEST_STATUSES:
    case REQUEST_HISTORY:
    case REQUEST_SKIPPED:
    case REQUEST_LEDGER:
        mystore_write_run(my, batch);
        return;
    }
}

static void mystore_run_reads(struct store_core *core, struct list *reads)
{
    struct list *node;

    while ((node = list_pop_front(reads)) != NULL)
        mystore_read_run(mystore_of(core), container_of(node, struct request, link));
}

/* Writes, claims and syncs go on: between their steps a sync looks for itself. */
static void mystore_cancel(struct store_core *core, struct request *request)
{
    (void)core;
    if (request->kind == REQUEST_PREPARE)
        mystore_prepare_cancel(request);
    else if (core_is_read(request->kind))
        mystore_read_cancel(request);
}

static void mystore_release(struct request *request)
{
    if (request->kind == REQUEST_PREPARE)
        mystore_prepare_free(request->state);
    else if (request->kind == REQUEST_SYNC)
        mystore_sync_free(request->state);
    else
        mystore_read_free(request->state);
}

static void mystore_free(struct store_my *my)
{
    mem_free(my->database);
    mem_free(my->name);
    mem_free(my);
}

static void mystore_on_pool_closed(struct op *op, int rc)
{
    struct store_my *my = container_of(op, struct store_my, pool_op);
    struct op *close_op = my->close_op;

    (void)rc;
    mystore_free(my);
    op_finish(close_op, 0);
}

static void mystore_close(struct store_core *core, struct op *op)
{
    struct store_my *my = mystore_of(core);

    my->close_op = op;
    op_init(&my->pool_op, mystore_on_pool_closed);
    maria_pool_close(my->pool, &my->pool_op);
}

static void mystore_get_pool(struct store_core *core, struct pool_stats *out)
{
    maria_pool_report(mystore_of(core)->pool, out);
}

static const struct core_ops mystore_core_ops = {
    .run_batch = mystore_run_batch,
    .run_reads = mystore_run_reads,
    .cancel = mystore_cancel,
    .release = mystore_release,
    .get_pool = mystore_get_pool,
    .close = mystore_close,
};

static const struct store_ops mystore_ops = {
    .name = "mysql",
    CORE_STORE_OPS,
};

static int mystore_name_database(struct store_my *my, const char *name)
{
    struct buf quoted;

    buf_init(&quoted, MYSTORE_NAME_MAX);
    my->name = mem_strdup(name);
    if (my->name != NULL && maria_put_identifier(&quoted, name) == 0)
        my->database = buf_take(&quoted);
    buf_free(&quoted);
    return my->database != NULL ? 0 : ERR_NOMEM;
}

/* No session has a database of its own: it may have to be made first. */
struct store *store_mysql_create(struct loop *loop, const struct maria_settings *settings)
{
    struct store_my *my = mem_calloc(1, sizeof(*my));
    struct maria_settings without = *settings;

    if (my == NULL)
        return NULL;
    without.database = NULL;
    if (mystore_name_database(my, settings->database) != 0)
        goto err_after_alloc;
    my->pool = maria_pool_create(loop, &without);
    if (my->pool == NULL)
        goto err_after_alloc;
    my->loop = loop;
    core_init(&my->core, &mystore_ops, &mystore_core_ops, loop_sched(loop));
    return &my->core.store;

err_after_alloc:
    mystore_free(my);
    return NULL;
}

int store_mysql_set_password(struct store *store, const char *password)
{
    struct store_my *my = mystore_of(container_of(store, struct store_core, store));

    return maria_pool_set_password(my->pool, password);
}
