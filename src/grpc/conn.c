#include "grpc/conn.h"
#include <string.h>

#include "base/mem.h"

/* A connection: bytes between the socket and nghttp2, and its end. */

enum {
    CONN_STREAM_WINDOW = 256 * 1024,
    CONN_WINDOW = 4 * 1024 * 1024,
    CONN_WRITES_MAX = 16, /* in one turn of the loop */
    CONN_LINGER_MS = 5000,
    CONN_LINGER_STOP_MS = 1000, /* the same once the server is stopping */
    CONN_LINGER_BYTES = 16 * 1024 * 1024,
};

static const struct sm_state conn_states[] = {
    [CONN_OPEN] = {"open", SM_TO(CONN_DRAINING) | SM_TO(CONN_LINGERING) | SM_TO(CONN_CLOSING)},
    [CONN_DRAINING] = {"draining", SM_TO(CONN_LINGERING) | SM_TO(CONN_CLOSING)},
    [CONN_LINGERING] = {"lingering", SM_TO(CONN_CLOSING)},
    [CONN_CLOSING] = {"closing", 0},
};

static struct sched *conn_sched(const struct grpc_conn *conn)
{
    return loop_sched(conn->server->loop);
}

void grpc_conn_wake(struct grpc_conn *conn)
{
    if (conn->session != NULL)
        sched_defer(conn_sched(conn), &conn->pump_task);
}

/* Ends the session, and with it every call. */
static void conn_move_out(struct grpc_conn *conn, enum grpc_conn_state next)
{
    sm_move(&conn->sm, (int)next);
    sched_stop_timer(conn_sched(conn), &conn->idle_timer);
    sched_stop_timer(conn_sched(conn), &conn->write_timer);
    while (!list_is_empty(&conn->calls))
        grpc_call_detach(container_of(conn->calls.next, struct grpc_call, link));
    sched_undefer(&conn->pump_task);
    nghttp2_session_del(conn->session);
    conn->session = NULL;
}

void grpc_conn_drop(struct grpc_conn *conn, bool reset)
{
    if (conn->sm.state == CONN_CLOSING)
        return;
    if (conn->busy) { /* nghttp2 is on the stack */
        conn->doomed = true;
        return;
    }
    conn_move_out(conn, CONN_CLOSING);
    tcp_close(&conn->tcp, reset);
}

static void conn_start_lingering(struct grpc_conn *conn)
{
    sched_start_timer(conn_sched(conn), &conn->idle_timer,
                      conn->server->stopping ? CONN_LINGER_STOP_MS : CONN_LINGER_MS);
}

static void conn_linger(struct grpc_conn *conn)
{
    conn_move_out(conn, CONN_LINGERING);
    if (tcp_shutdown(&conn->tcp) != 0)
        grpc_conn_drop(conn, false);
    else
        conn_start_lingering(conn);
}

/* --- out --- */

static void conn_await_progress(struct grpc_conn *conn)
{
    conn->sent_seen = conn->queued - tcp_unsent(&conn->tcp);
    sched_start_timer(conn_sched(conn), &conn->write_timer, conn->server->config.write_timeout_ms);
}

static void conn_on_write_timer(struct timer *timer)
{
    struct grpc_conn *conn = container_of(timer, struct grpc_conn, write_timer);

    if (conn->queued - tcp_unsent(&conn->tcp) == conn->sent_seen)
        grpc_conn_drop(conn, true);
    else
        conn_await_progress(conn);
}

/* Takes from nghttp2 what it has to say, up to one write. 0, ERR_NOMEM or ERR_IO. */
static int conn_gather(struct grpc_conn *conn)
{
    while (conn->out.len < GRPC_WRITE_SIZE) {
        const uint8_t *data;
        ssize_t len = nghttp2_session_mem_send(conn->session, &data);

        if (len < 0)
            return len == NGHTTP2_ERR_NOMEM ? ERR_NOMEM : ERR_IO;
        if (len == 0)
            return 0;
        if (buf_append(&conn->out, data, (size_t)len) != 0)
            return conn->out.rc;
    }
    return 0;
}

