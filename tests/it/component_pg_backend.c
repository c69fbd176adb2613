#include <unistd.h>

#include "backend_fixture.h"
#include "base/utf8.h"
#include "cut_proxy.h"

/* Steps with a transaction, and the questions, against a real PostgreSQL. */

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
    struct going going[16];
    unsigned done = 0, was_done = 0;

    for (size_t i = 0; i < ARRAY_SIZE(going); i++)
        go(world, &going[i], i % 2 == 0 ? world->a : world->b, users, BACKEND_UP, "s", true);
    for (size_t i = 0; i < ARRAY_SIZE(going); i++) {
        struct outcome got = arrive(&going[i]);

        assert_int_equal(got.rc, 0);
        done += got.result.outcome == BACKEND_DONE;
        was_done += got.result.outcome == BACKEND_WAS_DONE;
    }
    assert_int_equal(done, 1);
    assert_int_equal(was_done, 15);
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
    assert_int_equal(got.result.attempts, 1 + 1); /* the journal had to be made */
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

/* --- schemas --- */

static void test_hostile_schema_names(void **state)
{
    static const char *const names[] = {
        "pub lic",
        "a\"b'c\\d",
        "Ünï-cødé €",
        "$bfm$",
        "123",
        "-",
        "select",
        "x; DROP SCHEMA bfm CASCADE; --",
        "bfm $$ ' \" %s %I {{.Schema}}",
        "0123456789012345678901234567890123456789012345678901234567890ab",
    };
    struct world *world = *state;
    const struct migration *users = load(world, "users",
                                         "CREATE TABLE users (a text DEFAULT '{{.Schema}}'); "
                                         "INSERT INTO users DEFAULT VALUES",
                                         "DROP TABLE users");

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct backend_check check = {.schema = names[i], .table = "users"};
        struct waited waited;

        up(world, users, names[i], BACKEND_DONE);
        up(world, users, names[i], BACKEND_WAS_DONE);
        waited_init(&waited, world->loop);
        assert_int_equal(wait_for(&waited, world->a->ops->inspect(world->a, &waited.op, &check, 1)),
                         0);
        assert_true(check.exists);
        down(world, users, names[i], BACKEND_DONE);
        check.exists = true;
        waited_init(&waited, world->loop);
        assert_int_equal(wait_for(&waited, world->a->ops->inspect(world->a, &waited.op, &check, 1)),
                         0);
        assert_false(check.exists);
    }
    admin_text(
        world,
        "SET client_min_messages=error; DO $x$ DECLARE n text; BEGIN FOR n IN SELECT nspname FROM pg_namespace "
        "WHERE nspname NOT LIKE 'pg\\_%%' AND nspname NOT IN ('public', 'bfm', "
        "'information_schema') LOOP EXECUTE format('DROP SCHEMA %%I CASCADE', n); END "
        "LOOP; END $x$");
}

static void test_refused_schema_names(void **state)
{
    static const char *const names[] = {
        "", "$user", "bad \xff",
        "0123456789012345678901234567890123456789012345678901234567890123"};
    struct world *world = *state;
    const struct migration *users = load(world, "users", "CREATE TABLE users (a int)", NULL);

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct outcome got = step(world, world->a, users, BACKEND_UP, names[i]);

        assert_int_equal(got.rc, ERR_INVALID);
    }
}

static void test_missing_schema_is_found_out(void **state)
{
    struct world *world = *state;
    const struct migration *users = load(world, "users", "CREATE TABLE bfm_lost (a int)", NULL);
    struct going going;
    struct outcome got;

    go(world, &going, world->a, users, BACKEND_UP, "s", false); /* the hint is wrong */
    got = arrive(&going);
    assert_outcome(&got, 0, BACKEND_DONE);
    assert_admin(world, "SELECT to_regclass('s.bfm_lost') IS NOT NULL", "t");
    assert_admin(world, "SELECT to_regclass('public.bfm_lost') IS NULL", "t");
}

