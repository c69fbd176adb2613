/* Listening on every kind of address, and running out of descriptors. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "cmocka_all.h"
#include "io/tcp.h"

static bool without_ipv6;

/* Takes the place of the C library's, to play a system without IPv6. */
int socket(int domain, int type, int protocol)
{
    if (without_ipv6 && domain == AF_INET6) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return (int)syscall(SYS_socket, domain, type, protocol);
}

struct fixture {
    struct loop *loop;
    struct tcp_listener *listener;
    size_t accepted;
    size_t wanted; /* accepted so many: the loop stops */
    int fds[64];
    bool closed;
};

static void on_connection(void *arg, int fd)
{
    struct fixture *fixture = arg;

    assert_true(fixture->accepted < ARRAY_SIZE(fixture->fds));
    fixture->fds[fixture->accepted++] = fd;
    if (fixture->accepted == fixture->wanted)
        loop_stop(fixture->loop);
}

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed = true;
}

static void fixture_open(struct fixture *fixture, const char *host)
{
    struct err err = {0};

    *fixture = (struct fixture){.loop = loop_create()};
    assert_non_null(fixture->loop);
    if (tcp_listener_open(fixture->loop, host, 0, on_connection, fixture, &fixture->listener,
                          &err) != 0)
        fail_msg("%s", err.text);
    assert_true(tcp_listener_port(fixture->listener) > 0);
}

static void fixture_close(struct fixture *fixture)
{
    for (size_t i = 0; i < fixture->accepted; i++)
        tcp_discard(fixture->fds[i]);
    tcp_listener_close(fixture->listener, on_closed);
    loop_run(fixture->loop);
    assert_true(fixture->closed);
    loop_destroy(fixture->loop);
}

/* Begins to connect, without waiting; the kernel completes it in the backlog. */
static int try_connect(int family, unsigned port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    int fd = (int)syscall(SYS_socket, family, SOCK_STREAM, 0);
    int rc;

    assert_true(fd >= 0);
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v6.sin6_addr = in6addr_loopback;
    rc = family == AF_INET ? connect(fd, (struct sockaddr *)&v4, sizeof(v4))
                           : connect(fd, (struct sockaddr *)&v6, sizeof(v6));
    if (rc == 0)
        return fd;
    close(fd);
    return -1;
}

static void expect_reachable(struct fixture *fixture, int family)
{
    int fd = try_connect(family, tcp_listener_port(fixture->listener));

    assert_true(fd >= 0);
    fixture->wanted = fixture->accepted + 1;
    loop_run(fixture->loop);
    assert_int_equal(fixture->accepted, fixture->wanted);
    close(fd);
}

static bool system_has_ipv6(void)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    int fd = (int)syscall(SYS_socket, AF_INET6, SOCK_STREAM, 0);
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&v6, sizeof(v6)) == 0;

    if (fd >= 0)
        close(fd);
    return bound;
}

static void test_everywhere(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_open(&fixture, NULL);
    expect_reachable(&fixture, AF_INET);
    if (system_has_ipv6())
        expect_reachable(&fixture, AF_INET6);
    fixture_close(&fixture);
}

static void test_without_ipv6(void **state)
{
    struct fixture fixture;

    (void)state;
    without_ipv6 = true;
    fixture_open(&fixture, NULL);
    without_ipv6 = false;
    expect_reachable(&fixture, AF_INET);
    assert_int_equal(try_connect(AF_INET6, tcp_listener_port(fixture.listener)), -1);
    fixture_close(&fixture);
}

static void test_hosts(void **state)
{
    struct tcp_listener *listener;
    struct fixture fixture;
    struct err err;

    (void)state;
    fixture_open(&fixture, "localhost");
    expect_reachable(&fixture, AF_INET);
    assert_int_equal(tcp_listener_open(fixture.loop, "127.0.0.1",
                                       tcp_listener_port(fixture.listener), on_connection, &fixture,
                                       &listener, &err),
                     ERR_IO);
    assert_string_equal(err.text, "address already in use");
    assert_int_equal(tcp_listener_open(fixture.loop, "not an address", 0, on_connection, &fixture,
                                       &listener, &err),
                     ERR_IO);
    assert_int_equal(
        tcp_listener_open(fixture.loop, "192.0.2.1", 0, on_connection, &fixture, &listener, &err),
        ERR_IO);
    assert_string_equal(err.text, "address not available");
    fixture_close(&fixture);
    if (!system_has_ipv6())
        return;
    fixture_open(&fixture, "::1");
    expect_reachable(&fixture, AF_INET6);
    fixture_close(&fixture);
}

static int option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t size = sizeof(value);

    assert_int_equal(getsockopt(fd, level, option, &value, &size), 0);
    return value;
}

static void test_accepted_sockets_have_their_keep_alive(void **state)
{
    const struct keepalive keepalive = {
        .idle_s = 40, .interval_s = 11, .count = 4, .user_timeout_ms = 1234};
    struct fixture fixture;
    int fd;

    (void)state;
    fixture_open(&fixture, "127.0.0.1");
    assert_int_equal(tcp_listener_set_keepalive(fixture.listener, &keepalive), 0);
    expect_reachable(&fixture, AF_INET);
    fd = fixture.fds[0];
    assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 40);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), 11);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), 4);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 1234);
    fixture_close(&fixture);
}

static int warnings;

static void count_line(void *arg, const char *line, size_t len)
{
    (void)arg;
    (void)len;
    warnings += strstr(line, "cannot be accepted") != NULL;
}

/* Descriptors taken until none is left, and the timer that gives one back. */
struct shortage {
    struct timer timer;
    struct fixture *fixture;
    int filler;
    int turns; /* how often the timer fired before */
    size_t accepted;
};

static void on_shortage(struct timer *timer)
{
    struct shortage *shortage = container_of(timer, struct shortage, timer);

    shortage->accepted += shortage->fixture->accepted;
    if (++shortage->turns == 3) { /* long enough for several attempts */
        close(shortage->filler);
        return;
    }
    sched_start_timer(loop_sched(shortage->fixture->loop), timer, 100);
}

static int cpu_ms(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (int)((usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
                 (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000);
}

/* Without a free descriptor the loop rests instead of spinning, says so once, loses nobody, and
 * goes on as soon as there is one. */
static void test_descriptors_out(void **state)
{
    struct shortage shortage = {.timer.fire = on_shortage};
    struct rlimit saved, low;
    struct fixture fixture;
    int client, before;

    (void)state;
    fixture_open(&fixture, "127.0.0.1");
    client = try_connect(AF_INET, tcp_listener_port(fixture.listener));
    assert_true(client >= 0);
    shortage.fixture = &fixture;
    shortage.filler = dup(0);
    getrlimit(RLIMIT_NOFILE, &saved);
    low = (struct rlimit){.rlim_cur = (rlim_t)shortage.filler + 1, .rlim_max = saved.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    assert_int_equal(dup(0), -1);
    log_set_sink(count_line, NULL);
    sched_start_timer(loop_sched(fixture.loop), &shortage.timer, 100);
    fixture.wanted = 1;
    before = cpu_ms();
    loop_run(fixture.loop);
    setrlimit(RLIMIT_NOFILE, &saved);
    log_set_sink(NULL, NULL);
    assert_int_equal(shortage.accepted, 0);
    assert_int_equal(fixture.accepted, 1);
    assert_int_equal(warnings, 1);
    assert_true(cpu_ms() - before < 150);
    close(client);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everywhere),
        cmocka_unit_test(test_without_ipv6),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_accepted_sockets_have_their_keep_alive),
        cmocka_unit_test(test_descriptors_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
