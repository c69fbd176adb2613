#include "api/rpc.h"

#include <string.h>

#include "base/mem.h"
#include "io/work.h"

enum {
    RPC_INLINE_MESSAGE = 64 * 1024, /* longer ones are read off the loop */
    RPC_PIECES = 4096,              /* of a long answer, per turn */
    RPC_SLICE = 128 * 1024,         /* bytes per turn */
};

enum grpc_status rpc_status(const struct err *err)
{
    switch ((enum err_code)err->code) {
    case ERR_INVALID:
    case ERR_DEPENDENCY:
    case ERR_AMBIGUOUS:
    case ERR_MISMATCH:
        return GRPC_INVALID_ARGUMENT;
    case ERR_FORBIDDEN:
        return GRPC_PERMISSION_DENIED;
    case ERR_NOT_FOUND:
        return GRPC_NOT_FOUND;
    case ERR_CONFLICT:
        return GRPC_FAILED_PRECONDITION;
    case ERR_SHUTDOWN:
        return GRPC_UNAVAILABLE;
    case ERR_NOMEM:
    case ERR_LIMIT:
        return GRPC_RESOURCE_EXHAUSTED;
    case ERR_CANCELED:
    case ERR_TIMEOUT:
    case ERR_IO:
    case ERR_UNREACHABLE:
    case ERR_DB:
    case ERR_LOCKED:
    case ERR_IN_DOUBT:
    case ERR_STORE:
    case ERR_UNSUPPORTED:
    case ERR_HALTED:
        return GRPC_INTERNAL;
    }
    return GRPC_INTERNAL;
}

/* --- ends --- */

void rpc_end(struct rpc *rpc, enum grpc_status status, const char *text)
{
    struct api *api = rpc->api;

    grpc_finish(rpc->call, status, text);
    if (rpc->release != NULL)
        rpc->release(rpc);
    grant_unref(rpc->grant);
    sched_undefer(&rpc->task);
    buf_free(&rpc->buf);
    buf_free(&rpc->line);
    mem_free(rpc);
    api->calls--;
}

void rpc_fail(struct rpc *rpc, enum grpc_status status, const char *text)
{
    rpc_end(rpc, status, text);
}

void rpc_fail_err(struct rpc *rpc, const struct err *err)
{
    struct err copy = *err; /* it may live in what the end frees */

    rpc_end(rpc, rpc_status(&copy), err_text(&copy));
}

static void rpc_send_buf(struct rpc *rpc, struct buf *message)
{
    int rc = message->rc;

    if (rc == 0)
        rc = grpc_send(rpc->call, message->data != NULL ? message->data : "", message->len);
    if (rc == ERR_NOMEM || rc == ERR_LIMIT)
        rpc_fail(rpc, GRPC_RESOURCE_EXHAUSTED,
                 rc == ERR_NOMEM ? err_code_text(rc) : "the answer is too long: ask for less");
    else
        rpc_end(rpc, GRPC_OK, NULL);
}

void rpc_answer_bytes(struct rpc *rpc, const void *message, size_t len)
{
    buf_append(&rpc->buf, message, len);
    rpc_send_buf(rpc, &rpc->buf);
}

void rpc_answer(struct rpc *rpc, const ProtobufCMessage *message)
{
    struct buf *out = &rpc->buf;

    rpc_put(out, message);
    rpc_send_buf(rpc, out);
}

static void rpc_on_task(struct task *task)
{
    struct rpc *rpc = container_of(task, struct rpc, task);
    size_t begin = rpc->buf.len;

    for (int i = 0; i < RPC_PIECES && rpc->buf.len - begin < RPC_SLICE; i++) {
        if (!rpc->more(rpc, &rpc->buf) || rpc->buf.rc != 0) {
            rpc_send_buf(rpc, &rpc->buf);
            return;
        }
    }
    sched_defer(loop_sched(rpc->api->config.loop), task);
}

void rpc_pump(struct rpc *rpc, bool (*more)(struct rpc *rpc, struct buf *out))
{
    rpc->more = more;
    rpc->task.run = rpc_on_task;
    rpc_on_task(&rpc->task);
}

int rpc_read_limit(struct rpc *rpc, int32_t limit, size_t max, size_t otherwise, size_t *out)
{
    if (limit < 0 || (size_t)limit > max)
        return op_refuse(&rpc->op, ERR_INVALID, "field \"limit\" must be from 0 to %zu", max);
    *out = limit > 0 ? (size_t)limit : otherwise;
    return 0;
}

int rpc_refuse_cursor(struct rpc *rpc, const char *name, int rc)
{
    if (rc == ERR_NOMEM)
        return op_refuse(&rpc->op, rc, "out of memory");
    return op_refuse(&rpc->op, rc, "field \"%s\" is no next_cursor of this list", name);
}

/* --- the operation --- */

