#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "store/postgresql_private.h"

#define STANDING_WORK                                                                         \
    "SELECT h.migration_id, h.schema, h.connection, 0, h.id, h.run_id," PGSTORE_MICROSECONDS( \
        "COALESCE(h.applied_at, h.created_at)") ", r.status FROM "

#define STANDING_RUN \
    " LEFT JOIN @.bfm_runs r ON r.id = h.run_id WHERE h.status = 'pending' AND h.run_id IS NOT NULL"

/* $1: the places. The newest history row of one in a schema is looked up by itself. */
const char pgstore_sql_standing[] =
    "WITH k AS MATERIALIZED (SELECT DISTINCT i, s FROM json_to_recordset($1::json) AS x (i text,"
    " s text)) SELECT e.migration_id, e.schema, e.connection, 1, 0::bigint, NULL," PGSTORE_MICROSECONDS(
        "e.applied_at") ", NULL FROM k JOIN @.migrations_executions e ON e.migration_id = k.i"
                        " AND (k.s IS NULL OR e.schema = k.s) WHERE e.applied"
                        " UNION ALL " STANDING_WORK
                        "k CROSS JOIN LATERAL (SELECT * FROM @.migrations_history t"
                        " WHERE t.migration_id = k.i AND t.schema = k.s ORDER BY t.id DESC LIMIT 1) h" STANDING_RUN
                        " UNION ALL " STANDING_WORK
                        "k JOIN @.migrations_history h ON h.migration_id = k.i AND k.s IS NULL" STANDING_RUN
                        " AND NOT EXISTS (SELECT 1 FROM @.migrations_history n"
                        " WHERE n.migration_id = h.migration_id AND n.schema = h.schema"
                        " AND n.id > h.id)";

const char pgstore_sql_unended[] = STANDING_WORK
    "@.migrations_history h" STANDING_RUN
    " AND h.id > $1::bigint AND NOT EXISTS (SELECT 1 FROM @.migrations_history n"
    " WHERE n.run_id = h.run_id AND n.migration_id = h.migration_id AND n.schema = h.schema"
    " AND n.status <> 'pending') ORDER BY h.id LIMIT $2::bigint";

static int standing_fill_places(struct pgstore_read *read)
{
    const struct request *request = read->request;
    struct buf *json = &read->pairs;

    buf_putc(json, '[');
    for (size_t i = 0; i < request->place_count; i++) {
        buf_puts(json, i > 0 ? ",{" : "{");
        json_put_member(json, "i", request->places[i].migration_id);
        if (request->places[i].schema != NULL)
            json_put_member(json, "s", request->places[i].schema);
        buf_putc(json, '}');
    }
    if (buf_putc(json, ']') != 0)
        return err_set(&read->step.err, ERR_NOMEM, "out of memory");
    read->call.sql = PGSTORE_STANDING;
    read->call.values[read->call.value_count++] = json->data;
    return 0;
}

int pgstore_read_fill_standing(struct pgstore_read *read)
{
    size_t limit = read->request->limit;

    if (read->request->kind == REQUEST_STANDING)
        return standing_fill_places(read);
    read->call.sql = PGSTORE_UNENDED;
    snprintf(read->after, sizeof(read->after), "%" PRId64, read->request->after);
    snprintf(read->limit, sizeof(read->limit), "%zu", limit < INT64_MAX ? limit : INT64_MAX);
    read->call.values[read->call.value_count++] = read->after;
    read->call.values[read->call.value_count++] = read->limit;
    return 0;
}
