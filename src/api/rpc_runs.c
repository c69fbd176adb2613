#include "api/rpc.h"

/* Runs that are waited for: migrate, up, down, rollback, retry. */

static void release_run(struct rpc *rpc)
{
    ops_run_free(&rpc->out.run);
}

static int run_started(struct rpc *rpc, int rc)
{
    if (rc == 0)
        rpc->release = release_run;
    return rc;
}

static const char *const *texts(char **list)
{
    return (const char *const *)list;
}

static int check_count(struct rpc *rpc, const char *field, size_t count, size_t max)
{
    if (count <= max)
        return 0;
    return op_refuse(&rpc->op, ERR_INVALID, "field \"%s\" has more than %zu entries", field, max);
}

/* Into rpc->target; NULL if there is none. */
static const struct plan_filter *read_target(struct rpc *rpc,
                                             const Migration__MigrationTarget *target)
{
    if (target == NULL)
        return NULL;
    rpc->target = (struct plan_filter){
        .backend = target->backend,
        .connection = target->connection,
        .schema = target->schema,
        .version = target->version,
        .tables = texts(target->tables),
        .table_count = target->n_tables,
        .tags = texts(target->tags),
        .tag_count = target->n_tags,
    };
    return &rpc->target;
}

static int check_target(struct rpc *rpc, const Migration__MigrationTarget *target)
{
    int rc;

    if (target == NULL)
        return 0;
    rc = check_count(rpc, "target.tables", target->n_tables, OPS_TABLES_MAX);
    return rc == 0 ? check_count(rpc, "target.tags", target->n_tags, OPS_TAGS_MAX) : rc;
}

/* With rpc->how. */
static int migrate_start(struct rpc *rpc)
{
    const Migration__MigrateRequest *asked = (const void *)rpc->request;
    const struct ops_migrate_request request = {
        .connection = asked->connection,
        .target = read_target(rpc, asked->target),
        .schema = asked->schema,
        .schema_name = asked->schema_name,
        .environment = asked->environment,
        .dry_run = asked->dry_run,
        .ignore_dependencies = asked->ignore_dependencies,
        .caller = rpc->caller,
        .how = rpc->how,
        .grant = rpc->grant,
    };
    int rc = check_target(rpc, asked->target);

    if (rc != 0)
        return rc;
    return run_started(rpc, ops_migrate_start(&rpc->api->ops, &rpc->op, &request, &rpc->out.run));
}

int rpc_start_migrate(struct rpc *rpc)
{
    const Migration__MigrateRequest *asked = (const void *)rpc->request;
    int rc = rpc_read_how(rpc, asked->async, asked->on_error, asked->max_failures);

    rpc->how.answer = rpc_keep_answer;
    return rc == 0 ? migrate_start(rpc) : rc;
}

/* Nothing is kept for a key but what is on record anyhow: messages are made from that again. */
int rpc_start_migrate_streamed(struct rpc *rpc)
{
    const Migration__MigrateRequest *asked = (const void *)rpc->request;
    int rc = rpc_read_how(rpc, false, asked->on_error, asked->max_failures);

    if (rc == 0 && asked->async)
        rc = op_refuse(&rpc->op, ERR_INVALID,
                       "field \"async\" is not for StreamMigrate: use Migrate, then WatchRun");
    return rc == 0 ? migrate_start(rpc) : rc;
}

int rpc_start_up(struct rpc *rpc)
{
    const Migration__MigrateUpRequest *asked = (const void *)rpc->request;
    int rc = rpc_read_how(rpc, asked->async, asked->on_error, asked->max_failures);

    rpc->how.answer = rpc_keep_answer;
    return rc == 0 ? rpc_start_up_as(rpc, false) : rc;
}

int rpc_start_up_as(struct rpc *rpc, bool explain)
{
    const Migration__MigrateUpRequest *asked = (const void *)rpc->request;
    const struct ops_up_request request = {
        .connection = asked->connection,
        .target = read_target(rpc, asked->target),
        .schemas = texts(asked->schemas),
        .schema_count = asked->n_schemas,
        .from_state = asked->from_state,
        .dry_run = asked->dry_run || explain,
        .explain = explain,
        .ignore_dependencies = asked->ignore_dependencies,
        .caller = rpc->caller,
        .how = rpc->how,
        .grant = rpc->grant,
    };
    int rc = check_target(rpc, asked->target);

    if (rc == 0)
        rc = check_count(rpc, "schemas", asked->n_schemas, OPS_SCHEMAS_MAX);
    if (rc != 0)
        return rc;
    return run_started(rpc, ops_up_start(&rpc->api->ops, &rpc->op, &request, &rpc->out.run));
}

int rpc_start_down(struct rpc *rpc)
{
    const Migration__MigrateDownRequest *asked = (const void *)rpc->request;
    struct ops_undo_request request = {
        .migration_id = asked->migration_id,
        .schemas = texts(asked->schemas),
        .schema_count = asked->n_schemas,
        .dry_run = asked->dry_run,
        .ignore_dependencies = asked->ignore_dependencies,
        .caller = rpc->caller,
        .grant = rpc->grant,
    };
    int rc = check_count(rpc, "schemas", asked->n_schemas, OPS_SCHEMAS_MAX);

    if (rc == 0)
        rc = rpc_read_how(rpc, asked->async, asked->on_error, asked->max_failures);
    if (rc != 0)
        return rc;
    request.how = rpc->how;
    request.how.answer = rpc_keep_answer;
    return run_started(rpc, ops_down_start(&rpc->api->ops, &rpc->op, &request, &rpc->out.run));
}

int rpc_start_rollback(struct rpc *rpc)
{
    const Migration__RollbackMigrationRequest *asked = (const void *)rpc->request;
    struct ops_undo_request request = {
        .migration_id = asked->migration_id,
        .schemas = texts(asked->schemas),
        .schema_count = asked->n_schemas,
        .dry_run = asked->dry_run,
        .ignore_dependencies = asked->ignore_dependencies,
        .caller = rpc->caller,
        .grant = rpc->grant,
    };
    int rc = check_count(rpc, "schemas", asked->n_schemas, OPS_SCHEMAS_MAX);

    if (rc == 0 && asked->migration_id[0] == '\0')
        rc = op_refuse(&rpc->op, ERR_INVALID, "migration_id is required");
    if (rc == 0)
        rc = rpc_read_how(rpc, asked->async, asked->on_error, asked->max_failures);
    if (rc != 0)
        return rc;
    request.how = rpc->how;
    request.how.answer = rpc_keep_answer;
    return run_started(rpc, ops_rollback_start(&rpc->api->ops, &rpc->op, &request, &rpc->out.run));
}

static void release_retry(struct rpc *rpc)
{
    ops_run_free(&rpc->out.run);
    ops_retry_free(&rpc->retry);
}

int rpc_start_retry(struct rpc *rpc)
{
    const Migration__RetryRunRequest *asked = (const void *)rpc->request;
    struct ops_retry_request request = {
        .id = asked->run_id, .caller = rpc->caller, .grant = rpc->grant};
    int rc = rpc_check_run_id(rpc, asked->run_id);

    if (rc == 0)
        rc = rpc_read_how(rpc, asked->async, asked->on_error, asked->max_failures);
    if (rc != 0)
        return rc;
    request.how = rpc->how;
    request.how.answer = rpc_keep_answer;
    rc = ops_retry_start(&rpc->api->ops, &rpc->op, &request, &rpc->retry, &rpc->out.run);
    if (rc == 0)
        rpc->release = release_retry;
    return rc;
}
