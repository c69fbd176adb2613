/* Journal rows for what older servers applied. Everything here may be said twice. */
#include <inttypes.h>
#include <stdlib.h>

#include "backend/mysql_private.h"

/* SELECT 0 i,'schema' s,'id' m,'checksum' c,12 t UNION ALL SELECT ... */
static int adopt_put_rows(struct myb_read *read)
{
    int rc = 0;

    for (size_t i = 0; i < read->count && rc == 0; i++) {
        const struct backend_adoption *item = &read->adoptions[i];
        const char *const texts[] = {item->schema, item->migration->id,
                                     item->migration->up.checksum};
        static const char *const names[] = {"s", "m", "c"};

        buf_printf(&read->sql, "%s%zu AS i", i > 0 ? " UNION ALL SELECT " : "SELECT ", i);
        for (size_t text = 0; text < ARRAY_SIZE(texts) && rc == 0; text++) {
            buf_putc(&read->sql, ',');
            rc = maria_put_literal(&read->sql, texts[text]);
            buf_printf(&read->sql, " COLLATE utf8mb4_bin AS %s", names[text]);
        }
        buf_printf(&read->sql, ",%" PRId64 " AS t", item->applied_at_us);
    }
    return rc;
}

static int adopt_put(struct myb_read *read)
{
    struct buf *sql = &read->sql;
    int rc;

    buf_printf(sql,
               "INSERT INTO %s(schema_name,migration_id,checksum,kind,run_id,applied_at)"
               " SELECT v.s,v.m,v.c,'up','adopted',IF(v.t=0,UTC_TIMESTAMP(6),"
               "TIMESTAMP'1970-01-01 00:00:00'+INTERVAL v.t MICROSECOND) FROM (",
               read->myb->journal);
    rc = adopt_put_rows(read);
    buf_puts(sql, ") v WHERE v.s='' OR EXISTS(SELECT 1 FROM information_schema.schemata n"
                  " WHERE BINARY n.schema_name=BINARY v.s) ORDER BY v.s,v.m"
                  " ON DUPLICATE KEY UPDATE kind=kind;SELECT v.i FROM (");
    if (rc == 0)
        rc = adopt_put_rows(read);
    buf_printf(sql,
               ") v JOIN %s j ON j.schema_name=v.s AND j.migration_id=v.m"
               " WHERE j.kind NOT IN ('started','done')",
               read->myb->journal);
    return rc;
}

static int adopt_take(struct myb_read *read, const struct maria_result *result)
{
    for (size_t i = 0; i < read->count; i++)
        read->adoptions[i].adopted = false;
    for (size_t row = 0; row < result->rows; row++) {
        size_t i = strtoul(maria_value(result, row, 0, NULL), NULL, 10);

        if (i >= read->count)
            return ERR_DB;
        read->adoptions[i].adopted = true;
    }
    return 0;
}

int myb_adopt(struct backend *backend, struct op *op, struct backend_adoption *items, size_t count)
{
    struct myb_read *read = myb_read_create(backend, op);

    if (read == NULL)
        return ERR_NOMEM;
    read->adoptions = items;
    read->count = count;
    read->put = adopt_put;
    read->take = adopt_take;
    read->makes_journal = true;
    return myb_read_start(read);
}
