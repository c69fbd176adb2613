#include "backend_proxy.h"

/* Connections that are lost and targets that are away: what is told is what happened. */

static void test_idle_connection_lost(void **state)
{
    struct world *world = *state;
    struct outcome got;

    prepare(world);
    admin_text(
        world,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'bfm test'");
    got = step(world, world->a, load(world, "next", "CREATE TABLE next (a int)", NULL), BACKEND_UP,
               "s");
    assert_outcome(&got, 0, BACKEND_DONE);
}

/* The journal knows what the lost connection could not say. */
static void test_terminated_at_random(void **state)
{
    struct world *world = *state;
    const struct migration *quick = load(
        world, "quick", "CREATE TABLE quick (a int); SELECT pg_sleep(0.001)", "DROP TABLE quick");
    unsigned seed = (unsigned)getpid(), retried = 0;

    print_message("seed %u\n", seed);
    srand(seed);
    prepare(world);
    for (unsigned i = 0; i < 150; i++) {
        enum backend_direction direction = i % 2 == 0 ? BACKEND_UP : BACKEND_DOWN;
        struct pg_conn *killer = take(world->loop, world->admin);
        struct pg_results results;
        struct waited kill;
        struct going going;
        struct outcome got;

        waited_init(&kill, world->loop);
        go(world, &going, world->a, quick, direction, "s", false);
        for (int turn = rand() % 8; turn > 0 && !going.waited.done; turn--)
            uv_run(loop_uv(world->loop), UV_RUN_NOWAIT);
        assert_int_equal(
            pg_query(
                killer, &kill.op,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bfm test'",
                0, &results),
            0);
        got = arrive(&going);
        assert_int_equal(wait_for(&kill, 0), 0);
        pg_results_free(&results);
        pg_release(killer);
        assert_outcome(&got, 0, BACKEND_DONE);
        assert_all_or_nothing(world, quick, "quick", direction == BACKEND_UP);
        retried += got.result.attempts > 1;
    }
    assert_true(retried > 0);
}

/* Commits, and does not hear of it: the second try finds the row and says that it did it. */
static void test_answer_to_commit_is_lost(void **state)
{
    struct world *world = *state;
    const struct migration *users =
        load(world, "users", "CREATE TABLE users (a int)", "DROP TABLE users");
    const struct migration *dirty = load(world, "dirty", dirty_script, NULL);
    struct cut_proxy proxy;
    struct outcome got;

    proxy_open(world, &proxy, "COMMIT");
    prepare(world);
    for (unsigned lost = 1; lost < 3; lost++) {
        proxy.armed = 1;
        got = step(world, world->a, users, BACKEND_UP, "s");
        assert_outcome(&got, 0, BACKEND_DONE);
        assert_int_equal(got.result.attempts, 2);
        assert_admin(world, "SELECT count(*) FROM s.users", "0");
        proxy.armed = 1;
        got = step(world, world->a, users, BACKEND_DOWN, "s");
        assert_outcome(&got, 0, BACKEND_DONE);
        assert_int_equal(got.result.attempts, 2);
        assert_admin(world, "SELECT to_regclass('s.users') IS NULL", "t");
        assert_int_equal(proxy.cuts, 2 * lost);
    }
    proxy.armed = 1;
    got = step(world, world->a, dirty, BACKEND_UP, "s");
    assert_outcome(&got, 0, BACKEND_DONE);
    assert_int_equal(proxy.cuts, 5);

    /* Cancelled while it does not know: what became of it is found out all the same. */
    {
        struct going going;

        proxy.armed = 1;
        go(world, &going, world->a, users, BACKEND_UP, "s", false);
        while (proxy.cuts < 6)
            wait_ms(world->loop, 1);
        wait_ms(world->loop, 5);
        op_cancel(&going.waited.op);
        got = arrive(&going);
        assert_outcome(&got, 0, BACKEND_DONE);
    }
    proxy_close(world, &proxy);
}

/* Every try is lost behind its COMMIT: when there were enough, the journal still is asked. */
static void test_doubt_ends_in_a_look(void **state)
{
    struct world *world = *state;
    const struct migration *users =
        load(world, "users", "CREATE TABLE users (a int)", "DROP TABLE users");
    struct cut_proxy proxy;
    struct outcome got;

    world->settings.max_attempts = 3;
    proxy_open(world, &proxy, "COMMIT");
    prepare(world);
    proxy.armed = 100;
    got = step(world, world->a, users, BACKEND_UP, "s");
    assert_outcome(&got, 0, BACKEND_DONE);
    assert_int_equal(got.result.attempts, 3);
    assert_int_equal(proxy.cuts, 3);
    got = step(world, world->a, users, BACKEND_DOWN, "s");
    assert_outcome(&got, 0, BACKEND_DONE);
    assert_admin(world, "SELECT to_regclass('s.users') IS NULL", "t");
    /* None of them has reached the server: told as what it was, and not as a doubt. */
    proxy.refuse = true;
    got = step(world, world->a, users, BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_UNREACHABLE);
    assert_int_equal(got.result.attempts, 3);
    assert_admin(world, "SELECT count(*) FROM bfm.journal WHERE migration_id LIKE '%users%'", "0");
    proxy_close(world, &proxy);
}

/* No connection lasts long enough for a look at the journal, and the time for that is over. */
static void test_doubt_stays(void **state)
{
    struct world *world = *state;
    const struct migration *users = load(world, "users", "CREATE TABLE users (a int)", NULL);
    struct cut_proxy proxy;
    struct outcome got;

    world->settings.max_attempts = 3;
    world->settings.doubt_wait_ms = 300;
    proxy_open(world, &proxy, "BEGIN;");
    prepare(world);
    proxy.armed = 1000;
    got = step(world, world->a, users, BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_IN_DOUBT);
    assert_int_equal(got.result.attempts, 3);
    assert_true(proxy.cuts > 3);
    assert_non_null(strstr(got.err.text, "the next run finds out from the journal"));
    proxy.armed = 0;
    got = step(world, world->a, users, BACKEND_UP, "s");
    assert_outcome(&got, 0, BACKEND_WAS_DONE);
    proxy_close(world, &proxy);
}

/* The script runs again, as its first try was lost, and is long: a cancel ends it all the same. */
static void test_cancel_of_another_try(void **state)
{
    struct world *world = *state;
    const struct migration *slow =
        load(world, "slow", "CREATE TABLE slow (a int); SELECT pg_sleep(61)", NULL);
    struct cut_proxy proxy;
    struct going going;
    struct outcome got;

    proxy_open(world, &proxy, "COMMIT");
    prepare(world);
    proxy.armed = 1;
    proxy.refuse = true;
    go(world, &going, world->a, slow, BACKEND_UP, "s", false);
    await_admin(
        world,
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '/* bfm%pg_sleep(61)%' AND state = 'active' AND wait_event = 'PgSleep'",
        "1");
    assert_int_equal(proxy.cuts, 1);
    op_cancel(&going.waited.op);
    got = arrive(&going);
    assert_int_equal(got.rc, ERR_CANCELED);
    assert_admin(world, "SELECT to_regclass('s.slow') IS NULL", "t");
    assert_admin(world, "SELECT count(*) FROM bfm.journal WHERE migration_id LIKE '%slow%'", "0");
    proxy_close(world, &proxy);
}

/* The second try waits for the first one's transaction, which lives on: cancelled there, what
 * became of that one still is found out. */
static void test_cancel_while_an_earlier_try_lives(void **state)
{
    struct world *world = *state;
    const struct migration *users = load(world, "users", "CREATE TABLE users (a int)", NULL);
    struct pg_conn *holder;
    struct cut_proxy proxy;
    struct going going;
    struct outcome got;

    prepare(world);
    proxy_open(world, &proxy, "COMMIT");
    proxy.armed = 1;
    proxy.refuse = true;
    holder = take(world->loop, world->admin);
    go(world, &going, world->a, users, BACKEND_UP, "s", false);
    while (proxy.cuts < 1)
        wait_ms(world->loop, 1);
    /* In the place of the first try: the row in an open transaction. */
    ask_text(world->loop, holder, "BEGIN");
    {
        char sql[512];

        snprintf(sql, sizeof(sql),
                 "INSERT INTO bfm.journal(schema_name,migration_id,checksum,kind,run_id) "
                 "VALUES('s','%s','%s','up','%s')",
                 users->id, users->up.checksum, going.run_id);
        ask_text(world->loop, holder, sql);
    }
    await_admin(
        world,
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '/* bfm%users%' AND wait_event_type = 'Lock'",
        "1");
    op_cancel(&going.waited.op);
    await_admin(
        world,
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '/* bfm%ROLLBACK' AND wait_event_type = 'Lock'",
        "1");
    ask_text(world->loop, holder, "COMMIT");
    pg_release(holder);
    got = arrive(&going);
    assert_outcome(&got, 0, BACKEND_DONE);
    proxy_close(world, &proxy);
}

/* The server says why, and before COMMIT: nothing happened, for sure. */
static void test_every_try_is_cut_off(void **state)
{
    struct world *world = *state;
    const struct migration *suicide = load(
        world, "suicide",
        "CREATE TABLE suicide (a int); SELECT pg_terminate_backend(pg_backend_pid()); SELECT pg_sleep(5)",
        NULL);
    struct outcome got;

    world->settings.max_attempts = 2;
    reopen(world);
    prepare(world);
    got = step(world, world->a, suicide, BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_UNREACHABLE);
    assert_string_equal(got.err.sqlstate, "57P01");
    assert_int_equal(got.result.attempts, 2);
    assert_admin(world, "SELECT to_regclass('s.suicide') IS NULL", "t");
}

/* --- targets that are away --- */

static void test_target_is_away(void **state)
{
    struct world *world = *state;
    const struct migration *users = load(world, "users", "CREATE TABLE users (a int)", NULL);
    struct going going[40];

    world->settings.pool.port = "1";
    reopen(world);
    for (size_t i = 0; i < ARRAY_SIZE(going); i++)
        go(world, &going[i], world->a, users, BACKEND_UP, "s", true);
    for (size_t i = 0; i < ARRAY_SIZE(going); i++) {
        struct outcome got = arrive(&going[i]);

        assert_int_equal(got.rc, ERR_UNREACHABLE);
        assert_string_equal(got.err.text, "cannot connect: connection refused");
    }
    go(world, &going[0], world->a, users, BACKEND_UP, "s", true);
    op_cancel(&going[0].waited.op);
    assert_true(arrive(&going[0]).rc < 0);
}

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

/* An outage of long ago does not count: every one gets its own time to pass. */
static void test_second_outage_has_its_grace(void **state)
{
    struct world *world = *state;
    const struct migration *users = load(world, "users", "CREATE TABLE users (a int)", NULL);
    struct outcome got;

    world->settings.pool.port = "1";
    reopen(world);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t began = now_ms();

        got = step(world, world->a, users, BACKEND_UP, "s");
        assert_int_equal(got.rc, ERR_UNREACHABLE);
        assert_in_range(now_ms() - began, 2000, 30000);
        if (i == 0)
            wait_ms(world->loop, 3200);
    }
}

