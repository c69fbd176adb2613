/*
 * follow PORT TOKEN READERS: so many readers of /api/v1/events of a server on this machine, each on
 * a connection of its own, until each has seen a run end. Says "ready" when all of them are let in,
 * and what came as one JSON line at the end. One thread and epoll, as little work per byte as can
 * be: the server is measured and not this.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_SIZE = 256 * 1024,
    EVENTS_AT_ONCE = 256,
    GIVE_UP_S = 600,
};

/* A text looked for in what comes in pieces. Its first byte stands in it once. */
struct needle {
    const char *text;
    size_t len;
};

static const struct needle needles[] = {{"\nid:", 4}, {"\nevent: run_ended", 17}};

struct reader {
    int fd;
    bool is_in, is_over;
    size_t matched[2]; /* of each needle */
    uint64_t seen[2];
};

static struct {
    struct reader *readers;
    size_t count, in, over, lost;
    int poll;
    uint64_t bytes, first_ns, last_ns;
} follow;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void follow_count(struct reader *reader, int which, const char *data, size_t len)
{
    const struct needle *needle = &needles[which];
    const char *end = data + len;

    while (data < end) {
        if (reader->matched[which] == 0) {
            data = memchr(data, needle->text[0], (size_t)(end - data));
            if (data == NULL)
                return;
        }
        if (*data == needle->text[reader->matched[which]]) {
            data++;
            if (++reader->matched[which] < needle->len)
                continue;
            reader->seen[which]++;
        }
        reader->matched[which] = 0;
    }
}

static void follow_end(struct reader *reader, bool is_lost)
{
    reader->is_over = true;
    follow.over++;
    follow.lost += is_lost;
    close(reader->fd);
}

static void follow_let_in(struct reader *reader, const char *data, size_t len)
{
    if (len < 12 || memcmp(data + 8, " 200", 4) != 0) {
        fprintf(stderr, "follow: refused: %.*s\n", (int)(len < 200 ? len : 200), data);
        exit(1);
    }
    reader->is_in = true;
    if (++follow.in == follow.count) {
        puts("ready");
        fflush(stdout);
    }
}

static void follow_read(struct reader *reader)
{
    static char data[READ_SIZE];
    ssize_t len = read(reader->fd, data, sizeof(data));

    if (len <= 0) {
        follow_end(reader, true);
        return;
    }
    if (!reader->is_in)
        follow_let_in(reader, data, (size_t)len);
    follow.bytes += (uint64_t)len;
    for (int which = 0; which < 2; which++)
        follow_count(reader, which, data, (size_t)len);
    if (reader->seen[0] > 0) {
        follow.last_ns = now_ns();
        if (follow.first_ns == 0)
            follow.first_ns = follow.last_ns;
    }
    if (reader->seen[1] > 0)
        follow_end(reader, false);
}

static void follow_connect(struct reader *reader, uint16_t port, const char *token)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = reader};
    char request[512];
    int len = snprintf(request, sizeof(request),
                       "GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n",
                       token);

    reader->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (reader->fd < 0)
        die("socket");
    if (connect(reader->fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        die("connect");
    if (write(reader->fd, request, (size_t)len) != len)
        die("write");
    if (epoll_ctl(follow.poll, EPOLL_CTL_ADD, reader->fd, &event) != 0)
        die("epoll_ctl");
}

static void follow_run(void)
{
    struct epoll_event events[EVENTS_AT_ONCE];

    while (follow.over < follow.count) {
        int count = epoll_wait(follow.poll, events, EVENTS_AT_ONCE, GIVE_UP_S * 1000);

        if (count <= 0)
            die("epoll_wait");
        for (int i = 0; i < count; i++)
            follow_read(events[i].data.ptr);
    }
}

static void follow_report(void)
{
    uint64_t events = 0, least = UINT64_MAX, most = 0;

    for (size_t i = 0; i < follow.count; i++) {
        uint64_t seen = follow.readers[i].seen[0];

        events += seen;
        least = seen < least ? seen : least;
        most = seen > most ? seen : most;
    }
    printf("{\"events\":%" PRIu64 ",\"least\":%" PRIu64 ",\"most\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"lost\":%zu,\"seconds\":%.3f}\n",
           events, least, most, follow.bytes, follow.lost,
           (double)(follow.last_ns - follow.first_ns) / 1e9);
}

int main(int argc, char **argv)
{
    struct rlimit files;

    if (argc != 4) {
        fprintf(stderr, "usage: follow PORT TOKEN READERS\n");
        return 2;
    }
    follow.count = strtoul(argv[3], NULL, 10);
    follow.readers = calloc(follow.count, sizeof(*follow.readers));
    follow.poll = epoll_create1(EPOLL_CLOEXEC);
    if (follow.readers == NULL || follow.poll < 0)
        die("follow");
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    for (size_t i = 0; i < follow.count; i++)
        follow_connect(&follow.readers[i], (uint16_t)strtoul(argv[1], NULL, 10), argv[2]);
    follow_run();
    follow_report();
    return follow.lost > 0;
}