static void rpc_on_done(struct op *op, int rc)
{
    struct rpc *rpc = container_of(op, struct rpc, op);

    if (rc != 0)
        rpc_fail_err(rpc, &op->err);
    else
        rpc->method->answer(rpc);
}

static void rpc_start(struct rpc *rpc)
{
    if (rpc->method->start == NULL) {
        rpc->method->answer(rpc);
        return;
    }
    op_init(&rpc->op, rpc_on_done);
    if (rpc->method->start(rpc) != 0)
        rpc_fail_err(rpc, &rpc->op.err);
}

/* --- the message --- */

static int rpc_read_request(void *arg, struct err *err)
{
    struct rpc *rpc = arg;
    size_t len;
    const void *data = grpc_message(rpc->call, &len);
    int rc = rpc_read(rpc->method->request, data, len, grpc_arena(rpc->call), &rpc->request, err);

    if (rc == 0 && (rpc->method->flags & RPC_RUNS) != 0)
        rc = rpc_read_key(rpc, err);
    return rc;
}

static void rpc_on_read(struct op *op, int rc)
{
    struct rpc *rpc = container_of(op, struct rpc, op);

    if (rc != 0)
        rpc_fail_err(rpc, &op->err);
    else
        rpc_start(rpc);
}

static void rpc_read_message(struct rpc *rpc)
{
    struct err err = {0};
    size_t len;

    grpc_message(rpc->call, &len);
    if (len > RPC_INLINE_MESSAGE) {
        op_init(&rpc->op, rpc_on_read);
        if (work_start(rpc->api->config.loop, &rpc->op, rpc_read_request, rpc) != 0)
            rpc_fail_err(rpc, &rpc->op.err);
    } else if (rpc_read_request(rpc, &err) != 0) {
        rpc_fail_err(rpc, &err);
    } else {
        rpc_start(rpc);
    }
}

/* --- the beginning --- */

static void rpc_begin(void *arg, struct grpc_call *call)
{
    const struct rpc_method *method = rpc_method_of(grpc_method(call));
    const struct grant *grant;
    struct api *api = arg;
    struct rpc *rpc;
    struct err err = {0};

    if (!rpc_authorize(api, call, method, &grant))
        return;
    rpc = mem_calloc(1, sizeof(*rpc));
    if (rpc == NULL) {
        grant_unref(grant);
        grpc_finish(call, GRPC_RESOURCE_EXHAUSTED, err_code_text(ERR_NOMEM));
        return;
    }
    api->calls++;
    *rpc = (struct rpc){.api = api, .call = call, .method = method, .grant = grant};
    buf_init(&rpc->buf, RPC_ANSWER_MAX);
    buf_init(&rpc->line, RPC_ANSWER_MAX);
    if ((method->flags & RPC_PROBE) == 0 &&
        ops_check(&api->ops, (method->flags & RPC_STATE) != 0, &err) != 0)
        rpc_fail_err(rpc, &err);
    else if (rpc_read_caller(rpc) != 0)
        rpc_fail(rpc, GRPC_RESOURCE_EXHAUSTED, err_code_text(ERR_NOMEM));
    else
        rpc_read_message(rpc);
}

/* --- the table --- */

#define SERVICE(name) "/migration.MigrationService/" name
#define HEALTH        "/grpc.health.v1.Health/"
#define METHOD(path)  .grpc = {(path), false, rpc_begin}

