#include "backend_fixture.h"

/* What a step leaves on its session, and where it can be cancelled, against a real PostgreSQL. */

static void assert_clean(struct world *world)
{
    struct going going;
    struct outcome got;
    const struct migration *probe = load(
        world, "probe",
        "CREATE TABLE probe AS SELECT current_setting('lock_timeout') || '|' || "
        "(SELECT count(*) FROM pg_prepared_statements) || (SELECT count(*) FROM pg_cursors) || "
        "(SELECT count(*) FROM pg_listening_channels()) || (SELECT count(*) FROM pg_locks WHERE pid "
        "= pg_backend_pid() AND locktype = 'advisory') || (to_regclass('pg_temp.left_over') IS NULL) AS a",
        NULL);

    go(world, &going, world->a, probe, BACKEND_UP, "s", false);
    got = arrive(&going);
    assert_outcome(&got, 0, BACKEND_DONE);
    assert_admin(world, "SELECT a FROM s.probe", "5s|0000true");
}

static void test_dirty_script_leaves_nothing_on_the_session(void **state)
{
    struct world *world = *state;
    const struct migration *dirty = load(world, "dirty", dirty_script, NULL);

    assert_true(dirty->up.dirties_session);
    world->settings.pool.max_open = 1;
    reopen(world);
    up(world, dirty, "s", BACKEND_DONE);
    assert_clean(world);
    assert_admin(world, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "0");
}

static void test_failing_dirty_script_leaves_nothing_either(void **state)
{
    struct world *world = *state;
    char script[1024];
    struct outcome got;

    snprintf(script, sizeof(script), "%s SELECT 1/0", dirty_script);
    world->settings.pool.max_open = 1;
    reopen(world);
    got = step(world, world->a, load(world, "dirty", script, NULL), BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_DB);
    assert_string_equal(got.err.sqlstate, "22012");
    admin_text(world, "CREATE SCHEMA s");
    assert_clean(world);
    assert_admin(world, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "0");
}

/* A function called in plain DML changes the session: the next tenant must not see it. */
static void test_function_leaves_nothing_on_the_session(void **state)
{
    struct world *world = *state;
    const struct migration *sneaky =
        load(world, "sneaky",
             "CREATE TABLE t (a int); CREATE FUNCTION sneaky() RETURNS int LANGUAGE plpgsql AS "
             "$$ BEGIN SET statement_timeout = '777ms'; SET ROLE pg_monitor; RETURN 1; END $$;"
             "INSERT INTO t VALUES (sneaky())",
             NULL);

    assert_false(sneaky->up.dirties_session);
    world->settings.pool.max_open = 1;
    reopen(world);
    up(world, sneaky, "s", BACKEND_DONE);
    up(world,
       load(world, "probe",
            "CREATE TABLE probe AS SELECT current_setting('statement_timeout') || '|' || "
            "(current_user = session_user) || '|' || current_setting('client_encoding') AS a",
            NULL),
       "s", BACKEND_DONE);
    assert_admin(world, "SELECT a FROM s.probe", "0|true|UTF8");
}

/* --- cancels --- */

static void test_cancel_of_a_running_script(void **state)
{
    struct world *world = *state;
    const struct migration *slow =
        load(world, "slow", "CREATE TABLE slow (a int); SELECT pg_sleep(60)", NULL);
    struct going going;

    go(world, &going, world->a, slow, BACKEND_UP, "s", true);
    await_admin(
        world,
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '/* bfm%pg_sleep(60)%' AND state = 'active' AND pid <> pg_backend_pid()",
        "1");
    op_cancel(&going.waited.op);
    assert_int_equal(arrive(&going).rc, ERR_CANCELED);
    assert_admin(world, "SELECT count(*) FROM bfm.journal", "0");
    assert_admin(world, "SELECT to_regclass('s.slow') IS NULL", "t");
}

