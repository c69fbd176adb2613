#ifndef BFM_API_OPS_LIST_H
#define BFM_API_OPS_LIST_H

#include "api/ops_lookup.h"

/* Exact matches, all of them; "" matches everything. Borrowed until ops_list_free(). */
struct ops_list_filter {
    const char *schema, *table, *connection, *backend, *version;
    const char *status;        /* "success" means "applied", which selects modified ones too */
    const struct grant *grant; /* only what it sees, and summed up over schemas that it sees */

    /* A page: at most `limit` (0: all of them) behind the migration with the ID `after` */
    size_t limit;
    const char *after;
};

/* The known migrations with their states, ordered by version, then ID. */
struct ops_list {
    /* after OPS_NEXT_END */
    size_t total;     /* all that match, on whichever page */
    const char *last; /* of the page, if there are more behind it; else NULL */

    /* private */
    struct ops *ops;
    struct op *op;
    struct op step;
    struct ops_list_filter filter;
    struct registry *registry;
    struct store_statuses statuses;
    struct store_executions executions; /* for a grant that does not see every schema */
    size_t at, status_at, execution_at;
    size_t given;         /* on this page */
    const char *page_end; /* the ID of the last one given */
    int stage;
};

struct ops_list_item {
    const struct migration *migration;
    struct ops_status status;
    int64_t schemas_applied;
    const char *checksum; /* recorded with what `status` is about, "" if unknown */
};

int ops_list_start(struct ops *ops, struct op *op, const struct ops_list_filter *filter,
                   struct ops_list *list);
enum ops_next ops_list_next(struct ops_list *list, struct ops_list_item *item);
void ops_list_free(struct ops_list *list); /* zeroed memory is fine */

#endif
