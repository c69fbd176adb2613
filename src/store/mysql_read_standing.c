#include "store/mysql_private.h"

/* What stands, and starts without an end: the columns are those of rows.h. */

#define STANDING_APPLIED                                                  \
    "SELECT migration_id, `schema`, connection, 1, 0, NULL, " MYSTORE_US( \
        "applied_at") ", NULL"                                            \
                      " FROM @.migrations_executions WHERE applied AND "

#define STANDING_WORK(hint)                                                                                             \
    "SELECT h.migration_id, h.`schema`, h.connection, 0, h.id, h.run_id, " MYSTORE_US(                                  \
        "COALESCE(h.applied_at, h.created_at)") ", r.status FROM @.migrations_history h" hint                           \
                                                " LEFT JOIN @.bfm_runs r ON r.id = h.run_id WHERE h.status = 'pending'" \
                                                " AND h.run_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM @.migrations_history n WHERE "

#define STANDING_NEWER \
    "n.migration_id = h.migration_id AND n.`schema` = h.`schema` AND n.id > h.id) AND "

/* By the places, however many rows the server thinks there are. */
#define STANDING_BY_PLACE " FORCE INDEX (idx_migrations_history_migration_id_schema_id)"

static const char standing_sql_applied[] = STANDING_APPLIED "(migration_id, `schema`) IN (";
static const char standing_sql_work[] =
    STANDING_WORK(STANDING_BY_PLACE) STANDING_NEWER "(h.migration_id, h.`schema`) IN (";
static const char standing_sql_applied_anywhere[] = STANDING_APPLIED "migration_id = ";
static const char standing_sql_work_anywhere[] =
    STANDING_WORK("") STANDING_NEWER "h.migration_id = ";
static const char standing_sql_unended[] = STANDING_WORK(
    "") "n.run_id = h.run_id AND n.migration_id = h.migration_id AND n.`schema` = h.`schema`"
        " AND n.status <> 'pending') AND h.id > ";

static void standing_put_places(struct mystore_script *script, const struct request *request,
                                const char *sql)
{
    mystore_rows_begin(script, sql, ")", MYSTORE_KEYS_MAX);
    for (size_t i = 0; i < request->place_count; i++) {
        const struct store_place *place = &request->places[i];

        if (place->schema == NULL)
            continue;
        mystore_row_begin(script);
        mystore_row_text(script, place->migration_id);
        mystore_row_text(script, place->schema);
        mystore_row_end(script);
    }
    mystore_rows_end(script);
}

static void standing_put_anywhere(struct mystore_script *script, const char *sql, const char *id)
{
    mystore_sql(script, sql);
    mystore_put_text(script, id);
    mystore_sql(script, ";");
}

static void standing_put_unended(struct mystore_script *script, const struct request *request)
{
    mystore_sql(script, standing_sql_unended);
    mystore_put_number(script, request->after);
    mystore_sql(script, " ORDER BY h.id");
    mystore_put_limit(script, request->limit);
}

void mystore_read_put_standing(struct mystore_script *script, const struct request *request)
{
    if (request->kind == REQUEST_UNENDED) {
        standing_put_unended(script, request);
        return;
    }
    mystore_sql(script, MYSTORE_BEGIN_READ);
    standing_put_places(script, request, standing_sql_applied);
    standing_put_places(script, request, standing_sql_work);
    for (size_t i = 0; i < request->place_count; i++) {
        if (request->places[i].schema != NULL)
            continue;
        mystore_statement_begin(script);
        standing_put_anywhere(script, standing_sql_applied_anywhere,
                              request->places[i].migration_id);
        standing_put_anywhere(script, standing_sql_work_anywhere, request->places[i].migration_id);
        mystore_statement_end(script);
    }
    mystore_sql(script, MYSTORE_COMMIT);
}
