#ifndef BFM_TESTS_STORE_PROXY_H
#define BFM_TESTS_STORE_PROXY_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

/*
 * A thread between a store and its server that can be away, and that can lose an answer: the
 * statement took effect, and nobody heard of it.
 */
enum proxy_mode {
    PROXY_PASS,
    PROXY_AWAY,        /* every connection is closed at once */
    PROXY_LOSE_ANSWER, /* ends the connection when the next write is answered, then passes again */
    PROXY_QUIT,
};

enum {
    PROXY_PAIRS = 16,
    PROXY_PIECE = 65536,
    PROXY_MORE_RESULTS = 8, /* of the status in MySQL's answers */
};

struct proxy_pair {
    int client, server;       /* -1: free */
    bool writes;              /* the client has sent a write that is not answered */
    unsigned char packet[16]; /* MySQL: the answer under way, from its header on */
    size_t packet_len, packet_left;
};

struct proxy {
    pthread_t thread;
    int listener;
    int wake[2];
    char port[8];
    atomic_int mode;
    atomic_int lost; /* answers */
    struct proxy_pair pairs[PROXY_PAIRS];
};

static int proxy_connect(void)
{
    const struct pg_settings s = fixture_settings();
    const struct maria_settings my = maria_fixture_settings();
    const char *host = fixture_kind == FIXTURE_MYSQL ? my.host : s.host;
    const char *port = fixture_kind == FIXTURE_MYSQL ? my.port : s.port;
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in remote = {.sin_family = AF_INET};
    int fd;

    if (host[0] == '/') {
        snprintf(local.sun_path, sizeof(local.sun_path), "%.80s/.s.PGSQL.%.8s", host, port);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&local, sizeof(local)) == 0)
            return fd;
    } else {
        remote.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
        inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &remote.sin_addr);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&remote, sizeof(remote)) == 0)
            return fd;
    }
    close(fd);
    return -1;
}

static void proxy_drop(struct proxy_pair *pair)
{
    if (pair->client >= 0) {
        close(pair->client);
        close(pair->server);
    }
    *pair = (struct proxy_pair){.client = -1, .server = -1};
}

static void proxy_accept(struct proxy *proxy)
{
    int client = accept(proxy->listener, NULL, NULL);
    int server = proxy->mode == PROXY_AWAY ? -1 : proxy_connect();

    for (int i = 0; server >= 0 && i < PROXY_PAIRS; i++) {
        if (proxy->pairs[i].client >= 0)
            continue;
        proxy->pairs[i] = (struct proxy_pair){.client = client, .server = server};
        return;
    }
    if (server >= 0)
        close(server);
    close(client);
}

static bool proxy_send(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        data += sent;
        len -= (size_t)sent;
    }
    return true;
}

static bool proxy_is_write(const char *data, size_t len)
{
    if (fixture_kind == FIXTURE_MYSQL)
        return memmem(data, len, "COMMIT;", 7) != NULL && memmem(data, len, "READ ONLY", 9) == NULL;
    return memmem(data, len, "WITH m AS", 9) != NULL || memmem(data, len, "WITH x AS", 9) != NULL;
}

/* Whether the packet says that nothing follows it: an error, or that the last statement is done. */
static bool proxy_ends_answer(const struct proxy_pair *pair)
{
    const unsigned char *at = pair->packet + 4;

    if (*at != 0)
        return *at == 0xff;
    for (int number = 0; number < 2; number++) /* of rows, and an ID: one byte unless it is large */
        at += at[1] < 0xfb ? 1 : at[1] == 0xfc ? 3 : at[1] == 0xfd ? 4 : 9;
    return (at[1] & PROXY_MORE_RESULTS) == 0;
}

/* MySQL answers each of many statements by itself: whether this ends the last answer. */
static bool proxy_reads_end(struct proxy_pair *pair, const char *data, size_t len)
{
    bool ended = false;

    for (; len > 0; data++, len--) {
        if (pair->packet_len < sizeof(pair->packet))
            pair->packet[pair->packet_len] = (unsigned char)*data;
        pair->packet_len++;
        if (pair->packet_len == 4)
            pair->packet_left = 4 + pair->packet[0] + ((size_t)pair->packet[1] << 8) +
                                ((size_t)pair->packet[2] << 16);
        if (pair->packet_len < 4 || pair->packet_len < pair->packet_left)
            continue;
        ended = ended || proxy_ends_answer(pair);
        pair->packet_len = 0;
    }
    return ended;
}

