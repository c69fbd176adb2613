#ifndef BFM_HTTP_CONN_H
#define BFM_HTTP_CONN_H

/* What the files of http/ share: the server, its connections and their requests. */

#include "base/sm.h"
#include "http/http.h"
#include "http/parse.h"
#include "io/tcp.h"

enum {
    HTTP_DATE_SIZE = 30,        /* "Sun, 06 Nov 1994 08:49:37 GMT" and NUL */
    HTTP_READ_SIZE = 16 * 1024, /* of the read buffer */
    HTTP_ANSWER_HEAD_MAX = 128 * 1024,
};

struct http_server {
    struct loop *loop;
    struct http_config config;
    struct tcp_listener *listener; /* NULL once it is closed */
    http_handler_fn *handler;
    http_access_fn *access;
    void *arg;
    struct list conns;
    size_t admitted; /* connections within max_connections */
    size_t refused;  /* connections that only wait for their 503 */
    char *buffer;    /* what every connection reads into */
    int64_t date_s;
    char date[HTTP_DATE_SIZE];
    bool stopping;
    struct op *stop;
};

/*
 *             first byte         complete            http_respond()
 *   IDLE ─────────────> READING ─────────> HANDLING ───────────────> ANSWERING
 *    ^                     │ bad, late         │ http_stream_begin()    ^  │
 *    │                     │                   └──> STREAMING ──────────┤  │
 *    │                     └────────────────────────────────────────────┘  │
 *    └──────────────────────────────── all bytes are with the kernel ──────┤
 *                                                  and it was the last     v
 *                                                              CLOSING <─ LINGERING
 *
 * LINGERING: told the peer that no more comes; reads what it still sends, so that no reset
 * overtakes the answer. From any state to CLOSING when the peer is gone or too slow.
 */
enum http_conn_state {
    CONN_IDLE,      /* waits for the first byte of a request */
    CONN_READING,   /* waits for the rest of it */
    CONN_HANDLING,  /* waits for the handler's answer */
    CONN_STREAMING, /* waits for the handler's next piece of the answer */
    CONN_ANSWERING, /* waits for the kernel to take the rest of the answer */
    CONN_LINGERING, /* waits for the peer to close */
    CONN_CLOSING,   /* waits for on_closed */
};

struct http_conn {
    struct http_server *server;
    struct tcp tcp;
    struct sm sm;
    struct list link;
    struct timer timer; /* of the current state */
    struct task task;   /* goes on with `pending` in the next turn */
    struct http_request *request;
    struct buf pending; /* read, but not parsed yet: at most one read */
    size_t pending_at;
    struct buf out;     /* waits for `flying` */
    struct buf flying;  /* being written by the loop */
    size_t flying_at;   /* where that write began */
    uint64_t queued;    /* bytes ever given to tcp_write() */
    uint64_t sent_seen; /* how many of them were sent when the timer was started */
    size_t drained;     /* bytes that came behind the last request: thrown away */
    bool refused;       /* one too many: gets 503 */
    bool last;          /* closes after the answer under way */
    bool eof;           /* the peer sends no more */
    bool broken;        /* a write failed; the task takes the connection down */
};

struct http_request {
    struct http_conn *conn; /* NULL once the peer is gone */
    struct http_message *message;
    struct arena arena;
    struct buf headers;   /* of the answer, "Name: value\r\n" */
    size_t headers_begun; /* bytes of them that `begin` added */
    void *data, *context;
    void (*gone)(struct http_request *request);
    void (*drain)(struct http_request *request);
    uint64_t start_ns;
    uint64_t body_sent;
    int status;
    size_t max_pending; /* of a stream */
    bool streaming;
    bool open;     /* a stream without an end of its own */
    bool bodiless; /* the answer has no body whatever the handler says */
    bool waiting;  /* http_stream_write() said 1 */
    bool held;     /* in a callback: freeing waits */
    bool ended;
    bool begun; /* config.begin was told */
};

/* conn.c */
struct http_conn *http_conn_create(struct http_server *server, int fd, bool refused);
void http_conn_move(struct http_conn *conn, enum http_conn_state next);
void http_conn_start_timer(struct http_conn *conn, uint64_t ms);
/* The one way out: closes, and the handler of a request under way hears of it. */
void http_conn_drop(struct http_conn *conn, bool reset);
/* The answer is with the kernel; the request is gone, the next one may come. */
void http_conn_next(struct http_conn *conn);
void http_conn_stop(struct http_conn *conn); /* the server is stopping: closes if nothing is up */

/* write.c: what goes to the peer */
/* Writes the pieces in order, at once or later; `body`, which may be NULL, is a buffer that the
 * last piece is the content of: it is taken over where that saves a copy. 0, ERR_IO or ERR_NOMEM.
 */
int http_conn_send(struct http_conn *conn, const struct tcp_piece *pieces, size_t count,
                   struct buf *body);
size_t http_conn_unsent(const struct http_conn *conn);
void http_conn_on_written(struct http_conn *conn, int rc);
/* The peer took something since the timer was started; starts it again. */
bool http_conn_made_progress(struct http_conn *conn);
void http_conn_await_progress(struct http_conn *conn);

/* answer.c */
/* Settles what depends on status, method and connection. */
void http_answer_begin(struct http_request *request, int status);
/* Status line and headers. `framing` is a whole header line or "". */
int http_answer_put_head(struct http_request *request, const char *framing, struct buf *head);
/* Goes on after something was handed to the connection in ANSWERING. */
void http_answer_settle(struct http_conn *conn, int rc);
void http_answer_error(struct http_request *request, int status, const char *text);
void http_answer_finish(struct http_request *request); /* every byte is with the kernel */
/* Answers 503 and closes when there is no memory for anything better. */
void http_answer_no_memory(struct http_conn *conn);

/* request.c */
struct http_request *http_request_create(struct http_conn *conn);
void http_request_free(struct http_request *request);
void http_request_begin(struct http_request *request); /* once; no effect later */
/* The peer is gone while the handler has the request: tells it. */
void http_request_orphan(struct http_request *request);
/* The server is stopping: tells the handler of an open stream, which then ends it. */
void http_request_ask_end(struct http_request *request);

/* server.c */
const char *http_server_date(struct http_server *server);
void http_server_on_conn_closed(struct http_server *server, struct http_conn *conn);

/* status.c */
void http_format_date(int64_t wall_s, char out[HTTP_DATE_SIZE]);

#endif