static void test_schema_creation_is_off(void **state)
{
    struct world *world = *state;
    const struct migration *users = load(world, "users", "CREATE TABLE bfm_lost (a int)", NULL);
    struct outcome got;

    world->settings.create_schema = false;
    reopen(world);
    got = step(world, world->a, users, BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_DB);
    assert_string_equal(got.err.text, "schema \"s\" does not exist, and CORE_CREATE_SCHEMA=off "
                                      "forbids to create it");
    assert_admin(world, "SELECT to_regclass('public.bfm_lost') IS NULL", "t");
    admin_text(world, "CREATE SCHEMA s");
    up(world, users, "s", BACKEND_DONE);
}

/* A role without USAGE would create in public what belongs into the schema. */
static void test_schema_without_usage(void **state)
{
    struct world *world = *state;
    const struct migration *users = load(world, "users", "CREATE TABLE bfm_lost (a int)", NULL);
    struct outcome got;

    up(world, load(world, "first", "SELECT 1", NULL), "s", BACKEND_DONE);
    admin_text(world, "SET client_min_messages=error; DROP ROLE IF EXISTS bfm_plain");
    admin_text(world,
               "CREATE ROLE bfm_plain LOGIN; GRANT USAGE ON SCHEMA bfm TO bfm_plain; "
               "GRANT ALL ON bfm.journal TO bfm_plain; GRANT CREATE ON SCHEMA public TO bfm_plain");
    world->settings.pool.user = "bfm_plain";
    world->settings.pool.password = NULL;
    reopen(world);
    got = step(world, world->a, users, BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_DB);
    assert_non_null(strstr(got.err.text, "lacks USAGE"));
    assert_admin(world, "SELECT to_regclass('public.bfm_lost') IS NULL", "t");
    /* With the right to use it, and none to create schemas: all that a step needs. */
    admin_text(world, "GRANT ALL ON SCHEMA s TO bfm_plain");
    up(world, users, "s", BACKEND_DONE);
    admin_text(world, "DROP OWNED BY bfm_plain; DROP ROLE bfm_plain");
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
        go(world, &going[i], world->a, load(world, name, "SELECT pg_sleep(0.3)", NULL), BACKEND_UP,
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

/* One connection means one: neither the look for who blocks nor a ping opens another. */
static void test_never_more_than_max_open(void **state)
{
    static const char count_sql[] =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bfm test'";
    struct world *world = *state;
    struct pg_conn *holder;
    struct waited ping;
    struct going going;
    struct outcome got;
    bool pinged = false;

    up(world, load(world, "users", "CREATE TABLE users (a int)", NULL), "s", BACKEND_DONE);
    world->settings.lock_timeout_ms = 2600;
    world->settings.max_attempts = 1;
    world->settings.pool.max_open = 1;
    reopen(world);
    await_admin(world, count_sql, "0");
    holder = take(world->loop, world->admin);
    ask_text(world->loop, holder, "BEGIN; LOCK TABLE s.users");
    go(world, &going, world->a, load(world, "add", "ALTER TABLE users ADD b int", NULL), BACKEND_UP,
       "s", false);
    await_admin(world, count_sql, "1");
    waited_init(&ping, world->loop);
    assert_int_equal(world->a->ops->ping(world->a, &ping.op), 0);
    while (!going.waited.done) {
        assert_admin(world, count_sql, "1");
        pinged = pinged || ping.done;
        wait_ms(world->loop, 20);
    }
    assert_true(pinged); /* while the step still was at work */
    assert_int_equal(ping.rc, 0);
    got = arrive(&going);
    assert_int_equal(got.rc, ERR_LOCKED);
    pg_release(holder);
}

/* What is shown of the blocker's query: whole characters, and no password. */
static void test_blocker_is_shown_with_care(void **state)
{
    struct world *world = *state;
    struct pg_conn *holder;
    struct outcome got;
    char sql[512];

    up(world, load(world, "users", "CREATE TABLE users (a int)", NULL), "s", BACKEND_DONE);
    world->settings.lock_timeout_ms = 400;
    world->settings.max_attempts = 1;
    reopen(world);
    holder = take(world->loop, world->admin);
    for (unsigned shift = 0; shift < 2; shift++) { /* one of them cuts in the middle */
        size_t at = (size_t)snprintf(sql, sizeof(sql), "BEGIN; LOCK TABLE s.users /*%s",
                                     shift > 0 ? "x" : "");

        while (at < 400)
            at += (size_t)snprintf(sql + at, sizeof(sql) - at, "ä");
        snprintf(sql + at, sizeof(sql) - at, "*/");
        ask_text(world->loop, holder, sql);
        got = step(world, world->a, load(world, "add", "ALTER TABLE users ADD b int", NULL),
                   BACKEND_UP, "s");
        assert_int_equal(got.rc, ERR_LOCKED);
        assert_non_null(strstr(got.err.text, "LOCK TABLE s.users"));
        assert_true(utf8_is_valid(got.err.text, strlen(got.err.text)));
        ask_text(world->loop, holder, "ROLLBACK");
    }
    ask_text(world->loop, holder, "BEGIN; LOCK TABLE s.users; SELECT 'passWord is secret'");
    got = step(world, world->a, load(world, "add", "ALTER TABLE users ADD b int", NULL), BACKEND_UP,
               "s");
    assert_non_null(strstr(got.err.text, "BEGIN; LOCK"));
    assert_null(strstr(got.err.text, "secret"));
    pg_release(holder);
}

/* --- locks --- */

static void test_lock_timeout_names_the_blocker(void **state)
{
    struct world *world = *state;
    struct pg_conn *holder;
    char expected[128];
    struct outcome got;

    up(world, load(world, "users", "CREATE TABLE users (a int)", NULL), "s", BACKEND_DONE);
    world->settings.lock_timeout_ms = 200;
    world->settings.max_attempts = 3;
    world->settings.pool.max_open = 2;
    reopen(world);
    holder = take(world->loop, world->admin);
    snprintf(expected, sizeof(expected), "blocked by pid %s: BEGIN; LOCK TABLE s.users",
             ask_text(world->loop, holder, "SELECT pg_backend_pid()"));
    ask_text(world->loop, holder, "BEGIN; LOCK TABLE s.users");
    got = step(world, world->a, load(world, "add", "SELECT 1;\nALTER TABLE users ADD b int", NULL),
               BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_LOCKED);
    assert_string_equal(got.err.sqlstate, "55P03");
    assert_int_equal(got.err.statement, 2);
    assert_int_equal(got.result.attempts, 3);
    if (strstr(got.err.text, expected) == NULL)
        fail_msg("%s", got.err.text);
    /* Freed between two tries, it goes through. */
    {
        struct going going;

        world->settings.max_attempts = 20;
        reopen(world);
        go(world, &going, world->a,
           load(world, "add", "SELECT 1;\nALTER TABLE users ADD b int", NULL), BACKEND_UP, "s",
           true);
        wait_ms(world->loop, 300);
        assert_false(going.waited.done);
        ask_text(world->loop, holder, "ROLLBACK");
        got = arrive(&going);
        assert_outcome(&got, 0, BACKEND_DONE);
        assert_true(got.result.attempts > 1);
    }
    pg_release(holder);
}

static void test_limits_of_the_script(void **state)
{
    struct world *world = *state;
    struct outcome got;

    got = step(
        world, world->a,
        load(world, "slow", "-- bfm-statement-timeout: 50ms\nSELECT 1;\nSELECT pg_sleep(10)", NULL),
        BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_DB);
    assert_string_equal(got.err.sqlstate, "57014");
    assert_int_equal(got.err.line, 3);
    up(world,
       load(
           world, "limits",
           "-- bfm-lock-timeout: 7s\n-- bfm-statement-timeout: 8s\nCREATE TABLE limits AS "
           "SELECT current_setting('lock_timeout') || current_setting('statement_timeout') || current_setting('search_path') AS a",
           NULL),
       "s", BACKEND_DONE);
    assert_admin(world, "SELECT a FROM s.limits", "7s8ss, public");
}

/* Another server at the same step for longer than we wait. */
static void test_step_held_by_another(void **state)
{
    struct world *world = *state;
    const struct migration *users =
        load(world, "users", "CREATE TABLE users (a int); SELECT pg_sleep(1)", NULL);
    struct going slow;
    struct outcome got;

    up(world, load(world, "first", "SELECT 1", NULL), "s", BACKEND_DONE);
    world->settings.lock_wait_ms = 100;
    reopen(world);
    go(world, &slow, world->b, users, BACKEND_UP, "s", false);
    await_admin(
        world,
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '/* bfm%pg_sleep(1)%' AND state = 'active' AND pid <> pg_backend_pid()",
        "1");
    got = step(world, world->a, users, BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_LOCKED);
    assert_string_equal(got.err.text, "migration is already being executed");
    got = arrive(&slow);
    assert_outcome(&got, 0, BACKEND_DONE);
}

/* Two steps that deadlock: one is told to go, and tries again. */
static void test_deadlock_is_tried_again(void **state)
{
    struct world *world = *state;
    struct going one, two;
    struct outcome got;

    up(world, load(world, "tables", "CREATE TABLE x (a int); CREATE TABLE y (a int)", NULL), "s",
       BACKEND_DONE);
    go(world, &one, world->a,
       load(world, "one", "LOCK TABLE x; SELECT pg_sleep(0.2); LOCK TABLE y", NULL), BACKEND_UP,
       "s", false);
    go(world, &two, world->b,
       load(world, "two", "LOCK TABLE y; SELECT pg_sleep(0.2); LOCK TABLE x", NULL), BACKEND_UP,
       "s", false);
    got = arrive(&one);
    assert_outcome(&got, 0, BACKEND_DONE);
    got = arrive(&two);
    assert_outcome(&got, 0, BACKEND_DONE);
    assert_int_equal(one.result.attempts + two.result.attempts, 3);
}

/* --- sessions --- */

static const char dirty_script[] =
    "SET lock_timeout = '1234ms'; SET search_path = pg_catalog; CREATE TEMP TABLE left_over (a int);"
    "PREPARE left_over AS SELECT 1; LISTEN left_over; SELECT pg_advisory_lock(4711);"
    "SET ROLE pg_monitor; RESET ROLE; CREATE SEQUENCE s.q; SELECT nextval('s.q');"
    "DECLARE left_over CURSOR WITH HOLD FOR SELECT 1;";

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
    struct going slow, waiting;
    struct outcome got;

    world->settings.pool.max_open = 1;
    reopen(world);
    go(world, &slow, world->a, load(world, "slow", "SELECT pg_sleep(0.3)", NULL), BACKEND_UP, "s",
       true);
    go(world, &waiting, world->a, load(world, "next", "CREATE TABLE next (a int)", NULL),
       BACKEND_UP, "s", true);
    wait_ms(world->loop, 10);
    op_cancel(&waiting.waited.op);
    assert_false(waiting.waited.done);
    assert_int_equal(arrive(&waiting).rc, ERR_CANCELED);
    assert_false(slow.waited.done);
    got = arrive(&slow);
    assert_outcome(&got, 0, BACKEND_DONE);
}

/* At a moment of every kind: what is told is what happened. */
static void test_cancel_at_any_time(void **state)
{
    struct world *world = *state;
    unsigned done = 0, canceled = 0;

    up(world, load(world, "first", "SELECT 1", NULL), "s", BACKEND_DONE);
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
        assert_admin(world, "SELECT count(*) FROM pg_tables WHERE tablename = 'quick'",
                     got.rc == 0 ? "1" : "0");
        assert_admin(world, "SELECT count(*) FROM bfm.journal WHERE migration_id LIKE '%quick%'",
                     got.rc == 0 ? "1" : "0");
        if (got.rc == 0)
            down(world, quick, "s", BACKEND_DONE);
        done += got.rc == 0;
        canceled += got.rc != 0;
        registry_unref(world->registries[--world->registry_count]);
    }
    assert_true(done > 0 && canceled > 0);
}

