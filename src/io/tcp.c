#include "io/tcp.h"

#include <assert.h>
#include <stdint.h>
#include <unistd.h>

static void tcp_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct tcp *tcp = handle->data;

    (void)suggested;
    *buf = uv_buf_init(tcp->buffer, (unsigned)tcp->size);
}

static void tcp_on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct tcp *tcp = stream->data;

    if (count > 0) {
        tcp->handlers->on_data(tcp, buf->base, (size_t)count);
    } else if (count < 0) {
        uv_read_stop(stream);
        tcp->handlers->on_end(tcp, count == UV_EOF ? 0 : ERR_IO);
    }
}

static void tcp_on_written(uv_write_t *write, int status)
{
    struct tcp *tcp = container_of(write, struct tcp, write);

    if (!uv_is_closing((uv_handle_t *)&tcp->handle))
        tcp->handlers->on_written(tcp, status == 0 ? 0 : ERR_IO);
}

static void tcp_on_shutdown(uv_shutdown_t *shutdown, int status)
{
    (void)shutdown; /* what follows is read from the peer: its end, an error, or nothing in time */
    (void)status;
}

static void tcp_on_closed(uv_handle_t *handle)
{
    struct tcp *tcp = handle->data;

    tcp->handlers->on_closed(tcp);
}

void tcp_discard(int fd)
{
    close(fd);
}

int tcp_open(struct tcp *tcp, struct loop *loop, int fd, const struct tcp_handlers *handlers,
             char *buffer, size_t size)
{
    uv_tcp_init(loop_uv(loop), &tcp->handle);
    tcp->handle.data = tcp;
    tcp->handlers = handlers;
    tcp->buffer = buffer;
    tcp->size = size;
    if (uv_tcp_open(&tcp->handle, fd) != 0) {
        tcp_discard(fd);
        return ERR_IO;
    }
    if (uv_tcp_nodelay(&tcp->handle, 1) != 0)
        return ERR_IO;
    return tcp_read_start(tcp);
}

int tcp_read_start(struct tcp *tcp)
{
    int rc = uv_read_start((uv_stream_t *)&tcp->handle, tcp_on_alloc, tcp_on_read);

    return rc == 0 || rc == UV_EALREADY ? 0 : ERR_IO;
}

void tcp_read_stop(struct tcp *tcp)
{
    uv_read_stop((uv_stream_t *)&tcp->handle);
}

/* libuv's buffers are not const, though writing only reads them. */
static uv_buf_t tcp_buf(const void *data, size_t len)
{
    return (uv_buf_t){.base = (char *)(uintptr_t)data, .len = len};
}

int tcp_try_write(struct tcp *tcp, const struct tcp_piece *pieces, size_t count, size_t *taken)
{
    uv_buf_t bufs[TCP_PIECES_MAX];
    int rc;

    assert(count <= TCP_PIECES_MAX);
    for (size_t i = 0; i < count; i++)
        bufs[i] = tcp_buf(pieces[i].data, pieces[i].len);
    rc = uv_try_write((uv_stream_t *)&tcp->handle, bufs, (unsigned)count);
    *taken = rc > 0 ? (size_t)rc : 0;
    return rc >= 0 || rc == UV_EAGAIN ? 0 : ERR_IO;
}

int tcp_write(struct tcp *tcp, const void *data, size_t len)
{
    uv_buf_t buf = tcp_buf(data, len);
    int rc = uv_write(&tcp->write, (uv_stream_t *)&tcp->handle, &buf, 1, tcp_on_written);

    return rc == 0 ? 0 : ERR_IO;
}

size_t tcp_unsent(const struct tcp *tcp)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&tcp->handle);
}

int tcp_shutdown(struct tcp *tcp)
{
    int rc = uv_shutdown(&tcp->shutdown, (uv_stream_t *)&tcp->handle, tcp_on_shutdown);

    return rc == 0 ? 0 : ERR_IO;
}

void tcp_close(struct tcp *tcp, bool reset)
{
    if (reset && uv_tcp_close_reset(&tcp->handle, tcp_on_closed) == 0)
        return;
    uv_close((uv_handle_t *)&tcp->handle, tcp_on_closed);
}
