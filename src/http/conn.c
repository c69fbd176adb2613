#include "http/conn.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

enum {
    CONN_REQUESTS_PER_TURN = 32, /* of one connection, before others have their turn */
    CONN_REFUSED_WAIT_MS = 500,  /* for the request that is to be refused */
    CONN_LINGER_MS = 5000,
    CONN_LINGER_STOP_MS = 1000, /* the same once the server is stopping */
    CONN_LINGER_BYTES = 64 * 1024 * 1024,
};

static const struct sm_state conn_states[] = {
    [CONN_IDLE] = {"idle", SM_TO(CONN_READING) | SM_TO(CONN_LINGERING) | SM_TO(CONN_CLOSING)},
    [CONN_READING] = {"reading",
                      SM_TO(CONN_HANDLING) | SM_TO(CONN_ANSWERING) | SM_TO(CONN_CLOSING)},
    [CONN_HANDLING] = {"handling",
                       SM_TO(CONN_STREAMING) | SM_TO(CONN_ANSWERING) | SM_TO(CONN_CLOSING)},
    [CONN_STREAMING] = {"streaming", SM_TO(CONN_ANSWERING) | SM_TO(CONN_CLOSING)},
    [CONN_ANSWERING] = {"answering",
                        SM_TO(CONN_IDLE) | SM_TO(CONN_LINGERING) | SM_TO(CONN_CLOSING)},
    [CONN_LINGERING] = {"lingering", SM_TO(CONN_CLOSING)},
    [CONN_CLOSING] = {"closing", 0},
};

static void conn_check(const struct http_conn *conn)
{
    switch ((enum http_conn_state)conn->sm.state) {
    case CONN_READING:
    case CONN_HANDLING:
    case CONN_STREAMING:
    case CONN_ANSWERING:
        assert(conn->request != NULL && conn->request->conn == conn);
        break;
    case CONN_IDLE:
        assert(conn->request == NULL && !conn->last);
        break;
    case CONN_LINGERING:
        assert(conn->request == NULL && !conn->eof && conn->pending.len == 0);
        break;
    case CONN_CLOSING:
        assert(conn->request == NULL);
        break;
    }
    assert(!conn->timer.armed);                   /* a state starts its own */
    assert(!conn->eof || conn->pending.len == 0); /* while something is pending, nothing is read */
}

void http_conn_move(struct http_conn *conn, enum http_conn_state next)
{
    sched_stop_timer(loop_sched(conn->server->loop), &conn->timer);
    sm_move(&conn->sm, (int)next);
    conn_check(conn);
}

void http_conn_start_timer(struct http_conn *conn, uint64_t ms)
{
    sched_start_timer(loop_sched(conn->server->loop), &conn->timer, ms);
}

void http_conn_drop(struct http_conn *conn, bool reset)
{
    struct http_server *server = conn->server;
    struct http_request *request = conn->request;
    int state = conn->sm.state;

    if (state == CONN_CLOSING)
        return;
    conn->request = NULL;
    http_conn_move(conn, CONN_CLOSING);
    sched_undefer(&conn->task);
    buf_free(&conn->pending);
    tcp_close(&conn->tcp, reset);
    if (request == NULL)
        return;
    if (state != CONN_READING && server->access != NULL)
        server->access(server->arg, request);
    if (state == CONN_HANDLING || state == CONN_STREAMING)
        http_request_orphan(request);
    else
        http_request_free(request);
}

static void conn_linger(struct http_conn *conn)
{
    buf_free(&conn->pending);
    if (conn->eof || tcp_shutdown(&conn->tcp) != 0 || tcp_read_start(&conn->tcp) != 0) {
        http_conn_drop(conn, false);
        return;
    }
    http_conn_move(conn, CONN_LINGERING);
    http_conn_start_timer(conn, conn->server->stopping ? CONN_LINGER_STOP_MS : CONN_LINGER_MS);
}

