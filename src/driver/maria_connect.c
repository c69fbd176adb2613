#include <errmsg.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "driver/maria_private.h"

static void maria_connect_try(struct maria_conn *conn);

void maria_connect_fail(struct maria_conn *conn, const struct err *err)
{
    sched_stop_timer(maria_conn_sched(conn), &conn->timer);
    if (conn->killer != NULL)
        maria_cancel_on_connected(conn, err);
    else
        pool_on_connect_failed(&conn->pooled, err);
}

void maria_connect_succeed(struct maria_conn *conn)
{
    if (conn->killer != NULL)
        maria_cancel_on_connected(conn, NULL);
    else
        pool_on_connected(&conn->pooled);
}

static void maria_connect_fail_with(struct maria_conn *conn, int code, const char *text)
{
    struct err err;

    err_set(&err, code, "cannot connect: %s", text);
    maria_connect_fail(conn, &err);
}

static bool maria_connect_has_more(const struct maria_conn *conn)
{
    return conn->address + 1 < conn->addresses.count;
}

/* Without TLS where that is allowed, or at the next address where this one does not answer. What a
 * server decided is not asked again. */
static bool maria_connect_try_again(struct maria_conn *conn, unsigned number)
{
    if (number == CR_SSL_CONNECTION_ERROR && maria_options_want_tls(conn) &&
        maria_options_may_do_without_tls(conn))
        conn->plain = true;
    else if (number >= CR_MIN_ERROR && number <= CR_MAX_ERROR && maria_connect_has_more(conn))
        conn->address++;
    else
        return false;
    maria_conn_reset(conn);
    maria_connect_try(conn);
    return true;
}

static void maria_connect_on_timer(struct timer *timer)
{
    struct maria_conn *conn = container_of(timer, struct maria_conn, timer);

    maria_conn_unwatch(conn);
    if (!maria_connect_has_more(conn)) {
        maria_connect_fail_with(conn, ERR_UNREACHABLE,
                                maria_tls_is_waiting(conn)
                                    ? "timed out waiting for other TLS handshakes to end"
                                    : "timed out");
    } else if (conn->tls_op.active) {
        shutdown(maria_conn_fd(conn), SHUT_RDWR); /* the thread comes back with a failure */
    } else {
        maria_connect_try_again(conn, CR_CONN_HOST_ERROR);
    }
}

/* The time that is left is shared by the addresses that are left. */
static void maria_connect_start_timer(struct maria_conn *conn)
{
    struct sched *sched = maria_conn_sched(conn);
    size_t shares =
        conn->addresses.count > conn->address ? conn->addresses.count - conn->address : 1;
    uint64_t left;

    if (conn->connect_until_ms == 0)
        return;
    left = conn->connect_until_ms > sched->now_ms ? conn->connect_until_ms - sched->now_ms : 0;
    sched_start_timer(sched, &conn->timer, left / shares);
}

static void maria_connect_on_no_tls(struct maria_conn *conn)
{
    if (!maria_connect_try_again(conn, CR_SSL_CONNECTION_ERROR))
        maria_connect_fail_with(conn, ERR_UNREACHABLE,
                                "TLS is required by sslmode and the server does not offer it");
}

static void maria_connect_on_login(struct maria_conn *conn)
{
    assert(!conn->route.tls || mysql_get_ssl_cipher(conn->io.my) != NULL);
    if (!maria_options_is_socket(conn))
        keepalive_set(maria_conn_fd(conn), &conn->pool->settings.keepalive);
    mem_free(conn->password);
    conn->password = NULL;
    maria_conn_move(conn, MARIA_LENT);
    maria_session_start(conn);
}

