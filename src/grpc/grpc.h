#ifndef BFM_GRPC_GRPC_H
#define BFM_GRPC_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "io/keepalive.h"
#include "io/loop.h"

/*
 * gRPC server (gRPC over HTTP/2, PROTOCOL-HTTP2.md; RFC 9113) on nghttp2, without TLS. It frames,
 * limits, compresses and keeps deadlines; it knows no services and no migrations.
 *
 * Memory: requests take at most max_requests (headers, messages, and GRPC_CALL_COST for each call),
 * so that is how many calls there can be, however many connections and streams are allowed; answers
 * that wait for readers take max_answers, but for a single larger one; a connection itself takes up
 * to some 160 KiB, most of it what is on its way to the kernel.
 */
struct grpc_server;
struct grpc_call;

/* The status codes of gRPC. */
enum grpc_status {
    GRPC_OK,
    GRPC_CANCELLED,
    GRPC_UNKNOWN,
    GRPC_INVALID_ARGUMENT,
    GRPC_DEADLINE_EXCEEDED,
    GRPC_NOT_FOUND,
    GRPC_ALREADY_EXISTS,
    GRPC_PERMISSION_DENIED,
    GRPC_RESOURCE_EXHAUSTED,
    GRPC_FAILED_PRECONDITION,
    GRPC_ABORTED,
    GRPC_OUT_OF_RANGE,
    GRPC_UNIMPLEMENTED,
    GRPC_INTERNAL,
    GRPC_UNAVAILABLE,
    GRPC_DATA_LOSS,
    GRPC_UNAUTHENTICATED,
    GRPC_STATUSES,
};
const char *grpc_status_name(enum grpc_status status); /* "NOT_FOUND" */

enum {
    GRPC_METADATA_MAX = 8, /* headers that a handler may add to an answer */
    /* Bytes counted for a call beside its headers and message: about what it takes, most of it the
     * first block of its arena. */
    GRPC_CALL_COST = 10 * 1024,
};

struct grpc_config {
    const char *host;            /* NULL: all interfaces, IPv4 and IPv6 */
    unsigned port;               /* 0: any free one, see grpc_server_port() */
    size_t max_message;          /* of a request, as sent and decompressed: RESOURCE_EXHAUSTED */
    size_t max_headers;          /* of a request, as RFC 9113, 6.5.2 counts: RESOURCE_EXHAUSTED */
    size_t max_requests;         /* bytes of requests that are held, of all calls together */
    size_t max_pending;          /* bytes of a streamed answer that may wait for its reader */
    size_t max_answers;          /* the same of all calls together; of a connection: a quarter */
    size_t max_connections;      /* more are closed at once */
    unsigned max_streams;        /* at the same time, per connection */
    uint64_t request_timeout_ms; /* from the headers to the last byte, or of one streamed message;
                                    for the preface */
    uint64_t idle_timeout_ms;    /* a connection without calls gets GOAWAY and is closed */
    uint64_t write_timeout_ms;   /* a peer that takes nothing for so long is cut off; a call whose
                                    reader opens no window for so long is reset */
    uint64_t ping_interval_ms;   /* PINGs that come faster are strikes; 3 end the connection */
    struct keepalive keepalive;  /* of accepted sockets; all 0: no probes */
};

/*
 * A method. With client_streams false `begin` is called when the one message of the request is
 * complete; else as soon as the headers are there, and messages are told to grpc_on_message()'s
 * callback. Called on the loop; answers now or later, by any number of grpc_send() and one
 * grpc_finish().
 */
struct grpc_method {
    const char *path; /* "/package.Service/Method" */
    bool client_streams;
    void (*begin)(void *arg, struct grpc_call *call);
};

struct grpc_handlers {
    /* NULL: UNIMPLEMENTED. */
    const struct grpc_method *(*find)(void *arg, const char *path);
    /* NULL, or told of each call before anything else is done with it. */
    void (*opened)(void *arg, struct grpc_call *call);
    /* NULL, or asked about each call whose method was found, before any of its message is taken or
     * inflated. False: it has finished the call. */
    bool (*admit)(void *arg, struct grpc_call *call);
    /* NULL, or told of each call that was opened, with its status, once it is over: for the access
     * log and metrics. */
    void (*closed)(void *arg, const struct grpc_call *call);
    void *arg;
};

