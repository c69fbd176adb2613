/* Up in every schema that the state database knows of: they are looked up, the rest is an up like
 * any other. */
#include "api/ops_run.h"

/* The schemas go into up.schemas; their names stay where they are until the request is copied. */
static int fleet_choose(struct ops_run *run, struct err *err)
{
    const struct store_tenants *tenants = &run->tenants;
    struct ops_up_request *up = &run->up;
    const char **schemas = arena_calloc(&run->arena, tenants->count, sizeof(*schemas));

    if (schemas == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < tenants->count; i++) {
        const struct store_tenant *tenant = &tenants->rows[i];

        if (tenant->applied > 0 && grant_sees(up->grant, NULL, tenant->schema))
            schemas[up->schema_count++] = tenant->schema;
    }
    up->schemas = schemas;
    if (up->schema_count > OPS_FLEET_MAX)
        return err_set(err, ERR_INVALID,
                       "connection %s has been applied to %zu schemas, and a run takes %d; name "
                       "them in field \"schemas\"",
                       up->connection, up->schema_count, OPS_FLEET_MAX);
    return 0;
}

static void fleet_on_found(struct op *step, int rc)
{
    struct ops_run *run = container_of(step, struct ops_run, step);
    struct err err = step->err;

    if (rc == 0)
        rc = fleet_choose(run, &err);
    if (rc == 0)
        rc = ops_up_begin(run, &run->up, &err);
    arena_free(&run->tenants.arena);
    if (rc != 0)
        op_fail(run->op, &err);
}

static int fleet_find(struct ops_run *run)
{
    struct store *store = run->ops->store;

    run->fleet = (struct store_tenant_filter){.connection = run->up.connection, .after_schema = ""};
    op_init(&run->step, fleet_on_found);
    return store->ops->get_tenants(store, &run->step, &run->fleet, &run->tenants);
}

int ops_run_find_fleet(struct ops_run *run, const struct ops_up_request *request)
{
    struct err err = {0};
    int rc;

    run->up = *request;
    if (request->schema_count > 0)
        return op_refuse(run->op, ERR_INVALID,
                         "fields \"schemas\" and \"schemas_from\" exclude each other");
    if (engine_target(run->ops->engine, request->connection) == NULL) {
        rc = ops_up_begin(run, request, &err); /* says what is wrong */
    } else {
        rc = grant_check_place(request->grant, request->connection, NULL, &err);
        if (rc == 0)
            rc = fleet_find(run);
        if (rc != 0 && err.code == 0)
            err = run->step.err;
    }
    if (rc != 0)
        return op_refuse(run->op, rc, "%s", err_text(&err));
    op_begin(run->op, run, ops_run_cancel_op);
    return 0;
}
