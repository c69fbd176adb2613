#include <string.h>

#include "api/http_fields.h"
#include "api/http_handlers.h"

/* `target` of up and migrate, into call->target. */
static void read_target(struct call *call, struct fields *fields)
{
    struct plan_filter *target = &call->target;
    struct fields inner;

    call->has_target = fields_object(fields, "target", "target.", &inner);
    if (!call->has_target)
        return;
    target->backend = fields_string(&inner, "backend");
    target->connection = fields_string(&inner, "connection");
    target->schema = fields_string(&inner, "schema");
    target->version = fields_string(&inner, "version");
    target->tables = fields_strings(&inner, "tables", OPS_TABLES_MAX, &target->table_count);
    target->tags = fields_strings(&inner, "tags", OPS_TAGS_MAX, &target->tag_count);
    fields->rc = inner.rc;
}

static void refuse_field(struct fields *fields, const char *name, const char *rule)
{
    fields->rc = err_set(fields->err, ERR_INVALID, "field \"%s\" %s", name, rule);
}

static bool read_from_state(struct fields *fields)
{
    const char *from = fields_string(fields, "schemas_from");

    if (from[0] == '\0')
        return false;
    if (strcmp(from, "state") != 0)
        refuse_field(fields, "schemas_from", "must be \"state\"");
    return true;
}

/* Where it would not do what the client expects. */
static void refuse_from_state(struct fields *fields)
{
    if (fields_string(fields, "schemas_from")[0] != '\0')
        refuse_field(fields, "schemas_from", "is known only to POST /api/v1/migrations/up");
}

int read_up(struct call *call, const cJSON *body, struct err *err)
{
    struct ops_up_request *up = &call->in.up;
    struct fields fields;

    fields_init(&fields, body, &call->arena, err);
    up->connection = fields_string(&fields, "connection");
    read_target(call, &fields);
    up->target = call->has_target ? &call->target : NULL;
    up->schemas = fields_strings(&fields, "schemas", OPS_SCHEMAS_MAX, &up->schema_count);
    up->from_state = read_from_state(&fields);
    up->dry_run = fields_bool(&fields, "dry_run");
    up->ignore_dependencies = fields_bool(&fields, "ignore_dependencies");
    read_how(call, &fields);
    up->how = call->how;
    up->caller = call->caller;
    up->grant = call->grant;
    return fields.rc;
}

int read_migrate(struct call *call, const cJSON *body, struct err *err)
{
    struct ops_migrate_request *migrate = &call->in.migrate;
    struct fields fields;

    fields_init(&fields, body, &call->arena, err);
    migrate->connection = fields_string(&fields, "connection");
    read_target(call, &fields);
    migrate->target = call->has_target ? &call->target : NULL;
    migrate->schema = fields_string(&fields, "schema");
    migrate->schema_name = fields_string(&fields, "schema_name");
    migrate->environment = fields_string(&fields, "environment");
    refuse_from_state(&fields);
    migrate->dry_run = fields_bool(&fields, "dry_run");
    migrate->ignore_dependencies = fields_bool(&fields, "ignore_dependencies");
    read_how(call, &fields);
    migrate->how = call->how;
    migrate->caller = call->caller;
    migrate->grant = call->grant;
    return fields.rc;
}

static int read_undo(struct call *call, struct fields *fields)
{
    struct ops_undo_request *undo = &call->in.undo;

    undo->schemas = fields_strings(fields, "schemas", OPS_SCHEMAS_MAX, &undo->schema_count);
    refuse_from_state(fields);
    undo->ignore_dependencies = fields_bool(fields, "ignore_dependencies");
    read_how(call, fields);
    undo->how = call->how;
    undo->caller = call->caller;
    undo->grant = call->grant;
    return fields->rc;
}

int read_down(struct call *call, const cJSON *body, struct err *err)
{
    struct fields fields;

    fields_init(&fields, body, &call->arena, err);
    call->in.undo.migration_id = fields_string(&fields, "migration_id");
    call->in.undo.dry_run = fields_bool(&fields, "dry_run");
    return read_undo(call, &fields);
}

int read_rollback(struct call *call, const cJSON *body, struct err *err)
{
    struct fields fields;

    fields_init(&fields, body, &call->arena, err);
    call->in.undo.migration_id = call->id;
    call->in.undo.dry_run = fields_bool(&fields, "dry_run");
    return read_undo(call, &fields);
}

int read_retry(struct call *call, const cJSON *body, struct err *err)
{
    struct fields fields;

    fields_init(&fields, body, &call->arena, err);
    return read_how(call, &fields);
}

int read_order(struct call *call, const cJSON *body, struct err *err)
{
    struct ops_order_request *order = &call->in.order;
    struct fields fields;

    fields_init(&fields, body, &call->arena, err);
    fields_require(&fields, "migration_ids");
    order->ids = fields_strings(&fields, "migration_ids", OPS_ORDER_MAX, &order->count);
    order->connection = fields_string(&fields, "connection");
    order->grant = call->grant;
    return fields.rc;
}

int read_reconcile(struct call *call, const cJSON *body, struct err *err)
{
    struct fields fields;

    fields_init(&fields, body, &call->arena, err);
    call->in.connection = fields_string(&fields, "connection");
    return fields.rc;
}
