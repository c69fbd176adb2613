#ifndef BFM_API_PAGES_H
#define BFM_API_PAGES_H

#include "api/cursor.h"
#include "api/ops_list.h"

/* The cursors of the lists, the same ones over HTTP and gRPC. All return 0, ERR_INVALID for what is
 * no cursor of the list, or ERR_NOMEM; what is read is in the arena. */

/* Of migrations; "" leaves `filter` as it is. */
int page_read_list(const char *cursor, struct arena *arena, struct ops_list_filter *filter);
int page_put_list(const struct ops_list *list, struct buf *out); /* list->last is not NULL */

/* Of history, executions and skips, as request->kind says. */
int page_read_rows(const char *cursor, struct arena *arena, struct ops_lookup_request *request);
/* Nothing, if this was the last page or no page at all. */
int page_put_rows(const struct ops_lookup *lookup, struct buf *out);

#endif
