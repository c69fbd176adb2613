#ifndef BFM_TESTS_CUT_PROXY_H
#define BFM_TESTS_CUT_PROXY_H

#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"

#include "io/loop.h"

/*
 * A TCP proxy in front of PostgreSQL, on the test's own loop. Armed, it lets the next query that
 * holds `word` through to the server and then, when the server has answered it, cuts the connection
 * instead of handing the answer on: the query has taken effect, and the client cannot know. With
 * `refuse` it cuts the connection instead of letting the query through. With `hold_cancels`
 * requests to cancel a query stay unanswered until cut_proxy_drop_held().
 */
struct cut_proxy {
    uv_loop_t *loop;
    uv_tcp_t listener;
    struct sockaddr_in upstream;
    char port[16];
    const char *word;
    bool refuse;
    unsigned armed; /* how many answers or queries still are to be swallowed */
    unsigned cuts;
    bool hold_cancels;
    struct cut_pair *held[8]; /* requests to cancel that are held now */
    unsigned held_count;
    unsigned cancels; /* held so far */
    unsigned open;    /* handles */
};

struct cut_pair {
    struct cut_proxy *proxy;
    uv_tcp_t client, server;
    uv_connect_t connect;
    bool swallow; /* the answer under way is not for the client */
    unsigned handles;
};

struct cut_write {
    uv_write_t req;
    char data[];
};

static inline void on_cut_closed(uv_handle_t *handle)
{
    struct cut_pair *pair = handle->data;

    pair->proxy->open--;
    if (--pair->handles == 0)
        free(pair);
}

static inline void cut_close(struct cut_pair *pair)
{
    if (!uv_is_closing((uv_handle_t *)&pair->client))
        uv_close((uv_handle_t *)&pair->client, on_cut_closed);
    if (!uv_is_closing((uv_handle_t *)&pair->server))
        uv_close((uv_handle_t *)&pair->server, on_cut_closed);
}

static inline void on_cut_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    (void)handle;
    *buf = uv_buf_init(malloc(size), (unsigned)size);
}

static inline void on_cut_written(uv_write_t *req, int status)
{
    (void)status;
    free(container_of(req, struct cut_write, req));
}

static inline void cut_forward(uv_tcp_t *to, const char *data, size_t len)
{
    struct cut_write *copy = malloc(sizeof(*copy) + len);
    uv_buf_t buf = uv_buf_init(copy->data, (unsigned)len);

    memcpy(copy->data, data, len);
    if (uv_write(&copy->req, (uv_stream_t *)to, &buf, 1, on_cut_written) != 0)
        free(copy);
}

static inline bool cut_is_cancel(const char *data, ssize_t len)
{
    static const char request[] = {0, 0, 0, 16, 0x04, (char)0xd2, 0x16, 0x2e};

    return len == 16 && memcmp(data, request, sizeof(request)) == 0;
}

static inline void cut_hold(struct cut_pair *pair)
{
    struct cut_proxy *proxy = pair->proxy;

    assert_true(proxy->held_count < ARRAY_SIZE(proxy->held));
    proxy->held[proxy->held_count++] = pair;
    proxy->cancels++;
}

static inline void cut_proxy_drop_held(struct cut_proxy *proxy)
{
    while (proxy->held_count > 0)
        cut_close(proxy->held[--proxy->held_count]);
}

static inline void on_cut_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct cut_pair *pair = stream->data;
    bool from_client = stream == (uv_stream_t *)&pair->client;

    if (len < 0) {
        cut_close(pair);
    } else if (from_client && pair->proxy->hold_cancels && cut_is_cancel(buf->base, len)) {
        cut_hold(pair);
    } else if (from_client) {
        if (pair->proxy->armed > 0 &&
            memmem(buf->base, (size_t)len, pair->proxy->word, strlen(pair->proxy->word)) != NULL) {
            pair->proxy->armed--;
            pair->swallow = true;
        }
        if (pair->swallow && pair->proxy->refuse) {
            pair->proxy->cuts++;
            cut_close(pair);
        } else {
            cut_forward(&pair->server, buf->base, (size_t)len);
        }
    } else if (pair->swallow) {
        pair->proxy->cuts++;
        cut_close(pair);
    } else {
        cut_forward(&pair->client, buf->base, (size_t)len);
    }
    free(buf->base);
}

static inline void on_cut_connected(uv_connect_t *req, int status)
{
    struct cut_pair *pair = container_of(req, struct cut_pair, connect);

    if (status != 0) {
        cut_close(pair);
        return;
    }
    uv_read_start((uv_stream_t *)&pair->client, on_cut_alloc, on_cut_read);
    uv_read_start((uv_stream_t *)&pair->server, on_cut_alloc, on_cut_read);
}

static inline void on_cut_connection(uv_stream_t *listener, int status)
{
    struct cut_proxy *proxy = listener->data;
    struct cut_pair *pair = calloc(1, sizeof(*pair));

    assert_int_equal(status, 0);
    pair->proxy = proxy;
    pair->handles = 2;
    proxy->open += 2;
    uv_tcp_init(proxy->loop, &pair->client);
    uv_tcp_init(proxy->loop, &pair->server);
    pair->client.data = pair;
    pair->server.data = pair;
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&pair->client), 0);
    assert_int_equal(uv_tcp_connect(&pair->connect, &pair->server,
                                    (const struct sockaddr *)&proxy->upstream, on_cut_connected),
                     0);
}

static inline void cut_proxy_start(struct cut_proxy *proxy, uv_loop_t *loop, const char *host,
                                   const char *port, const char *word)
{
    struct sockaddr_in addr;
    int len = sizeof(addr);

    *proxy = (struct cut_proxy){.loop = loop, .word = word, .open = 1};
    assert_int_equal(uv_ip4_addr(host, atoi(port), &proxy->upstream), 0);
    uv_ip4_addr("127.0.0.1", 0, &addr);
    uv_tcp_init(loop, &proxy->listener);
    proxy->listener.data = proxy;
    assert_int_equal(uv_tcp_bind(&proxy->listener, (struct sockaddr *)&addr, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&proxy->listener, 64, on_cut_connection), 0);
    uv_tcp_getsockname(&proxy->listener, (struct sockaddr *)&addr, &len);
    snprintf(proxy->port, sizeof(proxy->port), "%d", ntohs(addr.sin_port));
}

static inline void on_cut_listener_closed(uv_handle_t *handle)
{
    struct cut_proxy *proxy = handle->data;

    proxy->open--;
}

/* Whoever used it has closed its connections before. */
static inline void cut_proxy_stop(struct cut_proxy *proxy)
{
    uv_close((uv_handle_t *)&proxy->listener, on_cut_listener_closed);
    while (proxy->open > 0)
        uv_run(proxy->loop, UV_RUN_ONCE);
}

#endif
