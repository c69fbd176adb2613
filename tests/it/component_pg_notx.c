#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend_fixture.h"
#include "cut_proxy.h"

/* Scripts without a transaction (`bfm-transaction: off`) against a real PostgreSQL. */

#define OFF "-- bfm-transaction: off\n"

static const char index_up[] = OFF "CREATE TABLE t (a int);\n"
                                   "INSERT INTO t VALUES (1), (2);\n"
                                   "CREATE UNIQUE INDEX CONCURRENTLY \"t A\" ON t (a);\n"
                                   "INSERT INTO t VALUES (3);\n";
static const char index_down[] = "DROP INDEX CONCURRENTLY \"t A\";\nDROP TABLE t;";

/* Puts the journal row as a run that died an hour ago would have left it. */
static void leave_row(struct world *world, const struct migration *migration, const char *kind,
                      unsigned statement)
{
    admin_text(
        world,
        "INSERT INTO bfm.journal VALUES ('s', '%s', '%s', '%s', now() - interval '1 h', 'dead', "
        "%u) ON CONFLICT (schema_name, migration_id) DO UPDATE SET kind = excluded.kind, "
        "statement = excluded.statement, run_id = 'dead', applied_at = excluded.applied_at",
        migration->id, migration->up.checksum, kind, statement);
}

/* Journal and schema exist. */
static void prepare(struct world *world)
{
    up(world, load(world, "first", "SELECT 1", NULL), "s", BACKEND_DONE);
}

static void assert_row(struct world *world, const struct migration *migration, const char *expected)
{
    char sql[512];

    snprintf(
        sql, sizeof(sql),
        "SELECT coalesce((SELECT kind || coalesce(' ' || statement, '') FROM bfm.journal WHERE "
        "migration_id = '%s'), 'none')",
        migration->id);
    assert_admin(world, sql, expected);
}

static void assert_failed(struct world *world, const struct migration *migration,
                          enum backend_direction direction, int rc, const char *text)
{
    struct outcome got = step(world, world->a, migration, direction, "s");

    assert_outcome(&got, rc, BACKEND_DONE);
    if (strstr(got.err.text, text) == NULL)
        fail_msg("\"%s\" is not in: %s", text, got.err.text);
}

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
    admin_text(world, "UPDATE bfm.journal SET applied_at = now() - interval '1 h'");
    up(world, again, "s", BACKEND_DONE);
    assert_admin(world, copies, "0");
    assert_admin(world, "SELECT string_agg(a::text, ' ' ORDER BY a) FROM s.t", "1 9");
    pg_release(holder);
}

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
            admin_text(world, "UPDATE bfm.journal SET applied_at = now() - interval '1 h'");
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
    admin_text(world, "UPDATE bfm.journal SET applied_at = now() - interval '1 h'");
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
    world->settings.lock_timeout_ms = 100;
    world->settings.max_attempts = 2;
    reopen(world);
    got = step(world, world->a, add, BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_LOCKED);
    assert_int_equal(got.result.attempts, 2);
    assert_non_null(strstr(got.err.text, ": BEGIN; LOCK TABLE s.t"));
    assert_row(world, add, "none");
    world->settings.max_attempts = 30;
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
        "SELECT set_config('work_mem', '7MB', false);\nCREATE TABLE t AS SELECT current_setting('work_mem') AS a;\nVACUUM t;\nSELECT pg_advisory_lock(4711);",
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

/* --- two servers --- */

static void test_many_at_once(void **state)
{
    struct world *world = *state;
    const struct migration *slow = load(
        world, "slow",
        OFF
        "CREATE TABLE t (a int);\nDO $$ BEGIN PERFORM pg_sleep(0.3); END $$;\nINSERT INTO t VALUES (1);",
        NULL);
    struct going going[8];
    unsigned done = 0;

    for (size_t i = 0; i < ARRAY_SIZE(going); i++)
        go(world, &going[i], i % 2 == 0 ? world->a : world->b, slow, BACKEND_UP, "s", true);
    for (size_t i = 0; i < ARRAY_SIZE(going); i++) {
        struct outcome got = arrive(&going[i]);

        if (got.rc != 0)
            fail_msg("%s", err_text(&got.err));
        done += got.result.outcome == BACKEND_DONE;
    }
    assert_int_equal(done, 1);
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
        load(world, "slow", OFF "DO $$ BEGIN PERFORM pg_sleep(1); END $$;", NULL);
    struct going going;
    struct outcome got;

    prepare(world);
    go(world, &going, world->b, slow, BACKEND_UP, "s", false);
    await_admin(
        world,
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '/* bfm%PERFORM%' AND state = 'active' AND pid <> pg_backend_pid()",
        "1");
    admin_text(world, "UPDATE bfm.journal SET applied_at = now() - interval '1 h'");
    got = step(world, world->a, slow, BACKEND_UP, "s");
    assert_outcome(&got, 0, BACKEND_WAS_DONE);
    assert_true(going.waited.done);
    got = arrive(&going);
    assert_outcome(&got, 0, BACKEND_DONE);
}

/* --- lost connections --- */

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

        cut_proxy_start(&proxy, loop_uv(world->loop), world->settings.pool.host,
                        fixture_settings().port, words[i]);
        world->settings.pool.port = proxy.port;
        reopen(world);
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
        close_backend(world, &world->a);
        close_backend(world, &world->b);
        cut_proxy_stop(&proxy);
    }
    world->settings.pool.port = fixture_settings().port;
    reopen(world);
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
    cut_proxy_start(&proxy, loop_uv(world->loop), world->settings.pool.host,
                    world->settings.pool.port, "kind='done',run_id");
    world->settings.pool.port = proxy.port;
    reopen(world);
    proxy.refuse = true;
    proxy.armed = 1;
    got = step(world, world->a, opaque, BACKEND_UP, "s");
    close_backend(world, &world->a);
    close_backend(world, &world->b);
    cut_proxy_stop(&proxy);
    world->settings.pool.port = fixture_settings().port;
    reopen(world);
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
        struct going going;
        struct outcome got;

        reopen(world);
        mem_fail_at(nth, 0);
        go(world, &going, world->a, index, BACKEND_UP, "s", true);
        got = arrive(&going);
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        assert_true(got.rc == 0 || hit);
        admin_text(world, "UPDATE bfm.journal SET applied_at = now() - interval '1 h'");
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
        cmocka_unit_test_setup_teardown(test_up_and_down, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_schema_creation_is_off, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_resumes_behind_what_is_done, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_invalid_index_is_rebuilt, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_valid_index_is_kept, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_absent_index_is_built, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_index_that_failed, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_reindex_copies_are_dropped, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_reindex_that_failed, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_partial_effects_are_not_repeated, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_refused_before_it_began, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_doubt_is_for_humans, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_other_direction_is_refused, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_changed_script_is_refused, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_failure_in_the_middle, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_failure_at_the_start_leaves_nothing, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_lock_timeout_is_tried_again, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_cancel, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_session_is_clean_afterwards, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_many_at_once, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_fresh_row_is_left_alone, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_session_at_work_is_waited_for, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_every_answer_is_lost_once, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_mark_is_lost, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_terminated_at_random, world_setup, world_teardown),
#ifdef BFM_CRASH_POINTS
        cmocka_unit_test_setup_teardown(test_killed_at_named_points, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_killed_with_a_transaction, world_setup,
                                        world_teardown),
#endif
        cmocka_unit_test_setup_teardown(test_out_of_memory, world_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
