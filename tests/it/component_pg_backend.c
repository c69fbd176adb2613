#include "backend_fixture.h"

/* Steps with a transaction, the journal, and the questions, against a real PostgreSQL. */

static void test_up_again_down_again(void **state)
{
    struct world *world = *state;
    const struct migration *users =
        load(world, "users", "CREATE TABLE users (id int);\nINSERT INTO users VALUES (1);",
             "DROP TABLE users");
    struct outcome got;

    up(world, users, "s", BACKEND_DONE);
    assert_admin(world, "SELECT count(*) FROM s.users", "1");
    assert_admin(world,
                 "SELECT concat_ws('|', schema_name, migration_id, checksum, kind, statement) FROM "
                 "bfm.journal",
                 admin_text(world, "SELECT concat_ws('|', 's', '%s', '%s', 'up')", users->id,
                            users->up.checksum));
    got = step(world, world->b, users, BACKEND_UP, "s");
    assert_outcome(&got, 0, BACKEND_WAS_DONE);
    assert_true(got.result.applied_at_us > INT64_C(1700000000000000));
    assert_admin(world, "SELECT count(*) FROM s.users", "1");
    down(world, users, "s", BACKEND_DONE);
    assert_admin(world, "SELECT to_regclass('s.users') IS NULL", "t");
    assert_admin(world, "SELECT count(*) FROM bfm.journal", "0");
    down(world, users, "s", BACKEND_WAS_DONE);
    up(world, users, "s", BACKEND_DONE);
}

/* `first`, `second`: the same step at the same time, many times, on both servers. */
static void test_sixteen_at_once(void **state)
{
    struct world *world = *state;
    const struct migration *users =
        load(world, "users", "CREATE TABLE users (id int); SELECT pg_sleep(0.05)", NULL);

    assert_int_equal(race_up(world, users), 1);
}

static void test_many_schemas_at_once(void **state)
{
    struct world *world = *state;
    const struct migration *users = load(world, "users", "CREATE TABLE users (id int)", NULL);
    struct going going[40];
    char schemas[40][16];

    for (size_t i = 0; i < ARRAY_SIZE(going); i++) {
        snprintf(schemas[i], sizeof(schemas[i]), "many_%zu", i);
        go(world, &going[i], i % 2 == 0 ? world->a : world->b, users, BACKEND_UP, schemas[i], true);
    }
    for (size_t i = 0; i < ARRAY_SIZE(going); i++) {
        struct outcome got = arrive(&going[i]);

        assert_outcome(&got, 0, BACKEND_DONE);
    }
    assert_admin(
        world, "SELECT count(*) FROM pg_tables WHERE schemaname LIKE 'many%' AND tablename='users'",
        "40");
    for (size_t i = 0; i < ARRAY_SIZE(going); i++)
        admin_text(world, "SET client_min_messages=error; DROP SCHEMA %s CASCADE", schemas[i]);
}

static void test_failing_script_leaves_nothing(void **state)
{
    struct world *world = *state;
    const struct migration *broken =
        load(world, "broken",
             "CREATE TABLE one (id int);\n\nINSERT INTO one\n  SELECT * FROM absent;\n", NULL);
    struct outcome got = step(world, world->a, broken, BACKEND_UP, "s");

    assert_int_equal(got.rc, ERR_DB);
    assert_string_equal(got.err.text, "ERROR: relation \"absent\" does not exist (SQLSTATE 42P01, "
                                      "statement 2, 20250101000000_broken.up.sql:4)");
    assert_string_equal(got.err.sqlstate, "42P01");
    assert_int_equal(got.err.statement, 2);
    assert_int_equal(got.err.line, 4);
    assert_int_equal(got.result.attempts, 1); /* though the journal had to be made */
    assert_admin(world, "SELECT to_regclass('s.one') IS NULL", "t");
    assert_admin(world, "SELECT to_regnamespace('s') IS NULL", "t");
    assert_admin(world, "SELECT count(*) FROM bfm.journal", "0");
}

static void assert_place(struct world *world, const char *name, const char *script,
                         const char *schema, const char *sqlstate, unsigned statement,
                         unsigned line)
{
    const struct migration *migration = load(world, name, script, NULL);
    struct outcome got = step(world, world->a, migration, BACKEND_UP, schema);

    assert_int_equal(got.rc, ERR_DB);
    if (strcmp(got.err.sqlstate, sqlstate) != 0 || got.err.statement != statement ||
        got.err.line != line)
        fail_msg("%s: SQLSTATE %s, statement %u, line %u: %s", name, got.err.sqlstate,
                 got.err.statement, got.err.line, err_text(&got.err));
}

