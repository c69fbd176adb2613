#include <string.h>

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

int rpc_start_migrate(struct rpc *rpc)
{
    const Migration__MigrateRequest *asked = (const void *)rpc->request;
    const struct ops_migrate_request request = {
        .connection = asked->connection,
        .target = read_target(rpc, asked->target),
        .schema = asked->schema,
        .schema_name = asked->schema_name,
        .environment = "",
        .dry_run = asked->dry_run,
        .ignore_dependencies = asked->ignore_dependencies,
        .caller = rpc->caller,
        .grant = rpc->grant,
    };
    int rc = check_target(rpc, asked->target);

    if (rc != 0)
        return rc;
    return run_started(rpc, ops_migrate_start(&rpc->api->ops, &rpc->op, &request, &rpc->out.run));
}

int rpc_start_up(struct rpc *rpc)
{
    return rpc_start_up_as(rpc, false);
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
        .how = {.async = asked->async},
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
    const struct ops_undo_request request = {
        .migration_id = asked->migration_id,
        .schemas = texts(asked->schemas),
        .schema_count = asked->n_schemas,
        .dry_run = asked->dry_run,
        .ignore_dependencies = asked->ignore_dependencies,
        .caller = rpc->caller,
        .grant = rpc->grant,
    };
    int rc = check_count(rpc, "schemas", asked->n_schemas, OPS_SCHEMAS_MAX);

    if (rc != 0)
        return rc;
    return run_started(rpc, ops_down_start(&rpc->api->ops, &rpc->op, &request, &rpc->out.run));
}

int rpc_start_rollback(struct rpc *rpc)
{
    const Migration__RollbackMigrationRequest *asked = (const void *)rpc->request;
    const struct ops_undo_request request = {
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
    if (rc != 0)
        return rc;
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
    const struct ops_retry_request request = {.id = asked->run_id,
                                              .caller = rpc->caller,
                                              .how = {.async = asked->async},
                                              .grant = rpc->grant};
    int rc = rpc_check_run_id(rpc, asked->run_id);

    if (rc != 0)
        return rc;
    rc = ops_retry_start(&rpc->api->ops, &rpc->op, &request, &rpc->retry, &rpc->out.run);
    if (rc == 0)
        rpc->release = release_retry;
    return rc;
}

/* --- answers --- */

static const struct err *first_error(const struct ops_run *out)
{
    for (size_t i = 0; out->run != NULL && i < out->run->lane_count; i++) {
        const struct run_lane_result *lane = &out->run->lanes[i];

        if (lane->err.code != 0)
            return &lane->err;
        for (size_t k = 0; k < lane->count; k++)
            if (lane->items[k].kind == RUN_ITEM_FAILED &&
                lane->items[k].err->code == ERR_UNREACHABLE)
                return lane->items[k].err;
    }
    return NULL;
}

bool rpc_run_failed(const struct rpc *rpc, struct err *err)
{
    const struct ops_run *out = &rpc->out.run;
    const struct err *first;

    if (out->failure.code != 0) {
        *err = out->failure;
        return true;
    }
    if (out->kind == OPS_DOWN || out->kind == OPS_ROLLBACK || out->applied > 0)
        return false;
    if (out->lone_error != NULL) {
        err_set(err, ERR_DB, "%s", out->lone_error);
        return true;
    }
    first = first_error(out);
    if (first == NULL || (out->run != NULL && out->run->lane_count > 1))
        return false;
    *err = *first;
    return true;
}

void rpc_fail_run(struct rpc *rpc, const struct err *err)
{
    enum grpc_status status = GRPC_INTERNAL;

    if (err->code == ERR_SHUTDOWN || err->code == ERR_CONFLICT || err->code == ERR_FORBIDDEN)
        status = rpc_status(err);
    rpc_fail(rpc, status, err_text(err));
}

enum {
    RUN_APPLIED, /* and the number of the field that follows, less 2 */
    RUN_SKIPPED,
    RUN_ERRORS,
    RUN_END,
};

static bool more_lines(struct rpc *rpc, enum ops_lines which, unsigned field, struct buf *out)
{
    switch (ops_run_next_line(&rpc->out.run, which, &rpc->cursor, &rpc->line)) {
    case OPS_NEXT_END:
        rpc->cursor = (struct ops_cursor){0};
        return false;
    case OPS_NEXT_NONE:
        break;
    case OPS_NEXT_ITEM:
        rpc_put_string(out, field, buf_str(&rpc->line));
        if (rpc->line.rc != 0)
            out->rc = rpc->line.rc;
        break;
    }
    return true;
}

static bool more_of_run(struct rpc *rpc, struct buf *out)
{
    static const enum ops_lines lines[] = {OPS_LINES_APPLIED, OPS_LINES_SKIPPED, OPS_LINES_ERRORS};
    const struct ops_run *run = &rpc->out.run;
    bool ok = run->errors == 0 && run->failure.code == 0;

    if (rpc->stage < RUN_END) {
        if (!more_lines(rpc, lines[rpc->stage], (unsigned)rpc->stage + 2, out))
            rpc->stage++;
        return true;
    }
    rpc_put_int(out, 1, ok);
    if (run->accepted)
        rpc_put_string(out, 5, run->run_id);
    else if (run->run != NULL && !run->run->request->dry_run)
        rpc_put_string(out, 5, run->run->id);
    return false;
}

void rpc_answer_run(struct rpc *rpc)
{
    struct err err;

    if (!rpc->out.run.accepted && rpc_run_failed(rpc, &err))
        rpc_fail_run(rpc, &err);
    else
        rpc_pump(rpc, more_of_run);
}

static bool more_of_rollback(struct rpc *rpc, struct buf *out)
{
    const struct ops_run *run = &rpc->out.run;

    if (rpc->stage++ == 0) {
        rpc_put_int(out, 1, run->errors == 0);
        if (run->message != NULL)
            rpc_put_string(out, 2, run->message);
    }
    return more_lines(rpc, OPS_LINES_ERRORS, 3, out);
}

void rpc_answer_rollback(struct rpc *rpc)
{
    const struct ops_run *run = &rpc->out.run;
    struct err err;

    if (rpc_run_failed(rpc, &err))
        rpc_fail_run(rpc, &err);
    else if (run->nothing_to_undo)
        rpc_fail(rpc, GRPC_FAILED_PRECONDITION, run->message);
    else
        rpc_pump(rpc, more_of_rollback);
}
