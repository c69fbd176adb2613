#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/tcp.h"

enum {
    LISTEN_BACKLOG = 4096, /* the kernel cuts it to net.core.somaxconn */
    LISTEN_BATCH = 64,     /* connections accepted before others have their turn */
    LISTEN_PAUSE_MS = 100, /* rest when descriptors or memory are out */
};

/*
 * The socket is watched by a poll handle rather than given to libuv as a stream: libuv drops the
 * waiting connections when descriptors run out, here they stay in the backlog for a while.
 */
struct tcp_listener {
    struct loop *loop;
    uv_poll_t poll;
    struct timer pause;
    int fd;        /* -1 once closed */
    bool is_short; /* descriptors or memory ran out, and the backlog was never empty since */
    void (*on_connection)(void *arg, int fd);
    void (*on_closed)(void *arg);
    void *arg;
};

union listen_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static int listen_fail(struct err *err, int error)
{
    return err_set(err, ERR_IO, "%s", uv_strerror(-error));
}

static socklen_t listen_address_size(const union listen_address *address)
{
    return address->any.sa_family == AF_INET ? sizeof(address->v4) : sizeof(address->v6);
}

/* A listening socket for the address, or -1 with errno. */
static int listen_socket(const union listen_address *address)
{
    int on = 1, off = 0;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int saved;

    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
        goto err_after_socket;
    if (address->any.sa_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0)
        goto err_after_socket;
    if (bind(fd, &address->any, listen_address_size(address)) != 0)
        goto err_after_socket;
    if (listen(fd, LISTEN_BACKLOG) != 0)
        goto err_after_socket;
    return fd;

err_after_socket:
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static int listen_everywhere(unsigned port)
{
    union listen_address address = {.v6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any}};
    int fd;

    address.v6.sin6_port = htons((uint16_t)port);
    fd = listen_socket(&address);
    if (fd >= 0 || errno == EADDRINUSE || errno == EACCES || errno == EMFILE || errno == ENFILE)
        return fd;
    address = (union listen_address){.v4 = {.sin_family = AF_INET}}; /* a system without IPv6 */
    address.v4.sin_port = htons((uint16_t)port);
    return listen_socket(&address);
}

static int listen_lookup(const char *host, unsigned port, int family, union listen_address *out)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    char service[16];
    int rc;

    snprintf(service, sizeof(service), "%u", port);
    rc = getaddrinfo(host, service, &hints, &found);
    if (rc != 0)
        return rc;
    memcpy(out, found->ai_addr,
           found->ai_addrlen < sizeof(*out) ? found->ai_addrlen : sizeof(*out));
    freeaddrinfo(found);
    return 0;
}

static int listen_open_socket(const char *host, unsigned port, int *fd, struct err *err)
{
    union listen_address address = {0};

    if (host == NULL) {
        *fd = listen_everywhere(port);
        return *fd >= 0 ? 0 : listen_fail(err, errno);
    }
    if (listen_lookup(host, port, AF_INET, &address) != 0 &&
        listen_lookup(host, port, AF_INET6, &address) != 0)
        return err_set(err, ERR_IO, "the listen address is neither an IP address nor a known name");
    *fd = listen_socket(&address);
    return *fd >= 0 ? 0 : listen_fail(err, errno);
}

static void listen_rest(struct tcp_listener *listener, int error)
{
    if (!listener->is_short)
        log_write(LOG_WARN, "connections cannot be accepted for now; they wait in the backlog",
                  LOG_STR("reason", uv_strerror(-error)));
    listener->is_short = true;
    uv_poll_stop(&listener->poll);
    sched_start_timer(loop_sched(listener->loop), &listener->pause, LISTEN_PAUSE_MS);
}

/* Returns false when there is nothing more to accept for now. */
static bool listen_accept(struct tcp_listener *listener)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        listener->on_connection(listener->arg, fd);
        return true;
    }
    switch (errno) {
    case EAGAIN:
        listener->is_short = false;
        return false;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        listen_rest(listener, errno);
        return false;
    default:
        return true; /* that connection died while it waited; the next may be well */
    }
}

static void listen_on_poll(uv_poll_t *poll, int status, int events)
{
    struct tcp_listener *listener = container_of(poll, struct tcp_listener, poll);

    (void)events;
    if (status != 0) {
        listen_rest(listener, -status);
        return;
    }
    for (int i = 0; i < LISTEN_BATCH && listener->fd >= 0; i++) {
        if (!listen_accept(listener))
            return;
    }
}

static void listen_on_pause_over(struct timer *timer)
{
    struct tcp_listener *listener = container_of(timer, struct tcp_listener, pause);

    uv_poll_start(&listener->poll, UV_READABLE, listen_on_poll);
}

int tcp_listener_open(struct loop *loop, const char *host, unsigned port,
                      void (*on_connection)(void *arg, int fd), void *arg,
                      struct tcp_listener **out, struct err *err)
{
    struct tcp_listener *listener = mem_calloc(1, sizeof(*listener));
    int rc;

    if (listener == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    rc = listen_open_socket(host, port, &listener->fd, err);
    if (rc != 0)
        goto err_after_alloc;
    rc = uv_poll_init(loop_uv(loop), &listener->poll, listener->fd);
    if (rc != 0) {
        rc = listen_fail(err, -rc);
        goto err_after_socket;
    }
    listener->loop = loop;
    listener->pause.fire = listen_on_pause_over;
    listener->on_connection = on_connection;
    listener->arg = arg;
    signal(SIGPIPE, SIG_IGN);
    uv_poll_start(&listener->poll, UV_READABLE, listen_on_poll);
    *out = listener;
    return 0;

err_after_socket:
    close(listener->fd);
err_after_alloc:
    mem_free(listener);
    return rc;
}

int tcp_listener_set_keepalive(struct tcp_listener *listener, const struct keepalive *keepalive)
{
    return keepalive_set(listener->fd, keepalive);
}

unsigned tcp_listener_port(const struct tcp_listener *listener)
{
    union listen_address address = {0};
    socklen_t size = sizeof(address);

    if (getsockname(listener->fd, &address.any, &size) != 0)
        return 0;
    return ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
}

static void listen_on_closed(uv_handle_t *handle)
{
    struct tcp_listener *listener = container_of(handle, struct tcp_listener, poll);
    void (*on_closed)(void *arg) = listener->on_closed;
    void *arg = listener->arg;

    mem_free(listener);
    on_closed(arg);
}

void tcp_listener_close(struct tcp_listener *listener, void (*on_closed)(void *arg))
{
    listener->on_closed = on_closed;
    sched_stop_timer(loop_sched(listener->loop), &listener->pause);
    uv_close((uv_handle_t *)&listener->poll, listen_on_closed);
    close(listener->fd);
    listener->fd = -1;
}
