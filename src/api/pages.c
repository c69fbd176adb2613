#include "api/pages.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    PAGE_LIST_DEFAULT = 100,
};

#define PAGE_TIME_MAX INT64_C(253402300799999999) /* microseconds; the end of the year 9999 */

static const char list_letter = 'm';

int page_read_list(const char *cursor, struct arena *arena, struct ops_list_filter *filter)
{
    if (cursor[0] == '\0')
        return 0;
    if (filter->limit == 0)
        filter->limit = PAGE_LIST_DEFAULT;
    return cursor_read(cursor, list_letter, arena, &filter->after, 1);
}

int page_put_list(const struct ops_list *list, struct buf *out)
{
    return cursor_put(out, list_letter, &list->last, 1);
}

static char rows_letter(enum ops_lookup_kind kind)
{
    if (kind == OPS_LOOKUP_EXECUTIONS)
        return 'e';
    return kind == OPS_LOOKUP_HISTORY ? 'h' : 's';
}

int page_read_rows(const char *cursor, struct arena *arena, struct ops_lookup_request *request)
{
    bool executions = request->kind == OPS_LOOKUP_EXECUTIONS;
    const char *parts[CURSOR_PARTS_MAX] = {NULL};
    struct store_cursor *after = &request->from.after;
    int rc = cursor_read(cursor, rows_letter(request->kind), arena, parts, executions ? 3 : 1);

    if (rc == 0 && executions) {
        rc = cursor_read_number(parts[0], PAGE_TIME_MAX, &after->updated_at_us);
        after->schema = parts[1];
        after->migration_id = parts[2];
    } else if (rc == 0) {
        rc = cursor_read_number(parts[0], INT64_MAX, &request->from.before_id);
    }
    return rc;
}

int page_put_rows(const struct ops_lookup *lookup, struct buf *out)
{
    bool executions = lookup->request.kind == OPS_LOOKUP_EXECUTIONS;
    const char *parts[CURSOR_PARTS_MAX];
    struct ops_place place;
    char number[24];

    if (!lookup->request.paged || !ops_lookup_next_place(lookup, &place))
        return 0;
    snprintf(number, sizeof(number), "%" PRId64,
             executions ? place.after.updated_at_us : place.before_id);
    parts[0] = number;
    parts[1] = place.after.schema;
    parts[2] = place.after.migration_id;
    return cursor_put(out, rows_letter(lookup->request.kind), parts, executions ? 3 : 1);
}
