#include "notx_fixture.h"

/* Scripts without a transaction that somebody began before: whether to go on is not always known.
 */

/* --- statements that can commit inside --- */

/* Whatever the error, and however often it is asked for: it ran once. */
static void test_partial_effects_are_not_repeated(void **state)
{
    static const char *const raised[] = {"RAISE EXCEPTION 'x' USING ERRCODE = '40P01'",
                                         "RAISE EXCEPTION 'x' USING ERRCODE = '40001'",
                                         "RAISE EXCEPTION 'x' USING ERRCODE = '55P03'",
                                         "RAISE EXCEPTION 'x'", "PERFORM 1 FROM absent"};
    struct world *world = *state;

    prepare(world);
    for (size_t i = 0; i < ARRAY_SIZE(raised); i++) {
        const struct migration *partly;
        struct outcome got;
        char text[512];

        snprintf(text, sizeof(text),
                 OFF "CREATE TABLE IF NOT EXISTS t (a int);\n"
                     "DO $$ BEGIN INSERT INTO t VALUES (1); COMMIT; %s; END $$;\n",
                 raised[i]);
        partly = load(world, "partly", text, NULL);
        got = step(world, world->a, partly, BACKEND_UP, "s");
        assert_true(got.rc == ERR_DB || got.rc == ERR_LOCKED);
        assert_int_equal(got.result.attempts, 1);
        assert_int_equal(got.err.statement, 2);
        assert_non_null(strstr(got.err.text, "it may have taken effect in part"));
        assert_row(world, partly, "started 2");
        for (unsigned more = 0; more < 2; more++) {
            age_rows(world);
            assert_failed(world, partly, BACKEND_UP, ERR_IN_DOUBT, "statement 2");
        }
        assert_admin(world, "SELECT count(*) FROM s.t", "1");
        leave_row(world, partly, "done", 2); /* as the text says */
        up(world, partly, "s", BACKEND_DONE);
        assert_admin(world, "SELECT count(*) FROM s.t", "1");
        admin_text(world, "DROP TABLE s.t; DELETE FROM bfm.journal WHERE migration_id = '%s'",
                   partly->id);
    }
}

/* What the server refuses before it begins can be run again. */
static void test_refused_before_it_began(void **state)
{
    struct world *world = *state;
    const struct migration *call =
        load(world, "call", OFF "CREATE TABLE t (a int);\nCALL fill();", NULL);

    prepare(world);
    assert_failed(world, call, BACKEND_UP, ERR_DB, "(SQLSTATE 42883, statement 2,");
    assert_row(world, call, "done 1");
    admin_text(world, "CREATE PROCEDURE s.fill() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO s.t "
                      "VALUES (1); COMMIT; END $$");
    age_rows(world);
    up(world, call, "s", BACKEND_DONE);
    assert_admin(world, "SELECT count(*) FROM s.t", "1");
}

/* --- what only a human can tell --- */

static void test_doubt_is_for_humans(void **state)
{
    struct world *world = *state;
    const struct migration *batches = load(
        world, "batches",
        OFF
        "CREATE TABLE IF NOT EXISTS t (a int);\n\nDO $$ BEGIN INSERT INTO t VALUES (1); COMMIT; INSERT INTO t VALUES (2); END $$;\nINSERT INTO t VALUES (3)",
        NULL);
    struct outcome got;

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a int)");
    leave_row(world, batches, "started", 2);
    got = step(world, world->a, batches, BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_IN_DOUBT);
    assert_int_equal(got.err.statement, 2);
    assert_int_equal(got.err.line, 4);
    assert_non_null(strstr(
        got.err.text, "statement 2 (20250101000000_batches.up.sql:4) was started by run dead"));
    assert_admin(world, "SELECT count(*) FROM s.t", "0");
    assert_failed(world, batches, BACKEND_UP, ERR_IN_DOUBT, "was started by run dead");
    assert_admin(world, "SELECT run_id FROM bfm.journal WHERE kind = 'started'", "dead");
    must_decide(world, batches, true); /* at once: nobody has touched it */
    assert_admin(world, "SELECT run_id FROM bfm.journal WHERE kind = 'done'", "dead");
    leave_row(world, batches, "done", 2); /* as the text says, if it had run */
    up(world, batches, "s", BACKEND_DONE);
    assert_admin(world, "SELECT string_agg(a::text, ' ') FROM s.t", "3");
    admin_text(world, "TRUNCATE s.t");
    leave_row(world, batches, "done", 1); /* if it had not */
    up(world, batches, "s", BACKEND_DONE);
    assert_admin(world, "SELECT string_agg(a::text, ' ' ORDER BY a) FROM s.t", "1 2 3");
    leave_row(world, batches, "started", 3);
    assert_failed(world, batches, BACKEND_UP, ERR_IN_DOUBT, "statement 3");
}

