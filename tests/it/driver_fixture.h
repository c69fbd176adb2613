#ifndef BFM_TESTS_DRIVER_FIXTURE_H
#define BFM_TESTS_DRIVER_FIXTURE_H

#include "pg_fixture.h"

/* What the tests of the PostgreSQL driver share. */

struct world {
    struct loop *loop;
    struct pg_settings settings;
    struct pg_pool *pool; /* 4 connections */
    struct pg_pool *side; /* what an administrator does meanwhile */
};

static inline int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    world->loop = loop_create();
    world->settings = fixture_settings();
    world->pool = pg_pool_create(world->loop, &world->settings);
    world->side = pg_pool_create(world->loop, &world->settings);
    *state = world;
    return 0;
}

static inline int teardown(void **state)
{
    struct world *world = *state;

    close_pool(world->loop, world->pool);
    close_pool(world->loop, world->side);
    loop_destroy(world->loop);
    free(world);
    return 0;
}

static inline void reopen(struct world *world)
{
    close_pool(world->loop, world->pool);
    world->pool = pg_pool_create(world->loop, &world->settings);
}

static inline struct pg_pool_stats stats_of(const struct pg_pool *pool)
{
    struct pg_pool_stats stats;

    pg_pool_get_stats(pool, &stats);
    return stats;
}

static inline void side_ask(struct world *world, const char *format, ...) PRINTF_LIKE(2, 3);

static inline void side_ask(struct world *world, const char *format, ...)
{
    struct pg_conn *conn = take(world->loop, world->side);
    char sql[512];
    va_list args;

    va_start(args, format);
    vsnprintf(sql, sizeof(sql), format, args);
    va_end(args);
    ask_text(world->loop, conn, sql);
    pg_release(conn);
}

#define DRIVER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
