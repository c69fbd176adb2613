#include "io/sink.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"

/*
 *   push (any thread) -> `queued` -- async --> `writing` -> fd
 *
 * One write is under way at a time, with everything that was queued when it began.
 */
struct sink {
    struct loop *loop;
    int fd;
    bool was_blocking; /* before libuv changed it, for everybody who shares the descriptor */
    bool has_stream;   /* false: a file */
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
        uv_tty_t tty;
    } out;
    uv_async_t wake;
    uv_write_t write;
    uv_fs_t fs_write;
    struct buf writing;
    size_t written; /* of `writing`, to a file */
    bool busy;
    bool broken; /* the other end is gone: everything is dropped */

    uv_mutex_t mutex; /* guards the three below */
    struct buf queued;
    uint64_t dropped;
    uint64_t reported;

    struct op *op; /* of sink_close() */
    struct timer deadline;
    unsigned open_handles;
};

static void sink_start_write(struct sink *sink);
static void sink_close_handles(struct sink *sink);

/* --- writing --- */

/* A file may take lines again later (a full disk); a stream whose peer is gone never does. */
static void sink_after_write(struct sink *sink, bool failed)
{
    sink->busy = false;
    sink->broken = sink->broken || (failed && sink->has_stream);
    buf_truncate(&sink->writing, 0);
    sink_start_write(sink);
}

static void sink_on_written(uv_write_t *write, int status)
{
    struct sink *sink = container_of(write, struct sink, write);

    sink_after_write(sink, status != 0);
}

static void sink_on_file_written(uv_fs_t *fs);

static int sink_write_file(struct sink *sink)
{
    uv_buf_t piece = uv_buf_init(sink->writing.data + sink->written,
                                 (unsigned)(sink->writing.len - sink->written));

    return uv_fs_write(loop_uv(sink->loop), &sink->fs_write, sink->fd, &piece, 1, -1,
                       sink_on_file_written);
}

static void sink_on_file_written(uv_fs_t *fs)
{
    struct sink *sink = container_of(fs, struct sink, fs_write);
    ssize_t written = fs->result;

    uv_fs_req_cleanup(fs);
    if (written > 0)
        sink->written += (size_t)written;
    if (sink->written < sink->writing.len && (written > 0 || written == UV_EINTR) &&
        sink_write_file(sink) == 0)
        return;
    sink_after_write(sink, sink->written < sink->writing.len);
}

static int sink_write_stream(struct sink *sink)
{
    uv_buf_t all = uv_buf_init(sink->writing.data, (unsigned)sink->writing.len);

    return uv_write(&sink->write, &sink->out.stream, &all, 1, sink_on_written);
}

/* Swaps what is queued into `writing`; false if there is nothing to write. */
static bool sink_take_queued(struct sink *sink)
{
    struct buf empty = sink->writing;
    uint64_t lost;

    uv_mutex_lock(&sink->mutex);
    lost = sink->dropped - sink->reported;
    sink->reported = sink->dropped;
    sink->writing = sink->queued;
    sink->queued = empty;
    uv_mutex_unlock(&sink->mutex);
    if (lost > 0 && sink->op == NULL && !sink->broken)
        log_write(LOG_WARN, "log lines dropped", LOG_INT("count", lost)); /* comes back as a push */
    return sink->writing.len > 0;
}

static void sink_start_write(struct sink *sink)
{
    int rc;

    if (sink->busy)
        return;
    if (sink_take_queued(sink) && !sink->broken) {
        sink->written = 0;
        rc = sink->has_stream ? sink_write_stream(sink) : sink_write_file(sink);
        sink->busy = rc == 0;
        sink->broken = rc != 0 && sink->has_stream;
    }
    if (!sink->busy) {
        buf_truncate(&sink->writing, 0);
        if (sink->op != NULL)
            sink_close_handles(sink);
    }
}

static void sink_on_wake(uv_async_t *async)
{
    struct sink *sink = container_of(async, struct sink, wake);

    sink_start_write(sink);
}

void sink_push(void *arg, const char *line, size_t len)
{
    struct sink *sink = arg;

    uv_mutex_lock(&sink->mutex);
    if (buf_append(&sink->queued, line, len) != 0) {
        sink->queued.rc = 0; /* later lines may be shorter */
        sink->dropped++;
    }
    uv_mutex_unlock(&sink->mutex);
    uv_async_send(&sink->wake);
}