/* --- lost connections --- */

static void test_idle_connection_lost(void **state)
{
    struct world *world = *state;
    struct outcome got;

    up(world, load(world, "first", "SELECT 1", NULL), "s", BACKEND_DONE);
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
    up(world, load(world, "first", "SELECT 1", NULL), "s", BACKEND_DONE);
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
        assert_admin(world, "SELECT count(*) FROM pg_tables WHERE tablename = 'quick'",
                     direction == BACKEND_UP ? "1" : "0");
        assert_admin(world, "SELECT count(*) FROM bfm.journal WHERE migration_id LIKE '%quick%'",
                     direction == BACKEND_UP ? "1" : "0");
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

    cut_proxy_start(&proxy, loop_uv(world->loop), world->settings.pool.host,
                    world->settings.pool.port, "COMMIT");
    world->settings.pool.port = proxy.port;
    reopen(world);
    up(world, load(world, "first", "SELECT 1", NULL), "s", BACKEND_DONE);
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
    close_backend(world, &world->a);
    close_backend(world, &world->b);
    cut_proxy_stop(&proxy);
    world->settings.pool.port = fixture_settings().port;
    reopen(world);
}

static void proxy_open(struct world *world, struct cut_proxy *proxy, const char *word)
{
    cut_proxy_start(proxy, loop_uv(world->loop), fixture_settings().host, fixture_settings().port,
                    word);
    world->settings.pool.port = proxy->port;
    reopen(world);
}

