#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "driver/curl_private.h"

/* libcurl's side of the loop: its sockets, its one timer, and what it has finished. */

static void curl_client_collect(struct curl_client *client)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
        struct curl_slot *slot = NULL;
        CURLcode code = message->data.result;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &slot);
        curl_request_end(slot, code);
    }
}

/* The only place that lets libcurl work; never reached from inside one of its callbacks. */
static void curl_client_act(struct curl_client *client, curl_socket_t fd, int events)
{
    int running;

    curl_multi_socket_action(client->multi, fd, events, &running);
    curl_client_collect(client);
}

static void curl_client_on_timer(struct timer *timer)
{
    curl_client_act(container_of(timer, struct curl_client, timer), CURL_SOCKET_TIMEOUT, 0);
}

static int curl_client_set_timer(CURLM *multi, long ms, void *arg)
{
    struct curl_client *client = arg;

    (void)multi;
    if (ms < 0)
        sched_stop_timer(loop_sched(client->loop), &client->timer);
    else
        sched_start_timer(loop_sched(client->loop), &client->timer, (uint64_t)ms);
    return 0;
}

static void curl_client_on_event(uv_poll_t *poll, int status, int events)
{
    const struct curl_socket *socket = container_of(poll, struct curl_socket, poll);
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;

    if ((events & UV_READABLE) != 0)
        flags |= CURL_CSELECT_IN;
    if ((events & UV_WRITABLE) != 0)
        flags |= CURL_CSELECT_OUT;
    curl_client_act(socket->client, socket->fd, flags);
}

static struct curl_socket *curl_client_find(const struct curl_client *client, curl_socket_t fd)
{
    return fd >= 0 && (size_t)fd < client->socket_cap ? client->sockets[fd] : NULL;
}

/* --- sockets that go --- */

static void curl_client_free(struct curl_client *client)
{
    mem_free(client->sockets);
    mem_free(client);
    curl_global_cleanup();
}

static void curl_client_on_closed(struct task *task)
{
    struct op *op = container_of(task, struct op, task);

    curl_client_free(op->impl);
    op_finish(op, 0);
}

static void curl_client_try_finish(struct curl_client *client)
{
    struct op *op = client->close_op;

    if (op == NULL || client->multi != NULL || client->alive > 0)
        return;
    op->task.run = curl_client_on_closed;
    sched_defer(loop_sched(client->loop), &op->task);
}

/* With the last peer all connections go. */
static void curl_client_try_end(struct curl_client *client)
{
    if (client->close_op == NULL || client->peers > 0)
        return;
    curl_multi_cleanup(client->multi);
    client->multi = NULL;
    sched_stop_timer(loop_sched(client->loop), &client->timer);
    curl_client_try_finish(client);
}

static void curl_client_on_socket_closed(uv_handle_t *handle)
{
    struct curl_socket *socket = container_of((uv_poll_t *)handle, struct curl_socket, poll);
    struct curl_client *client = socket->client;

    mem_free(socket);
    client->alive--;
    curl_client_try_finish(client);
}

static void curl_client_leave_peer(struct curl_socket *socket)
{
    if (socket->peer == NULL)
        return;
    list_remove(&socket->link);
    socket->peer->open_count--;
    socket->peer = NULL;
}

static void curl_client_drop_socket(struct curl_socket *socket)
{
    socket->client->sockets[socket->fd] = NULL;
    curl_client_leave_peer(socket);
    uv_close((uv_handle_t *)&socket->poll, curl_client_on_socket_closed);
}

int curl_client_close_socket(void *arg, curl_socket_t fd)
{
    struct curl_socket *socket = curl_client_find(arg, fd);

    if (socket != NULL)
        curl_client_drop_socket(socket);
    return close(fd);
}

/* The descriptor may be closed, and may even be another socket's by now. */
static bool curl_client_is_open(const struct curl_socket *socket)
{
    struct stat now;

    return fstat(socket->fd, &now) == 0 && now.st_ino == socket->inode;
}

/* A socket that never got connected is closed by libcurl 7.88 itself, without
 * CURLOPT_CLOSESOCKETFUNCTION, right before it says that it is not to be watched any more. */
