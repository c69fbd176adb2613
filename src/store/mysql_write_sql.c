#include <string.h>

#include "store/mysql_private.h"
#include "store/record.h"
#include "store/text.h"

/*
 * The statements of a batch. Every batch takes its locks in the order executions, list, history,
 * skips, and by ID within each; servers that get into each other's way all the same begin again.
 */

/* What was looked at without locks would not be true any more when it is written: the executions
 * that the records are about are locked, after making rows for those that are not there. */
static const char write_sql_lock[] =
    "INSERT INTO @.migrations_executions (migration_id, `schema`, version, connection, backend,"
    " status, created_at, updated_at) VALUES ";
static const char write_sql_lock_tail[] =
    " ON DUPLICATE KEY UPDATE migration_id = VALUES(migration_id)";
static const char write_sql_places[] =
    "SELECT migration_id, `schema`, applied, status <> '' FROM @.migrations_executions"
    " FORCE INDEX (PRIMARY) WHERE (migration_id, `schema`) IN (";
static const char write_sql_rows[] =
    "SELECT migration_id, `schema`, run_id, status FROM @.migrations_history"
    " FORCE INDEX (idx_migrations_history_run_id_migration_id_schema_status)"
    " WHERE (run_id, migration_id, `schema`) IN (";
/* Rows that were made for the lock and that nothing was written to. */
static const char write_sql_unlock[] =
    "DELETE FROM @.migrations_executions WHERE status = '' AND (migration_id, `schema`) IN (";

static const char write_sql_list[] =
    "INSERT INTO @.migrations_list (migration_id, `schema`, version, name, connection, backend,"
    " up_sql, down_sql, created_at, status, error_message, checksum, updated_at) VALUES ";
static const char write_sql_list_there[] =
    " ON DUPLICATE KEY UPDATE migration_id = VALUES(migration_id)";
static const char write_sql_list_changed[] =
    " ON DUPLICATE KEY UPDATE status = IF(VALUES(status) = 'pending', status, VALUES(status)),"
    " error_message = VALUES(error_message), checksum = COALESCE(VALUES(checksum), checksum),"
    " updated_at = VALUES(updated_at)";

static const char write_sql_execution[] =
    "INSERT INTO @.migrations_executions (migration_id, `schema`, version, connection, backend,"
    " status, applied, applied_at, created_at, updated_at, checksum, run_id) VALUES ";
static const char write_sql_execution_tail[] =
    " ON DUPLICATE KEY UPDATE version = VALUES(version), connection = VALUES(connection),"
    " backend = VALUES(backend), status = VALUES(status), applied = VALUES(applied), applied_at = VALUES(applied_at),"
    " updated_at = VALUES(updated_at), checksum = COALESCE(VALUES(checksum), checksum),"
    " run_id = VALUES(run_id)";

static const char write_sql_history[] =
    "INSERT INTO @.migrations_history (migration_id, `schema`, version, connection, backend,"
    " status, error_message, executed_by, execution_method, execution_context, applied_at,"
    " created_at, run_id, attempts, duration_ms) VALUES ";
/* After a look only a row that another server has written since is there. */
static const char write_sql_history_looked[] = " ON DUPLICATE KEY UPDATE run_id = VALUES(run_id)";

static const char write_sql_skipped[] =
    "INSERT INTO @.migrations_skipped (migration_id, `schema`, version, connection, backend,"
    " executed_by, execution_method, execution_context, skipped_at, created_at, run_id) VALUES ";
static const char write_sql_skipped_tail[] = " ON DUPLICATE KEY UPDATE run_id = VALUES(run_id)";

static const char write_sql_prune[] =
    "DELETE @.migrations_skipped FROM @.migrations_skipped JOIN (SELECT id FROM (SELECT id, ROW_NUMBER() OVER"
    " (PARTITION BY migration_id, `schema`, connection ORDER BY id DESC) AS place"
    " FROM @.migrations_skipped FORCE INDEX (idx_migrations_skipped_migration_id_schema_id)"
    " WHERE (migration_id, `schema`) IN (";
static const char write_sql_prune_tail[] =
    ")) t WHERE place > 5) o ON o.id = migrations_skipped.id";

static void write_put_key(struct mystore_script *script, const struct store_record *record)
{
    const struct migration *migration = record->migration;

    mystore_row_text(script, migration->id);
    mystore_row_text(script, record->schema);
    mystore_row_text(script, migration->version);
    mystore_row_text(script, migration->connection);
    mystore_row_text(script, backend_kind_name(migration->backend));
}

