/* The log's way out: order, a full pipe, a peer that is gone, files, lines from other threads. */
#include "cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/sink.h"

static bool closed;

static void on_closed(struct op *op, int rc)
{
    (void)op;
    assert_int_equal(rc, 0);
    closed = true;
}

static void close_sink(struct loop *loop, struct sink *sink, uint64_t wait_ms)
{
    struct op op;

    closed = false;
    op_init(&op, on_closed);
    sink_close(sink, &op, wait_ms);
    assert_false(closed);
    loop_run(loop);
    assert_true(closed);
}

static void read_all(int fd, struct buf *out)
{
    char piece[4096];
    ssize_t got;

    buf_init(out, 16 * 1024 * 1024);
    while ((got = read(fd, piece, sizeof(piece))) > 0)
        buf_append(out, piece, (size_t)got);
}

static void test_lines_leave_in_order(void **state)
{
    struct loop *loop = loop_create();
    struct sink *sink;
    struct buf said;
    char line[32];
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    sink = sink_create(loop, fds[1], 65536);
    for (int i = 0; i < 1000; i++)
        sink_push(sink, line, (size_t)snprintf(line, sizeof(line), "line %d\n", i));
    assert_int_equal(sink_dropped(sink), 0);
    close_sink(loop, sink, 5000);
    close(fds[1]);
    read_all(fds[0], &said);
    for (int i = 0, at = 0; i < 1000; i++) {
        int len = snprintf(line, sizeof(line), "line %d\n", i);

        assert_memory_equal(said.data + at, line, (size_t)len);
        at += len;
    }
    buf_free(&said);
    close(fds[0]);
    loop_destroy(loop);
}

static void test_descriptor_keeps_its_mode(void **state)
{
    struct loop *loop = loop_create();
    struct sink *sink;
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    sink = sink_create(loop, fds[1], 65536);
    close_sink(loop, sink, 100);
    assert_int_equal(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);
    close(fds[0]);
    close(fds[1]);
    loop_destroy(loop);
}

struct stop_timer {
    struct timer timer;
    struct loop *loop;
};

static void on_stop(struct timer *timer)
{
    loop_stop(container_of(timer, struct stop_timer, timer)->loop);
}

static void run_for(struct loop *loop, uint64_t ms)
{
    struct stop_timer stop = {.timer = {.fire = on_stop}, .loop = loop};

    sched_start_timer(loop_sched(loop), &stop.timer, ms);
    loop_run(loop);
}

/* Nobody reads: nothing blocks, the rest is dropped and counted, and closing gives up in time. */
static void test_full_pipe(void **state)
{
    static char line[1024];
    struct loop *loop = loop_create();
    struct sink *sink;
    uint64_t begin;
    int fds[2];

    (void)state;
    memset(line, 'x', sizeof(line));
    assert_int_equal(pipe(fds), 0);
    sink = sink_create(loop, fds[1], 100 * sizeof(line));
    for (int i = 0; i < 1000; i++) {
        sink_push(sink, line, sizeof(line));
        if (i % 100 == 0)
            run_for(loop, 1);
    }
    assert_true(sink_dropped(sink) > 500);
    begin = clock_monotonic_ns();
    close_sink(loop, sink, 50);
    assert_true(clock_monotonic_ns() - begin < UINT64_C(30000000000));
    close(fds[0]);
    close(fds[1]);
    loop_destroy(loop);
}

static void test_drops_are_reported(void **state)
{
    static char line[1024];
    struct loop *loop = loop_create();
    struct sink *sink;
    struct buf said;
    int fds[2];

    (void)state;
    memset(line, 'x', sizeof(line));
    assert_int_equal(pipe(fds), 0);
    sink = sink_create(loop, fds[1], 2 * sizeof(line));
    log_set_sink(sink_push, sink);
    for (int i = 0; i < 5; i++)
        sink_push(sink, line, sizeof(line));
    run_for(loop, 20);
    assert_int_equal(sink_dropped(sink), 3);
    log_set_sink(NULL, NULL);
    close_sink(loop, sink, 1000);
    close(fds[1]);
    read_all(fds[0], &said);
    assert_non_null(strstr(said.data, "\"msg\":\"log lines dropped\",\"count\":3}"));
    buf_free(&said);
    close(fds[0]);
    loop_destroy(loop);
}

static void test_peer_is_gone(void **state)
{
    struct loop *loop = loop_create();
    struct sink *sink;
    int fds[2];

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(fds), 0);
    sink = sink_create(loop, fds[1], 65536);
    close(fds[0]);
    sink_push(sink, "lost\n", 5);
    run_for(loop, 5);
    sink_push(sink, "lost\n", 5);
    close_sink(loop, sink, 1000);
    close(fds[1]);
    loop_destroy(loop);
}

static void test_file(void **state)
{
    char path[] = "/tmp/bfm-sink-XXXXXX";
    struct loop *loop = loop_create();
    int fd = mkstemp(path);
    struct sink *sink;
    struct buf said;

    (void)state;
    unlink(path);
    sink = sink_create(loop, fd, 65536);
    sink_push(sink, "one\n", 4);
    run_for(loop, 20);
    sink_push(sink, "two\n", 4);
    close_sink(loop, sink, 1000);
    lseek(fd, 0, SEEK_SET);
    read_all(fd, &said);
    assert_string_equal(said.data, "one\ntwo\n");
    buf_free(&said);
    close(fd);
    loop_destroy(loop);
}

static void test_no_descriptor(void **state)
{
    struct loop *loop = loop_create();

    (void)state;
    assert_null(sink_create(loop, 1000, 65536));
    loop_destroy(loop);
}

static void *push_many(void *arg)
{
    for (int i = 0; i < 1000; i++)
        sink_push(arg, "0123456789\n", 11);
    return NULL;
}

static void test_threads(void **state)
{
    struct loop *loop = loop_create();
    pthread_t threads[4];
    struct sink *sink;
    struct buf said;
    char path[] = "/tmp/bfm-sink-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    unlink(path);
    sink = sink_create(loop, fd, 1024 * 1024);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_create(&threads[i], NULL, push_many, sink);
    run_for(loop, 5);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    close_sink(loop, sink, 5000);
    lseek(fd, 0, SEEK_SET);
    read_all(fd, &said);
    assert_int_equal(said.len, 4 * 1000 * 11);
    for (size_t i = 0; i < said.len; i += 11)
        assert_memory_equal(said.data + i, "0123456789\n", 11);
    buf_free(&said);
    close(fd);
    loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_leave_in_order),
        cmocka_unit_test(test_descriptor_keeps_its_mode),
        cmocka_unit_test(test_full_pipe),
        cmocka_unit_test(test_drops_are_reported),
        cmocka_unit_test(test_peer_is_gone),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_no_descriptor),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
