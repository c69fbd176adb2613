#ifndef BFM_TESTS_MARIA_WORLD_H
#define BFM_TESTS_MARIA_WORLD_H

#include <signal.h>
#include <stdarg.h>

#include "maria_fixture.h"
#include "pause.h"

/* What the tests of the MariaDB driver share. */

struct world {
    struct loop *loop;
    struct maria_settings settings;
    struct maria_pool *pool; /* 4 connections */
    struct maria_pool *side; /* what an administrator does meanwhile */
};

static inline int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    signal(SIGPIPE, SIG_IGN); /* as the server does: OpenSSL writes to sockets that are shut */
    world->loop = loop_create();
    world->settings = maria_fixture_settings();
    world->pool = maria_pool_create(world->loop, &world->settings);
    world->side = maria_pool_create(world->loop, &world->settings);
    *state = world;
    return 0;
}

static inline int teardown(void **state)
{
    struct world *world = *state;

    maria_close(world->loop, world->pool);
    maria_close(world->loop, world->side);
    loop_destroy(world->loop);
    free(world);
    return 0;
}

static inline void reopen(struct world *world)
{
    maria_close(world->loop, world->pool);
    world->pool = maria_pool_create(world->loop, &world->settings);
}

static inline struct maria_pool_stats stats_of(const struct maria_pool *pool)
{
    struct maria_pool_stats stats;

    maria_pool_get_stats(pool, &stats);
    return stats;
}

static inline void side_ask(struct world *world, const char *format, ...) PRINTF_LIKE(2, 3);

static inline void side_ask(struct world *world, const char *format, ...)
{
    struct maria_conn *conn = maria_take(world->loop, world->side);
    char sql[512];
    va_list args;

    va_start(args, format);
    vsnprintf(sql, sizeof(sql), format, args);
    va_end(args);
    maria_ask_text(world->loop, conn, sql);
    maria_release(conn);
}

/* The server that is the test's own. */
static inline void signal_server(int signum)
{
    const char *pid = fixture_env("BFM_TEST_MARIA_PID", NULL);

    assert_non_null(pid);
    if (signum == SIGSTOP)
        pause_process((pid_t)strtol(pid, NULL, 10));
    else
        assert_int_equal(kill((pid_t)strtol(pid, NULL, 10), signum), 0);
}

#define DRIVER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