/* A host that swallows everything: one connect is enough to find out. */
static void test_black_hole(void **state)
{
    struct world *world = *state;
    const struct migration *users = load(world, "users", "CREATE TABLE users (a int)", NULL);
    uint64_t began;
    char port[16];
    struct outcome got;
    int fd = listen_silently(port, sizeof(port));

    world->settings.pool.host = "127.0.0.1";
    world->settings.pool.port = port;
    world->settings.pool.connect_timeout_ms = 8000;
    reopen(world);
    began = now_ms();
    got = step(world, world->a, users, BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_UNREACHABLE);
    assert_in_range(now_ms() - began, 7900, 15900);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BACKEND_TEST(test_idle_connection_lost),
        BACKEND_TEST(test_terminated_at_random),
        BACKEND_TEST(test_answer_to_commit_is_lost),
        BACKEND_TEST(test_doubt_ends_in_a_look),
        BACKEND_TEST(test_doubt_stays),
        BACKEND_TEST(test_cancel_of_another_try),
        BACKEND_TEST(test_cancel_while_an_earlier_try_lives),
        BACKEND_TEST(test_every_try_is_cut_off),
        BACKEND_TEST(test_target_is_away),
        BACKEND_TEST(test_second_outage_has_its_grace),
        BACKEND_TEST(test_black_hole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