static void test_other_direction_is_refused(void **state)
{
    struct world *world = *state;
    const struct migration *index = load(world, "index", index_up, index_down);
    const struct migration *plain = load(world, "index", "SELECT 1", "SELECT 1");

    prepare(world);
    leave_row(world, index, "done", 1);
    assert_failed(
        world, index, BACKEND_DOWN, ERR_IN_DOUBT,
        "the up script of this migration ran without a transaction and stopped at statement 1 (done)");
    assert_failed(world, plain, BACKEND_UP, ERR_IN_DOUBT, "the up script");
    assert_failed(world, plain, BACKEND_DOWN, ERR_IN_DOUBT, "the up script");
    leave_row(world, index, "undo started", 2);
    assert_failed(world, index, BACKEND_UP, ERR_IN_DOUBT, "the down script");
    assert_row(world, index, "undo started 2");
}

static void test_changed_script_is_refused(void **state)
{
    struct world *world = *state;
    const struct migration *index = load(world, "index", index_up, index_down);

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a int)");
    leave_row(world, index, "done", 1);
    admin_text(world, "UPDATE bfm.journal SET checksum = 'older'");
    assert_failed(world, index, BACKEND_UP, ERR_IN_DOUBT,
                  "the script was changed since it stopped at statement 1 (done)");
    leave_row(world, index, "done", 9);
    admin_text(world, "UPDATE bfm.journal SET checksum = '%s'", index->up.checksum);
    assert_failed(world, index, BACKEND_UP, ERR_IN_DOUBT, "has only 4");
}

/* --- two servers --- */

static void test_many_at_once(void **state)
{
    struct world *world = *state;
    const struct migration *slow = load(
        world, "slow",
        OFF
        "CREATE TABLE t (a int);\nDO $$ BEGIN PERFORM pg_sleep(0.3); END $$;\nINSERT INTO t VALUES (1);",
        NULL);

    assert_int_equal(race_up(world, slow), 1);
    assert_admin(world, "SELECT count(*) FROM s.t", "1");
}

/* A row that moved a moment ago belongs to somebody, at work or not. */
static void test_fresh_row_is_left_alone(void **state)
{
    struct world *world = *state;
    const struct migration *index = load(world, "index", index_up, index_down);

    prepare(world);
    world->settings.lock_wait_ms = 100;
    reopen(world);
    leave_row(world, index, "done", 1);
    admin_text(world,
               "UPDATE bfm.journal SET applied_at = clock_timestamp() WHERE migration_id = '%s'",
               index->id);
    assert_failed(world, index, BACKEND_UP, ERR_LOCKED, "migration is already being executed");
    assert_row(world, index, "done 1");
}

/* However old its row: a session is at work on it. */
static void test_session_at_work_is_waited_for(void **state)
{
    struct world *world = *state;
    const struct migration *slow =
        load(world, "slow", OFF "DO $$ BEGIN PERFORM pg_sleep(3); END $$;", NULL);
    struct going going;
    struct outcome got;

    prepare(world);
    go(world, &going, world->b, slow, BACKEND_UP, "s", false);
    await_admin(
        world,
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '/* bfm%PERFORM%' AND state = 'active' AND pid <> pg_backend_pid()",
        "1");
    age_rows(world);
    got = step(world, world->a, slow, BACKEND_UP, "s");
    assert_outcome(&got, 0, BACKEND_WAS_DONE);
    assert_true(going.waited.done);
    got = arrive(&going);
    assert_outcome(&got, 0, BACKEND_DONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BACKEND_TEST(test_partial_effects_are_not_repeated),
        BACKEND_TEST(test_refused_before_it_began),
        BACKEND_TEST(test_doubt_is_for_humans),
        BACKEND_TEST(test_other_direction_is_refused),
        BACKEND_TEST(test_changed_script_is_refused),
        BACKEND_TEST(test_many_at_once),
        BACKEND_TEST(test_fresh_row_is_left_alone),
        BACKEND_TEST(test_session_at_work_is_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
