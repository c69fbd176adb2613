#ifndef BFM_GRPC_CONN_H
#define BFM_GRPC_CONN_H

/* What the files of grpc/ share: the server, its connections and their calls. */

#include <nghttp2/nghttp2.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/sm.h"
#include "grpc/grpc.h"
#include "grpc/message.h"
#include "io/tcp.h"

enum {
    GRPC_READ_SIZE = 64 * 1024,
    GRPC_WRITE_SIZE = 64 * 1024, /* handed to the kernel at a time */
    GRPC_STRIKES_MAX = 3,
    GRPC_CONTROL_FRAMES_MAX = 2000, /* SETTINGS, PING, RST_STREAM and the like per second */
    GRPC_QUEUED_FRAMES_MAX = 4000,  /* that wait for a peer who does not read, and four a stream */
    GRPC_FAILURE_MAX = 1024,        /* bytes of grpc-message before it is encoded */
};

struct grpc_server {
    struct loop *loop;
    struct grpc_config config;
    struct grpc_handlers handlers;
    struct tcp_listener *listener; /* NULL once it is closed */
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *options;
    nghttp2_mem memory;
    struct list conns;
    size_t conn_count;
    size_t call_count;        /* until they are freed: those that handlers still hold, too */
    size_t requests, answers; /* bytes held, see config */
    char *buffer;             /* what every connection reads into */
    bool stopping;
    struct task check_task; /* whether the end is reached */
    struct op *stop;
};

/*
 *   OPEN ──────────────> DRAINING ────────────────> LINGERING ────────────> CLOSING
 *    │   GOAWAY is sent           no call is left,       ^  the peer closes, too
 *    │                            all is written         │
 *    └───────────────────────────────────────────────────┘
 *           nghttp2 has ended the session
 *
 * LINGERING: told the peer that no more comes; reads what it still sends, so that no reset
 * overtakes the last answers. From any state to CLOSING when the peer is gone or too slow.
 */
enum grpc_conn_state {
    CONN_OPEN,      /* takes new calls */
    CONN_DRAINING,  /* finishes those that it has */
    CONN_LINGERING, /* waits for the peer to close; there is no session any more */
    CONN_CLOSING,   /* waits for on_closed */
};

struct grpc_conn {
    struct grpc_server *server;
    struct tcp tcp;
    struct sm sm;
    struct list link;
    nghttp2_session *session; /* NULL from LINGERING on */
    struct list calls;
    size_t call_count;
    size_t answers;          /* bytes that wait for their readers */
    struct task pump_task;   /* sends what was submitted */
    struct timer idle_timer; /* without calls; how long to linger */
    struct timer write_timer;
    struct buf out; /* what nghttp2 wants to send; while `flying`, the loop writes it */
    bool flying;
    bool busy;                  /* inside of nghttp2: the session must not be deleted */
    bool doomed;                /* to be dropped once it is not busy */
    bool began;                 /* the peer's first SETTINGS came */
    size_t lingered;            /* bytes thrown away while lingering */
    uint64_t queued, sent_seen; /* of tcp_write(): for the write timer */
    uint64_t control_since_ms;  /* the second in which control frames are counted */
    unsigned control_frames;
    unsigned windows_due; /* WINDOW_UPDATEs that are not counted among them */
    uint64_t ping_ms;     /* the last PING; 0: none since something was sent */
    unsigned strikes;
};

struct grpc_call {
    struct grpc_server *server;
    struct grpc_conn *conn; /* NULL once the stream is gone */
    struct list link;       /* in conn->calls */
    struct sched *sched;
    int32_t stream_id;
    struct arena arena;
    const struct grpc_method *method;
    void *data, *context;
    uint64_t start_ns, end_ns;