static void write_put_place(struct mystore_script *script, const char *migration_id,
                            const char *schema)
{
    mystore_row_begin(script);
    mystore_row_text(script, migration_id);
    mystore_row_text(script, schema);
    mystore_row_end(script);
}

/* --- the look --- */

static void write_put_lock_row(struct mystore_script *script, const struct store_record *record)
{
    mystore_row_begin(script);
    write_put_key(script, record);
    mystore_row_text(script, "");
    mystore_row_time(script, record->at_us);
    mystore_row_time(script, record->at_us);
    mystore_row_end(script);
}

static void write_put_row_key(struct mystore_script *script, const struct store_record *record)
{
    mystore_row_begin(script);
    mystore_row_text(script, record->run_id);
    mystore_row_text(script, record->migration->id);
    mystore_row_text(script, record->schema);
    mystore_row_end(script);
}

/* The plan was made without a look: it says which places there are, in their order. */
void mystore_write_put_look(struct mystore_write *write)
{
    struct mystore_script *script = &write->call.script;
    const struct mystore_plan *plan = &write->plan;

    mystore_sql(script, "SET wait_timeout = 60;" MYSTORE_BEGIN);
    mystore_rows_begin(script, write_sql_lock, write_sql_lock_tail, 0);
    for (size_t i = 0; i < plan->execution_count; i++)
        write_put_lock_row(script, plan->executions[i].record);
    mystore_rows_end(script);
    mystore_rows_begin(script, write_sql_places, ")", MYSTORE_KEYS_MAX);
    for (size_t i = 0; i < plan->execution_count; i++)
        write_put_place(script, plan->executions[i].record->migration->id,
                        plan->executions[i].record->schema);
    mystore_rows_end(script);
    mystore_rows_begin(script, write_sql_rows, ")", MYSTORE_KEYS_MAX);
    for (size_t i = 0; i < plan->history_count; i++)
        if (plan->history[i].run_id != NULL)
            write_put_row_key(script, plan->history[i].record);
    mystore_rows_end(script);
}

/* Rows of places have a number in the third column. */
int mystore_write_absorb_look(struct mystore_write *write)
{
    struct mystore_cursor row = {.call = &write->call};
    int rc = 0;

    while (rc == 0 && mystore_next(&row)) {
        const char *id = mystore_text(&row, 0), *schema = mystore_text(&row, 1);

        if (strcmp(maria_column(row.result, 2), "applied") == 0)
            rc = mystore_plan_add_place(&write->plan, id, schema, mystore_integer(&row, 2) != 0,
                                        mystore_integer(&row, 3) != 0);
        else
            rc = mystore_plan_add_history(&write->plan, mystore_text(&row, 2), id, schema,
                                          mystore_text(&row, 3));
    }
    return rc;
}

/* --- the writes --- */

static void write_put_list_row(struct mystore_script *script, const struct mystore_plan_list *list)
{
    const struct migration *migration = list->migration;

    mystore_row_begin(script);
    mystore_row_text(script, migration->id);
    mystore_row_text(script, migration->schema);
    mystore_row_text(script, migration->version);
    mystore_row_text(script, migration->name);
    mystore_row_text(script, migration->connection);
    mystore_row_text(script, backend_kind_name(migration->backend));
    mystore_row_text(script, migration->up.file);
    mystore_row_text(script, migration->down.file);
    mystore_row_sql(script, MYSTORE_NOW);
    mystore_row_text(script, list->status != NULL ? list->status : "pending");
    mystore_row_text(script, list->error);
    mystore_row_text(script, list->checksum);
    if (list->changed)
        mystore_row_time(script, list->at_us);
    else
        mystore_row_sql(script, MYSTORE_NOW);
    mystore_row_end(script);
}

static void write_put_lists(struct mystore_script *script, const struct mystore_plan *plan)
{
    for (int changed = 0; changed < 2; changed++) {
        mystore_rows_begin(script, write_sql_list,
                           changed ? write_sql_list_changed : write_sql_list_there, 0);
        for (size_t i = 0; i < plan->list_count; i++)
            if (plan->list[i].changed == (changed != 0))
                write_put_list_row(script, &plan->list[i]);
        mystore_rows_end(script);
    }
}

