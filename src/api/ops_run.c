#include "api/ops_run.h"

#include <string.h>

static void run_init(struct ops *ops, struct op *op, enum ops_run_kind kind, struct ops_run *out)
{
    *out = (struct ops_run){.kind = kind, .ops = ops, .op = op};
    arena_init(&out->arena);
}

void ops_run_free(struct ops_run *run)
{
    if (run->run != NULL)
        run_free(run->run);
    ops_replay_free(&run->replay);
    ops_resolve_free(&run->resolve);
    arena_free(&run->arena);
    run->run = NULL;
}

/* --- up and migrate --- */

static int up_check_target(const struct ops_up_request *request, struct err *err)
{
    const struct plan_filter *target = request->target;

    if (request->connection[0] == '\0')
        return err_set(err, ERR_INVALID, "field \"connection\" is required");
    if (target == NULL)
        return err_set(err, ERR_INVALID, "field \"target\" is required");
    if (target->connection[0] != '\0' && strcmp(target->connection, request->connection) != 0)
        return err_set(err, ERR_INVALID,
                       "field \"target.connection\" differs from field \"connection\"");
    if (target->table_count > OPS_TABLES_MAX)
        return err_set(err, ERR_INVALID, "field \"target.tables\" has more than %d entries",
                       OPS_TABLES_MAX);
    if (target->tag_count > OPS_TAGS_MAX)
        return err_set(err, ERR_INVALID, "field \"target.tags\" has more than %d entries",
                       OPS_TAGS_MAX);
    return plan_check_filter(target, err);
}

/* For run_request.may_touch. */
static int run_check_grant(const void *grant, const char *connection, const char *schema,
                           struct err *err)
{
    return grant_check_place(grant, connection, schema, err);
}

/* What the request names; what it reaches beyond that is checked when the run is created. */
static int check_named(const struct grant *grant, const char *connection,
                       const char *const *schemas, size_t count, struct err *err)
{
    int rc = grant_check_place(grant, connection, NULL, err);

    for (size_t i = 0; i < count && rc == 0; i++)
        rc = grant_check_place(grant, NULL, schemas[i], err);
    return rc;
}

static int check_schemas(const char *const *schemas, size_t count, size_t max,
                         enum backend_kind backend, struct err *err)
{
    int rc;

    if (count > max)
        return err_set(err, ERR_INVALID, "field \"schemas\" has more than %zu entries", max);
    for (size_t i = 0; i < count; i++) {
        rc = ids_check_schema(schemas[i], backend, err);
        if (rc != 0)
            return err_prefix(err, "schema %zu of the request", i + 1);
    }
    return 0;
}

/* `[""]` is what clients send who mean no schema. */
static size_t count_schemas(const char *const *schemas, size_t count)
{
    return count == 1 && schemas[0][0] == '\0' ? 0 : count;
}

/* What was found in the state database, now or for the run that is retried, may be more than a
 * client can name. */
static size_t up_schemas_max(const struct ops_up_request *request)
{
    return request->from_state || request->how.retry_of != NULL ? OPS_FLEET_MAX : OPS_SCHEMAS_MAX;
}

int ops_up_begin(struct ops_run *run, const struct ops_up_request *request, struct err *err)
{
    const struct engine_target *target;
    struct plan_filter filter;
    struct run_request start;
    int rc = up_check_target(request, err);
    size_t schema_count = count_schemas(request->schemas, request->schema_count);

    run->how = request->how;
    run->owner = request->caller.executed_by;
    if (rc == 0)
        rc = check_named(request->grant, request->connection, request->schemas, schema_count, err);
    target = rc == 0 ? engine_target(run->ops->engine, request->connection) : NULL;
    if (target != NULL)
        rc = check_schemas(request->schemas, schema_count, up_schemas_max(request), target->kind,
                           err);
    if (rc != 0)
        return rc;
    filter = *request->target;
    filter.connection = request->connection;
    start = (struct run_request){.kind = RUN_UP,
                                 .connection = request->connection,
                                 .filter = filter,
                                 .schemas = request->schemas,
                                 .schema_count = schema_count,
                                 .no_lone_lane = request->from_state || request->no_lone_lane,
                                 .dry_run = request->dry_run,
                                 .explain = request->explain,
                                 .ignore_dependencies = request->ignore_dependencies,
                                 .caller = request->caller,
                                 .may_touch = run_check_grant,
                                 .may_touch_arg = request->grant};
    return ops_run_begin(run, &start, err);
}

static int up_start(struct ops_run *run, const struct ops_up_request *request)
{
    struct err err = {0};
    int rc = ops_up_begin(run, request, &err);

    if (rc != 0)
        return op_refuse(run->op, rc, "%s", err_text(&err));
    op_begin(run->op, run, ops_run_cancel_op);
    return 0;
}

int ops_up_start(struct ops *ops, struct op *op, const struct ops_up_request *request,
                 struct ops_run *out)
{
    int rc;

    run_init(ops, op, OPS_UP, out);
    if (request->from_state)
        rc = ops_run_find_fleet(out, request);
    else
        rc = up_start(out, request);
    if (rc != 0)
        ops_run_free(out);
    return rc;
}