static void proxy_close(struct world *world, struct cut_proxy *proxy)
{
    close_backend(world, &world->a);
    close_backend(world, &world->b);
    cut_proxy_stop(proxy);
    world->settings.pool.port = fixture_settings().port;
    reopen(world);
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
    up(world, load(world, "first", "SELECT 1", NULL), "s", BACKEND_DONE);
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
    up(world, load(world, "first", "SELECT 1", NULL), "s", BACKEND_DONE);
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
    up(world, load(world, "first", "SELECT 1", NULL), "s", BACKEND_DONE);
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

    up(world, load(world, "first", "SELECT 1", NULL), "s", BACKEND_DONE);
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
    up(world, load(world, "first", "SELECT 1", NULL), "s", BACKEND_DONE);
    got = step(world, world->a, suicide, BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_UNREACHABLE);
    assert_string_equal(got.err.sqlstate, "57P01");
    assert_int_equal(got.result.attempts, 2);
    assert_admin(world, "SELECT to_regclass('s.suicide') IS NULL", "t");
}

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
        assert_in_range(now_ms() - began, 2000, 7000);
        if (i == 0)
            wait_ms(world->loop, 3200);
    }
}

/* A host that swallows everything: one connect is enough to find out. */
static void test_black_hole(void **state)
{
    struct world *world = *state;
    const struct migration *users = load(world, "users", "CREATE TABLE users (a int)", NULL);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    uint64_t began;
    char port[8];
    struct outcome got;

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(fd, 16), 0);
    getsockname(fd, (struct sockaddr *)&addr, &len);
    snprintf(port, sizeof(port), "%d", ntohs(addr.sin_port));
    world->settings.pool.host = "127.0.0.1";
    world->settings.pool.port = port;
    world->settings.pool.connect_timeout_ms = 3300;
    reopen(world);
    began = now_ms();
    got = step(world, world->a, users, BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_UNREACHABLE);
    assert_in_range(now_ms() - began, 3200, 5500);
    close(fd);
}

