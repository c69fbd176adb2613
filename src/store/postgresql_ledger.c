#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "store/postgresql_private.h"

/* The journal of targets that have none: what it says, and changes of it. */

#define LEDGER_ROW                                                          \
    "SELECT connection, schema, migration_id, checksum, run_id, undo::int," \
    " complete::int, started::int, done, " PGSTORE_MICROSECONDS(            \
        "applied_at") ","                                                   \
                      " revision FROM @.bfm_ledger WHERE connection = $1"

const char pgstore_sql_ledger_of[] =
    LEDGER_ROW " AND schema = $2 AND migration_id = $3 LIMIT $4::bigint";
const char pgstore_sql_ledger_all[] =
    LEDGER_ROW " AND (schema, migration_id) > ($2, $3) ORDER BY schema, migration_id"
               " LIMIT $4::bigint";

/*
 * $1: changes. Of several that expect the same of a row the first one counts; as they differ in
 * what they expect, no more than one of the rest takes effect.
 *
 * d  those that count
 * v  the rows that they are about, locked in one order, so that two servers do not stop each other
 * u, r  changed and removed ones: the revision is compared again when the lock is had
 * i  new ones: one that another server makes at the same time is waited for and stays
 */
const char pgstore_sql_swap[] =
    "WITH x AS MATERIALIZED (SELECT n, c COLLATE \"C\" AS c, s COLLATE \"C\" AS s,"
    " i COLLATE \"C\" AS i, e, g, ck, run, un, co, st, done,"
    " timestamp 'epoch' + at * interval '1 microsecond' AS at, rev"
    " FROM json_to_recordset($1::json) AS x (n int, c text, s text, i text, e bigint, g boolean,"
    " ck text, run text, un boolean, co boolean, st boolean, done bigint, at bigint, rev bigint)),"
    " d AS MATERIALIZED (SELECT DISTINCT ON (c, s, i, e) * FROM x ORDER BY c, s, i, e, n),"
    " v AS MATERIALIZED (SELECT 1 FROM @.bfm_ledger l JOIN d ON l.connection = d.c"
    " AND l.schema = d.s AND l.migration_id = d.i AND l.revision = d.e"
    " ORDER BY l.connection, l.schema, l.migration_id FOR UPDATE OF l),"
    " u AS (UPDATE @.bfm_ledger l SET checksum = ck, run_id = run, undo = un, complete = co,"
    " started = st, done = d.done, applied_at = at, revision = rev FROM d"
    " WHERE l.connection = d.c AND l.schema = d.s AND l.migration_id = d.i AND l.revision = d.e"
    " AND NOT g AND (SELECT count(*) FROM v) >= 0 RETURNING n),"
    " r AS (DELETE FROM @.bfm_ledger l USING d WHERE l.connection = d.c AND l.schema = d.s"
    " AND l.migration_id = d.i AND l.revision = d.e AND g AND (SELECT count(*) FROM v) >= 0"
    " RETURNING n),"
    " i AS (INSERT INTO @.bfm_ledger (connection, schema, migration_id, checksum, run_id, undo,"
    " complete, started, done, applied_at, revision) SELECT c, s, i, ck, run, un, co, st, done, at,"
    " rev FROM d WHERE e = 0 AND NOT g AND (SELECT count(*) FROM v) >= 0 ORDER BY c, s, i"
    " ON CONFLICT (connection, schema, migration_id) DO NOTHING"
    " RETURNING connection, schema, migration_id)"
    " SELECT (x.n IN (SELECT n FROM u UNION ALL SELECT n FROM r UNION ALL SELECT d.n FROM i JOIN d"
    " ON d.c = i.connection AND d.s = i.schema AND d.i = i.migration_id AND d.e = 0))::int FROM x"
    " ORDER BY x.n";

int pgstore_read_fill_ledger(struct pgstore_read *read)
{
    const struct ledger_query *query = read->request->ledger_query;
    struct pgstore_call *call = &read->call;
    bool one = query->migration_id != NULL;
    size_t limit = query->limit < INT64_MAX ? query->limit : INT64_MAX;

    snprintf(read->limit, sizeof(read->limit), "%zu", limit);
    call->sql = one ? PGSTORE_LEDGER_OF : PGSTORE_LEDGER_ALL;
    call->values[0] = query->connection;
    call->values[1] = one ? query->schema : query->after_schema;
    call->values[2] = one ? query->migration_id : query->after_id;
    call->values[3] = read->limit;
    call->value_count = 4;
    return 0;
}

static void ledger_put_flag(struct buf *json, const char *key, bool value)
{
    buf_printf(json, ",\"%s\":%s", key, value ? "true" : "false");
}

void pgstore_put_change(struct buf *json, size_t number, const struct ledger_change *change)
{
    const struct ledger_row *row = &change->row;

    buf_printf(json, "%s{\"n\":%zu,\"e\":%" PRId64, number == 0 ? "" : ",", number,
               change->expected);
    json_put_member(json, "c", row->connection);
    json_put_member(json, "s", row->schema);
    json_put_member(json, "i", row->migration_id);
    ledger_put_flag(json, "g", change->remove);
    if (!change->remove) {
        json_put_member(json, "ck", row->checksum);
        json_put_member(json, "run", row->run_id);
        ledger_put_flag(json, "un", row->undo);
        ledger_put_flag(json, "co", row->complete);
        ledger_put_flag(json, "st", row->started);
        buf_printf(json, ",\"done\":%" PRId64 ",\"rev\":%" PRId64, row->done, row->revision);
        if (row->applied_at_us > 0)
            buf_printf(json, ",\"at\":%" PRId64, row->applied_at_us);
    }
    buf_putc(json, '}');
}
