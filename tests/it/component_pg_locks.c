#include "backend_fixture.h"
#include "base/utf8.h"

/* Locks that others hold, limits of time and of connections, against a real PostgreSQL. */

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
    world->settings.lock_timeout_ms = 6000; /* a ping gives up after 2 s */
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
    world->settings.lock_timeout_ms = 1500;
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

static void test_lock_timeout_names_the_blocker(void **state)
{
    struct world *world = *state;
    struct pg_conn *holder;
    char expected[128];
    struct outcome got;

    up(world, load(world, "users", "CREATE TABLE users (a int)", NULL), "s", BACKEND_DONE);
    world->settings.lock_timeout_ms = 1000;
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
        static const char waiting[] =
            "SELECT coalesce(max(xact_start)::text, '') FROM pg_stat_activity "
            "WHERE wait_event_type = 'Lock'";
        struct going going;
        char first[64] = "", sql[512];

        world->settings.lock_timeout_ms = 200;
        world->settings.max_attempts = 100;
        reopen(world);
        go(world, &going, world->a,
           load(world, "add", "SELECT 1;\nALTER TABLE users ADD b int", NULL), BACKEND_UP, "s",
           true);
        while (first[0] == '\0')
            snprintf(first, sizeof(first), "%s", admin_text(world, "%s", waiting));
        snprintf(sql, sizeof(sql), "SELECT (%s) > '%s'", waiting, first);
        await_admin(world, sql, "t"); /* another transaction: the second try, or a later one */
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

    got = step(world, world->a,
               load(world, "slow",
                    "-- bfm-statement-timeout: 500ms\nSELECT 1;\nSELECT pg_sleep(10)", NULL),
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
        load(world, "users", "CREATE TABLE users (a int); SELECT pg_sleep(5)", NULL);
    struct going slow;
    struct outcome got;

    prepare(world);
    world->settings.lock_wait_ms = 100;
    reopen(world);
    go(world, &slow, world->b, users, BACKEND_UP, "s", false);
    await_admin(
        world,
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '/* bfm%pg_sleep(5)%' AND state = 'active' AND pid <> pg_backend_pid()",
        "1");
    got = step(world, world->a, users, BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_LOCKED);
    assert_string_equal(got.err.text, "migration is already being executed");
    got = arrive(&slow);
    assert_outcome(&got, 0, BACKEND_DONE);
}

/* Holds the first table until the other step holds the second one, or is through. */
static const struct migration *load_crossed(struct world *world, const char *first,
                                            const char *second)
{
    char text[512];

    snprintf(text, sizeof(text),
             "LOCK TABLE %s;\n"
             "DO $$ BEGIN WHILE NOT EXISTS (SELECT 1 FROM pg_locks WHERE relation = '%s'::regclass "
             "AND granted AND pid <> pg_backend_pid()) AND NOT EXISTS (SELECT 1 FROM through) LOOP "
             "PERFORM pg_sleep(0.01); END LOOP; END $$;\n"
             "LOCK TABLE %s;\nINSERT INTO through VALUES (1)",
             first, second, second);
    return load(world, first, text, NULL);
}

/* Two steps that deadlock: one is told to go, and tries again. */
static void test_deadlock_is_tried_again(void **state)
{
    struct world *world = *state;
    struct going one, two;
    struct outcome got;

    up(world,
       load(world, "tables",
            "CREATE TABLE x (a int); CREATE TABLE y (a int);"
            "CREATE TABLE through (a int)",
            NULL),
       "s", BACKEND_DONE);
    go(world, &one, world->a, load_crossed(world, "x", "y"), BACKEND_UP, "s", false);
    go(world, &two, world->b, load_crossed(world, "y", "x"), BACKEND_UP, "s", false);
    got = arrive(&one);
    assert_outcome(&got, 0, BACKEND_DONE);
    got = arrive(&two);
    assert_outcome(&got, 0, BACKEND_DONE);
    assert_int_equal(one.result.attempts + two.result.attempts, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BACKEND_TEST(test_never_more_than_max_open),
        BACKEND_TEST(test_blocker_is_shown_with_care),
        BACKEND_TEST(test_lock_timeout_names_the_blocker),
        BACKEND_TEST(test_limits_of_the_script),
        BACKEND_TEST(test_step_held_by_another),
        BACKEND_TEST(test_deadlock_is_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