void http_conn_next(struct http_conn *conn)
{
    if (conn->last || conn->eof || conn->server->stopping) {
        conn_linger(conn);
        return;
    }
    http_conn_move(conn, CONN_IDLE);
    http_conn_start_timer(conn, conn->server->config.idle_timeout_ms);
    if (conn->pending.len > 0)
        sched_defer(loop_sched(conn->server->loop), &conn->task);
}

static bool conn_has_open_stream(const struct http_conn *conn)
{
    return conn->sm.state == CONN_STREAMING && conn->request->open;
}

void http_conn_stop(struct http_conn *conn)
{
    if (conn->sm.state == CONN_IDLE && conn->pending.len == 0)
        http_conn_drop(conn, false);
    else if (conn->sm.state == CONN_LINGERING)
        http_conn_start_timer(conn, CONN_LINGER_STOP_MS);
    else if (conn_has_open_stream(conn))
        sched_defer(loop_sched(conn->server->loop), &conn->task);
}

static void conn_begin(struct http_conn *conn)
{
    conn->request = http_request_create(conn);
    if (conn->request == NULL) {
        http_answer_no_memory(conn);
        return;
    }
    http_conn_move(conn, CONN_READING);
    http_conn_start_timer(conn, conn->server->config.request_timeout_ms);
    if (!conn->refused)
        return;
    http_add_header(conn->request, "Retry-After", "1");
    http_answer_error(conn->request, 503, "too many connections");
}

static void conn_send_continue(struct http_conn *conn)
{
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const struct tcp_piece piece = {line, sizeof(line) - 1};

    if (http_conn_send(conn, &piece, 1, NULL) != 0)
        http_conn_drop(conn, false);
}

/* Bytes of the request that is being read; returns how many were used. */
static size_t conn_read_request(struct http_conn *conn, const char *data, size_t len)
{
    struct http_request *request = conn->request;
    enum http_parsed parsed;
    size_t step, used = 0;

    do {
        parsed = http_message_parse(request->message, data + used, len - used, &step);
        used += step;
        if (parsed == HTTP_PARSED_HEAD && request->message->expects_continue && used == len)
            conn_send_continue(conn);
    } while (parsed == HTTP_PARSED_HEAD && conn->sm.state == CONN_READING);
    if (parsed == HTTP_PARSED_BAD) {
        http_answer_error(request, request->message->status, request->message->reason);
    } else if (parsed == HTTP_PARSED_ALL) {
        http_conn_move(conn, CONN_HANDLING);
        http_request_begin(request);
        conn->server->handler(conn->server->arg, request);
    }
    return used;
}

/* Serves what the bytes hold until a request has to wait; returns how many were used. */
static size_t conn_parse(struct http_conn *conn, const char *data, size_t len)
{
    size_t used = 0;
    int begun = 0;

    while (used < len) {
        if (conn->sm.state == CONN_IDLE && begun++ < CONN_REQUESTS_PER_TURN)
            conn_begin(conn);
        if (conn->sm.state != CONN_READING)
            break;
        used += conn_read_request(conn, data + used, len - used);
    }
    return used;
}

static bool conn_wants_more(const struct http_conn *conn)
{
    return !conn->last && conn->sm.state != CONN_LINGERING && conn->sm.state != CONN_CLOSING;
}

/* Keeps what cannot be served yet, and reads nothing more until it is. */
static void conn_keep(struct http_conn *conn, const char *data, size_t len)
{
    if (len == 0 || !conn_wants_more(conn))
        return;
    if (buf_append(&conn->pending, data, len) != 0) {
        http_conn_drop(conn, false);
        return;
    }
    tcp_read_stop(&conn->tcp);
    if (conn->sm.state == CONN_IDLE)
        sched_defer(loop_sched(conn->server->loop), &conn->task);
}

static void conn_on_data(struct tcp *tcp, const char *data, size_t len)
{
    struct http_conn *conn = container_of(tcp, struct http_conn, tcp);
    size_t used;

    if (!conn_wants_more(conn)) {
        conn->drained += len;
        if (conn->drained > CONN_LINGER_BYTES)
            http_conn_drop(conn, false);
        return;
    }
    used = conn_parse(conn, data, len);
    conn_keep(conn, data + used, len - used);
}

