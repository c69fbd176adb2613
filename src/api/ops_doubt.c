#include "api/ops_doubt.h"

#include <string.h>

static void doubt_end(struct ops_doubt *out, int rc, const struct err *why)
{
    struct err err = *why;

    if (rc != 0)
        op_fail(out->op, &err);
    else
        op_finish(out->op, 0);
}

static void doubt_on_decided(struct op *step, int rc)
{
    doubt_end(container_of(step, struct ops_doubt, step), rc, &step->err);
}

/* Where it would run. */
static const char *doubt_schema(const struct ops_doubt *out)
{
    const struct migration *migration = out->resolve.migration;
    const struct engine_target *target = engine_target(out->ops->engine, migration->connection);

    if (out->request.schema[0] != '\0')
        return out->request.schema;
    if (out->resolve.schema != NULL)
        return out->resolve.schema;
    if (migration_is_fixed(migration))
        return migration->schema;
    return target != NULL && target->default_schema != NULL ? target->default_schema : "";
}

static int doubt_decide(struct ops_doubt *out, struct err *err)
{
    const struct migration *migration = out->resolve.migration;
    struct doubt_request request = {.migration = migration,
                                    .applied = strcmp(out->request.as, "applied") == 0,
                                    .caller = out->request.caller};
    int rc;

    if (migration == NULL && out->resolve.found)
        return err_set(err, ERR_CONFLICT,
                       "the script of this migration is gone: bring it back first");
    if (migration == NULL)
        return err_set(err, ERR_NOT_FOUND, "migration not found");
    request.schema = doubt_schema(out);
    if (request.schema[0] == '\0')
        return err_set(err, ERR_INVALID, "field \"schema\" is required");
    rc = grant_check_place(out->request.grant, migration->connection, request.schema, err);
    if (rc == 0)
        rc = ids_check_schema(request.schema, migration->backend, err);
    if (rc != 0)
        return rc;
    op_init(&out->step, doubt_on_decided);
    rc = doubt_start(out->ops->engine, &out->step, &request, &out->doubt);
    *err = out->step.err;
    return rc;
}

static void doubt_on_resolved(struct op *step, int rc)
{
    struct ops_doubt *out = container_of(step, struct ops_doubt, step);
    struct err err = step->err;

    if (rc == 0)
        rc = doubt_decide(out, &err);
    if (rc != 0)
        doubt_end(out, rc, &err);
}

static void doubt_cancel(struct op *op)
{
    struct ops_doubt *out = op->impl;

    op_cancel(&out->step);
}

int ops_doubt_start(struct ops *ops, struct op *op, const struct ops_doubt_request *request,
                    struct ops_doubt *out)
{
    int rc;

    *out = (struct ops_doubt){.ops = ops, .op = op, .request = *request};
    if (strcmp(request->as, "applied") != 0 && strcmp(request->as, "not_applied") != 0)
        return op_refuse(op, ERR_INVALID, "field \"as\" must be \"applied\" or \"not_applied\"");
    op_init(&out->step, doubt_on_resolved);
    rc = ops_resolve_start(ops, &out->step, request->migration_id, request->grant, &out->resolve);
    if (rc != 0)
        return op_refuse(op, rc, "%s", err_text(&out->step.err));
    op_begin(op, out, doubt_cancel);
    return 0;
}

void ops_doubt_free(struct ops_doubt *doubt)
{
    ops_resolve_free(&doubt->resolve);
}