    /* the request */
    struct grpc_metadata *metadata; /* newest first */
    size_t header_bytes;
    bool opened;    /* its headers are complete */
    bool too_large; /* there were more headers than are kept */
    struct grpc_inbox inbox;
    size_t counted; /* bytes of it in server->requests */
    struct buf message;
    bool has_message; /* without client_streams: the one message is there */
    bool half_closed; /* the client sends no more */
    bool begun;       /* the handler has it */
    void (*on_message)(struct grpc_call *call, const void *data, size_t len);
    void (*on_gone)(struct grpc_call *call);
    void (*on_drain)(struct grpc_call *call);
    struct timer arrival_timer, deadline_timer;
    struct timer stall_timer; /* of a reader who opens no window */
    struct task task; /* tells the handler what it must not hear from inside its own calls */

    /* the answer */
    struct grpc_metadata *answer_metadata;
    size_t answer_metadata_count;
    struct buf out; /* frames that wait for the reader's window */
    size_t out_at;
    size_t out_counted; /* bytes of it in server->answers */
    bool compresses;
    bool responded; /* the headers were submitted */
    bool deferred;  /* nghttp2 waits for more of `out` */
    bool waiting;   /* grpc_send() said 1 */
    bool endless;
    bool ending; /* the server asks for its end */
    bool gone;   /* nobody waits for it */
    bool told_gone;
    bool finished;  /* the handler is done with it, or never had it */
    bool concluded; /* `status` is what the client is told; the handler may not know yet */
    bool closing;   /* trailers were submitted */
    enum grpc_status status;
    char *failure; /* percent-encoded text of status; NULL: none */
};

struct grpc_metadata {
    struct grpc_metadata *next;
    const char *name, *value;
    size_t name_len, value_len;
};

/* conn.c */
struct grpc_conn *grpc_conn_create(struct grpc_server *server, int fd);
void grpc_conn_drop(struct grpc_conn *conn, bool reset);
/* What was submitted is sent in the next turn. */
void grpc_conn_wake(struct grpc_conn *conn);
/* GOAWAY with the reason; calls under way go on unless `error` is one. */
void grpc_conn_drain(struct grpc_conn *conn, uint32_t error, const char *why);
/* A call came or went. */
void grpc_conn_on_calls(struct grpc_conn *conn);

/* session.c: nghttp2's callbacks */
int grpc_session_make_callbacks(nghttp2_session_callbacks **out);

/* request.c */
struct grpc_call *grpc_call_create(struct grpc_conn *conn, int32_t stream_id);
/* Keeps one of the request's headers. 0, or ERR_NOMEM. */
int grpc_call_add_header(struct grpc_call *call, const uint8_t *name, size_t name_len,
                         const uint8_t *value, size_t value_len);
void grpc_call_open(struct grpc_call *call); /* its headers are complete */
void grpc_call_receive(struct grpc_call *call, const uint8_t *data, size_t len);
void grpc_call_half_close(struct grpc_call *call);
void grpc_call_stop_timers(struct grpc_call *call); /* of the request and its deadline */
void grpc_call_forget_request(
    struct grpc_call *call); /* its message; headers are needed to the end */
/* The stream is gone; so may the call be afterwards. */
void grpc_call_detach(struct grpc_call *call);

/* budget.c: what all calls together may hold */
/* The call's request takes so many bytes now. False: more than is allowed. */
bool grpc_budget_set_request(struct grpc_call *call, size_t bytes);
/* So many more bytes may wait for the call's reader. */
bool grpc_budget_has_room(const struct grpc_call *call, size_t bytes);
/* So many wait now; 0 before the call leaves its connection. */
void grpc_budget_set_answer(struct grpc_call *call, size_t bytes);

/* told.c: what handlers hear */
/* Tells the handler in the next turn what it has to hear. */
void grpc_call_notify(struct grpc_call *call);
/* The server is stopping. */
void grpc_call_ask_end(struct grpc_call *call);

/* answer.c */
void grpc_call_on_stall(struct timer *timer);
/* Answers in the handler's place; it hears of it by on_gone. */
void grpc_call_conclude(struct grpc_call *call, enum grpc_status status, const char *message);
void grpc_call_refuse_http(struct grpc_call *call, const char *status); /* "415" */
void grpc_call_free(struct grpc_call *call);

/* server.c */
void grpc_server_on_conn_closed(struct grpc_server *server, struct grpc_conn *conn);
void grpc_server_on_call_freed(struct grpc_server *server);

#endif
