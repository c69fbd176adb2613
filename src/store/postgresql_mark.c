/* Executions of older servers that are in their target's journal by now. */
#include "base/json.h"
#include "base/mem.h"
#include "store/postgresql_private.h"

enum {
    MARK_JSON_MAX = 16 * 1024 * 1024,
};

const char pgstore_sql_mark[] =
    "UPDATE @.migrations_executions e SET checksum = x.checksum"
    " FROM json_to_recordset($1::json) AS x (id text, schema text, connection text, checksum text)"
    " WHERE e.migration_id = x.id AND e.schema = x.schema AND e.connection = x.connection"
    " AND e.applied AND e.checksum IS NULL";

struct pgstore_mark {
    struct pgstore_call call;
    struct op step;
    struct op *op; /* the caller's */
    struct buf json;
};

static void mark_free(struct pgstore_mark *mark)
{
    pg_results_free(&mark->call.results);
    buf_free(&mark->json);
    mem_free(mark);
}

static void mark_on_written(struct op *step, int rc)
{
    struct pgstore_mark *mark = container_of(step, struct pgstore_mark, step);
    struct op *op = mark->op;
    struct err err = step->err;

    mark_free(mark);
    if (rc != 0)
        op_fail(op, &err);
    else
        op_finish(op, 0);
}

static void mark_put(struct buf *json, const struct store_adopted *row)
{
    buf_puts(json, json->len > 1 ? ",{" : "{");
    json_put_member(json, "id", row->migration->id);
    json_put_member(json, "schema", row->schema);
    json_put_member(json, "connection", row->migration->connection);
    json_put_member(json, "checksum", row->migration->up.checksum);
    buf_putc(json, '}');
}

int pgstore_mark_adopted(struct store *store, struct op *op, const struct store_adopted *rows,
                         size_t count)
{
    struct store_pg *pg = container_of(store, struct store_pg, core.store);
    struct pgstore_mark *mark = mem_calloc(1, sizeof(*mark));
    int rc;

    if (mark == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    mark->op = op;
    buf_init(&mark->json, MARK_JSON_MAX);
    buf_putc(&mark->json, '[');
    for (size_t i = 0; i < count; i++)
        mark_put(&mark->json, &rows[i]);
    buf_putc(&mark->json, ']');
    rc = mark->json.rc;
    if (rc != 0) {
        mark_free(mark);
        return op_refuse(op, rc, "%s", err_code_text(rc));
    }
    mark->call = (struct pgstore_call){
        .sql = PGSTORE_MARK, .value_count = 1, .values = {mark->json.data}, .repeatable = true};
    op_init(&mark->step, mark_on_written);
    rc = pgstore_call_start(pg, &mark->call, &mark->step);
    if (rc != 0) {
        op->err = mark->step.err;
        mark_free(mark);
        return rc;
    }
    op_begin(op, mark, NULL);
    return 0;
}
