#include "io/notify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/work.h"

enum {
    NOTIFY_READ_MAX = 16 * 1024, /* bytes of events taken in one callback */
    NOTIFY_PATH_MAX = 4096,
    NOTIFY_MASK = IN_ATTRIB | IN_CREATE | IN_MODIFY | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF |
                  IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR,
};

struct notify {
    struct loop *loop;
    struct op op; /* the closing of fd */
    uv_poll_t poll;
    int fd;
    void (*on_event)(void *arg);
    void (*on_closed)(void *arg);
    void *arg;
    int *watched; /* the system's numbers, ascending */
    size_t count;
};

/* --- which folders, on a thread --- */

static int notify_compare(const void *a, const void *b)
{
    const int *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static bool notify_has(const int *watched, size_t count, int number)
{
    return count > 0 && bsearch(&number, watched, count, sizeof(*watched), notify_compare) != NULL;
}

/* The system gives the same number again for a folder that it watches already. */
static int notify_add(const struct notify *n, const char *root, const char *path, int *reason)
{
    char full[NOTIFY_PATH_MAX];
    int len = snprintf(full, sizeof(full), "%s%s%s", root, path[0] != '\0' ? "/" : "", path);
    int number = -1;

    if (len < 0 || len >= NOTIFY_PATH_MAX)
        errno = ENAMETOOLONG;
    else
        number = inotify_add_watch(n->fd, full, NOTIFY_MASK);
    if (number < 0 && errno != ENOENT && errno != ENOTDIR)
        *reason = errno;
    return number;
}

/* Those that are in `now` and were not before; the others from before are not watched any more. */
static size_t notify_settle(const struct notify *n, const int *now, size_t count)
{
    size_t added = 0;

    for (size_t i = 0; i < count; i++)
        added += !notify_has(n->watched, n->count, now[i]);
    for (size_t i = 0; i < n->count; i++)
        if (!notify_has(now, count, n->watched[i]))
            inotify_rm_watch(n->fd, n->watched[i]); /* fails where the folder is gone: fine */
    return added;
}

size_t notify_set(struct notify *n, const char *root, const struct tree_folder *folders,
                  size_t count, int *reason)
{
    int *now = mem_calloc(count, sizeof(*now));
    size_t found = 0, added;

    *reason = 0;
    if (now == NULL) {
        *reason = ENOMEM; /* what is watched stays watched */
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        int number = notify_add(n, root, folders[i].path, reason);

        if (number >= 0)
            now[found++] = number;
    }
    if (found > 0)
        qsort(now, found, sizeof(*now), notify_compare);
    added = notify_settle(n, now, found);
    mem_free(n->watched);
    n->watched = now;
    n->count = found;
    return added;
}

size_t notify_count(const struct notify *n)
{
    return n->count;
}

/* --- events --- */

/* Whether there is more in it than that a folder is not watched any more, which is told after its
 * removal, and after our own asking. */
static bool notify_has_news(const char *events, size_t len)
{
    struct inotify_event event;

    for (size_t at = 0; at + sizeof(event) <= len; at += sizeof(event) + event.len) {
        memcpy(&event, events + at, sizeof(event));
        if ((event.mask & IN_IGNORED) == 0)
            return true;
    }
    return false;
}

/* What is left in the descriptor is read in the next turn. */
static void notify_on_readable(uv_poll_t *poll, int status, int events)
{
    struct notify *n = poll->data;
    char buffer[NOTIFY_READ_MAX];
    ssize_t len;

    (void)status;
    (void)events;
    len = read(n->fd, buffer, sizeof(buffer));
    if (len > 0 && notify_has_news(buffer, (size_t)len))
        n->on_event(n->arg);
}

/* --- */

struct notify *notify_create(struct loop *loop, void (*on_event)(void *arg), void *arg, int *reason)
{
    struct notify *n = mem_calloc(1, sizeof(*n));

    *reason = ENOMEM;
    if (n == NULL)
        return NULL;
    n->loop = loop;
    n->on_event = on_event;
    n->arg = arg;
    n->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    *reason = errno;
    if (n->fd < 0)
        goto err_after_alloc;
    *reason = -uv_poll_init(loop_uv(loop), &n->poll, n->fd);
    if (*reason != 0)
        goto err_after_fd;
    n->poll.data = n;
    uv_poll_start(&n->poll, UV_READABLE, notify_on_readable);
    return n;

err_after_fd:
    close(n->fd);
err_after_alloc:
    mem_free(n);
    return NULL;
}

static int notify_close_fd(void *arg, struct err *err)
{
    struct notify *n = arg;

    (void)err;
    close(n->fd);
    return 0;
}

static void notify_on_closed(struct op *op, int rc)
{
    struct notify *n = container_of(op, struct notify, op);
    void (*on_closed)(void *arg) = n->on_closed;
    void *arg = n->arg;

    (void)rc;
    mem_free(n->watched);
    mem_free(n);
    on_closed(arg);
}

/* The system lets the caller wait, 20 ms perhaps, until nobody in it looks at the folders. */
static void notify_on_unpolled(uv_handle_t *handle)
{
    struct notify *n = handle->data;

    op_init(&n->op, notify_on_closed);
    if (work_start(n->loop, &n->op, notify_close_fd, n) == 0)
        return;
    close(n->fd);
    notify_on_closed(&n->op, 0);
}

void notify_close(struct notify *n, void (*on_closed)(void *arg), void *arg)
{
    n->on_closed = on_closed;
    n->arg = arg;
    uv_close((uv_handle_t *)&n->poll, notify_on_unpolled);
}