/* --- through a pooler --- */

static void test_pgbouncer(void **state)
{
    struct world *world = *state;
    const char *port = fixture_env("BFM_TEST_PGBOUNCER_PORT", NULL);
    const struct migration *users = load(
        world, "users", "CREATE TABLE users (id int); SELECT pg_sleep(0.02)", "DROP TABLE users");
    const struct migration *dirty = load(world, "dirty", dirty_script, NULL);
    struct going going[16];
    unsigned done = 0;

    if (port == NULL) {
        print_message("BFM_TEST_PGBOUNCER_PORT is not set\n");
        return;
    }
    world->settings.pool.port = port;
    reopen(world);
    for (size_t i = 0; i < ARRAY_SIZE(going); i++)
        go(world, &going[i], i % 2 == 0 ? world->a : world->b, users, BACKEND_UP, "s", true);
    for (size_t i = 0; i < ARRAY_SIZE(going); i++) {
        struct outcome got = arrive(&going[i]);

        assert_int_equal(got.rc, 0);
        done += got.result.outcome == BACKEND_DONE;
    }
    assert_int_equal(done, 1);
    down(world, users, "s", BACKEND_DONE);
    up(world, dirty, "s", BACKEND_DONE);
    for (unsigned i = 0; i < 8; i++) {
        assert_clean(world);
        admin_text(
            world,
            "DROP TABLE s.probe; DELETE FROM bfm.journal WHERE migration_id LIKE '%%probe%%'");
    }
    go(world, &going[0], world->a,
       load(
           world, "index",
           "-- bfm-transaction: off\nCREATE TABLE t (a int);\nCREATE INDEX CONCURRENTLY t_a ON t (a);",
           NULL),
       BACKEND_UP, "s", true);
    assert_int_equal(arrive(&going[0]).rc,
                     ERR_UNSUPPORTED); /* its settings would not stay with it */
    assert_admin(world, "SELECT to_regclass('s.t') IS NULL", "t");
}

