#ifndef BFM_API_OPS_LIST_H
#define BFM_API_OPS_LIST_H

#include "api/ops_lookup.h"

/* Exact matches, all of them; "" matches everything. Borrowed until ops_list_free(). */
struct ops_list_filter {
    const char *schema, *table, *connection, *backend, *version;
    const char *status; /* "success" means "applied", which selects modified ones too */
};

/* The known migrations with their states, ordered by version, then ID. */
struct ops_list {
    /* private */
    struct ops *ops;
    struct op *op;
    struct op step;
    struct ops_list_filter filter;
    struct registry *registry;
    struct store_statuses statuses;
    size_t at, status_at;
};

struct ops_list_item {
    const struct migration *migration;
    struct ops_status status;
    int64_t schemas_applied;
};

int ops_list_start(struct ops *ops, struct op *op, const struct ops_list_filter *filter,
                   struct ops_list *list);
enum ops_next ops_list_next(struct ops_list *list, struct ops_list_item *item);
void ops_list_free(struct ops_list *list); /* zeroed memory is fine */

#endif
