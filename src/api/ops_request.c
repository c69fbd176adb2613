#include "api/ops_request.h"

#include <string.h>

#include "api/http_fields.h"
#include "api/http_json.h"
#include "base/json.h"

static const char *const kind_names[] = {
    [OPS_UP] = "up",
    [OPS_MIGRATE] = "migrate",
    [OPS_DOWN] = "down",
    [OPS_ROLLBACK] = "rollback",
};

const char *ops_run_kind_name(enum ops_run_kind kind)
{
    return kind_names[kind];
}

bool ops_run_kind_parse(const char *name, enum ops_run_kind *kind)
{
    for (size_t i = 0; i < ARRAY_SIZE(kind_names); i++) {
        if (strcmp(kind_names[i], name) != 0)
            continue;
        *kind = (enum ops_run_kind)i;
        return true;
    }
    return false;
}

static void put_target(const struct plan_filter *target, struct buf *out)
{
    json_put_key(out, "target");
    buf_putc(out, '{');
    json_put_member(out, "backend", target->backend);
    json_put_member(out, "connection", target->connection);
    json_put_member(out, "schema", target->schema);
    json_put_member(out, "version", target->version);
    json_put_strings(out, "tables", target->tables, target->table_count);
    if (target->tag_count > 0)
        json_put_strings(out, "tags", target->tags, target->tag_count);
    if (target->fixed_only)
        json_put_bool(out, "fixed_only", true);
    buf_putc(out, '}');
}

void ops_request_put(const struct run_request *request, struct buf *out)
{
    buf_putc(out, '{');
    if (request->kind == RUN_DOWN) {
        json_put_member(out, "migration_id", request->migration->id);
    } else {
        json_put_member(out, "connection", request->connection);
        put_target(&request->filter, out);
    }
    json_put_strings(out, "schemas", request->schemas, request->schema_count);
    json_put_bool(out, "ignore_dependencies", request->ignore_dependencies);
    if (request->no_lone_lane)
        json_put_member(out, "schemas_from", "state");
    if (request->limits_failures)
        json_put_int(out, "max_failures", (int64_t)request->max_failures);
    buf_putc(out, '}');
}

static void read_target(struct fields *fields, struct plan_filter *target)
{
    struct fields inner;

    if (!fields_object(fields, "target", "target.", &inner))
        return;
    target->backend = fields_string(&inner, "backend");
    target->connection = fields_string(&inner, "connection");
    target->schema = fields_string(&inner, "schema");
    target->version = fields_string(&inner, "version");
    target->fixed_only = fields_bool(&inner, "fixed_only");
    target->tables = fields_strings(&inner, "tables", OPS_TABLES_MAX, &target->table_count);
    target->tags = fields_strings(&inner, "tags", OPS_TAGS_MAX, &target->tag_count);
    fields->rc = inner.rc;
}

int ops_request_read(const struct store_run *run, struct arena *arena, struct ops_recorded *out,
                     struct err *err)
{
    struct fields fields;
    cJSON *json = NULL;
    int rc;

    *out = (struct ops_recorded){0};
    if (!ops_run_kind_parse(run->kind, &out->kind))
        return err_set(err, ERR_INVALID, "a run of kind %.40s is not known here", run->kind);
    rc = json_parse(run->request, strlen(run->request), &json, err);
    if (rc != 0)
        return err_prefix(err, "the recorded request of run %s", run->id);
    fields_init(&fields, json, arena, err);
    read_target(&fields, &out->target);
    out->connection = fields_string(&fields, "connection");
    out->migration_id = fields_string(&fields, "migration_id");
    out->schemas = fields_strings(&fields, "schemas", OPS_FLEET_MAX, &out->schema_count);
    out->ignore_dependencies = fields_bool(&fields, "ignore_dependencies");
    out->no_lone_lane = strcmp(fields_string(&fields, "schemas_from"), "state") == 0;
    out->failures.limited = fields_count(&fields, "max_failures", &out->failures.max);
    cJSON_Delete(json);
    return fields.rc;
}