static int curl_client_set_events(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
    struct curl_socket *socket = curl_client_find(arg, fd);
    int events = 0;

    (void)easy;
    (void)unused;
    if (socket == NULL)
        return 0; /* closed before it was removed */
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= UV_READABLE;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= UV_WRITABLE;
    if (events != 0)
        uv_poll_start(&socket->poll, events, curl_client_on_event);
    else if (curl_client_is_open(socket))
        uv_poll_stop(&socket->poll);
    else
        curl_client_drop_socket(socket);
    return 0;
}

/* --- sockets that come --- */

static int curl_client_reserve(struct curl_client *client, int fd)
{
    size_t cap = (size_t)fd + 64;
    struct curl_socket **sockets;

    if ((size_t)fd < client->socket_cap)
        return 0;
    sockets = mem_realloc(client->sockets, cap * sizeof(void *));
    if (sockets == NULL)
        return ERR_NOMEM;
    for (size_t i = client->socket_cap; i < cap; i++)
        sockets[i] = NULL;
    client->sockets = sockets;
    client->socket_cap = cap;
    return 0;
}

static int curl_client_watch(struct curl_peer *peer, int fd)
{
    struct curl_client *client = peer->client;
    struct curl_socket *watched;
    struct stat now;

    if (curl_client_reserve(client, fd) != 0 || fstat(fd, &now) != 0)
        return ERR_NOMEM;
    if (client->sockets[fd] != NULL) /* closed, and this is the next address's */
        curl_client_drop_socket(client->sockets[fd]);
    watched = mem_calloc(1, sizeof(*watched));
    if (watched == NULL)
        return ERR_NOMEM;
    if (uv_poll_init(loop_uv(client->loop), &watched->poll, fd) != 0) {
        mem_free(watched);
        return ERR_NOMEM;
    }
    watched->client = client;
    watched->peer = peer;
    watched->fd = fd;
    watched->inode = now.st_ino;
    list_push_back(&peer->sockets, &watched->link);
    peer->open_count++;
    client->sockets[fd] = watched;
    client->alive++;
    return 0;
}

curl_socket_t curl_client_open_socket(void *arg, curlsocktype purpose,
                                      struct curl_sockaddr *address)
{
    const struct curl_slot *slot = arg;
    int fd;

    (void)purpose;
    fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    if (keepalive_set(fd, &slot->peer->settings.keepalive) != 0) {
        close(fd);
        return CURL_SOCKET_BAD;
    }
    if (curl_client_watch(slot->peer, fd) != 0) {
        slot->call->no_memory = true;
        close(fd);
        return CURL_SOCKET_BAD;
    }
    return fd;
}

/* --- the client itself --- */

static void curl_client_expect(struct curl_client *client, long connections)
{
    client->connections += connections;
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, client->connections);
}

void curl_client_add_peer(struct curl_peer *peer)
{
    peer->client->peers++;
    curl_client_expect(peer->client, (long)peer->settings.max_open);
}

/* libcurl keeps the connections until it looks for one the next time; the server is told now. */
void curl_client_remove_peer(struct curl_peer *peer)
{
    struct curl_client *client = peer->client;

    list_foreach_safe(node, &peer->sockets) {
        struct curl_socket *socket = container_of(node, struct curl_socket, link);

        shutdown(socket->fd, SHUT_RDWR);
        curl_client_leave_peer(socket);
    }
    curl_client_expect(client, -(long)peer->settings.max_open);
    client->peers--;
    curl_client_try_end(client);
}

static void curl_client_set_options(struct curl_client *client)
{
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, curl_client_set_events);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, curl_client_set_timer);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
}

struct curl_client *curl_client_create(struct loop *loop)
{
    struct curl_client *client = mem_calloc(1, sizeof(*client));

    if (client == NULL)
        return NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        goto err_after_client;
    client->multi = curl_multi_init();
    if (client->multi == NULL)
        goto err_after_global;
    client->loop = loop;
    client->timer.fire = curl_client_on_timer;
    curl_client_set_options(client);
    return client;

err_after_global:
    curl_global_cleanup();
err_after_client:
    mem_free(client);
    return NULL;
}

int curl_client_close(struct curl_client *client, struct op *op)
{
    op_begin(op, client, NULL);
    client->close_op = op;
    curl_client_try_end(client);
    return 0;
}
