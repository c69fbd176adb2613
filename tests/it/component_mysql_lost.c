/* The MySQL target with connections that are lost, and memory that runs out, at any moment. */
#include "mysql_fixture.h"

#include "cut_proxy.h"

static void proxy_open(struct world *world, struct cut_proxy *proxy, const char *word)
{
    const struct maria_settings settings = maria_fixture_settings();

    cut_proxy_start(proxy, loop_uv(world->loop), settings.host, settings.port, word);
    world->settings.pool.port = proxy->port;
    world->settings.pool.sslmode = "disable"; /* the proxy reads along */
    reopen(world);
}

static void proxy_close(struct world *world, struct cut_proxy *proxy)
{
    close_backend(world, &world->a);
    close_backend(world, &world->b);
    cut_proxy_stop(proxy);
    world->settings.pool.port = maria_fixture_settings().port;
    reopen(world);
}

static const struct migration *load_data(struct world *world)
{
    return load(world, "data", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (-1)");
}

/* `marked` stands in the statements that take effect. */
static const struct migration *load_definition(struct world *world)
{
    return load(world, "ddl",
                "CREATE TABLE marked (a INT); INSERT INTO t /* marked */ VALUES (2);"
                "ALTER TABLE marked ADD COLUMN b INT",
                "ALTER TABLE marked DROP COLUMN b; INSERT INTO t VALUES (-2); DROP TABLE marked");
}

/* What was sent takes effect, and the client does not hear of it. */
static void test_answers_are_lost(void **state)
{
    struct world *world = *state;
    const struct migration *both[] = {load_data(world), load_definition(world)};
    static const char *const words[] = {"COMMIT", "marked"};
    struct cut_proxy proxy;

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a INT)");
    for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
        proxy_open(world, &proxy, words[i]);
        for (unsigned armed = 1; armed < 4; armed++) {
            for (int direction = 0; direction < 2; direction++) {
                unsigned cuts = proxy.cuts;
                struct outcome got;

                proxy.armed = armed;
                got =
                    step(world, world->a, both[i], direction == 0 ? BACKEND_UP : BACKEND_DOWN, "s");
                assert_outcome(&got, 0, BACKEND_DONE);
                assert_true(got.result.attempts > 1);
                assert_true(proxy.cuts > cuts);
                assert_row(world, both[i], direction == 0 ? "up -" : "");
            }
            assert_admin(world, "SELECT count(*), sum(a) FROM s.t", "2");
            assert_admin(world, "SELECT sum(a) FROM s.t", "0");
            admin_text(world, "DELETE FROM s.t");
        }
        proxy_close(world, &proxy);
    }
}

/* Nothing of what was sent arrives. */
static void test_queries_are_lost(void **state)
{
    struct world *world = *state;
    const struct migration *both[] = {load_data(world), load_definition(world)};
    static const char *const words[] = {"COMMIT", "marked"};
    struct cut_proxy proxy;

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a INT)");
    world->settings.max_attempts = 3;
    for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
        struct outcome got;

        proxy_open(world, &proxy, words[i]);
        proxy.refuse = true;
        proxy.armed = 2;
        got = step(world, world->a, both[i], BACKEND_UP, "s");
        assert_outcome(&got, 0, BACKEND_DONE);
        assert_int_equal(got.result.attempts, 3);
        proxy.armed = 1000;
        got = step(world, world->a, both[i], BACKEND_DOWN, "s");
        assert_int_equal(got.rc, i == 0 ? ERR_UNREACHABLE : ERR_IN_DOUBT);
        assert_row(world, both[i], "up -");
        proxy.armed = 0;
        got = step(world, world->a, both[i], BACKEND_DOWN, "s");
        assert_outcome(&got, 0, BACKEND_DONE);
        assert_admin(world, "SELECT sum(a) FROM s.t", "0");
        admin_text(world, "DELETE FROM s.t");
        proxy_close(world, &proxy);
    }
}

/* Of a decision, too: it looks whether the row has become what it should be. */
static void test_decisions_are_lost(void **state)
{
    struct world *world = *state;
    const struct migration *migration = load_definition(world);
    static const struct {
        const char *kind;
        unsigned statement;
        bool applied;
        const char *after;
    } cases[] = {
        {"started", 2, true, "done 2"},
        {"started", 2, false, "done 1"},
        {"started", 3, true, "up -"},
        {"started", 1, false, ""},
        {"undo started", 3, true, ""},
        {"undo started", 1, false, "up -"},
        {"undo started", 2, false, "undo done 1"},
    };
    struct backend_decision decision;
    struct cut_proxy proxy;
    struct err err;

    prepare(world);
    proxy_open(world, &proxy, "RELEASE_LOCK");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        for (int refuse = 0; refuse < 2; refuse++) {
            unsigned cuts = proxy.cuts;

            leave_row(world, migration, cases[i].kind, cases[i].statement);
            proxy.refuse = refuse;
            proxy.armed = 1;
            if (resolve(world, migration, cases[i].applied, &decision, &err) != 0)
                fail_msg("case %zu: %s", i, err_text(&err));
            assert_int_equal(proxy.cuts, cuts + 1);
            assert_false(decision.unknown);
            assert_int_equal(decision.statement, cases[i].statement);
            assert_row(world, migration, cases[i].after);
        }
    leave_row(world, migration, "started", 2);
    proxy.armed = 2; /* and there is no second try left */
    assert_int_equal(resolve(world, migration, true, &decision, &err), ERR_UNREACHABLE);
    assert_true(decision.unknown);
    assert_int_equal(decision.statement, 2);
    assert_non_null(strstr(err.text, "not known, ask again"));
    proxy_close(world, &proxy);
}

