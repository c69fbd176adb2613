#include "api/ops_list.h"

#include <stdlib.h>
#include <string.h>

#include "io/work.h"

/*
 * statuses --the grant does not see every schema--> executions --> summed up on a pool thread
 *    |                                                                  |
 *    +-------------------------------> done <---------------------------+
 */
enum {
    LIST_STATUSES,
    LIST_EXECUTIONS,
    LIST_SUMS,
};

static int list_compare_rows(const void *a, const void *b)
{
    const struct store_execution *left = a, *right = b;
    int order = strcmp(left->migration_id, right->migration_id);

    if (order == 0)
        order = (int)right->applied - (int)left->applied;
    if (order == 0)
        order = (left->updated_at_us < right->updated_at_us) -
                (left->updated_at_us > right->updated_at_us);
    return order;
}

/* Leaves what the grant sees in the order of the migrations; of each the row that stands for it
 * first: an applied one, else the newest. */
static int list_sum_on_thread(void *arg, struct err *err)
{
    struct ops_list *list = arg;
    struct store_executions *seen = &list->executions;
    size_t count = 0;

    (void)err;
    for (size_t i = 0; i < seen->count; i++)
        if (grant_sees(list->filter.grant, seen->rows[i].connection, seen->rows[i].schema))
            seen->rows[count++] = seen->rows[i];
    seen->count = count;
    if (count > 0)
        qsort(seen->rows, count, sizeof(*seen->rows), list_compare_rows);
    return 0;
}

/* Starts the next step; false: there is none. */
static bool list_advance(struct ops_list *list, int *rc)
{
    struct store *store = list->ops->store;

    switch (list->stage++) {
    case LIST_STATUSES:
        if (!grant_is_partial(list->filter.grant))
            return false;
        *rc = store->ops->get_executions(store, &list->step, NULL, NULL, OPS_ROWS_MAX,
                                         &list->executions);
        return true;
    case LIST_EXECUTIONS:
        *rc = work_start(list->ops->loop, &list->step, list_sum_on_thread, list);
        return true;
    default:
        return false;
    }
}

static void list_on_step(struct op *step, int rc)
{
    struct ops_list *list = container_of(step, struct ops_list, step);

    if (rc == 0 && !list_advance(list, &rc)) {
        op_finish(list->op, 0);
        return;
    }
    if (rc != 0)
        op_fail(list->op, &step->err);
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
    arena_free(&list->executions.arena);
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

/* The same walk over what the grant sees. */
static void list_sum_up(struct ops_list *list, struct ops_list_item *item)
{
    const char *id = item->migration->id;
    const struct store_execution *rows = list->executions.rows;
    bool first = true;

    item->schemas_applied = 0;
    while (list->execution_at < list->executions.count &&
           strcmp(rows[list->execution_at].migration_id, id) < 0)
        list->execution_at++;
    for (; list->execution_at < list->executions.count &&
           strcmp(rows[list->execution_at].migration_id, id) == 0;
         list->execution_at++) {
        const struct store_execution *row = &rows[list->execution_at];

        item->schemas_applied += row->applied;
        if (first && !migration_is_fixed(item->migration)) {
            item->status = (struct ops_status){row->status, row->applied, row->applied_at_us, ""};
            item->checksum = row->checksum;
        }
        first = false;
    }
}

/* What the state database sums up is about all schemas, but for the declared one's state. */
static void list_fill(struct ops_list *list, struct ops_list_item *item)
{
    bool partial = grant_is_partial(list->filter.grant);
    const struct store_status *row = list_find_status(list, item->migration->id);

    item->status = (struct ops_status){.status = "pending", .error_message = ""};
    item->checksum = "";
    if (row != NULL && (!partial || migration_is_fixed(item->migration))) {
        item->status =
            (struct ops_status){row->status, row->applied, row->applied_at_us, row->error_message};
        item->schemas_applied = row->schemas_applied;
        item->checksum = row->checksum;
    }
    if (partial)
        list_sum_up(list, item);
    ops_status_show(&item->status, item->migration, item->checksum);
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

/* What matches is counted on every page, and shown on one. */
static enum ops_next list_page(struct ops_list *list, const char *id)
{
    const struct ops_list_filter *filter = &list->filter;

    list->total++;
    if (filter->limit == 0)
        return OPS_NEXT_ITEM;
    if (strcmp(id, filter->after) <= 0)
        return OPS_NEXT_NONE;
    if (list->given == filter->limit) {
        list->last = list->page_end;
        return OPS_NEXT_NONE;
    }
    list->given++;
    list->page_end = id;
    return OPS_NEXT_ITEM;
}

enum ops_next ops_list_next(struct ops_list *list, struct ops_list_item *item)
{
    if (list->at >= list->registry->count)
        return OPS_NEXT_END;
    *item = (struct ops_list_item){.migration = list->registry->migrations[list->at++]};
    if (!grant_sees(list->filter.grant, item->migration->connection, item->migration->schema))
        return OPS_NEXT_NONE;
    list_fill(list, item);
    return list_wants(&list->filter, item) ? list_page(list, item->migration->id) : OPS_NEXT_NONE;
}