/* Whether anything is selected: only then an unknown connection stops a migrate as a whole. */
static bool migrate_selects(const struct registry *registry, const struct plan_filter *filter)
{
    for (size_t i = 0; i < registry->count; i++)
        if (plan_filter_matches(filter, registry->migrations[i]))
            return true;
    return false;
}

int ops_migrate_start(struct ops *ops, struct op *op, const struct ops_migrate_request *request,
                      struct ops_run *out)
{
    struct ops_up_request up = {.connection = request->connection,
                                .target = request->target,
                                .dry_run = request->dry_run,
                                .ignore_dependencies = request->ignore_dependencies,
                                .caller = request->caller,
                                .how = request->how,
                                .grant = request->grant};
    const char *schema = request->schema[0] != '\0' ? request->schema : request->schema_name;
    struct plan_filter filter;
    int rc;

    run_init(ops, op, OPS_MIGRATE, out);
    if (schema[0] == '\0' && request->environment[0] != '\0')
        schema = arena_printf(&out->arena, "cli_%s", request->environment);
    if (schema == NULL) {
        ops_run_free(out);
        return op_refuse(op, ERR_NOMEM, "out of memory");
    }
    up.schemas = &schema;
    up.schema_count = 1;
    rc = up_start(out, &up);
    if (rc != 0) {
        ops_run_free(out);
    } else if (out->lone_error != NULL) {
        filter = *request->target;
        filter.connection = request->connection;
        if (migrate_selects(ops->engine->registry, &filter))
            err_set(&out->failure, ERR_UNREACHABLE, "%s", out->lone_error);
    }
    return rc;
}

/* --- down and rollback --- */

static int undo_refuse_unknown(const struct ops_run *run, struct err *err)
{
    if (run->kind == OPS_ROLLBACK)
        return err_set(err, ERR_NOT_FOUND, "migration not found");
    return err_set(err, ERR_NOT_FOUND, "migration not found: %s", run->undo.migration_id);
}

static int undo_begin(struct ops_run *run, struct err *err)
{
    const struct ops_undo_request *undo = &run->undo;
    const struct migration *migration = run->resolve.migration;
    const char *const *schemas = undo->schemas;
    size_t count = count_schemas(schemas, undo->schema_count);
    struct run_request start;
    int rc;

    if (migration == NULL)
        return undo_refuse_unknown(run, err);
    if (count == 0 && run->resolve.schema != NULL) {
        schemas = &run->resolve.schema;
        count = 1;
    }
    rc = check_named(undo->grant, NULL, schemas, count, err);
    if (rc == 0)
        rc = check_schemas(schemas, count,
                           run->how.retry_of != NULL ? OPS_FLEET_MAX : OPS_SCHEMAS_MAX,
                           migration->backend, err);
    if (rc != 0)
        return rc;
    start = (struct run_request){.kind = RUN_DOWN,
                                 .connection = migration->connection,
                                 .migration = migration,
                                 .schemas = schemas,
                                 .schema_count = count,
                                 .dry_run = undo->dry_run,
                                 .ignore_dependencies = undo->ignore_dependencies,
                                 .hides_dependents = grant_is_partial(undo->grant),
                                 .caller = undo->caller,
                                 .may_touch = run_check_grant,
                                 .may_touch_arg = undo->grant};
    rc = ops_run_begin(run, &start, err);
    if (rc == 0 && run->lone_error != NULL) /* the connection is gone: nothing a client got wrong */
        err_set(&run->failure, ERR_UNREACHABLE, "%s", run->lone_error);
    return rc;
}

static void undo_on_resolved(struct op *step, int rc)
{
    struct ops_run *run = container_of(step, struct ops_run, step);
    struct err err = step->err;

    if (rc == 0 && run->resolve.migration != NULL && run->kind == OPS_ROLLBACK &&
        !migration_can_undo(run->resolve.migration)) {
        run->lone_error = "migration does not have rollback SQL";
        ops_run_judge(run);
        op_finish(run->op, 0);
        return;
    }
    if (rc == 0)
        rc = undo_begin(run, &err);
    if (rc != 0)
        op_fail(run->op, &err);
}

static int undo_start(struct ops *ops, struct op *op, enum ops_run_kind kind,
                      const struct ops_undo_request *request, struct ops_run *out)
{
    int rc;

    run_init(ops, op, kind, out);
    out->undo = *request;
    out->how = request->how;
    out->owner = request->caller.executed_by;
    op_init(&out->step, undo_on_resolved);
    if (request->migration_id[0] == '\0')
        return op_refuse(op, ERR_INVALID, "field \"migration_id\" is required");
    rc = ops_resolve_start(ops, &out->step, request->migration_id, request->grant, &out->resolve);
    if (rc != 0)
        return op_refuse(op, rc, "%s", err_text(&out->step.err));
    op_begin(op, out, ops_run_cancel_op);
    return 0;
}

int ops_down_start(struct ops *ops, struct op *op, const struct ops_undo_request *request,
                   struct ops_run *out)
{
    return undo_start(ops, op, OPS_DOWN, request, out);
}

int ops_rollback_start(struct ops *ops, struct op *op, const struct ops_undo_request *request,
                       struct ops_run *out)
{
    return undo_start(ops, op, OPS_ROLLBACK, request, out);
}