static void write_put_execution(struct mystore_script *script,
                                const struct mystore_plan_execution *execution)
{
    const struct store_record *record = execution->record;
    bool applied = strcmp(execution->status, "applied") == 0;

    mystore_row_begin(script);
    write_put_key(script, record);
    mystore_row_text(script, execution->status);
    mystore_row_number(script, applied);
    mystore_row_time(script, applied ? record->at_us : 0);
    mystore_row_time(script, record->at_us);
    mystore_row_time(script, record->at_us);
    mystore_row_text(script, applied ? record->checksum : NULL);
    mystore_row_text(script, record->run_id);
    mystore_row_end(script);
}

static void write_put_optional(struct mystore_script *script, int64_t number)
{
    if (number > 0)
        mystore_row_number(script, number);
    else
        mystore_row_sql(script, "NULL");
}

static void write_put_history(struct mystore_script *script,
                              const struct mystore_plan_history *history)
{
    const struct store_record *record = history->record;

    mystore_row_begin(script);
    write_put_key(script, record);
    mystore_row_text(script, record_event(record->event)->status);
    mystore_row_text(script, record->error);
    mystore_row_text_cut(script, record->caller->executed_by, TEXT_NAME_MAX);
    mystore_row_text_cut(script, record_method(record), TEXT_METHOD_MAX);
    mystore_row_text(script, record->caller->execution_context);
    mystore_row_time(script, record->at_us);
    mystore_row_sql(script, MYSTORE_NOW);
    mystore_row_text(script, history->run_id);
    write_put_optional(script, record->attempts);
    write_put_optional(script, record->duration_ms);
    mystore_row_end(script);
}

static void write_put_skip(struct mystore_script *script, const struct store_record *record)
{
    mystore_row_begin(script);
    write_put_key(script, record);
    mystore_row_text_cut(script, record->caller->executed_by, TEXT_NAME_MAX);
    mystore_row_text_cut(script, record_method(record), TEXT_METHOD_MAX);
    mystore_row_text(script, record->caller->execution_context);
    mystore_row_time(script, record->at_us);
    mystore_row_sql(script, MYSTORE_NOW);
    mystore_row_text(script, record->run_id);
    mystore_row_end(script);
}

static void write_put_skips(struct mystore_script *script, const struct mystore_plan *plan)
{
    mystore_rows_begin(script, write_sql_skipped, write_sql_skipped_tail, 0);
    for (size_t i = 0; i < plan->skip_count; i++)
        write_put_skip(script, plan->skips[i]);
    mystore_rows_end(script);
    mystore_rows_begin(script, write_sql_prune, write_sql_prune_tail, MYSTORE_KEYS_MAX);
    for (size_t i = 0; i < plan->skip_count; i++)
        write_put_place(script, plan->skips[i]->migration->id, plan->skips[i]->schema);
    mystore_rows_end(script);
}

static void write_put_unlock(struct mystore_script *script, const struct mystore_plan *plan)
{
    const struct mystore_plan_place *place;
    size_t at = 0;

    mystore_rows_begin(script, write_sql_unlock, ")", MYSTORE_KEYS_MAX);
    while ((place = map_next(&plan->places, &at)) != NULL)
        if (!place->there && !place->written)
            write_put_place(script, place->migration_id, place->schema);
    mystore_rows_end(script);
}

void mystore_write_put_all(struct mystore_write *write)
{
    struct mystore_script *script = &write->call.script;
    struct mystore_plan *plan = &write->plan;

    if (!plan->looked)
        mystore_sql(script, MYSTORE_BEGIN);
    mystore_write_put_runs(write);
    mystore_rows_begin(script, write_sql_execution, write_sql_execution_tail, 0);
    for (size_t i = 0; i < plan->execution_count; i++)
        write_put_execution(script, &plan->executions[i]);
    mystore_rows_end(script);
    write_put_unlock(script, plan);
    write_put_lists(script, plan);
    mystore_rows_begin(script, write_sql_history, plan->looked ? write_sql_history_looked : "", 0);
    for (size_t i = 0; i < plan->history_count; i++)
        write_put_history(script, &plan->history[i]);
    mystore_rows_end(script);
    write_put_skips(script, plan);
    mystore_sql(script, MYSTORE_COMMIT);
    if (plan->looked)
        mystore_sql(script, "SET wait_timeout = DEFAULT;");
}