static const struct rpc_method methods[] = {
    {METHOD(SERVICE("Migrate")), RPC_STATE | RPC_RUNS, GRANT_MIGRATE,
     &migration__migrate_request__descriptor, rpc_start_migrate, rpc_answer_run},
    {METHOD(SERVICE("StreamMigrate")), RPC_STATE | RPC_RUNS, GRANT_MIGRATE,
     &migration__migrate_request__descriptor, rpc_start_stream, rpc_answer_stream},
    {METHOD(SERVICE("MigrateDown")), RPC_STATE | RPC_RUNS, GRANT_ROLLBACK,
     &migration__migrate_down_request__descriptor, rpc_start_down, rpc_answer_run},
    {METHOD(SERVICE("ListMigrations")), RPC_STATE, GRANT_READ,
     &migration__list_migrations_request__descriptor, rpc_start_list, rpc_answer_list},
    {METHOD(SERVICE("GetMigration")), RPC_STATE, GRANT_READ,
     &migration__get_migration_request__descriptor, rpc_start_state, rpc_answer_detail},
    {METHOD(SERVICE("GetMigrationStatus")), RPC_STATE, GRANT_READ,
     &migration__get_migration_request__descriptor, rpc_start_state, rpc_answer_status},
    {METHOD(SERVICE("IsMigrationApplied")), RPC_STATE, GRANT_READ,
     &migration__get_migration_request__descriptor, rpc_start_state, rpc_answer_applied},
    {METHOD(SERVICE("GetMigrationHistory")), RPC_STATE, GRANT_READ,
     &migration__get_migration_history_request__descriptor, rpc_start_history, rpc_answer_history},
    {METHOD(SERVICE("RollbackMigration")), RPC_STATE | RPC_RUNS, GRANT_ROLLBACK,
     &migration__rollback_migration_request__descriptor, rpc_start_rollback, rpc_answer_rollback},
    {METHOD(SERVICE("ReindexMigrations")), RPC_STATE, GRANT_ADMIN,
     &migration__reindex_migrations_request__descriptor, rpc_start_reindex, rpc_answer_reindex},
    {METHOD(SERVICE("Health")), RPC_OPEN | RPC_PROBE | RPC_QUIET, 0,
     &migration__health_request__descriptor, NULL, rpc_answer_health},
    {METHOD(SERVICE("MigrateUp")), RPC_STATE | RPC_RUNS, GRANT_MIGRATE,
     &migration__migrate_up_request__descriptor, rpc_start_up, rpc_answer_run},
    {METHOD(SERVICE("ListExecutions")), RPC_STATE, GRANT_READ,
     &migration__list_executions_request__descriptor, rpc_start_executions, rpc_answer_executions},
    {METHOD(SERVICE("ListSkipped")), RPC_STATE, GRANT_READ,
     &migration__list_skipped_request__descriptor, rpc_start_skipped, rpc_answer_skipped},
    {METHOD(SERVICE("OrderBatch")), 0, GRANT_READ, &migration__order_batch_request__descriptor,
     rpc_start_order, rpc_answer_order},
    {METHOD(SERVICE("ListRuns")), RPC_STATE, GRANT_READ, &migration__list_runs_request__descriptor,
     rpc_start_run_list, rpc_answer_run_list},
    {METHOD(SERVICE("GetRun")), RPC_STATE, GRANT_READ, &migration__get_run_request__descriptor,
     rpc_start_show, rpc_answer_show},
    {METHOD(SERVICE("WatchRun")), 0, GRANT_READ, &migration__watch_run_request__descriptor,
     rpc_start_watch, rpc_answer_watch},
    {METHOD(SERVICE("WatchEvents")), 0, GRANT_READ, &migration__watch_events_request__descriptor,
     rpc_start_watch_all, rpc_answer_watch},
    {METHOD(SERVICE("CancelRun")), RPC_STATE, GRANT_MIGRATE | GRANT_ROLLBACK | GRANT_ADMIN,
     &migration__cancel_run_request__descriptor, rpc_start_cancel, rpc_answer_cancel},
    {METHOD(SERVICE("RetryRun")), RPC_STATE | RPC_RUNS, GRANT_MIGRATE | GRANT_ROLLBACK,
     &migration__retry_run_request__descriptor, rpc_start_retry, rpc_answer_run},
    {METHOD(SERVICE("ResolveMigration")), RPC_STATE, GRANT_MIGRATE,
     &migration__resolve_migration_request__descriptor, rpc_start_doubt, rpc_answer_doubt},
    {METHOD(SERVICE("PlanMigrations")), RPC_STATE, GRANT_READ,
     &migration__migrate_up_request__descriptor, rpc_start_plan, rpc_answer_plan},
    {METHOD(SERVICE("ListTenants")), RPC_STATE, GRANT_READ,
     &migration__list_tenants_request__descriptor, rpc_start_tenants, rpc_answer_tenants},
    {METHOD(SERVICE("CheckGate")), RPC_STATE, GRANT_READ,
     &migration__check_gate_request__descriptor, rpc_start_gate, rpc_answer_gate},
    {METHOD(SERVICE("Reconcile")), RPC_STATE, GRANT_ADMIN,
     &migration__reconcile_request__descriptor, rpc_start_reconcile, rpc_answer_reconcile},
    {METHOD(HEALTH "Check"), RPC_OPEN | RPC_PROBE | RPC_QUIET, 0,
     &grpc__health__v1__health_check_request__descriptor, NULL, rpc_answer_check},
    {METHOD(HEALTH "Watch"), RPC_OPEN | RPC_PROBE | RPC_QUIET | RPC_LASTS, 0,
     &grpc__health__v1__health_check_request__descriptor, NULL, rpc_answer_health_watch},
};

/* Several requests in one call, and nothing to wait for: not a struct rpc. */
static const struct grpc_method reflection[] = {
    {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", true, rpc_begin_reflection},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", true, rpc_begin_reflection},
};

const struct grpc_method *rpc_find(void *arg, const char *path)
{
    (void)arg;
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
        if (strcmp(methods[i].grpc.path, path) == 0)
            return &methods[i].grpc;
    for (size_t i = 0; i < ARRAY_SIZE(reflection); i++)
        if (strcmp(reflection[i].path, path) == 0)
            return &reflection[i];
    return NULL;
}
