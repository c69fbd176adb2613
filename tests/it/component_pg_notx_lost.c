#include <signal.h>
#include <sys/wait.h>

#include "backend_proxy.h"
#include "notx_fixture.h"

/* Scripts without a transaction that lose their connection, their server or memory. */

/* Every query of the step loses its answer once. */
static void test_every_answer_is_lost_once(void **state)
{
    static const char *const words[] = {"EXISTS(SELECT FROM pg_stat",
                                        "'done',",
                                        "INSERT INTO t VALUES (1)",
                                        "kind='started'",
                                        "UNIQUE INDEX",
                                        "indisvalid",
                                        "kind='done',run_id",
                                        "kind='up'",
                                        "kind='undo done',run_id",
                                        "DROP INDEX",
                                        "DROP TABLE t",
                                        "DELETE FROM"};
    struct world *world = *state;
    const struct migration *index = load(world, "index", index_up, index_down);

    prepare(world);
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        struct cut_proxy proxy;
        struct outcome got;

        proxy_open(world, &proxy, words[i]);
        proxy.armed = 1;
        got = step(world, world->a, index, BACKEND_UP, "s");
        if (got.rc != 0)
            fail_msg("up, answer to %s: %s", words[i], err_text(&got.err));
        assert_int_equal(got.result.outcome, BACKEND_DONE);
        assert_admin(world, "SELECT string_agg(a::text, ' ' ORDER BY a) FROM s.t", "1 2 3");
        assert_row(world, index, "up");
        got = step(world, world->a, index, BACKEND_DOWN, "s");
        if (got.rc != 0)
            fail_msg("down, answer to %s: %s", words[i], err_text(&got.err));
        assert_int_equal(got.result.outcome, BACKEND_DONE);
        assert_admin(world, "SELECT to_regclass('s.t') IS NULL", "t");
        assert_row(world, index, "none");
        if (proxy.cuts != 1)
            fail_msg("%s: %u cuts", words[i], proxy.cuts);
        proxy_close(world, &proxy);
    }
}

/* The statement worked, and only its mark did not get through: that is no doubt. */
static void test_mark_is_lost(void **state)
{
    struct world *world = *state;
    const struct migration *opaque =
        load(world, "opaque", OFF "DO $$ BEGIN INSERT INTO t VALUES (1); END $$;", NULL);
    struct cut_proxy proxy;
    struct outcome got;

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a int)");
    proxy_open(world, &proxy, "kind='done',run_id");
    proxy.refuse = true;
    proxy.armed = 1;
    got = step(world, world->a, opaque, BACKEND_UP, "s");
    proxy_close(world, &proxy);
    assert_outcome(&got, 0, BACKEND_DONE);
    assert_int_equal(got.result.attempts, 2);
    assert_int_equal(proxy.cuts, 1);
    assert_admin(world, "SELECT count(*) FROM s.t", "1");
}

