#ifndef BFM_IO_TCP_H
#define BFM_IO_TCP_H

#include <stdbool.h>
#include <stddef.h>

#include "io/keepalive.h"
#include "io/loop.h"

/*
 * TCP listeners and accepted streams. Everything here is called on the loop's thread.
 */
struct tcp_listener;

/*
 * Listens at once. `host` is a numeric address, a name (its first address, IPv4 before IPv6; looked
 * up here and now, so only for start-up), or NULL for every interface: IPv6 and IPv4 on one socket,
 * IPv4 alone where the system has no IPv6. `port` 0 takes a free one. `on_connection` gets each
 * accepted socket and owns it: tcp_open() or tcp_discard(). When descriptors or memory run out,
 * accepting pauses for a moment and this is logged once. SIGPIPE is ignored in the process from now
 * on. Returns 0, ERR_NOMEM, or ERR_IO with the reason in *err.
 */
int tcp_listener_open(struct loop *loop, const char *host, unsigned port,
                      void (*on_connection)(void *arg, int fd), void *arg,
                      struct tcp_listener **out, struct err *err);
/* For what is accepted from now on. 0 or ERR_IO. */
int tcp_listener_set_keepalive(struct tcp_listener *listener, const struct keepalive *keepalive);
unsigned tcp_listener_port(const struct tcp_listener *listener);
/* The port is free again on return. `on_closed` comes later; the listener is gone then. */
void tcp_listener_close(struct tcp_listener *listener, void (*on_closed)(void *arg));

struct tcp;

/* What a stream reports. After tcp_close() only on_closed comes. */
struct tcp_handlers {
    /* `data` is valid during the call. */
    void (*on_data)(struct tcp *tcp, const char *data, size_t len);
    /* 0: the peer sends no more, but may still read; ERR_IO: it is gone. Comes at most once. */
    void (*on_end)(struct tcp *tcp, int rc);
    /* What tcp_write() was given is with the kernel (0) or lost (ERR_IO). */
    void (*on_written)(struct tcp *tcp, int rc);
    void (*on_closed)(struct tcp *tcp); /* the memory of `tcp` may be freed */
};

/* Embedded in its owner; all fields are private. */
struct tcp {
    uv_tcp_t handle;
    uv_write_t write;
    uv_shutdown_t shutdown;
    const struct tcp_handlers *handlers;
    char *buffer;
    size_t size;
};

struct tcp_piece {
    const void *data;
    size_t len;
};

enum {
    TCP_PIECES_MAX = 4,
};

/*
 * Takes over the accepted socket `fd` (TCP_NODELAY is set) and starts reading into `buffer`, which
 * may be shared by all streams of the loop. Returns 0 or ERR_IO; in both cases the stream must be
 * closed with tcp_close().
 */
int tcp_open(struct tcp *tcp, struct loop *loop, int fd, const struct tcp_handlers *handlers,
             char *buffer, size_t size);
void tcp_discard(int fd); /* closes a socket that nobody took over */

/* No effect if it reads already; ERR_IO if it cannot. */
int tcp_read_start(struct tcp *tcp);
void tcp_read_stop(struct tcp *tcp);

/* Hands to the kernel what it takes at once: *taken bytes, from 0 to all. ERR_IO: the peer is gone.
 */
int tcp_try_write(struct tcp *tcp, const struct tcp_piece *pieces, size_t count, size_t *taken);
/* Writes one piece in full; it must live until on_written. One write at a time. 0 or ERR_IO. */
int tcp_write(struct tcp *tcp, const void *data, size_t len);
/* Bytes of tcp_write() that the kernel has not taken yet. */
size_t tcp_unsent(const struct tcp *tcp);

/* Tells the peer that no more is sent. 0 or ERR_IO. */
int tcp_shutdown(struct tcp *tcp);
/* Ends in on_closed, later. `reset`: what the kernel still holds for the peer is thrown away. */
void tcp_close(struct tcp *tcp, bool reset);

#endif