static void test_cancel_while_waiting(void **state)
{
    struct world *world = *state;
    struct pg_conn *holder = take(world->loop, world->admin);
    struct going slow, waiting;
    struct outcome got;

    world->settings.pool.max_open = 1;
    reopen(world);
    ask_text(world->loop, holder, "SELECT pg_advisory_lock(23)");
    go(world, &slow, world->a, load(world, "slow", "SELECT pg_advisory_xact_lock(23)", NULL),
       BACKEND_UP, "s", true);
    go(world, &waiting, world->a, load(world, "next", "CREATE TABLE next (a int)", NULL),
       BACKEND_UP, "s", true);
    wait_ms(world->loop, 10);
    op_cancel(&waiting.waited.op);
    assert_false(waiting.waited.done);
    assert_int_equal(arrive(&waiting).rc, ERR_CANCELED);
    assert_false(slow.waited.done);
    ask_text(world->loop, holder, "SELECT pg_advisory_unlock(23)");
    pg_release(holder);
    got = arrive(&slow);
    assert_outcome(&got, 0, BACKEND_DONE);
}

/* At a moment of every kind: what is told is what happened. */
static void test_cancel_at_any_time(void **state)
{
    struct world *world = *state;
    unsigned done = 0, canceled = 0;

    prepare(world);
    for (unsigned i = 0; i < 60; i++) {
        const struct migration *quick =
            load(world, "quick", "CREATE TABLE quick (a int); SELECT pg_sleep(0.002)",
                 "DROP TABLE quick");
        struct going going;
        struct outcome got;

        go(world, &going, world->a, quick, BACKEND_UP, "s", false);
        for (unsigned turn = 0; turn < i % 12 && !going.waited.done; turn++)
            uv_run(loop_uv(world->loop), turn < 2 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
        if (!going.waited.done)
            op_cancel(&going.waited.op);
        got = arrive(&going);
        assert_true(got.rc == 0 || got.rc == ERR_CANCELED);
        assert_all_or_nothing(world, quick, "quick", got.rc == 0);
        if (got.rc == 0)
            down(world, quick, "s", BACKEND_DONE);
        done += got.rc == 0;
        canceled += got.rc != 0;
        registry_unref(world->registries[--world->registry_count]);
    }
    assert_true(done > 0 && canceled > 0);
}

/* --- through a pooler --- */

static void test_pgbouncer(void **state)
{
    struct world *world = *state;
    const char *port = fixture_env("BFM_TEST_PGBOUNCER_PORT", NULL);
    const struct migration *users = load(
        world, "users", "CREATE TABLE users (id int); SELECT pg_sleep(0.02)", "DROP TABLE users");
    const struct migration *dirty = load(world, "dirty", dirty_script, NULL);
    struct going going;

    if (port == NULL) {
        print_message("BFM_TEST_PGBOUNCER_PORT is not set\n");
        return;
    }
    world->settings.pool.port = port;
    reopen(world);
    assert_int_equal(race_up(world, users), 1);
    down(world, users, "s", BACKEND_DONE);
    up(world, dirty, "s", BACKEND_DONE);
    for (unsigned i = 0; i < 8; i++) {
        assert_clean(world);
        admin_text(
            world,
            "DROP TABLE s.probe; DELETE FROM bfm.journal WHERE migration_id LIKE '%%probe%%'");
    }
    go(world, &going, world->a,
       load(
           world, "index",
           "-- bfm-transaction: off\nCREATE TABLE t (a int);\nCREATE INDEX CONCURRENTLY t_a ON t (a);",
           NULL),
       BACKEND_UP, "s", true);
    assert_int_equal(arrive(&going).rc, ERR_UNSUPPORTED); /* its settings would not stay with it */
    assert_admin(world, "SELECT to_regclass('s.t') IS NULL", "t");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BACKEND_TEST(test_dirty_script_leaves_nothing_on_the_session),
        BACKEND_TEST(test_failing_dirty_script_leaves_nothing_either),
        BACKEND_TEST(test_function_leaves_nothing_on_the_session),
        BACKEND_TEST(test_cancel_of_a_running_script),
        BACKEND_TEST(test_cancel_while_waiting),
        BACKEND_TEST(test_cancel_at_any_time),
        BACKEND_TEST(test_pgbouncer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
