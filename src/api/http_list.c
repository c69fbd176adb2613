#include "api/http_handlers.h"
#include "api/http_json.h"
#include "api/pages.h"
#include "base/json.h"

static void release_list(struct call *call)
{
    ops_list_free(&call->out.list);
}

int start_list(struct call *call)
{
    struct ops_list_filter filter = {
        .schema = call_param(call, "schema"),
        .table = call_param(call, "table"),
        .connection = call_param(call, "connection"),
        .backend = call_param(call, "backend"),
        .status = call_param(call, "status"),
        .version = call_param(call, "version"),
        .grant = call->grant,
        .limit = call->limit, /* without it, and without a cursor, everything is one answer */
        .after = "",
    };
    int rc = page_read_list(call_param(call, "cursor"), &call->arena, &filter);

    if (rc != 0)
        return call_refuse_cursor(call, rc);
    rc = ops_list_start(&call->api->ops, &call->op, &filter, &call->out.list);
    if (rc == 0)
        call->release = release_list;
    return rc;
}

/* What list and detail have in common. */
static void put_migration(const struct migration *migration, bool applied, struct buf *out)
{
    json_put_member(out, "migration_id", migration->id);
    json_put_member(out, "schema", migration->schema);
    json_put_member(out, "table", migration->table);
    json_put_member(out, "version", migration->version);
    json_put_member(out, "name", migration->name);
    json_put_member(out, "connection", migration->connection);
    json_put_member(out, "backend", backend_kind_name(migration->backend));
    json_put_bool(out, "applied", applied);
}

static void put_tags(const struct migration *migration, struct buf *out)
{
    if (migration->tag_count > 0)
        json_put_strings(out, "tags", migration->tags, migration->tag_count);
}

static void put_item(const struct ops_list_item *item, struct buf *out)
{
    buf_putc(out, '{');
    put_migration(item->migration, item->status.applied, out);
    json_put_member(out, "status", item->status.status);
    json_put_some_time(out, "applied_at", item->status.applied_at_us);
    json_put_some(out, "error_message", item->status.error_message);
    put_tags(item->migration, out);
    json_put_int(out, "schemas_applied", item->schemas_applied);
    buf_putc(out, '}');
}

static bool more_of_list(struct pump *pump, struct buf *out)
{
    struct call *call = container_of(pump, struct call, pump);
    struct call_cursor *cursor = &call->cursor;
    struct ops_list *list = &call->out.list;
    struct ops_list_item item;

    if (cursor->stage++ == 0) {
        buf_puts(out, "{\"items\":[");
        return true;
    }
    switch (ops_list_next(list, &item)) {
    case OPS_NEXT_END:
        buf_printf(out, "],\"total\":%zu", list->total);
        if (list->last != NULL) {
            page_put_list(list, &cursor->line);
            json_put_some_of(out, "next_cursor", &cursor->line);
        }
        buf_putc(out, '}');
        return false;
    case OPS_NEXT_NONE:
        break;
    case OPS_NEXT_ITEM:
        buf_puts(out, cursor->count++ > 0 ? "," : "");
        put_item(&item, out);
        break;
    }
    return true;
}

void answer_list(struct call *call)
{
    call_pump(call, 200, more_of_list);
}

/* --- detail --- */

static void put_dependencies(const struct migration *migration, struct buf *out)
{
    size_t count = 0;

    for (size_t i = 0; i < migration->dependency_count; i++) {
        if (!migration->dependencies[i].simple)
            continue;
        if (count++ == 0)
            buf_puts(out, ",\"dependencies\":[");
        else
            buf_putc(out, ',');
        json_put_string(out, migration->dependencies[i].target);
    }
    if (count > 0)
        buf_putc(out, ']');
}

static void put_structured_dependencies(const struct migration *migration, struct buf *out)
{
    size_t count = 0;

    for (size_t i = 0; i < migration->dependency_count; i++) {
        const struct dependency *dependency = &migration->dependencies[i];

        if (dependency->simple)
            continue;
        buf_puts(out, count++ == 0 ? ",\"structured_dependencies\":[{" : ",{");
        json_put_member(out, "connection", dependency->connection);
        json_put_member(out, "schema", dependency->schema);
        json_put_member(out, "target", dependency->target);
        json_put_member(out, "target_type", dependency->by_version ? "version" : "name");
        json_put_some(out, "requires_table", dependency->requires_table);
        json_put_some(out, "requires_schema", dependency->requires_schema);
        buf_putc(out, '}');
    }
    if (count > 0)
        buf_putc(out, ']');
}

static void put_script(const struct script *script, const char *key, struct buf *out)
{
    if (script->file == NULL || script->len == 0)
        return;
    json_put_key(out, key);
    json_put_string_n(out, script->text, script->len);
}

/* A migration whose script is gone: as it was recorded. */
static void put_recorded(const struct store_status *row, bool applied, struct buf *out)
{
    json_put_member(out, "migration_id", row->migration_id);
    json_put_member(out, "schema", row->schema);
    json_put_member(out, "table", "");
    json_put_member(out, "version", row->version);
    json_put_member(out, "name", row->name);
    json_put_member(out, "connection", row->connection);
    json_put_member(out, "backend", row->backend);
    json_put_bool(out, "applied", applied);
}

static bool more_of_detail(struct pump *pump, struct buf *out)
{
    struct call *call = container_of(pump, struct call, pump);
    const struct ops_lookup *lookup = &call->out.lookup;
    const struct migration *migration = lookup->resolve.migration;
    struct ops_status status;

    ops_lookup_status(lookup, &status);
    buf_putc(out, '{');
    if (migration == NULL) {
        put_recorded(lookup->resolve.recorded, status.applied, out);
    } else {
        put_migration(migration, status.applied, out);
        put_script(&migration->up, "up_sql", out);
        put_script(&migration->down, "down_sql", out);
        put_dependencies(migration, out);
        put_structured_dependencies(migration, out);
        put_tags(migration, out);
    }
    buf_putc(out, '}');
    return false;
}

void answer_detail(struct call *call)
{
    struct err err;

    if (call->out.lookup.resolve.found) {
        call_pump(call, 200, more_of_detail);
        return;
    }
    err_set(&err, ERR_NOT_FOUND, "migration not found");
    call_fail(call, &err);
}
