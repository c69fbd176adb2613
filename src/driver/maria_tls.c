#include <openssl/crypto.h>

#include "driver/maria_private.h"
#include "io/work.h"

/*
 * The connector's calls wait by giving back control, except in a TLS handshake: there they wait in
 * poll(). So whatever may be one runs on a thread, and when it takes too long the socket is shut
 * under it. The threads are few and everybody's: at most MARIA_TLS_MAX handshakes of the process
 * are under way, of one pool only one, so that a server that stalls does not hold up the others.
 * Who cannot begin waits in turn.
 */
enum {
    MARIA_TLS_MAX = 4,
};

static struct list maria_tls_waiting;
static unsigned maria_tls_running;

static void maria_tls_pump(void);

static int maria_tls_on_thread(void *arg, struct err *err)
{
    struct maria_conn *conn = arg;

    (void)err;
    maria_io_continue(&conn->io, conn->happened);
    OPENSSL_thread_stop(); /* what it keeps for a thread: at exit it would be too late */
    return 0;
}

static void maria_tls_on_done(struct op *op, int rc)
{
    struct maria_conn *conn = container_of(op, struct maria_conn, tls_op);

    (void)rc; /* canceled only while closing */
    maria_tls_running--;
    conn->pool->in_tls = false;
    if (conn->sm.state == MARIA_CLOSING) {
        maria_conn_reset(conn);
        maria_conn_try_free(conn);
    } else {
        maria_connect_go_on(conn);
    }
    maria_tls_pump();
}

static struct maria_conn *maria_tls_find_next(void)
{
    list_foreach(node, &maria_tls_waiting) {
        struct maria_conn *conn = container_of(node, struct maria_conn, tls_link);

        if (!conn->pool->in_tls)
            return conn;
    }
    return NULL;
}

static void maria_tls_run(struct maria_conn *conn)
{
    op_init(&conn->tls_op, maria_tls_on_done);
    if (work_start(conn->pool->pool.loop, &conn->tls_op, maria_tls_on_thread, conn) != 0) {
        maria_connect_fail(conn, &conn->tls_op.err);
        return;
    }
    maria_tls_running++;
    conn->pool->in_tls = true;
}

static void maria_tls_pump(void)
{
    struct maria_conn *conn;

    while (maria_tls_running < MARIA_TLS_MAX && (conn = maria_tls_find_next()) != NULL) {
        list_remove(&conn->tls_link);
        maria_tls_run(conn);
    }
}

void maria_tls_start(struct maria_conn *conn, int happened)
{
    if (maria_tls_waiting.next == NULL)
        list_init(&maria_tls_waiting);
    conn->happened = happened;
    list_push_back(&maria_tls_waiting, &conn->tls_link);
    maria_tls_pump();
}

bool maria_tls_is_waiting(const struct maria_conn *conn)
{
    return list_is_linked(&conn->tls_link);
}

void maria_tls_leave(struct maria_conn *conn)
{
    if (maria_tls_is_waiting(conn))
        list_remove(&conn->tls_link);
}
