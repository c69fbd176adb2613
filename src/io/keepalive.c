#include "io/keepalive.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/err.h"

static int keepalive_set_one(int fd, int level, int option, unsigned value)
{
    int number = (int)value;

    return setsockopt(fd, level, option, &number, sizeof(number)) == 0 ? 0 : ERR_IO;
}

int keepalive_set(int fd, const struct keepalive *keepalive)
{
    int rc = keepalive_set_one(fd, SOL_SOCKET, SO_KEEPALIVE, keepalive->idle_s > 0);

    if (rc == 0 && keepalive->idle_s > 0)
        rc = keepalive_set_one(fd, IPPROTO_TCP, TCP_KEEPIDLE, keepalive->idle_s);
    if (rc == 0 && keepalive->interval_s > 0)
        rc = keepalive_set_one(fd, IPPROTO_TCP, TCP_KEEPINTVL, keepalive->interval_s);
    if (rc == 0 && keepalive->count > 0)
        rc = keepalive_set_one(fd, IPPROTO_TCP, TCP_KEEPCNT, keepalive->count);
    if (rc == 0 && keepalive->user_timeout_ms > 0)
        rc = keepalive_set_one(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, keepalive->user_timeout_ms);
    return rc;
}