static void test_place_of_errors(void **state)
{
    struct world *world = *state;

    assert_place(world, "syntax", "SELECT 1;\nSELECT 2;\n\nSELEKT 3;\n", "s", "42601", 3, 4);
    assert_place(world, "runtime", "SELECT 1; SELECT\n2;\nSELECT 1 /\n0;", "s", "22012", 3, 3);
    assert_place(world, "umlauts", "SELECT 'äöü€𝄞äöü€𝄞';\n-- äöüß\nSELECT 'ä',\nnothing;", "s",
                 "42703", 2, 4);
    assert_place(world, "variables",
                 "SELECT '{{.Schema}}{{.Schema}}{{.Connection}}';\nSELECT '{{.Schema}}' AS "
                 "{{.Schema}},\nnothing; SELECT 1;",
                 "a schema with a \"long\" name", "42703", 2, 3);
    assert_place(
        world, "trigger",
        "CREATE TABLE t (a int UNIQUE DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO t VALUES "
        "(1);\nINSERT INTO t VALUES (1)",
        "s", "23505", 0, 0);
}

static void test_detail_hint_and_notices(void **state)
{
    struct world *world = *state;
    const struct migration *migration = load(
        world, "raise",
        "CREATE TABLE IF NOT EXISTS t (a int);\nDO $$ BEGIN RAISE NOTICE 'hello'; RAISE EXCEPTION "
        "'no' USING DETAIL='why', HINT='then'; END $$",
        NULL);
    const struct migration *fine =
        load(world, "fine", "DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$", NULL);
    struct going going;

    go(world, &going, world->a, migration, BACKEND_UP, "s", true);
    assert_int_equal(wait_for(&going.waited, going.started), ERR_DB);
    assert_non_null(strstr(going.waited.op.err.text, ":2) DETAIL: why HINT: then"));
    assert_string_equal(going.result.notices, "NOTICE: hello\n");
    mem_free(going.result.notices);
    go(world, &going, world->a, fine, BACKEND_UP, "s", true);
    assert_int_equal(wait_for(&going.waited, going.started), 0);
    assert_string_equal(going.result.notices, "NOTICE: one\nWARNING: two\n");
    mem_free(going.result.notices);
}

static void test_script_ending_in_a_comment(void **state)
{
    struct world *world = *state;

    up(world, load(world, "comment", "CREATE TABLE t (a int) -- the end", NULL), "s", BACKEND_DONE);
    assert_admin(world, "SELECT count(*) FROM s.t", "0");
}

/* --- the journal --- */

static void test_journal_dropped_in_between(void **state)
{
    struct world *world = *state;

    up(world, load(world, "one", "CREATE TABLE one (a int)", NULL), "s", BACKEND_DONE);
    admin_text(world, "DROP TABLE bfm.journal");
    up(world, load(world, "two", "CREATE TABLE two (a int)", NULL), "s", BACKEND_DONE);
    admin_text(world, "SET client_min_messages=error; DROP SCHEMA bfm CASCADE");
    up(world, load(world, "three", "CREATE TABLE three (a int)", NULL), "s", BACKEND_DONE);
    assert_admin(world, "SELECT count(*) FROM bfm.journal", "1");
    admin_text(world, "DROP TABLE bfm.journal");
    down(world, load(world, "four", "SELECT 1", "SELECT 1"), "s", BACKEND_WAS_DONE);
}

static void test_journal_of_another_name(void **state)
{
    struct world *world = *state;

    world->settings.journal_schema = "bfm \"own\" 'one'";
    reopen(world);
    up(world, load(world, "one", "CREATE TABLE one (a int)", NULL), "s", BACKEND_DONE);
    up(world, load(world, "one", "CREATE TABLE one (a int)", NULL), "s", BACKEND_WAS_DONE);
    assert_admin(world, "SELECT count(*) FROM \"bfm \"\"own\"\" 'one'\".journal", "1");
    assert_admin(world, "SELECT to_regclass('bfm.journal') IS NULL", "t");
    admin_text(world,
               "SET client_min_messages=error; DROP SCHEMA \"bfm \"\"own\"\" 'one'\" CASCADE");
}

/* A unique violation of the script's own is no news about the journal. */
static void test_unique_violation_in_the_script(void **state)
{
    struct world *world = *state;
    const struct migration *twice = load(
        world, "twice",
        "CREATE TABLE journal (a int PRIMARY KEY);\nINSERT INTO journal VALUES (1), (1)", NULL);
    struct outcome got = step(world, world->a, twice, BACKEND_UP, "s");

    assert_int_equal(got.rc, ERR_DB);
    assert_string_equal(got.err.sqlstate, "23505");
    assert_int_equal(got.err.statement, 2);
}

