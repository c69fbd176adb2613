#include "grpc/conn.h"

/* What all calls together may hold in memory, so that no number of connections and streams adds up
 * to more. */

enum {
    BUDGET_SHARES = 4, /* a connection may have one of so many */
};

bool grpc_budget_set_request(struct grpc_call *call, size_t bytes)
{
    struct grpc_server *server = call->server;
    bool grows = bytes > call->counted;

    server->requests = server->requests - call->counted + bytes;
    call->counted = bytes;
    return !grows || server->requests <= server->config.max_requests;
}

/* A single one may be larger than its share: else a long answer could never be given. */
static bool budget_fits(size_t held, size_t more, size_t max)
{
    return held == 0 || (held <= max && more <= max - held);
}

bool grpc_budget_has_room(const struct grpc_call *call, size_t bytes)
{
    size_t max = call->server->config.max_answers;

    return budget_fits(call->server->answers, bytes, max) &&
           budget_fits(call->conn->answers, bytes, max / BUDGET_SHARES);
}

void grpc_budget_set_answer(struct grpc_call *call, size_t bytes)
{
    call->server->answers = call->server->answers - call->out_counted + bytes;
    call->conn->answers = call->conn->answers - call->out_counted + bytes;
    call->out_counted = bytes;
}