/* Hands the gathered bytes to the kernel, or what it does not take to the loop. */
static int conn_write(struct grpc_conn *conn)
{
    struct tcp_piece piece = {conn->out.data, conn->out.len};
    size_t taken;

    if (tcp_try_write(&conn->tcp, &piece, 1, &taken) != 0)
        return ERR_IO;
    if (taken == conn->out.len) {
        buf_truncate(&conn->out, 0);
        return 0;
    }
    conn->queued += conn->out.len - taken;
    if (tcp_write(&conn->tcp, conn->out.data + taken, conn->out.len - taken) != 0)
        return ERR_IO;
    conn->flying = true;
    conn_await_progress(conn);
    return 0;
}

static bool conn_is_over(const struct grpc_conn *conn)
{
    if (conn->flying)
        return false;
    if (nghttp2_session_want_read(conn->session) == 0 &&
        nghttp2_session_want_write(conn->session) == 0)
        return true;
    return conn->call_count == 0 && conn->sm.state == CONN_DRAINING;
}

static void conn_pump(struct task *task)
{
    struct grpc_conn *conn = container_of(task, struct grpc_conn, pump_task);
    bool more = true;
    int rc = 0;

    conn->busy = true;
    for (int i = 0; i < CONN_WRITES_MAX && more && rc == 0; i++) {
        more = !conn->flying && !conn->doomed;
        if (more)
            rc = conn_gather(conn);
        more = more && conn->out.len > 0;
        if (rc == 0 && more)
            rc = conn_write(conn);
    }
    conn->busy = false;
    if (rc != 0 || conn->doomed)
        grpc_conn_drop(conn, false);
    else if (more)
        grpc_conn_wake(conn); /* others come first */
    else if (conn_is_over(conn))
        conn_linger(conn);
}

static struct grpc_conn *conn_of(struct tcp *tcp)
{
    return container_of(tcp, struct grpc_conn, tcp);
}

static void conn_on_written(struct tcp *tcp, int rc)
{
    struct grpc_conn *conn = conn_of(tcp);

    conn->flying = false;
    sched_stop_timer(conn_sched(conn), &conn->write_timer);
    buf_truncate(&conn->out, 0);
    if (rc != 0)
        grpc_conn_drop(conn, false);
    else
        conn_pump(&conn->pump_task);
}

/* --- in --- */

/* Answers pile up in front of a peer who does not read them, yet goes on asking. */
static bool conn_is_flooded(const struct grpc_conn *conn)
{
    return nghttp2_session_get_outbound_queue_size(conn->session) >
           GRPC_QUEUED_FRAMES_MAX + 4 * (size_t)conn->server->config.max_streams;
}

static void conn_on_data(struct tcp *tcp, const char *data, size_t len)
{
    struct grpc_conn *conn = conn_of(tcp);
    ssize_t taken;

    if (conn->sm.state == CONN_LINGERING) {
        conn->lingered += len;
        if (conn->lingered > CONN_LINGER_BYTES)
            grpc_conn_drop(conn, true);
        return;
    }
    conn->busy = true;
    taken = nghttp2_session_mem_recv(conn->session, (const uint8_t *)data, len);
    conn->busy = false;
    if (taken == NGHTTP2_ERR_FLOODED && conn->sm.state == CONN_OPEN) {
        grpc_conn_drain(conn, NGHTTP2_ENHANCE_YOUR_CALM, "too many frames");
    } else if (taken < 0 || conn->doomed || conn_is_flooded(conn)) {
        grpc_conn_drop(conn, false);
        return;
    }
    grpc_conn_wake(conn);
}

