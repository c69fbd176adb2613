#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "http/conn.h"

/* Answers made piece by piece. */

static bool stream_is_chunked(const struct http_request *request)
{
    return request->message->minor > 0 && !request->bodiless;
}

static int stream_break(struct http_conn *conn)
{
    conn->broken = true; /* not taken down here: the handler is told from the loop */
    sched_defer(loop_sched(conn->server->loop), &conn->task);
    return ERR_IO;
}

static int stream_send(struct http_conn *conn, const struct tcp_piece *pieces, size_t count)
{
    if (http_conn_send(conn, pieces, count, NULL) != 0)
        return stream_break(conn);
    if (http_conn_unsent(conn) > 0 && !conn->timer.armed)
        http_conn_await_progress(conn);
    return 0;
}

static int stream_send_head(struct http_request *request)
{
    struct http_conn *conn = request->conn;
    bool chunked = request->message->minor > 0;
    struct buf head;
    int rc;

    if (!chunked || request->open)
        conn->last = true;
    http_conn_move(conn, CONN_STREAMING);
    buf_init(&head, HTTP_ANSWER_HEAD_MAX);
    if (http_answer_put_head(request, chunked ? "Transfer-Encoding: chunked\r\n" : "", &head) != 0)
        rc = stream_break(conn);
    else
        rc = stream_send(conn, &(struct tcp_piece){head.data, head.len}, 1);
    buf_free(&head);
    return rc;
}

int http_stream_begin(struct http_request *request, int status,
                      void (*drain)(struct http_request *request))
{
    http_answer_begin(request, status);
    request->streaming = true;
    request->drain = drain;
    if (request->conn == NULL)
        return ERR_IO;
    request->max_pending = request->conn->server->config.max_write_queue;
    return stream_send_head(request);
}

int http_stream_open(struct http_request *request, int status, size_t max_pending,
                     void (*drain)(struct http_request *request))
{
    struct http_conn *conn = request->conn;

    http_answer_begin(request, status);
    request->streaming = true;
    request->open = true;
    request->drain = drain;
    request->max_pending = max_pending;
    buf_free(&request->message->body);
    if (conn == NULL)
        return ERR_IO;
    assert(request->gone != NULL); /* else nobody would ever end it */
    buf_free(&conn->pending);      /* no other request is served; reading goes on for the end */
    conn->pending_at = 0;
    if (stream_send_head(request) != 0)
        return ERR_IO;
    buf_free(&request->headers);
    if (conn->eof || tcp_read_start(&conn->tcp) != 0)
        return stream_break(conn);
    if (conn->server->stopping)
        http_conn_stop(conn);
    return 0;
}

int http_stream_write(struct http_request *request, const void *data, size_t len)
{
    struct http_conn *conn = request->conn;
    bool chunked = stream_is_chunked(request);
    struct tcp_piece pieces[3] = {{NULL, 0}, {data, len}, {"\r\n", 2}};
    char size[24];

    assert(request->streaming);
    if (conn == NULL || conn->broken)
        return ERR_IO;
    if (request->waiting) /* the handler goes on though the peer is behind */
        return stream_break(conn);
    if (len == 0 || request->bodiless)
        return 0;
    snprintf(size, sizeof(size), "%zx\r\n", len);
    pieces[0] = (struct tcp_piece){size, strlen(size)};
    request->body_sent += len;
    if (stream_send(conn, chunked ? pieces : pieces + 1, chunked ? 3 : 1) != 0)
        return ERR_IO;
    request->waiting = http_conn_unsent(conn) > request->max_pending;
    return request->waiting ? 1 : 0;
}

size_t http_stream_pending(const struct http_request *request)
{
    return request->conn != NULL ? http_conn_unsent(request->conn) : 0;
}

void http_stream_end(struct http_request *request)
{
    struct http_conn *conn = request->conn;
    const struct tcp_piece end = {"0\r\n\r\n", 5};

    assert(request->streaming);
    if (conn == NULL) {
        http_request_free(request);
        return;
    }
    http_conn_move(conn, CONN_ANSWERING);
    if (conn->broken)
        http_conn_drop(conn, true);
    else
        http_answer_settle(conn,
                           stream_is_chunked(request) ? http_conn_send(conn, &end, 1, NULL) : 0);
}

static void stream_refuse(struct http_request *request)
{
    static const char body[] = "{\"error\":\"the answer could not be made\"}";

    buf_truncate(&request->headers, request->headers_begun); /* the rest was of another answer */
    http_add_header(request, "Content-Type", "application/json; charset=utf-8");
    http_respond(request, 500, body, sizeof(body) - 1);
}

void http_stream_abort(struct http_request *request)
{
    struct http_conn *conn = request->conn;

    if (!request->streaming) {
        stream_refuse(request);
        return;
    }
    if (conn == NULL) {
        http_request_free(request);
        return;
    }
    conn->last = true;
    http_conn_move(conn, CONN_ANSWERING);
    if (conn->broken || !stream_is_chunked(request))
        http_conn_drop(conn, true); /* without chunks an orderly end would say: complete */
    else
        http_answer_settle(conn, 0);
}
