#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "store/postgresql_private.h"

static void read_add_value(struct pgstore_read *read, const char *value)
{
    read->call.values[read->call.value_count++] = value;
}

/* NULL does not restrict. */
static void read_add_filter(struct pgstore_read *read, const char *value)
{
    read_add_value(read, value != NULL && value[0] != '\0' ? value : NULL);
}

static void read_add_limit(struct pgstore_read *read, size_t limit)
{
    snprintf(read->limit, sizeof(read->limit), "%zu", limit < INT64_MAX ? limit : INT64_MAX);
    read_add_value(read, read->limit);
}

static int read_add_connections(struct pgstore_read *read, const struct store_run_filter *filter)
{
    struct buf *json = &read->connections;

    if (json_put_array(json, filter->connections, filter->connection_count) != 0)
        return err_set(&read->step.err, ERR_NOMEM, "out of memory");
    read_add_value(read, json->data);
    return 0;
}

static int read_fill_runs(struct pgstore_read *read)
{
    const struct store_run_filter *filter = read->request->run_filter;

    read->call.sql = filter->connections != NULL ? PGSTORE_RUNS_SEEN : PGSTORE_RUNS;
    read_add_filter(read, filter->id);
    read_add_filter(read, filter->connection);
    read_add_filter(read, filter->kind);
    read_add_filter(read, filter->executed_by);
    read_add_filter(read, filter->status);
    read_add_filter(read, filter->before_id);
    read_add_limit(read, read->request->limit);
    return filter->connections != NULL ? read_add_connections(read, filter) : 0;
}

static int read_fill_part(struct pgstore_read *read, enum pgstore_sql sql)
{
    read->call.sql = sql;
    snprintf(read->after, sizeof(read->after), "%" PRId64, read->request->after);
    read_add_value(read, read->request->run_id);
    read_add_value(read, read->after);
    read_add_limit(read, read->request->limit);
    return 0;
}

/* A literal for a query without parameters: what could mean anything else is escaped. */
static void read_put_literal(struct buf *sql, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-.,:~[]\"";
    size_t len;

    buf_puts(sql, "E'");
    for (; *text != '\0'; text += len) {
        len = strspn(text, plain);
        if (len > 0)
            buf_append(sql, text, len);
        else
            buf_printf(sql, "\\x%02x", (unsigned char)text[len++]);
    }
    buf_putc(sql, '\'');
}

static void read_put_uncounted(struct pgstore_read *read, struct buf *sql)
{
    const struct store_tenant_filter *filter = read->request->tenant_filter;
    struct buf *json = &read->connections;

    if (filter->migration_ids == NULL) {
        buf_puts(sql, "false");
        return;
    }
    json_put_array(json, filter->migration_ids, filter->id_count);
    buf_puts(sql, "migration_id NOT IN (SELECT json_array_elements_text(");
    read_put_literal(sql, buf_str(json));
    buf_puts(sql, "::json))");
    if (json->rc != 0)
        sql->rc = json->rc;
}

static void read_put_range(const struct store_tenant_filter *filter, struct buf *sql)
{
    const char *after = filter->after_schema != NULL ? filter->after_schema : "";

    buf_puts(sql, filter->schema != NULL ? "= " : "> ");
    read_put_literal(sql, filter->schema != NULL ? filter->schema : after);
}

/* What a mark of the statement stands for. */
static void read_put_mark(struct pgstore_read *read, char mark, struct buf *sql)
{
    const struct store_tenant_filter *filter = read->request->tenant_filter;

    switch (mark) {
    case 'c':
        read_put_literal(sql, filter->connection);
        return;
    case 'r':
        read_put_range(filter, sql);
        return;
    case 'u':
        read_put_literal(sql, filter->upto_version != NULL ? filter->upto_version : "~");
        return;
    case 'l':
        if (filter->limit > 0)
            buf_printf(sql, " LIMIT %zu", filter->limit);
        return;
    default:
        assert(mark == 'i');
        read_put_uncounted(read, sql);
    }
}

static int read_fill_tenants(struct pgstore_read *read)
{
    struct buf *sql = &read->pairs;
    const char *at = pgstore_sql_tenants;

    while (*at != '\0') {
        size_t len = strcspn(at, "@$");

        buf_append(sql, at, len);
        at += len;
        if (*at == '@')
            buf_puts(sql, read->pg->quoted_schema);
        else if (*at == '$')
            read_put_mark(read, *++at, sql);
        at += *at != '\0';
    }
    if (sql->rc != 0)
        return err_set(&read->step.err, ERR_NOMEM, "out of memory");
    read->call.text = sql->data;
    return 0;
}

int pgstore_read_fill_about_runs(struct pgstore_read *read)
{
    if (read->request->kind == REQUEST_RUNS)
        return read_fill_runs(read);
    if (read->request->kind == REQUEST_TENANTS)
        return read_fill_tenants(read);
    if (read->request->kind == REQUEST_RUN_LANES)
        return read_fill_part(read, PGSTORE_RUN_LANES);
    return read_fill_part(read, PGSTORE_RUN_STEPS);
}
