#include <assert.h>

#include "base/mem.h"
#include "server/catalog_internal.h"

/* Completes in the next turn, so that whoever waits may call the catalog again. */
static void catalog_wait_end(struct catalog_wait *wait, const struct err *err, int rc)
{
    struct sched *sched = loop_sched(wait->catalog->config.loop);
    struct op *op = wait->op;

    list_remove(&wait->link);
    mem_free(wait);
    if (rc != 0 && err != NULL)
        op->err = *err;
    op_finish_later(op, sched, rc);
}

static void catalog_wait_cancel(struct op *op)
{
    catalog_wait_end(op->impl, NULL, ERR_CANCELED);
}

int catalog_wait_add(struct catalog *catalog, struct op *op, enum catalog_wish wish,
                     struct api_reindex_result *out)
{
    struct catalog_wait *wait;

    if (catalog->close_op != NULL)
        return op_refuse(op, ERR_SHUTDOWN, "%s", err_code_text(ERR_SHUTDOWN));
    wait = mem_calloc(1, sizeof(*wait));
    if (wait == NULL)
        return op_refuse(op, ERR_NOMEM, "%s", err_code_text(ERR_NOMEM));
    wait->catalog = catalog;
    wait->op = op;
    wait->wish = wish;
    wait->out = out;
    list_push_back(&catalog->waiting, &wait->link);
    op_begin(op, wait, catalog_wait_cancel);
    sched_defer(loop_sched(catalog->config.loop), &catalog->start);
    return 0;
}

bool catalog_wait_has(const struct list *waits, enum catalog_wish wish)
{
    list_foreach(node, waits) {
        if (container_of(node, struct catalog_wait, link)->wish == wish)
            return true;
    }
    return false;
}

void catalog_wait_finish(struct catalog *catalog, struct list *waits, int rc)
{
    list_foreach_safe(node, waits) {
        struct catalog_wait *wait = container_of(node, struct catalog_wait, link);
        int own = rc;

        if (own == 0 && wait->out != NULL) {
            own = catalog_copy_diff(&catalog->diff, wait->out);
            wait->out->total = catalog->config.engine->registry->count;
        }
        catalog_wait_end(wait, own == rc ? &catalog->err : NULL, own);
    }
    assert(list_is_empty(waits));
}
