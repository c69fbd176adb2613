#include "store/rows.h"

int rows_add_ledger(struct rows *rows, struct ledger_rows *out)
{
    struct ledger_row *row = rows_push(rows, &out->rows, &out->count, sizeof(*row));

    if (row == NULL)
        return ERR_NOMEM;
    row->connection = rows_text(rows, ROWS_LEDGER_CONNECTION);
    row->schema = rows_text(rows, ROWS_LEDGER_SCHEMA);
    row->migration_id = rows_text(rows, ROWS_LEDGER_ID);
    row->checksum = rows_text(rows, ROWS_LEDGER_CHECKSUM);
    row->run_id = rows_text(rows, ROWS_LEDGER_RUN);
    row->undo = rows_integer(rows, ROWS_LEDGER_UNDO) != 0;
    row->complete = rows_integer(rows, ROWS_LEDGER_COMPLETE) != 0;
    row->started = rows_integer(rows, ROWS_LEDGER_STARTED) != 0;
    row->done = rows_integer(rows, ROWS_LEDGER_DONE);
    row->applied_at_us = rows_integer(rows, ROWS_LEDGER_APPLIED_AT);
    row->revision = rows_integer(rows, ROWS_LEDGER_REVISION);
    return rows_rc(rows);
}