static void test_read_journal(void **state)
{
    struct world *world = *state;
    struct backend_journal journal;
    struct waited waited;
    char after_schema[64] = "", after_id[64] = "";
    unsigned pages = 0, rows = 0;
    bool more = true;

    waited_init(&waited, world->loop);
    assert_int_equal(
        wait_for(&waited, world->a->ops->read_journal(world->a, &waited.op, "", "", 10, &journal)),
        0);
    assert_int_equal(journal.count, 0); /* there is no table yet */
    assert_false(journal.more);
    arena_free(&journal.arena);
    up(world, load(world, "one", "SELECT 1", NULL), "s", BACKEND_DONE);
    admin_text(world,
               "INSERT INTO bfm.journal SELECT 's' || i / 10, 'm' || i, 'c', CASE i WHEN 7 THEN "
               "'started' ELSE 'up' END, 'epoch'::timestamptz + i * interval '1 s', 'r', NULL FROM "
               "generate_series(1, 30) i; DELETE FROM bfm.journal WHERE schema_name = 's'");
    while (more) {
        waited_init(&waited, world->loop);
        assert_int_equal(
            wait_for(&waited, world->a->ops->read_journal(world->a, &waited.op, after_schema,
                                                          after_id, 7, &journal)),
            0);
        for (size_t i = 0; i < journal.count; i++) {
            const struct backend_journal_row *row = &journal.rows[i];
            int order = strcmp(row->schema, after_schema);

            assert_true(order > 0 || (order == 0 && strcmp(row->migration_id, after_id) > 0));
            snprintf(after_schema, sizeof(after_schema), "%s", row->schema);
            snprintf(after_id, sizeof(after_id), "%s", row->migration_id);
            assert_int_equal(row->applied_at_us,
                             strtoll(row->migration_id + 1, NULL, 10) * 1000000);
            assert_int_equal(row->complete, strcmp(row->migration_id, "m7") != 0);
            assert_string_equal(row->run_id, "r");
            rows++;
        }
        more = journal.more;
        arena_free(&journal.arena);
        pages++;
    }
    assert_int_equal(rows, 30);
    assert_int_equal(pages, 5);
}

/* --- questions --- */

static void test_inspect(void **state)
{
    struct world *world = *state;
    struct backend_check checks[] = {
        {.schema = "s", .table = ""},        {.schema = "s", .table = "users"},
        {.schema = "s", .table = "v"},       {.schema = "s", .table = "Users"},
        {.schema = "absent", .table = ""},   {.schema = "absent", .table = "users"},
        {.schema = "s", .table = "users_i"},
    };
    const bool expected[] = {true, true, true, false, false, false, false};
    struct waited waited;

    up(world,
       load(
           world, "users",
           "CREATE TABLE users (a int); CREATE VIEW v AS SELECT 1 AS a; CREATE INDEX users_i ON users (a)",
           NULL),
       "s", BACKEND_DONE);
    waited_init(&waited, world->loop);
    assert_int_equal(
        wait_for(&waited, world->a->ops->inspect(world->a, &waited.op, checks, ARRAY_SIZE(checks))),
        0);
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
        assert_int_equal(checks[i].exists, expected[i]);
    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, world->a->ops->inspect(world->a, &waited.op, checks, 0)), 0);
}

static void test_ping(void **state)
{
    struct world *world = *state;
    struct going going[4];
    struct waited waited;

    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, world->a->ops->ping(world->a, &waited.op)), 0);
    for (size_t i = 0; i < ARRAY_SIZE(going); i++) { /* every connection is at work */
        char name[16];

        snprintf(name, sizeof(name), "sleep_%zu", i);
        go(world, &going[i], world->a, load(world, name, "SELECT pg_sleep(2)", NULL), BACKEND_UP,
           "s", true);
    }
    await_admin(
        world,
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '/* bfm%' AND state = 'active'",
        "t");
    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, world->a->ops->ping(world->a, &waited.op)), 0);
    for (size_t i = 0; i < ARRAY_SIZE(going); i++)
        assert_int_equal(arrive(&going[i]).rc, 0);
    world->settings.pool.port = "1";
    reopen(world);
    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, world->a->ops->ping(world->a, &waited.op)), ERR_UNREACHABLE);
}

/* Every allocation of a step fails once: it ends with a reason, and with nothing or everything
 * done. */
static void test_out_of_memory(void **state)
{
    struct world *world = *state;
    const struct migration *quick =
        load(world, "quick", "CREATE TABLE quick (a int)", "DROP TABLE quick");
    bool hit = true;

    prepare(world);
    for (uint64_t nth = 1; hit; nth++) {
        struct outcome got = step_failing_at(world, quick, nth, &hit);

        assert_all_or_nothing(world, quick, "quick", got.rc == 0);
        if (got.rc == 0)
            down(world, quick, "s", BACKEND_DONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BACKEND_TEST(test_up_again_down_again),
        BACKEND_TEST(test_sixteen_at_once),
        BACKEND_TEST(test_many_schemas_at_once),
        BACKEND_TEST(test_failing_script_leaves_nothing),
        BACKEND_TEST(test_place_of_errors),
        BACKEND_TEST(test_detail_hint_and_notices),
        BACKEND_TEST(test_script_ending_in_a_comment),
        BACKEND_TEST(test_journal_dropped_in_between),
        BACKEND_TEST(test_journal_of_another_name),
        BACKEND_TEST(test_unique_violation_in_the_script),
        BACKEND_TEST(test_read_journal),
        BACKEND_TEST(test_inspect),
        BACKEND_TEST(test_ping),
        BACKEND_TEST(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
