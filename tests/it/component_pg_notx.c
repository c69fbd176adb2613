#include "notx_fixture.h"

/* Scripts without a transaction (`bfm-transaction: off`) against a real PostgreSQL. */

static void test_up_and_down(void **state)
{
    struct world *world = *state;
    const struct migration *index = load(world, "index", index_up, index_down);

    up(world, index, "s", BACKEND_DONE);
    assert_admin(world, "SELECT count(*) FROM s.t", "3");
    assert_admin(world, "SELECT indisvalid FROM pg_index WHERE indexrelid = 's.\"t A\"'::regclass",
                 "t");
    assert_row(world, index, "up");
    up(world, index, "s", BACKEND_WAS_DONE);
    down(world, index, "s", BACKEND_DONE);
    assert_admin(world, "SELECT to_regclass('s.t') IS NULL", "t");
    assert_row(world, index, "none");
    down(world, index, "s", BACKEND_WAS_DONE);
    up(world, index, "s", BACKEND_DONE);
}

static void test_schema_creation_is_off(void **state)
{
    struct world *world = *state;
    const struct migration *index = load(world, "index", index_up, index_down);

    world->settings.create_schema = false;
    reopen(world);
    assert_failed(world, index, BACKEND_UP, ERR_DB, "CORE_CREATE_SCHEMA=off");
    assert_admin(world, "SELECT to_regclass('public.t') IS NULL", "t");
    admin_text(world, "CREATE SCHEMA s");
    up(world, index, "s", BACKEND_DONE);
    assert_admin(world, "SELECT to_regclass('public.t') IS NULL", "t");
}

static void test_resumes_behind_what_is_done(void **state)
{
    struct world *world = *state;
    const struct migration *index = load(world, "index", index_up, index_down);

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a int)");
    leave_row(world, index, "done", 1);
    up(world, index, "s", BACKEND_DONE);
    assert_admin(world, "SELECT count(*) FROM s.t", "3");
    leave_row(world, index, "undo done", 1);
    admin_text(world, "DROP INDEX s.\"t A\"");
    down(world, index, "s", BACKEND_DONE);
    assert_admin(world, "SELECT to_regclass('s.t') IS NULL", "t");
}

/* --- CREATE INDEX CONCURRENTLY that was started, and nobody knows --- */

static void test_invalid_index_is_rebuilt(void **state)
{
    struct world *world = *state;
    const struct migration *index = load(world, "index", index_up, index_down);

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a int); INSERT INTO s.t VALUES (1), (1)");
    {
        struct pg_conn *conn = take(world->loop, world->admin);
        struct pg_results results;

        assert_int_equal(ask(world->loop, conn,
                             "CREATE UNIQUE INDEX CONCURRENTLY \"t A\" ON s.t (a)", &results, NULL),
                         ERR_DB);
        pg_results_free(&results);
        pg_release(conn);
    }
    admin_text(world, "DELETE FROM s.t WHERE ctid = '(0,1)'");
    assert_admin(world, "SELECT indisvalid FROM pg_index WHERE indexrelid = 's.\"t A\"'::regclass",
                 "f");
    leave_row(world, index, "started", 3);
    up(world, index, "s", BACKEND_DONE);
    assert_admin(world, "SELECT indisvalid FROM pg_index WHERE indexrelid = 's.\"t A\"'::regclass",
                 "t");
    assert_admin(world, "SELECT count(*) FROM s.t", "2");
}

static void test_valid_index_is_kept(void **state)
{
    struct world *world = *state;
    const struct migration *index = load(world, "index", index_up, index_down);
    char oid[32];

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a int); CREATE UNIQUE INDEX \"t A\" ON s.t (a)");
    snprintf(oid, sizeof(oid), "%s", admin_text(world, "SELECT 's.\"t A\"'::regclass::oid"));
    leave_row(world, index, "started", 3);
    up(world, index, "s", BACKEND_DONE);
    assert_admin(world, "SELECT 's.\"t A\"'::regclass::oid", oid);
    assert_admin(world, "SELECT count(*) FROM s.t", "1");
}

static void test_absent_index_is_built(void **state)
{
    struct world *world = *state;
    const struct migration *index = load(world, "index", index_up, index_down);

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a int)");
    leave_row(world, index, "started", 3);
    up(world, index, "s", BACKEND_DONE);
    assert_admin(world, "SELECT indisvalid FROM pg_index WHERE indexrelid = 's.\"t A\"'::regclass",
                 "t");
    /* The way back, stopped at its first statement: dropped or not, the catalog tells. */
    leave_row(world, index, "undo started", 1);
    down(world, index, "s", BACKEND_DONE);
    up(world, index, "s", BACKEND_DONE);
    admin_text(world, "DROP INDEX s.\"t A\"");
    leave_row(world, index, "undo started", 1);
    down(world, index, "s", BACKEND_DONE);
    assert_admin(world, "SELECT to_regclass('s.t') IS NULL", "t");
}