static void conn_on_task(struct task *task)
{
    struct http_conn *conn = container_of(task, struct http_conn, task);
    struct buf bytes = conn->pending; /* whatever becomes of the connection, they stay */
    size_t at = conn->pending_at;

    if (conn->broken) {
        http_conn_drop(conn, true);
        return;
    }
    if (conn_has_open_stream(conn)) {
        http_request_ask_end(conn->request);
        return;
    }
    buf_init(&conn->pending, bytes.max);
    conn->pending_at = 0;
    at += conn_parse(conn, bytes.data + at, bytes.len - at);
    if (!conn_wants_more(conn)) {
        buf_free(&bytes);
    } else if (at < bytes.len) {
        conn->pending = bytes;
        conn->pending_at = at;
        if (conn->sm.state == CONN_IDLE)
            sched_defer(loop_sched(conn->server->loop), &conn->task);
    } else {
        buf_free(&bytes);
        if (tcp_read_start(&conn->tcp) != 0)
            http_conn_drop(conn, false);
    }
}

static void conn_on_end(struct tcp *tcp, int rc)
{
    struct http_conn *conn = container_of(tcp, struct http_conn, tcp);

    conn->eof = true;
    if (rc != 0 || conn->sm.state == CONN_IDLE || conn->sm.state == CONN_LINGERING ||
        conn_has_open_stream(conn))
        http_conn_drop(conn, false);
    else if (conn->sm.state == CONN_READING)
        http_answer_error(conn->request, 400, "the request ended before it was complete");
}

static void conn_on_written(struct tcp *tcp, int rc)
{
    http_conn_on_written(container_of(tcp, struct http_conn, tcp), rc);
}

static void conn_on_closed(struct tcp *tcp)
{
    struct http_conn *conn = container_of(tcp, struct http_conn, tcp);

    buf_free(&conn->out);
    buf_free(&conn->flying);
    http_server_on_conn_closed(conn->server, conn);
}

static void conn_on_timer(struct timer *timer)
{
    struct http_conn *conn = container_of(timer, struct http_conn, timer);

    switch ((enum http_conn_state)conn->sm.state) {
    case CONN_IDLE:
        if (conn->refused)
            conn_begin(conn);
        else
            http_conn_drop(conn, false);
        return;
    case CONN_READING:
        http_answer_error(conn->request, 408, "the request took too long");
        return;
    case CONN_STREAMING:
    case CONN_ANSWERING:
        if (!http_conn_made_progress(conn))
            http_conn_drop(conn, true);
        return;
    case CONN_LINGERING:
        http_conn_drop(conn, false);
        return;
    case CONN_HANDLING:
    case CONN_CLOSING:
        break;
    }
    abort();
}

static const struct tcp_handlers conn_handlers = {
    .on_data = conn_on_data,
    .on_end = conn_on_end,
    .on_written = conn_on_written,
    .on_closed = conn_on_closed,
};

struct http_conn *http_conn_create(struct http_server *server, int fd, bool refused)
{
    struct http_conn *conn = mem_calloc(1, sizeof(*conn));
    int rc;

    if (conn == NULL) {
        tcp_discard(fd);
        return NULL;
    }
    conn->server = server;
    conn->refused = refused;
    conn->timer.fire = conn_on_timer;
    conn->task.run = conn_on_task;
    buf_init(&conn->pending, HTTP_READ_SIZE);
    buf_init(&conn->out, SIZE_MAX / 2);
    buf_init(&conn->flying, SIZE_MAX / 2);
    sm_init(&conn->sm, conn_states, "http connection", CONN_IDLE);
    rc = tcp_open(&conn->tcp, server->loop, fd, &conn_handlers, server->buffer, HTTP_READ_SIZE);
    http_conn_start_timer(conn, refused ? CONN_REFUSED_WAIT_MS : server->config.idle_timeout_ms);
    if (rc != 0)
        http_conn_drop(conn, false);
    return conn;
}
