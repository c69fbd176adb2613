#ifndef BFM_TESTS_LOOP_FIXTURE_H
#define BFM_TESTS_LOOP_FIXTURE_H

#include "cmocka_all.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "io/loop.h"

/* What component tests share, whatever the server they talk to. */

static inline const char *fixture_env(const char *name, const char *otherwise)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : otherwise;
}

/* An op that ends the loop when it is done. */
struct waited {
    struct op op;
    struct loop *loop;
    bool done;
    int rc;
    unsigned *count; /* may be NULL: incremented when done */
};

static inline void on_waited(struct op *op, int rc)
{
    struct waited *waited = container_of(op, struct waited, op);

    waited->done = true;
    waited->rc = rc;
    if (waited->count != NULL)
        ++*waited->count;
    loop_stop(waited->loop);
}

static inline void waited_init(struct waited *waited, struct loop *loop)
{
    *waited = (struct waited){.loop = loop};
    op_init(&waited->op, on_waited);
}

/* Runs the loop until it is done; `rc` is what the start returned. */
static inline int wait_for(struct waited *waited, int rc)
{
    if (rc != 0)
        return rc;
    while (!waited->done) {
        loop_run(waited->loop);
        if (!waited->done && !uv_loop_alive(loop_uv(waited->loop)))
            fail_msg("nothing is left to wait for");
    }
    return waited->rc;
}

static inline int wait_ms(struct loop *loop, uint64_t ms)
{
    struct op_sleep nap = {.op = NULL};
    struct waited waited;

    waited_init(&waited, loop);
    return wait_for(&waited, op_sleep_start(&nap, loop_sched(loop), &waited.op, ms));
}

/* A listener that accepts connections and says nothing on them: its fd, and its port as text. */
static inline int listen_silently(char *port, size_t size)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    snprintf(port, size, "%d", ntohs(addr.sin_port));
    return fd;
}

static inline bool is_readable(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};

    return poll(&one, 1, 0) == 1;
}

/* Runs the loop until there is something to read, or somebody to accept. */
static inline void wait_readable(struct loop *loop, int fd)
{
    while (!is_readable(fd))
        wait_ms(loop, 1);
}

#endif