/* It fails, leaves an invalid index, and works the next time. */
static void test_index_that_failed(void **state)
{
    struct world *world = *state;
    const struct migration *index =
        load(world, "index",
             OFF "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a);\nINSERT INTO t VALUES (9)", NULL);

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a int); INSERT INTO s.t VALUES (1), (1)");
    assert_failed(world, index, BACKEND_UP, ERR_DB,
                  "(SQLSTATE 23505, statement 1, 20250101000000_index.up.sql:2)");
    assert_row(world, index, "none");
    admin_text(world, "DELETE FROM s.t WHERE ctid = '(0,1)'");
    up(world, index, "s", BACKEND_DONE);
    assert_admin(world, "SELECT indisvalid FROM pg_index WHERE indexrelid = 's.i'::regclass", "t");
    assert_admin(world, "SELECT count(*) FROM s.t", "2");
}

static void test_reindex_copies_are_dropped(void **state)
{
    struct world *world = *state;
    const struct migration *again =
        load(world, "again", OFF "REINDEX INDEX CONCURRENTLY i;\nINSERT INTO t VALUES (9)", NULL);

    prepare(world);
    admin_text(
        world,
        "CREATE TABLE s.t (a int); CREATE INDEX i ON s.t (a); CREATE INDEX i_ccnew ON s.t (a); UPDATE "
        "pg_index SET indisvalid = false WHERE indexrelid = 's.i_ccnew'::regclass");
    leave_row(world, again, "started", 1);
    up(world, again, "s", BACKEND_DONE);
    assert_admin(
        world,
        "SELECT string_agg(indexrelid::regclass::text, ' ') FROM pg_index WHERE indrelid = 's.t'::regclass",
        "s.i");
    assert_admin(world, "SELECT count(*) FROM s.t", "1");
}

/* Each failed try leaves a copy; the next one, of the same run or of another, takes it away. */
static void test_reindex_that_failed(void **state)
{
    static const char copies[] =
        "SELECT count(*) FROM pg_index WHERE indrelid = 's.t'::regclass AND NOT indisvalid";
    struct world *world = *state;
    const struct migration *again =
        load(world, "again", OFF "REINDEX INDEX CONCURRENTLY i;\nINSERT INTO t VALUES (9)", NULL);
    struct pg_conn *holder = take(world->loop, world->admin);
    struct outcome got;

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a int); CREATE INDEX i ON s.t (a)");
    ask_text(world->loop, holder, "BEGIN; INSERT INTO s.t VALUES (1)");
    world->settings.lock_timeout_ms = 100;
    world->settings.max_attempts = 3;
    reopen(world);
    got = step(world, world->a, again, BACKEND_UP, "s");
    assert_string_equal(got.err.sqlstate, "55P03");
    assert_admin(world, copies, "1");
    ask_text(world->loop, holder, "COMMIT");
    age_rows(world);
    up(world, again, "s", BACKEND_DONE);
    assert_admin(world, copies, "0");
    assert_admin(world, "SELECT string_agg(a::text, ' ' ORDER BY a) FROM s.t", "1 9");
    pg_release(holder);
}

/* --- failures --- */

static void test_failure_in_the_middle(void **state)
{
    struct world *world = *state;
    const struct migration *middle = load(
        world, "middle",
        OFF
        "CREATE TABLE t (a int);\nINSERT INTO t VALUES (1);\nINSERT INTO\n  absent VALUES (1);\nINSERT INTO t VALUES (2);",
        NULL);
    struct outcome got = step(world, world->a, middle, BACKEND_UP, "s");

    assert_int_equal(got.rc, ERR_DB);
    assert_string_equal(
        got.err.text,
        "ERROR: relation \"absent\" does not exist (SQLSTATE 42P01, statement 3, 20250101000000_middle.up.sql:5)");
    assert_row(world, middle, "done 2");
    {
        struct backend_journal journal;
        struct waited waited;

        waited_init(&waited, world->loop);
        assert_int_equal(wait_for(&waited, world->a->ops->read_journal(world->a, &waited.op, "", "",
                                                                       9, &journal)),
                         0);
        assert_int_equal(journal.count, 1);
        assert_false(journal.rows[0].complete);
        arena_free(&journal.arena);
    }
    admin_text(world, "CREATE TABLE s.absent (a int)");
    up(world, middle, "s", BACKEND_DONE);
    assert_admin(world, "SELECT string_agg(a::text, ' ' ORDER BY a) FROM s.t", "1 2");
}

static void test_failure_at_the_start_leaves_nothing(void **state)
{
    struct world *world = *state;
    const struct migration *index =
        load(world, "index", index_up, "DROP INDEX CONCURRENTLY absent;");
    const struct migration *broken = load(world, "broken", OFF "VACUUM absent;", NULL);

    prepare(world);
    assert_failed(world, broken, BACKEND_UP, ERR_DB, "(SQLSTATE 42P01, statement 1,");
    assert_row(world, broken, "none");
    up(world, index, "s", BACKEND_DONE);
    admin_text(world, "UPDATE bfm.journal SET applied_at = '2025-02-03 04:05:06.789012+00'");
    assert_failed(world, index, BACKEND_DOWN, ERR_DB, "(SQLSTATE 42704, statement 1,");
    assert_row(world, index, "up");
    assert_admin(world,
                 "SELECT count(*) FROM bfm.journal WHERE applied_at = "
                 "'2025-02-03 04:05:06.789012+00'",
                 "2");
}