void maria_connect_go_on(struct maria_conn *conn)
{
    MYSQL *my = conn->io.my;
    struct err err;
    int rc;

    if (conn->io.waits != 0) {
        rc = maria_conn_watch(conn, conn->io.waits);
        if (rc != 0)
            maria_connect_fail_with(
                conn, rc, rc == ERR_NOMEM ? "out of memory" : "the socket cannot be watched");
    } else if (conn->io.answer.connected != NULL) {
        maria_connect_on_login(conn);
    } else if (conn->route.tls_missing) {
        maria_connect_on_no_tls(conn);
    } else if (!maria_connect_try_again(conn, mysql_errno(my))) {
        maria_error_of_connect(my, &err);
        maria_connect_fail(conn, &err);
    }
}

static bool maria_connect_is_there(const struct maria_conn *conn)
{
    struct sockaddr_storage peer;
    socklen_t size = sizeof(peer);

    return getpeername(maria_conn_fd(conn), (struct sockaddr *)&peer, &size) == 0;
}

/* The greeting may come with the connection, so every step behind that may be the handshake. Why
 * there is no connection is found out here: the connector keeps errno's place, which a thread has
 * for its own. */
void maria_connect_on_socket(struct maria_conn *conn, int happened)
{
    if (maria_options_want_tls(conn) && mysql_get_ssl_cipher(conn->io.my) == NULL &&
        maria_connect_is_there(conn)) {
        maria_tls_start(conn, happened);
        return;
    }
    maria_io_continue(&conn->io, happened);
    maria_connect_go_on(conn);
}

static void maria_connect_try(struct maria_conn *conn)
{
    const struct maria_settings *settings = &conn->pool->settings;
    const char *socket = maria_options_is_socket(conn) ? settings->host : NULL;
    const char *host = socket == NULL ? settings->host : NULL;
    unsigned port = settings->port != NULL ? (unsigned)strtoul(settings->port, NULL, 10) : 0;

    conn->io.my = maria_options_apply(conn);
    if (conn->io.my == NULL) {
        maria_connect_fail_with(conn, ERR_NOMEM, "out of memory");
        return;
    }
    maria_connect_start_timer(conn);
    maria_io_connect(&conn->io, host, settings->user, conn->password, settings->database, port,
                     socket);
    maria_connect_go_on(conn);
}

static void maria_connect_on_resolved(struct op *op, int rc)
{
    struct maria_conn *conn = container_of(op, struct maria_conn, resolve_op);

    if (conn->sm.state == MARIA_CLOSING) {
        maria_conn_try_free(conn);
    } else if (rc != 0) {
        err_prefix(&op->err, "cannot connect");
        maria_connect_fail(conn, &op->err);
    } else {
        maria_conn_move(conn, MARIA_CONNECTING);
        maria_connect_try(conn);
    }
}

void maria_connect_limit(struct maria_conn *conn, uint64_t ms)
{
    struct sched *sched = maria_conn_sched(conn);

    if (conn->connect_until_ms > 0 && conn->connect_until_ms <= sched->now_ms + ms)
        return;
    conn->connect_until_ms = sched->now_ms + ms;
    sched_start_timer(sched, &conn->timer, ms);
}

int maria_connect_start(struct maria_conn *conn, struct err *err)
{
    const struct maria_settings *settings = &conn->pool->settings;
    const char *password = settings->password != NULL ? settings->password : "";
    struct sched *sched = maria_conn_sched(conn);
    int rc = 0;

    /* Never NULL: the connector would look into the environment. */
    conn->password = mem_strdup(password);
    if (conn->password == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    op_init(&conn->resolve_op, maria_connect_on_resolved);
    if (maria_options_is_socket(conn) || conn->addresses.count > 0) {
        op_begin(&conn->resolve_op, NULL, NULL);
        op_finish_later(&conn->resolve_op, sched, 0);
    } else {
        rc = resolve_start(conn->pool->pool.loop, &conn->resolve_op, settings->host,
                           &conn->addresses);
    }
    if (rc != 0) {
        *err = conn->resolve_op.err;
        return rc;
    }
    conn->timer.fire = maria_connect_on_timer;
    if (settings->connect_timeout_ms > 0)
        maria_connect_limit(conn, settings->connect_timeout_ms);
    return 0;
}
