#include "http/conn.h"

/*
 * Bytes on their way to the peer: what the kernel takes at once never gets here; the rest is in
 * `flying` while the loop writes it, and what comes meanwhile collects in `out`.
 */

size_t http_conn_unsent(const struct http_conn *conn)
{
    return tcp_unsent(&conn->tcp) + conn->out.len;
}

static bool write_is_flying(const struct http_conn *conn)
{
    return conn->flying.data != NULL;
}

static int write_start(struct http_conn *conn)
{
    const char *data = conn->flying.data + conn->flying_at;
    size_t len = conn->flying.len - conn->flying_at;

    conn->queued += len;
    return tcp_write(&conn->tcp, data, len);
}

static int write_flush(struct http_conn *conn)
{
    size_t max = conn->out.max;

    if (write_is_flying(conn) || conn->out.len == 0)
        return 0;
    conn->flying = conn->out;
    conn->flying_at = 0;
    buf_init(&conn->out, max);
    return write_start(conn);
}

/* Keeps what is behind the first `taken` bytes of the pieces. */
static int write_keep(struct http_conn *conn, const struct tcp_piece *pieces, size_t count,
                      size_t taken)
{
    for (size_t i = 0; i < count; i++) {
        size_t skip = taken < pieces[i].len ? taken : pieces[i].len;

        taken -= skip;
        if (skip < pieces[i].len)
            buf_append(&conn->out, (const char *)pieces[i].data + skip, pieces[i].len - skip);
    }
    return conn->out.rc;
}

int http_conn_send(struct http_conn *conn, const struct tcp_piece *pieces, size_t count,
                   struct buf *body)
{
    size_t total = 0, taken = 0;

    for (size_t i = 0; i < count; i++)
        total += pieces[i].len;
    if (total == 0)
        return 0;
    if (!write_is_flying(conn) && tcp_try_write(&conn->tcp, pieces, count, &taken) != 0)
        return ERR_IO;
    if (taken == total)
        return 0;
    if (body != NULL && !write_is_flying(conn) && total - taken <= body->len) {
        conn->flying = *body; /* nothing but body is left */
        conn->flying_at = body->len - (total - taken);
        buf_init(body, body->max);
        return write_start(conn);
    }
    if (write_keep(conn, pieces, count, taken) != 0)
        return ERR_NOMEM;
    return write_flush(conn);
}

void http_conn_await_progress(struct http_conn *conn)
{
    conn->sent_seen = conn->queued - tcp_unsent(&conn->tcp);
    http_conn_start_timer(conn, conn->server->config.write_timeout_ms);
}

bool http_conn_made_progress(struct http_conn *conn)
{
    if (conn->queued - tcp_unsent(&conn->tcp) == conn->sent_seen)
        return false;
    http_conn_await_progress(conn);
    return true;
}

static void write_resume_stream(struct http_conn *conn)
{
    struct http_request *request = conn->request;

    if (http_conn_unsent(conn) == 0)
        sched_stop_timer(loop_sched(conn->server->loop), &conn->timer);
    if (!request->waiting || http_conn_unsent(conn) > request->max_pending / 2)
        return;
    request->waiting = false;
    request->drain(request);
}

void http_conn_on_written(struct http_conn *conn, int rc)
{
    buf_free(&conn->flying);
    if (rc == 0)
        rc = write_flush(conn);
    if (rc != 0) {
        http_conn_drop(conn, false);
        return;
    }
    if (conn->sm.state == CONN_STREAMING)
        write_resume_stream(conn);
    else if (conn->sm.state == CONN_ANSWERING && http_conn_unsent(conn) == 0)
        http_answer_finish(conn->request);
}