/* Every allocation of a step fails once: it ends with a reason, and with nothing or everything
 * done. */
static void test_out_of_memory(void **state)
{
    struct world *world = *state;
    const struct migration *quick =
        load(world, "quick", "CREATE TABLE quick (a int)", "DROP TABLE quick");
    bool hit = true;

    up(world, load(world, "first", "SELECT 1", NULL), "s", BACKEND_DONE);
    for (uint64_t nth = 1; hit; nth++) {
        struct going going;
        struct outcome got;

        reopen(world);
        mem_fail_at(nth, 0);
        go(world, &going, world->a, quick, BACKEND_UP, "s", true);
        got = arrive(&going);
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        assert_true(got.rc == 0 || hit);
        assert_admin(world, "SELECT count(*) FROM pg_tables WHERE tablename = 'quick'",
                     got.rc == 0 ? "1" : "0");
        assert_admin(world, "SELECT count(*) FROM bfm.journal WHERE migration_id LIKE '%quick%'",
                     got.rc == 0 ? "1" : "0");
        if (got.rc == 0)
            down(world, quick, "s", BACKEND_DONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_up_again_down_again, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_sixteen_at_once, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_many_schemas_at_once, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_failing_script_leaves_nothing, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_place_of_errors, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_detail_hint_and_notices, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_script_ending_in_a_comment, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_hostile_schema_names, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_refused_schema_names, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_missing_schema_is_found_out, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_schema_creation_is_off, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_schema_without_usage, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_journal_dropped_in_between, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_journal_of_another_name, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_unique_violation_in_the_script, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_read_journal, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_inspect, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_ping, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_never_more_than_max_open, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_blocker_is_shown_with_care, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_lock_timeout_names_the_blocker, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_limits_of_the_script, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_step_held_by_another, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_deadlock_is_tried_again, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_dirty_script_leaves_nothing_on_the_session,
                                        world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_failing_dirty_script_leaves_nothing_either,
                                        world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_cancel_of_a_running_script, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_cancel_while_waiting, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_function_leaves_nothing_on_the_session, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_cancel_at_any_time, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_idle_connection_lost, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_terminated_at_random, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_answer_to_commit_is_lost, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_doubt_stays, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_doubt_ends_in_a_look, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_cancel_of_another_try, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_cancel_while_an_earlier_try_lives, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_every_try_is_cut_off, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_target_is_away, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_second_outage_has_its_grace, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_black_hole, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_pgbouncer, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory, world_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