static void test_terminated_at_random(void **state)
{
    struct world *world = *state;
    const struct migration *index = load(world, "index", index_up, index_down);
    unsigned seed = (unsigned)getpid();

    print_message("seed %u\n", seed);
    srand(seed);
    prepare(world);
    world->settings.max_attempts = 20;
    reopen(world);
    for (unsigned i = 0; i < 30; i++) {
        struct going going;
        struct outcome got;

        go(world, &going, world->a, index, i % 2 == 0 ? BACKEND_UP : BACKEND_DOWN, "s", false);
        for (unsigned kills = 0; kills < 3; kills++) {
            for (int turn = rand() % 30; turn > 0 && !going.waited.done; turn--)
                uv_run(loop_uv(world->loop), UV_RUN_ONCE);
            admin_text(
                world,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bfm test'");
        }
        got = arrive(&going);
        assert_outcome(&got, 0, BACKEND_DONE);
        assert_row(world, index, i % 2 == 0 ? "up" : "none");
        if (i % 2 == 0) {
            assert_admin(world, "SELECT string_agg(a::text, ' ' ORDER BY a) FROM s.t", "1 2 3");
            assert_admin(
                world, "SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = 's.t'::regclass",
                "t");
        } else {
            assert_admin(world, "SELECT to_regclass('s.t') IS NULL", "t");
        }
    }
}

/* --- the server killed at named points --- */

#ifdef BFM_CRASH_POINTS

static const char at_work[] = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bfm "
                              "test' AND state <> 'idle'";

/* Runs the step in a process of its own, which dies at the point. */
static void crash(const struct migration *migration, const char *point)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        struct world world = {.loop = loop_create()};

        setenv("BFM_CRASH_AT", point, 1);
        world.settings = (struct backend_pg_settings){
            .connection = "core", .pool = fixture_settings(), .create_schema = true};
        world.a = backend_postgresql_create(world.loop, &world.settings);
        step(&world, world.a, migration, BACKEND_UP, "s");
        _exit(1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("%s was not reached", point);
}

static void test_killed_at_named_points(void **state)
{
    static const struct {
        const char *point;
        const char *row;
    } points[] = {
        {"notx_sent_1", NULL},     {"notx_done_1", "done 1"},       {"notx_sent_2", NULL},
        {"notx_done_2", "done 2"}, {"notx_started_3", "started 3"}, {"notx_sent_3", NULL},
        {"notx_done_3", "done 3"}, {"notx_sent_4", NULL},           {"notx_done_4", "done 4"},
        {"step_committed", "up"},
    };
    struct world *world = *state;
    const struct migration *index = load(world, "index", index_up, index_down);

    prepare(world);
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        struct outcome got;

        crash(index, points[i].point);
        await_admin(
            world,
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bfm test' AND state <> 'idle'",
            "0");
        if (points[i].row != NULL)
            assert_row(world, index, points[i].row);
        admin_text(world, "UPDATE bfm.journal SET applied_at = applied_at - interval '1 h'");
        got = step(world, world->a, index, BACKEND_UP, "s");
        if (got.rc != 0)
            fail_msg("behind %s: %s", points[i].point, err_text(&got.err));
        assert_admin(world, "SELECT string_agg(a::text, ' ' ORDER BY a) FROM s.t", "1 2 3");
        assert_admin(world,
                     "SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = 's.t'::regclass",
                     "t");
        down(world, index, "s", BACKEND_DONE);
    }
}

static void test_killed_with_a_transaction(void **state)
{
    static const char *const points[] = {"step_sent", "step_committed"};
    struct world *world = *state;
    const struct migration *users = load(
        world, "users", "CREATE TABLE users (a int); SELECT pg_sleep(0.05)", "DROP TABLE users");

    prepare(world);
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        struct outcome got;

        crash(users, points[i]);
        /* The dead one's transaction may still run, or not have begun: one of the two goes in. */
        got = step(world, world->a, users, BACKEND_UP, "s");
        assert_int_equal(got.rc, 0);
        if (strcmp(points[i], "step_committed") == 0)
            assert_int_equal(got.result.outcome, BACKEND_WAS_DONE);
        await_admin(world, at_work, "0");
        assert_admin(world, "SELECT count(*) FROM s.users", "0");
        assert_row(world, users, "up");
        down(world, users, "s", BACKEND_DONE);
    }
}

#endif

static void test_out_of_memory(void **state)
{
    struct world *world = *state;
    const struct migration *index = load(world, "index", index_up, index_down);
    bool hit = true;

    prepare(world);
    for (uint64_t nth = 1; hit; nth++) {
        struct outcome got = step_failing_at(world, index, nth, &hit);

        age_rows(world);
        if (got.rc != 0) {
            got = step(world, world->a, index, BACKEND_UP, "s");
            if (got.rc != 0)
                fail_msg("allocation %u: %s", (unsigned)nth, err_text(&got.err));
        }
        assert_admin(world, "SELECT string_agg(a::text, ' ' ORDER BY a) FROM s.t", "1 2 3");
        down(world, index, "s", BACKEND_DONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BACKEND_TEST(test_every_answer_is_lost_once),
        BACKEND_TEST(test_mark_is_lost),
        BACKEND_TEST(test_terminated_at_random),
#ifdef BFM_CRASH_POINTS
        BACKEND_TEST(test_killed_at_named_points),
        BACKEND_TEST(test_killed_with_a_transaction),
#endif
        BACKEND_TEST(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