/* Who sends no more takes no more either: he could not even open a window. */
static void conn_on_end(struct tcp *tcp, int rc)
{
    (void)rc;
    grpc_conn_drop(conn_of(tcp), false);
}

static void conn_on_closed(struct tcp *tcp)
{
    struct grpc_conn *conn = conn_of(tcp);

    buf_free(&conn->out);
    grpc_server_on_conn_closed(conn->server, conn);
}

static const struct tcp_handlers conn_handlers = {
    .on_data = conn_on_data,
    .on_end = conn_on_end,
    .on_written = conn_on_written,
    .on_closed = conn_on_closed,
};

/* --- life --- */

void grpc_conn_drain(struct grpc_conn *conn, uint32_t error, const char *why)
{
    if (conn->sm.state == CONN_LINGERING)
        conn_start_lingering(conn);
    if (conn->sm.state != CONN_OPEN)
        return;
    sm_move(&conn->sm, CONN_DRAINING);
    if (error != NGHTTP2_NO_ERROR) {
        if (nghttp2_session_terminate_session(conn->session, error) != 0)
            grpc_conn_drop(conn, true);
    } else if (nghttp2_submit_goaway(conn->session, NGHTTP2_FLAG_NONE,
                                     nghttp2_session_get_last_proc_stream_id(conn->session), error,
                                     (const uint8_t *)why, strlen(why)) != 0) {
        grpc_conn_drop(conn, true);
    }
    grpc_conn_wake(conn);
}

void grpc_conn_on_calls(struct grpc_conn *conn)
{
    const struct grpc_config *config = &conn->server->config;

    if (conn->sm.state >= CONN_LINGERING)
        return;
    if (conn->call_count > 0)
        sched_stop_timer(conn_sched(conn), &conn->idle_timer);
    else
        sched_start_timer(conn_sched(conn), &conn->idle_timer,
                          conn->began ? config->idle_timeout_ms : config->request_timeout_ms);
    grpc_conn_wake(conn);
}

static void conn_on_idle(struct timer *timer)
{
    struct grpc_conn *conn = container_of(timer, struct grpc_conn, idle_timer);

    if (conn->began && conn->sm.state == CONN_OPEN)
        grpc_conn_drain(conn, NGHTTP2_NO_ERROR, "idle");
    else
        grpc_conn_drop(conn, false);
}

static int conn_make_session(struct grpc_conn *conn)
{
    struct grpc_server *server = conn->server;
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, server->config.max_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, CONN_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)server->config.max_headers},
    };

    if (nghttp2_session_server_new3(&conn->session, server->callbacks, conn, server->options,
                                    &server->memory) != 0)
        return ERR_NOMEM;
    if (nghttp2_submit_settings(conn->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings)) !=
            0 ||
        nghttp2_session_set_local_window_size(conn->session, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW) !=
            0) {
        nghttp2_session_del(conn->session);
        return ERR_NOMEM;
    }
    return 0;
}

struct grpc_conn *grpc_conn_create(struct grpc_server *server, int fd)
{
    struct grpc_conn *conn = mem_calloc(1, sizeof(*conn));

    if (conn == NULL)
        goto err_after_fd;
    conn->server = server;
    conn->pump_task.run = conn_pump;
    conn->idle_timer.fire = conn_on_idle;
    conn->write_timer.fire = conn_on_write_timer;
    list_init(&conn->calls);
    buf_init(&conn->out, GRPC_WRITE_SIZE * 2);
    if (conn_make_session(conn) != 0)
        goto err_after_conn;
    sm_init(&conn->sm, conn_states, "grpc connection", CONN_OPEN);
    if (tcp_open(&conn->tcp, server->loop, fd, &conn_handlers, server->buffer, GRPC_READ_SIZE) != 0)
        conn->doomed = true;
    grpc_conn_on_calls(conn);
    return conn;

err_after_conn:
    mem_free(conn);
err_after_fd:
    tcp_discard(fd);
    return NULL;
}
