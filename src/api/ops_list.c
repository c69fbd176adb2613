#include "api/ops_list.h"

#include <string.h>

static void list_on_step(struct op *step, int rc)
{
    struct ops_list *list = container_of(step, struct ops_list, step);

    if (rc != 0)
        op_fail(list->op, &step->err);
    else
        op_finish(list->op, 0);
}

static void list_cancel(struct op *op)
{
    struct ops_list *list = op->impl;

    op_cancel(&list->step);
}

int ops_list_start(struct ops *ops, struct op *op, const struct ops_list_filter *filter,
                   struct ops_list *list)
{
    int rc;

    *list = (struct ops_list){.ops = ops, .op = op, .filter = *filter};
    if (strcmp(filter->status, "success") == 0)
        list->filter.status = "applied";
    list->registry = registry_ref(ops->engine->registry);
    op_init(&list->step, list_on_step);
    rc = ops->store->ops->get_statuses(ops->store, &list->step, NULL, &list->statuses);
    if (rc != 0) {
        op->err = list->step.err;
        ops_list_free(list);
        return rc;
    }
    op_begin(op, list, list_cancel);
    return 0;
}

void ops_list_free(struct ops_list *list)
{
    arena_free(&list->statuses.arena);
    registry_unref(list->registry);
    *list = (struct ops_list){0};
}

/* Registry and statuses are both in the order of their IDs, so one walk meets every pair. */
static const struct store_status *list_find_status(struct ops_list *list, const char *id)
{
    while (list->status_at < list->statuses.count) {
        const struct store_status *row = &list->statuses.rows[list->status_at];
        int order = strcmp(row->migration_id, id);

        if (order == 0)
            return row;
        if (order > 0)
            return NULL;
        list->status_at++;
    }
    return NULL;
}

static bool text_matches(const char *wanted, const char *text)
{
    return wanted[0] == '\0' || strcmp(wanted, text) == 0;
}

static bool list_wants(const struct ops_list_filter *filter, const struct ops_list_item *item)
{
    const struct migration *migration = item->migration;
    const char *status = item->status.status;

    if (strcmp(status, "modified") == 0 && strcmp(filter->status, "applied") == 0)
        status = "applied";
    return text_matches(filter->schema, migration->schema) &&
           text_matches(filter->table, migration->table) &&
           text_matches(filter->connection, migration->connection) &&
           text_matches(filter->backend, backend_kind_name(migration->backend)) &&
           text_matches(filter->version, migration->version) &&
           text_matches(filter->status, status);
}

enum ops_next ops_list_next(struct ops_list *list, struct ops_list_item *item)
{
    const struct store_status *row;

    if (list->at >= list->registry->count)
        return OPS_NEXT_END;
    *item = (struct ops_list_item){.migration = list->registry->migrations[list->at++]};
    item->status = (struct ops_status){.status = "pending", .error_message = ""};
    row = list_find_status(list, item->migration->id);
    if (row != NULL) {
        item->status =
            (struct ops_status){row->status, row->applied, row->applied_at_us, row->error_message};
        item->schemas_applied = row->schemas_applied;
    }
    ops_status_show(&item->status, item->migration, row != NULL ? row->checksum : "");
    return list_wants(&list->filter, item) ? OPS_NEXT_ITEM : OPS_NEXT_NONE;
}