static void proxy_move(struct proxy *proxy, struct proxy_pair *pair, bool to_server)
{
    static char data[PROXY_PIECE];
    ssize_t len = recv(to_server ? pair->client : pair->server, data, sizeof(data), 0);

    if (len <= 0) {
        proxy_drop(pair);
        return;
    }
    if (to_server && proxy_is_write(data, (size_t)len)) {
        pair->writes = true;
        pair->packet_len = 0;
    }
    if (!to_server && pair->writes && proxy->mode == PROXY_LOSE_ANSWER &&
        fixture_kind == FIXTURE_MYSQL && !proxy_reads_end(pair, data, (size_t)len))
        return; /* more of it is to come */
    if (!to_server && pair->writes) {
        pair->writes = false;
        if (proxy->mode == PROXY_LOSE_ANSWER) {
            proxy->lost++;
            proxy->mode = PROXY_PASS;
            proxy_drop(pair);
            return;
        }
    }
    if (!proxy_send(to_server ? pair->server : pair->client, data, (size_t)len))
        proxy_drop(pair);
}

static void proxy_turn(struct proxy *proxy)
{
    struct pollfd fds[2 + 2 * PROXY_PAIRS] = {{.fd = proxy->wake[0], .events = POLLIN},
                                              {.fd = proxy->listener, .events = POLLIN}};
    char byte;

    for (int i = 0; i < PROXY_PAIRS; i++) {
        fds[2 + 2 * i] = (struct pollfd){.fd = proxy->pairs[i].client, .events = POLLIN};
        fds[3 + 2 * i] = (struct pollfd){.fd = proxy->pairs[i].server, .events = POLLIN};
    }
    poll(fds, ARRAY_SIZE(fds), -1);
    if (fds[0].revents != 0 && read(proxy->wake[0], &byte, 1) == 1 && proxy->mode != PROXY_PASS &&
        proxy->mode != PROXY_LOSE_ANSWER)
        for (int i = 0; i < PROXY_PAIRS; i++)
            proxy_drop(&proxy->pairs[i]);
    if (fds[1].revents != 0)
        proxy_accept(proxy);
    for (int i = 0; i < PROXY_PAIRS; i++) {
        if (fds[2 + 2 * i].revents != 0 && proxy->pairs[i].client == fds[2 + 2 * i].fd)
            proxy_move(proxy, &proxy->pairs[i], true);
        if (fds[3 + 2 * i].revents != 0 && proxy->pairs[i].server == fds[3 + 2 * i].fd)
            proxy_move(proxy, &proxy->pairs[i], false);
    }
}

static void *proxy_run(void *arg)
{
    struct proxy *proxy = arg;

    while (proxy->mode != PROXY_QUIT)
        proxy_turn(proxy);
    return NULL;
}

static void proxy_set(struct proxy *proxy, enum proxy_mode mode)
{
    proxy->mode = mode;
    assert_int_equal(write(proxy->wake[1], "x", 1), 1);
}

static void proxy_start(struct proxy *proxy)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);

    *proxy = (struct proxy){.mode = PROXY_PASS};
    for (int i = 0; i < PROXY_PAIRS; i++)
        proxy->pairs[i] = (struct proxy_pair){.client = -1, .server = -1};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    proxy->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(proxy->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(proxy->listener, 32), 0);
    assert_int_equal(getsockname(proxy->listener, (struct sockaddr *)&address, &len), 0);
    snprintf(proxy->port, sizeof(proxy->port), "%u", (unsigned)ntohs(address.sin_port));
    assert_int_equal(pipe(proxy->wake), 0);
    assert_int_equal(pthread_create(&proxy->thread, NULL, proxy_run, proxy), 0);
}

static void proxy_stop(struct proxy *proxy)
{
    proxy_set(proxy, PROXY_QUIT);
    pthread_join(proxy->thread, NULL);
    for (int i = 0; i < PROXY_PAIRS; i++)
        proxy_drop(&proxy->pairs[i]);
    close(proxy->listener);
    close(proxy->wake[0]);
    close(proxy->wake[1]);
}

#endif
