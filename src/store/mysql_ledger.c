#include "store/mysql_private.h"

/* The journal of targets that have none: what it says, and changes of it. */

static const char ledger_sql_columns[] =
    "SELECT connection, `schema`, migration_id, checksum, run_id, `undo`, complete, started, done,"
    " " MYSTORE_US("applied_at") ", revision FROM @.bfm_ledger WHERE connection = ";

static void ledger_put_key(struct mystore_script *script, const struct ledger_row *row)
{
    mystore_sql(script, " WHERE connection = ");
    mystore_put_text(script, row->connection);
    mystore_sql(script, " AND `schema` = ");
    mystore_put_text(script, row->schema);
    mystore_sql(script, " AND migration_id = ");
    mystore_put_text(script, row->migration_id);
}

/* The key of the row before the page. */
static void ledger_put_behind(struct mystore_script *script, const struct ledger_query *query)
{
    mystore_sql(script, " AND `schema` >= ");
    mystore_put_text(script, query->after_schema);
    mystore_sql(script, " AND (`schema` > ");
    mystore_put_text(script, query->after_schema);
    mystore_sql(script, " OR migration_id > ");
    mystore_put_text(script, query->after_id);
    mystore_sql(script, ") ORDER BY connection, `schema`, migration_id");
}

void mystore_read_put_ledger(struct mystore_script *script, const struct request *request)
{
    const struct ledger_query *query = request->ledger_query;

    mystore_sql(script, ledger_sql_columns);
    mystore_put_text(script, query->connection);
    if (query->migration_id != NULL) {
        mystore_sql(script, " AND `schema` = ");
        mystore_put_text(script, query->schema);
        mystore_sql(script, " AND migration_id = ");
        mystore_put_text(script, query->migration_id);
    } else {
        ledger_put_behind(script, query);
    }
    mystore_put_limit(script, query->limit);
}

static void ledger_put_set(struct mystore_script *script, const char *sql, int64_t number)
{
    mystore_sql(script, sql);
    mystore_put_number(script, number);
}

static void ledger_put_values(struct mystore_script *script, const struct ledger_row *row)
{
    mystore_sql(script, " checksum = ");
    mystore_put_text(script, row->checksum);
    mystore_sql(script, ", run_id = ");
    mystore_put_text(script, row->run_id);
    ledger_put_set(script, ", `undo` = ", row->undo);
    ledger_put_set(script, ", complete = ", row->complete);
    ledger_put_set(script, ", started = ", row->started);
    ledger_put_set(script, ", done = ", row->done);
    ledger_put_set(script, ", revision = ", row->revision);
    mystore_sql(script, ", applied_at = ");
    if (row->applied_at_us > 0)
        mystore_put_time(script, row->applied_at_us);
    else
        mystore_sql(script, "NULL");
}

/* A row that is there stays, which counts as none. Nothing else is there to be ignored: the core
 * has seen to it that the key fits. */
static void ledger_put_insert(struct mystore_script *script, const struct ledger_row *row)
{
    mystore_sql(script, "INSERT IGNORE INTO @.bfm_ledger SET connection = ");
    mystore_put_text(script, row->connection);
    mystore_sql(script, ", `schema` = ");
    mystore_put_text(script, row->schema);
    mystore_sql(script, ", migration_id = ");
    mystore_put_text(script, row->migration_id);
    mystore_sql(script, ",");
    ledger_put_values(script, row);
}

void mystore_put_change(struct mystore_script *script, const struct ledger_change *change)
{
    mystore_statement_begin(script);
    if (change->expected == 0 && !change->remove) {
        ledger_put_insert(script, &change->row);
    } else {
        if (change->remove) {
            mystore_sql(script, "DELETE FROM @.bfm_ledger");
        } else {
            mystore_sql(script, "UPDATE @.bfm_ledger SET");
            ledger_put_values(script, &change->row);
        }
        ledger_put_key(script, &change->row);
        ledger_put_set(script, " AND revision = ", change->expected);
    }
    mystore_sql(script, ";");
    mystore_statement_end(script);
}
