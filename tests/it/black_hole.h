#ifndef BFM_TESTS_BLACK_HOLE_H
#define BFM_TESTS_BLACK_HOLE_H

#include <unistd.h>

#include "loop_fixture.h"

/* A port where nobody gets in, nor is refused: the queue of its listener is full. */
struct black_hole {
    int fd, full[8];
    char port[16];
};

static inline void black_hole_open(struct black_hole *hole)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);

    hole->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(hole->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(hole->fd, 0), 0);
    assert_int_equal(getsockname(hole->fd, (struct sockaddr *)&addr, &len), 0);
    snprintf(hole->port, sizeof(hole->port), "%d", ntohs(addr.sin_port));
    for (size_t i = 0; i < ARRAY_SIZE(hole->full); i++) {
        hole->full[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(hole->full[i], (struct sockaddr *)&addr, sizeof(addr));
    }
}

static inline void black_hole_close(struct black_hole *hole)
{
    for (size_t i = 0; i < ARRAY_SIZE(hole->full); i++)
        close(hole->full[i]);
    close(hole->fd);
}

#endif