/* Listens at once; copies config and handlers. 0, ERR_NOMEM, or ERR_IO with the reason. */
int grpc_server_start(struct loop *loop, const struct grpc_config *config,
                      const struct grpc_handlers *handlers, struct grpc_server **out,
                      struct err *err);
unsigned grpc_server_port(const struct grpc_server *server);
size_t grpc_server_connections(const struct grpc_server *server);
/* Stops listening and sends GOAWAY; calls under way are answered. The op is done when the last
 * connection is closed and the last call is finished. The server is gone then. */
int grpc_server_stop(struct grpc_server *server, struct op *op);
/* Cuts off every connection that is left (after grpc_server_stop()). */
void grpc_server_abort(struct grpc_server *server);

/* The call. Valid until grpc_finish(), even beyond its connection. */
const struct grpc_method *grpc_method(const struct grpc_call *call); /* NULL: none was found */
const char *grpc_path(const struct grpc_call *call);
/* Metadata by its lower-case name; NULL if absent; the first one. */
const char *grpc_metadata(const struct grpc_call *call, const char *name);
size_t grpc_metadata_count(const struct grpc_call *call, const char *name); /* how often */
/* In `admit`: its messages may have less than max_message. */
void grpc_limit_message(struct grpc_call *call, size_t max);
/* The request of a method without client_streams. */
const void *grpc_message(const struct grpc_call *call, size_t *len);
struct arena *grpc_arena(struct grpc_call *call); /* memory that dies with the call */
void grpc_set_data(struct grpc_call *call, void *data);
void *grpc_data(const struct grpc_call *call);
void grpc_set_context(struct grpc_call *call, void *context); /* a second one, for `opened` */
void *grpc_context(const struct grpc_call *call);
enum grpc_status grpc_call_status(const struct grpc_call *call); /* in `closed` */
uint64_t grpc_elapsed_us(const struct grpc_call *call);

/* Called at most once, later, and never behind grpc_finish(), when nobody waits for the answer any
 * more: the client cancelled or went away, its deadline passed, it does not read, or the server
 * stops and the call is a stream without an end of its own (grpc_set_endless()). The call must
 * still be finished. */
void grpc_on_gone(struct grpc_call *call, void (*gone)(struct grpc_call *call));
/* With client_streams: `message` gets each message, valid during the call, and NULL at their end.
 */
void grpc_on_message(struct grpc_call *call,
                     void (*message)(struct grpc_call *call, const void *data, size_t len));
/* It goes on until somebody ends it: the end of the server asks for that by grpc_on_gone(). */
void grpc_set_endless(struct grpc_call *call);

/* Adds to the answer's headers, before the first grpc_send(): `name` in lower case, not one of
 * gRPC's own. 0, ERR_NOMEM, ERR_INVALID; ERR_LIMIT: there are GRPC_METADATA_MAX. */
int grpc_add_metadata(struct grpc_call *call, const char *name, const char *value);
/*
 * Sends one message, copied. 0: go on; 1: the reader is behind, wait for `drain`, which is called
 * once per 1 (who sends on nevertheless has his call ended with RESOURCE_EXHAUSTED at four times
 * max_pending); ERR_IO: nobody is there any more, or max_answers is reached and the call has ended
 * with RESOURCE_EXHAUSTED; ERR_NOMEM. The first message of a call may have any size while nothing
 * else waits.
 */
int grpc_send(struct grpc_call *call, const void *data, size_t len);
void grpc_on_drain(struct grpc_call *call, void (*drain)(struct grpc_call *call));
/* The end, exactly once. `message` may be NULL and is percent-encoded here. */
void grpc_finish(struct grpc_call *call, enum grpc_status status, const char *message);

#endif