uint64_t sink_dropped(struct sink *sink)
{
    uint64_t dropped;

    uv_mutex_lock(&sink->mutex);
    dropped = sink->dropped;
    uv_mutex_unlock(&sink->mutex);
    return dropped;
}

/* --- opening and closing --- */

/* The stream gets a descriptor of its own, which libuv closes with it. *init tells whether there is
 * a handle to close. */
static int sink_open(struct sink *sink, uv_handle_type type, bool *init)
{
    uv_loop_t *uv = loop_uv(sink->loop);
    int own = fcntl(sink->fd, F_DUPFD_CLOEXEC, 0);
    int rc = UV_EBADF;

    if (own < 0)
        return rc;
    if (type == UV_TTY)
        rc = uv_tty_init(uv, &sink->out.tty, own, 0);
    else if (type == UV_TCP)
        rc = uv_tcp_init(uv, &sink->out.tcp);
    else if (type == UV_NAMED_PIPE)
        rc = uv_pipe_init(uv, &sink->out.pipe, 0);
    *init = rc == 0;
    if (rc == 0 && type == UV_TCP)
        rc = uv_tcp_open(&sink->out.tcp, own);
    else if (rc == 0 && type == UV_NAMED_PIPE)
        rc = uv_pipe_open(&sink->out.pipe, own);
    if (rc != 0)
        close(own);
    return rc;
}

static void sink_on_closed(uv_handle_t *handle)
{
    struct sink *sink = handle->data;
    struct op *op = sink->op;

    if (--sink->open_handles > 0)
        return;
    if (sink->was_blocking)
        ioctl(sink->fd, FIONBIO, &(int){0});
    uv_mutex_destroy(&sink->mutex);
    buf_free(&sink->writing);
    buf_free(&sink->queued);
    mem_free(sink);
    if (op != NULL)
        op_finish(op, 0);
}

static void sink_close_handle(struct sink *sink, uv_handle_t *handle)
{
    handle->data = sink;
    if (!uv_is_closing(handle))
        uv_close(handle, sink_on_closed);
}

static void sink_close_handles(struct sink *sink)
{
    sched_stop_timer(loop_sched(sink->loop), &sink->deadline);
    if (sink->has_stream)
        sink_close_handle(sink, &sink->out.handle);
    sink_close_handle(sink, (uv_handle_t *)&sink->wake);
}

/* Closing the stream ends its write; a write to a file ends by itself. */
static void sink_on_deadline(struct timer *timer)
{
    struct sink *sink = container_of(timer, struct sink, deadline);

    sink->broken = true;
    if (sink->has_stream)
        sink_close_handle(sink, &sink->out.handle);
}

struct sink *sink_create(struct loop *loop, int fd, size_t max)
{
    uv_handle_type type = uv_guess_handle(fd);
    struct sink *sink = mem_calloc(1, sizeof(*sink));

    if (sink == NULL)
        return NULL;
    sink->loop = loop;
    sink->fd = fd;
    sink->was_blocking = type != UV_FILE && (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;
    sink->deadline.fire = sink_on_deadline;
    buf_init(&sink->writing, max);
    buf_init(&sink->queued, max);
    if (uv_mutex_init(&sink->mutex) != 0)
        goto err_after_alloc;
    if (uv_async_init(loop_uv(loop), &sink->wake, sink_on_wake) != 0)
        goto err_after_mutex;
    uv_unref((uv_handle_t *)&sink->wake);
    sink->open_handles = 1;
    if (type != UV_FILE) {
        int rc = sink_open(sink, type, &sink->has_stream);

        sink->open_handles += sink->has_stream;
        if (rc != 0)
            goto err_after_async;
    }
    return sink;

err_after_async:
    sink_close_handles(sink); /* frees it, too */
    return NULL;
err_after_mutex:
    uv_mutex_destroy(&sink->mutex);
err_after_alloc:
    mem_free(sink);
    return NULL;
}

void sink_close(struct sink *sink, struct op *op, uint64_t wait_ms)
{
    op_begin(op, sink, NULL);
    sink->op = op;
    sched_start_timer(loop_sched(sink->loop), &sink->deadline, wait_ms);
    sink_start_write(sink);
}
