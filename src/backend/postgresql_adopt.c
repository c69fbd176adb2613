/* Journal rows for what older servers applied. Everything here may be said twice. */
#include <inttypes.h>
#include <stdlib.h>

#include "backend/postgresql_private.h"

enum {
    ADOPT_WAIT_MS = 5000, /* for somebody who makes the same schema or writes the same row */
};

static int adopt_put_journal_table(struct pgb_read *read)
{
    const char *name = read->pgb->settings.journal_schema;
    struct buf literal, ident, body;
    int rc;

    buf_init(&literal, PGB_SQL_MAX);
    buf_init(&ident, PGB_SQL_MAX);
    buf_init(&body, PGB_SQL_MAX);
    rc = pg_put_literal(&literal, read->conn, name);
    if (rc == 0)
        rc = pg_put_identifier(&ident, read->conn, name);
    if (rc == 0) {
        pgsql_put_create_journal_body(&body, buf_str(&literal), buf_str(&ident), ADOPT_WAIT_MS);
        buf_puts(&read->sql, "DO ");
        rc = body.rc != 0 ? body.rc : pg_put_literal(&read->sql, read->conn, buf_str(&body));
        buf_puts(&read->sql, ";");
    }
    buf_free(&body);
    buf_free(&ident);
    buf_free(&literal);
    return rc;
}

/* "(0,'schema','id','checksum',12),..." */
static int adopt_put_rows(struct pgb_read *read)
{
    int rc = 0;

    for (size_t i = 0; i < read->count && rc == 0; i++) {
        const struct backend_adoption *item = &read->adoptions[i];
        const char *const texts[] = {item->schema, item->migration->id,
                                     item->migration->up.checksum};

        buf_printf(&read->sql, "%s(%zu", i > 0 ? "," : "", i);
        for (size_t text = 0; text < ARRAY_SIZE(texts) && rc == 0; text++) {
            buf_putc(&read->sql, ',');
            rc = pg_put_literal(&read->sql, read->conn, texts[text]);
        }
        buf_printf(&read->sql, ",%" PRId64 "::bigint)", item->applied_at_us);
    }
    return rc;
}

static int adopt_put(struct pgb_read *read)
{
    struct buf *sql = &read->sql;
    int rc;

    buf_printf(sql, "SET LOCAL lock_timeout=%d;", (int)ADOPT_WAIT_MS);
    rc = adopt_put_journal_table(read);
    if (rc == 0) {
        buf_puts(sql, "INSERT INTO ");
        rc = pgb_put_journal(sql, read->pgb, read->conn);
    }
    buf_puts(sql, " (schema_name,migration_id,checksum,kind,run_id,applied_at)"
                  " SELECT v.s,v.m,v.c,'up','adopted',CASE v.t WHEN 0 THEN now()"
                  " ELSE to_timestamp(v.t/1e6) END FROM (VALUES ");
    if (rc == 0)
        rc = adopt_put_rows(read);
    buf_puts(sql, ") v(i,s,m,c,t) JOIN pg_catalog.pg_namespace n ON n.nspname=v.s ORDER BY v.s,v.m"
                  " ON CONFLICT DO NOTHING;SELECT v.i FROM (VALUES ");
    if (rc == 0)
        rc = adopt_put_rows(read);
    buf_puts(sql, ") v(i,s,m,c,t) JOIN ");
    if (rc == 0)
        rc = pgb_put_journal(sql, read->pgb, read->conn);
    buf_puts(sql, " j ON j.schema_name=v.s AND j.migration_id=v.m"
                  " WHERE j.kind NOT IN ('started','done')");
    return rc;
}

static int adopt_take(struct pgb_read *read, const PGresult *result)
{
    for (size_t i = 0; i < read->count; i++)
        read->adoptions[i].adopted = false;
    for (int row = 0; row < PQntuples(result); row++) {
        size_t i = strtoul(PQgetvalue(result, row, 0), NULL, 10);

        if (i >= read->count)
            return ERR_DB;
        read->adoptions[i].adopted = true;
    }
    return 0;
}

int pgb_adopt(struct backend *backend, struct op *op, struct backend_adoption *items, size_t count)
{
    struct pgb_read *read = pgb_read_create(backend, op);

    if (read == NULL)
        return ERR_NOMEM;
    read->adoptions = items;
    read->count = count;
    read->put = adopt_put;
    read->take = adopt_take;
    read->makes_journal = true;
    return pgb_read_start(read);
}
