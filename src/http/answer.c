#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "http/conn.h"

enum {
    ANSWER_ERROR_MAX = 1024,
};

static bool answer_is_token(const char *text)
{
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", *text) != NULL)
            return false;
    }
    return true;
}

static bool answer_is_value(const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

/* Headers that say how the answer is framed are the server's own. */
static bool answer_is_reserved(const char *name)
{
    return strcasecmp(name, "Connection") == 0 || strcasecmp(name, "Content-Length") == 0 ||
           strcasecmp(name, "Date") == 0 || strcasecmp(name, "Transfer-Encoding") == 0;
}

int http_add_header(struct http_request *request, const char *name, const char *value)
{
    if (!answer_is_token(name) || !answer_is_value(value) || answer_is_reserved(name))
        return ERR_INVALID;
    return buf_printf(&request->headers, "%s: %s\r\n", name, value);
}

int http_answer_put_head(struct http_request *request, const char *framing, struct buf *head)
{
    struct http_conn *conn = request->conn;
    const char *connection = "";

    if (conn->last)
        connection = "Connection: close\r\n";
    else if (request->message->minor == 0)
        connection = "Connection: keep-alive\r\n";
    buf_printf(head, "HTTP/1.1 %d %s\r\nDate: %s\r\n%s%s", request->status,
               http_status_text(request->status), http_server_date(conn->server), connection,
               framing);
    buf_append(head, buf_str(&request->headers), request->headers.len);
    buf_puts(head, "\r\n");
    return request->headers.rc != 0 ? request->headers.rc : head->rc;
}

void http_answer_begin(struct http_request *request, int status)
{
    struct http_conn *conn = request->conn;

    assert(!request->streaming && request->status == 0);
    request->status = status;
    request->bodiless = status == 204 || status == 304 || strcmp(http_method(request), "HEAD") == 0;
    if (conn == NULL)
        return;
    if (!request->message->keep_alive || conn->server->stopping || conn->eof)
        conn->last = true;
}

void http_answer_finish(struct http_request *request)
{
    struct http_conn *conn = request->conn;
    struct http_server *server = conn->server;

    if (server->access != NULL)
        server->access(server->arg, request);
    conn->request = NULL;
    http_request_free(request);
    http_conn_next(conn);
}

void http_answer_no_memory(struct http_conn *conn)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\n"
                                 "Content-Type: application/json; charset=utf-8\r\n"
                                 "Content-Length: 25\r\n"
                                 "Retry-After: 1\r\n"
                                 "Connection: close\r\n"
                                 "\r\n"
                                 "{\"error\":\"out of memory\"}";
    const struct tcp_piece piece = {answer, sizeof(answer) - 1};
    size_t taken = 0;

    conn->last = true;
    if (tcp_try_write(&conn->tcp, &piece, 1, &taken) != 0 || taken < piece.len)
        http_conn_drop(conn, true);
    else if (conn->request != NULL)
        http_answer_finish(conn->request);
    else
        http_conn_next(conn);
}

void http_answer_settle(struct http_conn *conn, int rc)
{
    if (rc != 0)
        http_conn_drop(conn, rc == ERR_NOMEM);
    else if (http_conn_unsent(conn) == 0)
        http_answer_finish(conn->request);
    else
        http_conn_await_progress(conn);
}

static void answer_send(struct http_request *request, const void *data, size_t len,
                        struct buf *body)
{
    struct http_conn *conn = request->conn;
    char framing[48] = "";
    struct tcp_piece pieces[2];
    struct buf head;
    int rc;

    http_conn_move(conn, CONN_ANSWERING);
    if (request->status != 204 && request->status != 304)
        snprintf(framing, sizeof(framing), "Content-Length: %zu\r\n", len);
    if (request->bodiless)
        len = 0;
    buf_init(&head, HTTP_ANSWER_HEAD_MAX);
    if (http_answer_put_head(request, framing, &head) != 0) {
        request->status = 503;
        http_answer_no_memory(conn);
    } else {
        pieces[0] = (struct tcp_piece){head.data, head.len};
        pieces[1] = (struct tcp_piece){data, len};
        request->body_sent = len;
        rc = http_conn_send(conn, pieces, len > 0 ? 2 : 1, len > 0 ? body : NULL);
        http_answer_settle(conn, rc);
    }
    buf_free(&head);
}

void http_respond(struct http_request *request, int status, const void *body, size_t len)
{
    http_answer_begin(request, status);
    if (request->conn == NULL)
        http_request_free(request);
    else
        answer_send(request, body, len, NULL);
}

void http_respond_buf(struct http_request *request, int status, struct buf *body)
{
    struct buf taken = *body; /* `body` itself may live in the request's arena */

    buf_init(body, taken.max);
    http_answer_begin(request, taken.rc == 0 ? status : 503);
    if (request->conn == NULL) {
        http_request_free(request);
    } else if (taken.rc != 0) { /* it could not be made whole */
        http_conn_move(request->conn, CONN_ANSWERING);
        http_answer_no_memory(request->conn);
    } else {
        answer_send(request, taken.data, taken.len, &taken);
    }
    buf_free(&taken);
}

void http_answer_error(struct http_request *request, int status, const char *text)
{
    struct buf body;

    request->conn->last = true;
    http_request_begin(request);
    buf_init(&body, ANSWER_ERROR_MAX);
    buf_puts(&body, "{");
    json_put_member(&body, "error", text);
    buf_puts(&body, "}");
    http_add_header(request, "Content-Type", "application/json; charset=utf-8");
    http_respond_buf(request, status, &body);
}
