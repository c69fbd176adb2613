#ifndef BFM_TESTS_GRPC_HARNESS_H
#define BFM_TESTS_GRPC_HARNESS_H

/*
 * A real server on a loop that the test turns by hand, and clients that write frames themselves.
 * Requests are for "/m"; what its handler does is each test's own.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmocka_all.h"
#include "grpc/conn.h"

enum {
    FRAME_DATA = 0,
    FRAME_HEADERS = 1,
    FRAME_RST_STREAM = 3,
    FRAME_SETTINGS = 4,
    FRAME_WINDOW_UPDATE = 8,
    FLAG_END_STREAM = 1,
    FLAG_END_HEADERS = 4,
};

struct harness {
    struct loop *loop;
    struct grpc_server *server;
    struct grpc_method method;
    bool (*admit)(struct grpc_call *call); /* a test's own; NULL: everybody */
    uv_timer_t beat;                       /* so that no turn takes long */
    struct op stop;
    bool stopped;
    size_t opened, closed;
    enum grpc_status last; /* of the call that was closed last */
};

struct client {
    struct harness *harness;
    int fd;
    size_t received;
};

static inline const struct grpc_method *harness_find(void *arg, const char *path)
{
    struct harness *harness = arg;

    return strcmp(path, "/m") == 0 ? &harness->method : NULL;
}

static inline void harness_on_opened(void *arg, struct grpc_call *call)
{
    struct harness *harness = arg;

    (void)call;
    harness->opened++;
}

static inline bool harness_on_admit(void *arg, struct grpc_call *call)
{
    struct harness *harness = arg;

    return harness->admit == NULL || harness->admit(call);
}

static inline void harness_on_closed(void *arg, const struct grpc_call *call)
{
    struct harness *harness = arg;

    harness->closed++;
    harness->last = grpc_call_status(call);
}

static inline void harness_on_beat(uv_timer_t *beat)
{
    (void)beat;
}

static inline struct grpc_config harness_config(void)
{
    return (struct grpc_config){.host = "127.0.0.1",
                                .max_message = 1 << 20,
                                .max_headers = 4096,
                                .max_requests = 1 << 20,
                                .max_pending = 64 << 10,
                                .max_answers = 8 << 20,
                                .max_connections = 10,
                                .max_streams = 100,
                                .request_timeout_ms = 60000,
                                .idle_timeout_ms = 60000,
                                .write_timeout_ms = 60000,
                                .ping_interval_ms = 1000};
}

static inline void harness_start(struct harness *harness, const struct grpc_config *config,
                                 void (*begin)(void *arg, struct grpc_call *call))
{
    const struct grpc_handlers handlers = {.find = harness_find,
                                           .opened = harness_on_opened,
                                           .admit = harness_on_admit,
                                           .closed = harness_on_closed,
                                           .arg = harness};
    struct err err = {0};

    *harness = (struct harness){.loop = loop_create(), .method = {.path = "/m", .begin = begin}};
    assert_non_null(harness->loop);
    uv_timer_init(loop_uv(harness->loop), &harness->beat);
    uv_timer_start(&harness->beat, harness_on_beat, 5, 5);
    assert_int_equal(grpc_server_start(harness->loop, config, &handlers, &harness->server, &err),
                     0);
}

static inline void harness_turn(struct harness *harness)
{
    uv_run(loop_uv(harness->loop), UV_RUN_NOWAIT);
}

static inline void harness_turns(struct harness *harness, int count)
{
    for (int i = 0; i < count; i++)
        harness_turn(harness);
}

/* Turns the loop until `expression` holds; a test that hangs here is ended by its time limit. */
#define harness_until(harness, expression) \
    while (!(expression))                  \
    uv_run(loop_uv((harness)->loop), UV_RUN_ONCE)

static inline void harness_on_stopped(struct op *op, int rc)
{
    struct harness *harness = container_of(op, struct harness, stop);

    assert_int_equal(rc, 0);
    harness->stopped = true;
}

