#include <string.h>

#include "store/rows.h"

static enum store_owner rows_owner(const struct rows *rows)
{
    const char *status = rows->source.text(rows->source.arg, ROWS_STANDING_OWNER);

    if (status == NULL)
        return STORE_OWNER_UNKNOWN;
    return strcmp(status, store_run_status_name(STORE_RUN_RUNNING)) == 0 ? STORE_OWNER_RUNNING
                                                                         : STORE_OWNER_ENDED;
}

int rows_add_standing(struct rows *rows, struct store_standings *out)
{
    struct store_standing *row = rows_push(rows, &out->rows, &out->count, sizeof(*row));

    if (row == NULL)
        return ERR_NOMEM;
    row->migration_id = rows_text(rows, ROWS_STANDING_ID);
    row->schema = rows_text(rows, ROWS_STANDING_SCHEMA);
    row->connection = rows_text(rows, ROWS_STANDING_CONNECTION);
    row->applied = rows_integer(rows, ROWS_STANDING_APPLIED) != 0;
    row->history_id = rows_integer(rows, ROWS_STANDING_HISTORY);
    row->run_id = rows_text(rows, ROWS_STANDING_RUN);
    row->since_us = rows_integer(rows, ROWS_STANDING_SINCE);
    row->owner = rows_owner(rows);
    return rows_rc(rows);
}
