#ifndef BFM_HTTP_HTTP_H
#define BFM_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "io/keepalive.h"
#include "io/loop.h"

/*
 * HTTP/1.1 server (RFC 9110, RFC 9112) on llhttp. It parses, limits and answers; it knows no routes
 * and no migrations. Keep-alive and pipelining: requests of a connection are handled one after
 * another, answers leave in order. `Expect: 100-continue` is answered before the body is read.
 * HEAD: the handler answers as for GET, the body is not sent.
 */
struct http_server;
struct http_request;

struct http_config {
    const char *host;            /* NULL: all interfaces, IPv4 and IPv6 */
    unsigned port;               /* 0: any free one, see http_server_port() */
    size_t max_body;             /* larger: 413 */
    size_t max_headers;          /* request line and headers together; larger: 431 */
    uint64_t request_timeout_ms; /* from the first byte to the last of a request; longer: 408 and
                                    close */
    uint64_t idle_timeout_ms;    /* keep-alive connections without a request are closed silently */
    uint64_t write_timeout_ms;   /* a peer that takes nothing for so long is cut off */
    size_t max_connections;      /* more: 503 and close */
    size_t max_write_queue; /* bytes a peer may be behind before a streamed answer has to wait */
    struct keepalive keepalive; /* of accepted sockets; all 0: no probes */
    /* NULL, or told of each request before it is handled, or answered by the server itself: may
     * set the context and add headers, which every answer then has. Fields of a broken request may
     * be missing. */
    void (*begin)(void *arg, struct http_request *request);
};

/* Called once per complete request, on the loop. The handler answers now or later, exactly once. */
typedef void http_handler_fn(void *arg, struct http_request *request);

/* Called when the last byte of an answer is handed to the kernel or the peer is gone (status 0 if
 * nothing was answered by then); for the access log. Also for what the server answers by itself;
 * method and path are "" where the request was too broken to tell. */
typedef void http_access_fn(void *arg, const struct http_request *request);

/* Listens at once. `access` may be NULL. Returns 0, ERR_NOMEM, or ERR_IO with the reason ("address
 * already in use"). */
int http_server_start(struct loop *loop, const struct http_config *config, http_handler_fn *handler,
                      http_access_fn *access, void *arg, struct http_server **out, struct err *err);
unsigned http_server_port(const struct http_server *server);
size_t http_server_connections(const struct http_server *server);

/* Stops listening and closes idle connections; requests under way are answered with `Connection:
 * close`. The op is done when the last connection is closed. The server is gone then. */
int http_server_stop(struct http_server *server, struct op *op);
/* Cuts off every connection that is left, answered or not (after http_server_stop()). */
void http_server_abort(struct http_server *server);

/* The request. Valid until it is answered completely; strings are NUL-terminated. */
const char *http_method(const struct http_request *request); /* "GET", "HEAD", ... */
const char *
http_path(const struct http_request *request); /* raw path, still percent-encoded, without query */
const char *http_query(const struct http_request *request); /* raw text behind '?', "" if none */
const char *http_header(const struct http_request *request,
                        const char *name); /* any case; NULL if absent; first one */
size_t http_header_count(const struct http_request *request, const char *name);
const char *http_body(const struct http_request *request, size_t *len); /* never NULL */
struct arena *http_arena(struct http_request *request); /* memory that dies with the request */
/* For the handler's own use: one pointer, NULL at first. */
void http_set_data(struct http_request *request, void *data);
void *http_data(const struct http_request *request);
/* A second one, which stays what it is from `begin` to the access log. */
void http_set_context(struct http_request *request, void *context);
void *http_context(const struct http_request *request);
/* Called at most once, when the peer goes away before the answer is complete. The request stays
 * valid, even beyond the end of the server, and must still be answered (the answer is dropped). A
 * peer that has only finished sending still waits for its answer: it is not gone until a write
 * fails. For http_stream_open() see there. */
void http_on_gone(struct http_request *request, void (*gone)(struct http_request *request));

/* Decodes percent-encoding into `arena`. NULL if it is malformed, contains %00, or memory is out.
 */
char *http_decode(struct arena *arena, const char *text, size_t len, bool plus_is_space);
/* The decoded value of a query parameter, NULL if absent or malformed; the first one wins. */
char *http_query_param(struct http_request *request, const char *name);

/*
 * The answer. Headers first (any number, copied), then one of:
 *   http_respond(): the whole body, which may be NULL with length 0; sent with Content-Length in
 *     one write. The bytes are copied unless given as a buf, which is taken over; a buf whose rc is
 *     set is answered with 503. The request must not be touched afterwards.
 *   http_stream_begin/write/end(): chunked. http_stream_begin() returns 0 or ERR_IO;
 *     http_stream_write() returns 0 to go on, 1 when the peer is behind: stop until `drain` is
 *     called (once per 1; who writes on nevertheless is cut off), or ERR_IO when the peer is gone
 *     (still call http_stream_end()). `drain` is also called when the peer goes away, after
 *     http_on_gone()'s callback. Neither is called from inside these functions.
 *   http_stream_abort(), in place of http_stream_end(), when the rest cannot be made: the
 * connection is closed so that the peer sees an answer that breaks off: the last chunk is missing,
 * or, for HTTP/1.0, which has no chunks, the connection is reset. In place of http_stream_begin():
 * 500, and the headers added so far are dropped, those of `begin` excepted. http_add_header()
 * returns 0, ERR_NOMEM or ERR_LIMIT (the answer becomes 503), or ERR_INVALID: not a header name, a
 * control character in the value, or one of Connection, Content-Length, Date and Transfer-Encoding,
 * which the server writes itself.
 */
int http_add_header(struct http_request *request, const char *name, const char *value);
void http_respond(struct http_request *request, int status, const void *body, size_t len);
void http_respond_buf(struct http_request *request, int status, struct buf *body);
int http_stream_begin(struct http_request *request, int status,
                      void (*drain)(struct http_request *request));
int http_stream_write(struct http_request *request, const void *data, size_t len);
void http_stream_end(struct http_request *request);
void http_stream_abort(struct http_request *request);
/*
 * http_stream_open(): as http_stream_begin(), for a stream without an end of its own, such as
 * Server-Sent Events; then http_stream_write(), and at some time http_stream_end(), as above.
 *   - There is no time limit while nothing waits to be sent; a peer that takes nothing of what
 * waits is cut off after write_timeout_ms.
 *   - `max_pending` bytes, instead of max_write_queue, may wait before http_stream_write() returns
 *     1: at most that much and one write are in memory for a slow peer. `drain` is called once half
 *     of it is gone. With nothing waiting a stream needs some kilobytes.
 *   - http_on_gone() must have been called before. Its callback comes when the peer is gone, also
 *     when it has only finished sending, or when the server is asked to stop (later, from the
 *     loop): then, at once or later, call http_stream_end(), which ends the answer in order if the
 *     peer is still there.
 *   - The connection is closed behind it; HTTP/1.0 peers get it without chunks.
 *   - For HEAD end it at once: nothing is ever sent.
 * The body of the request is gone afterwards.
 */
int http_stream_open(struct http_request *request, int status, size_t max_pending,
                     void (*drain)(struct http_request *request));
/* Bytes written to a stream that wait for the peer, 0 when it is gone. */
size_t http_stream_pending(const struct http_request *request);
/* Status sent, body bytes sent, and microseconds from first byte to answer, for the access log. */
int http_status(const struct http_request *request);
uint64_t http_body_sent(const struct http_request *request);
uint64_t http_elapsed_us(const struct http_request *request);
const char *http_status_text(int status); /* "Not Found" */

#endif