static inline void harness_begin_stop(struct harness *harness)
{
    op_init(&harness->stop, harness_on_stopped);
    grpc_server_stop(harness->server, &harness->stop);
}

static inline void harness_end(struct harness *harness)
{
    harness_until(harness, harness->stopped);
    assert_int_equal(harness->opened, harness->closed);
    uv_close((uv_handle_t *)&harness->beat, NULL);
    harness_turn(harness);
    loop_destroy(harness->loop);
}

static inline void client_send(struct client *client, const void *data, size_t len)
{
    assert_int_equal(send(client->fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

static inline void client_frame(struct client *client, int type, int flags, uint32_t stream,
                                const void *payload, size_t len)
{
    unsigned char head[9] = {
        (unsigned char)(len >> 16),    (unsigned char)(len >> 8),    (unsigned char)len,
        (unsigned char)type,           (unsigned char)flags,         (unsigned char)(stream >> 24),
        (unsigned char)(stream >> 16), (unsigned char)(stream >> 8), (unsigned char)stream};

    client_send(client, head, sizeof(head));
    if (len > 0)
        client_send(client, payload, len);
}

/* `window`: how many bytes of each answer the client takes at first. */
static inline void client_connect(struct client *client, struct harness *harness, uint32_t window)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)grpc_server_port(harness->server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned char setting[6] = {0,
                                4,
                                (unsigned char)(window >> 24),
                                (unsigned char)(window >> 16),
                                (unsigned char)(window >> 8),
                                (unsigned char)window};
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    int on = 1;

    *client = (struct client){.harness = harness, .fd = socket(AF_INET, SOCK_STREAM, 0)};
    assert_int_equal(connect(client->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
    client_send(client, preface, sizeof(preface) - 1);
    client_frame(client, FRAME_SETTINGS, 0, 0, setting, sizeof(setting));
}

static inline size_t client_put(unsigned char *out, const char *name, const char *value)
{
    size_t name_len = strlen(name), value_len = strlen(value);

    out[0] = 0; /* a literal that is not indexed */
    out[1] = (unsigned char)name_len;
    memcpy(out + 2, name, name_len);
    out[2 + name_len] = (unsigned char)value_len;
    memcpy(out + 3 + name_len, value, value_len);
    return 3 + name_len + value_len;
}

/* Headers of a call with `name: value`, or NULL, besides. */
static inline void client_open(struct client *client, uint32_t stream, const char *name,
                               const char *value)
{
    unsigned char block[512];
    size_t len = 0;

    len += client_put(block + len, ":method", "POST");
    len += client_put(block + len, ":scheme", "http");
    len += client_put(block + len, ":path", "/m");
    len += client_put(block + len, ":authority", "x");
    len += client_put(block + len, "content-type", "application/grpc");
    if (name != NULL)
        len += client_put(block + len, name, value);
    client_frame(client, FRAME_HEADERS, FLAG_END_HEADERS, stream, block, len);
}

/* A call with an empty message. `timeout`: grpc-timeout, or NULL. */
static inline void client_call(struct client *client, uint32_t stream, const char *timeout)
{
    static const char empty[GRPC_PREFIX_SIZE] = {0};

    client_open(client, stream, timeout != NULL ? "grpc-timeout" : NULL, timeout);
    client_frame(client, FRAME_DATA, FLAG_END_STREAM, stream, empty, sizeof(empty));
}

static inline void client_open_window(struct client *client, uint32_t stream, uint32_t bytes)
{
    unsigned char payload[4] = {(unsigned char)(bytes >> 24), (unsigned char)(bytes >> 16),
                                (unsigned char)(bytes >> 8), (unsigned char)bytes};

    client_frame(client, FRAME_WINDOW_UPDATE, 0, stream, payload, sizeof(payload));
}

/* Throws away what has come by now, but counts it. */
static inline void client_read(struct client *client)
{
    char data[65536];
    ssize_t len;

    while ((len = recv(client->fd, data, sizeof(data), MSG_DONTWAIT)) > 0)
        client->received += (size_t)len;
}

static inline void client_close(struct client *client)
{
    close(client->fd);
}

#endif
