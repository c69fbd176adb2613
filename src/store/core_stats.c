#include "store/core.h"

static size_t core_count(const struct list *list)
{
    size_t count = 0;

    list_foreach(node, list)
        count++;
    return count;
}

void core_get_stats(struct store *store, struct store_stats *out)
{
    struct store_core *core = container_of(store, struct store_core, store);

    *out = (struct store_stats){.queued_records = core->queued_records,
                                .queued_bytes = core->queued_bytes,
                                .queued_reads = core_count(&core->reads)};
    if (core->ops->get_pool != NULL)
        core->ops->get_pool(core, &out->pool);
}
