#include "driver/maria_private.h"

/*
 * What statements leave on a session cannot be told from their text: a trigger or a procedure sets
 * variables and takes locks too. So a connection that ran somebody's statements goes back by
 * COM_RESET_CONNECTION and the session's settings once more. Until then it counts as lent, so that
 * nobody gets it.
 */
enum {
    MARIA_RESET_MS = 5000, /* for both round trips; then a new connection is the better choice */
};

bool maria_reset_is_on(const struct maria_conn *conn)
{
    return list_is_linked(&conn->reset_link);
}

void maria_reset_end(struct maria_conn *conn, const struct err *err)
{
    list_remove(&conn->reset_link);
    if (err == NULL)
        pool_release(&conn->pooled);
    else
        pool_discard(&conn->pooled);
}

static void maria_reset_on_done(struct op *op, int rc)
{
    struct maria_conn *conn = container_of(op, struct maria_conn, own_op);

    maria_results_free(&conn->own_out);
    if (conn->closing)
        return;
    if (rc == 0)
        maria_session_start(conn);
    else
        maria_reset_end(conn, &op->err);
}

void maria_release_clean(struct maria_conn *conn)
{
    assert(conn->sm.state == MARIA_LENT);
    if (!pool_may_keep(&conn->pooled)) {
        pool_discard(&conn->pooled);
        return;
    }
    list_push_back(&conn->pool->resetting, &conn->reset_link);
    conn->connect_until_ms = maria_conn_sched(conn)->now_ms + MARIA_RESET_MS;
    op_init(&conn->own_op, maria_reset_on_done);
    maria_query_reset(conn, &conn->own_op, MARIA_RESET_MS, &conn->own_out);
}

void maria_reset_close_all(struct maria_pool *pool)
{
    list_foreach_safe(node, &pool->resetting) {
        struct maria_conn *conn = container_of(node, struct maria_conn, reset_link);

        list_remove(&conn->reset_link);
        pool_discard(&conn->pooled);
    }
}
