#include "api/ops_how.h"
#include "api/rpc.h"

/* What every call that runs something may ask for besides. */

/* The message is hashed as this server would send it, so that the order of its fields plays no
 * part. */
static int key_make_fingerprint(struct rpc *rpc)
{
    struct arena *arena = grpc_arena(rpc->call);
    const char *what = arena_printf(arena, "CALL %s", grpc_path(rpc->call));
    struct buf message;
    int rc = ERR_NOMEM;

    buf_init(&message, RPC_ANSWER_MAX);
    if (what != NULL && rpc_put(&message, rpc->request) == 0)
        rc = ops_how_make_fingerprint(arena, what, buf_str(&message), message.len,
                                      &rpc->how.fingerprint);
    buf_free(&message);
    return rc;
}

int rpc_read_key(struct rpc *rpc, struct err *err)
{
    const char *key = grpc_metadata(rpc->call, "idempotency-key");
    const char *rule;

    if (key == NULL)
        return 0;
    rule = grpc_metadata_count(rpc->call, "idempotency-key") > 1 ? "must be given once"
                                                                 : ops_how_check_key(key);
    if (rule != NULL)
        return err_set(err, ERR_INVALID, "metadata idempotency-key %s", rule);
    rpc->how.key = key;
    if (key_make_fingerprint(rpc) != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    return 0;
}

void rpc_tell_replayed(struct rpc *rpc)
{
    if (rpc->out.run.replayed)
        (void)grpc_add_metadata(rpc->call, "idempotency-replayed", "true");
}

int rpc_read_how(struct rpc *rpc, bool async, const char *on_error, int32_t max_failures)
{
    struct err err;

    if (max_failures < 0)
        return op_refuse(&rpc->op, ERR_INVALID, "field \"max_failures\" must not be negative");
    rpc->how.async = async;
    if (ops_how_read_failures(on_error, max_failures > 0, (size_t)max_failures, &rpc->how.failures,
                              &err) != 0)
        return op_refuse(&rpc->op, err.code, "%s", err_text(&err));
    return 0;
}