static bool is_there(struct world *world, const char *name)
{
    return strcmp(admin_text(world,
                             "SELECT count(*) FROM information_schema.tables WHERE "
                             "table_schema='s' AND table_name='%s'",
                             name),
                  "1") == 0;
}

/* Sessions are killed at any moment: what is in doubt then is looked at, and nothing happens twice
 * or not at all. */
static void test_sessions_are_killed(void **state)
{
    struct world *world = *state;
    const struct migration *migration =
        load(world, "ddl",
             "INSERT INTO t VALUES (1); CREATE TABLE one (a INT); INSERT INTO t VALUES (2);"
             "CREATE TABLE two (a INT); INSERT INTO t VALUES (3)",
             NULL);
    unsigned retried = 0, doubts = 0;

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a INT)");
    for (unsigned round = 0; round < 60; round++) {
        struct going going;
        struct outcome got;

        go(world, &going, world->a, migration, BACKEND_UP, "s");
        wait_ms(world->loop, round % 12);
        if (!going.waited.done)
            admin_text(world,
                       "BEGIN NOT ATOMIC DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; "
                       "FOR p IN (SELECT id FROM information_schema.processlist WHERE id <> "
                       "connection_id() AND db = 's') DO KILL p.id; END FOR; END");
        got = arrive(&going);
        retried += got.result.attempts > 1;
        while (got.rc == ERR_IN_DOUBT) {
            struct backend_decision decision = {.migration = migration, .schema = "s"};
            struct waited waited;

            doubts++;
            decision.applied = is_there(world, got.err.statement == 2 ? "one" : "two");
            waited_init(&waited, world->loop);
            assert_int_equal(
                wait_for(&waited, world->a->ops->resolve(world->a, &waited.op, &decision)), 0);
            got = step(world, world->a, migration, BACKEND_UP, "s");
        }
        assert_outcome(&got, 0, BACKEND_DONE);
        assert_admin(world, "SELECT group_concat(a ORDER BY a) FROM s.t", "1,2,3");
        assert_true(is_there(world, "one") && is_there(world, "two"));
        assert_row(world, migration, "up -");
        admin_text(world, "DELETE FROM bfmt.journal WHERE migration_id LIKE '%%ddl%%'; "
                          "DELETE FROM s.t; DROP TABLE s.one; DROP TABLE s.two");
    }
    assert_true(retried > 0);
    print_message("tried again: %u, in doubt: %u\n", retried, doubts);
}

/* The nth allocation of a step fails, for every n. */
static void test_memory(void **state)
{
    struct world *world = *state;
    const struct migration *both[] = {load_data(world), load_definition(world)};

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a INT)");
    for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
        bool hit = true;

        for (uint64_t nth = 1; hit; nth++) {
            struct outcome got;

            reopen(world);
            mem_fail_at(nth, 0);
            got = step(world, world->a, both[i], BACKEND_UP, "s");
            hit = mem_fail_hit();
            mem_fail_at(0, 0);
            assert_true(got.rc == 0 || hit);
            if (got.rc != 0)
                got = step(world, world->a, both[i], BACKEND_UP, "s");
            if (got.rc != 0)
                fail_msg("allocation %d: %s", (int)nth, err_text(&got.err));
            assert_admin(world, "SELECT count(*) FROM s.t", "1");
            down(world, both[i], "s", BACKEND_DONE);
            assert_admin(world, "SELECT sum(a) FROM s.t", "0");
            admin_text(world, "DELETE FROM s.t");
        }
    }
}

static void test_away(void **state)
{
    struct world *world = *state;
    const struct migration *migration = load_data(world);
    struct outcome got;
    char port[16];
    int fd = listen_silently(port, sizeof(port));

    close(fd);
    world->settings.pool.port = port;
    reopen(world);
    got = step(world, world->a, migration, BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_UNREACHABLE);
    assert_non_null(strstr(got.err.text, "connection refused"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BACKEND_TEST(test_answers_are_lost),
        BACKEND_TEST(test_queries_are_lost),
        BACKEND_TEST(test_decisions_are_lost),
        BACKEND_TEST(test_sessions_are_killed),
        BACKEND_TEST(test_memory),
        BACKEND_TEST(test_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