static void test_lock_timeout_is_tried_again(void **state)
{
    struct world *world = *state;
    const struct migration *add = load(
        world, "add", OFF "ALTER TABLE t ADD b int;\nCREATE INDEX CONCURRENTLY i ON t (b);", NULL);
    struct pg_conn *holder = take(world->loop, world->admin);
    struct going going;
    struct outcome got;

    prepare(world);
    ask_text(world->loop, holder, "CREATE TABLE s.t (a int)");
    ask_text(world->loop, holder, "BEGIN; LOCK TABLE s.t");
    world->settings.lock_timeout_ms = 1000;
    world->settings.max_attempts = 2;
    reopen(world);
    got = step(world, world->a, add, BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_LOCKED);
    assert_int_equal(got.result.attempts, 2);
    assert_non_null(strstr(got.err.text, ": BEGIN; LOCK TABLE s.t"));
    assert_row(world, add, "none");
    world->settings.lock_timeout_ms = 100;
    world->settings.max_attempts = 100;
    reopen(world);
    go(world, &going, world->a, add, BACKEND_UP, "s", false);
    wait_ms(world->loop, 250);
    ask_text(world->loop, holder,
             "ROLLBACK; BEGIN; INSERT INTO s.t VALUES (1)"); /* the index waits for it */
    wait_ms(world->loop, 250);
    assert_false(going.waited.done);
    ask_text(world->loop, holder, "COMMIT");
    got = arrive(&going);
    assert_outcome(&got, 0, BACKEND_DONE);
    assert_admin(world, "SELECT indisvalid FROM pg_index WHERE indexrelid = 's.i'::regclass", "t");
    pg_release(holder);
}

static void test_cancel(void **state)
{
    static const struct {
        const char *statement, *row;
    } cases[] = {{"SELECT pg_sleep(60)", "done 1"},
                 {"DO $$ BEGIN PERFORM pg_sleep(60); END $$", "started 2"}};
    struct world *world = *state;

    prepare(world);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct migration *slow;
        struct going going;
        char text[200];

        snprintf(text, sizeof(text), OFF "CREATE TABLE t%zu (a int);\n%s;\nDROP TABLE t%zu;", i,
                 cases[i].statement, i);
        slow = load(world, i == 0 ? "slow" : "slower", text, NULL);
        go(world, &going, world->a, slow, BACKEND_UP, "s", false);
        await_admin(world,
                    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '/* bfm%pg_sleep%' AND "
                    "state = 'active' AND pid <> pg_backend_pid()",
                    "1");
        op_cancel(&going.waited.op);
        assert_int_equal(arrive(&going).rc, ERR_CANCELED);
        assert_row(world, slow, cases[i].row);
    }
}

/* Nothing of the step's settings, nor of the script's, is left for the next one. */
static void test_session_is_clean_afterwards(void **state)
{
    struct world *world = *state;
    const struct migration *dirty = load(
        world, "dirty",
        OFF
        "DO $$ BEGIN PERFORM set_config('work_mem', '7MB', false); END $$;\nCREATE TABLE t AS SELECT current_setting('work_mem') AS a;\nVACUUM t;\nDO $$ BEGIN PERFORM pg_advisory_lock(4711); END $$;",
        NULL);
    const struct migration *probe = load(
        world, "probe",
        "CREATE TABLE probe AS SELECT current_setting('work_mem') <> '7MB' AND NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory') AS a",
        NULL);

    world->settings.pool.max_open = 1;
    reopen(world);
    up(world, dirty, "s", BACKEND_DONE);
    assert_admin(world, "SELECT a FROM s.t", "7MB");
    up(world, probe, "s", BACKEND_DONE);
    assert_admin(world, "SELECT a FROM s.probe", "t");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BACKEND_TEST(test_up_and_down),
        BACKEND_TEST(test_schema_creation_is_off),
        BACKEND_TEST(test_resumes_behind_what_is_done),
        BACKEND_TEST(test_invalid_index_is_rebuilt),
        BACKEND_TEST(test_valid_index_is_kept),
        BACKEND_TEST(test_absent_index_is_built),
        BACKEND_TEST(test_index_that_failed),
        BACKEND_TEST(test_reindex_copies_are_dropped),
        BACKEND_TEST(test_reindex_that_failed),
        BACKEND_TEST(test_failure_in_the_middle),
        BACKEND_TEST(test_failure_at_the_start_leaves_nothing),
        BACKEND_TEST(test_lock_timeout_is_tried_again),
        BACKEND_TEST(test_cancel),
        BACKEND_TEST(test_session_is_clean_afterwards),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
