/* A person's decision about a statement in doubt, in the journal of a PostgreSQL target. */
#include "notx_fixture.h"

#include "backend_proxy.h"

static const char three[] = OFF "CREATE TABLE IF NOT EXISTS t (a int);\n"
                                "DO $$ BEGIN INSERT INTO t VALUES (2); COMMIT; END $$;\n"
                                "DO $$ BEGIN INSERT INTO t VALUES (3); COMMIT; END $$;\n";
static const char two_down[] =
    "DO $$ BEGIN INSERT INTO t VALUES (-1); COMMIT; END $$;\nDROP TABLE t;";

static void assert_refused(struct world *world, const struct migration *migration, int rc,
                           const char *text)
{
    struct backend_decision decision;
    struct err err;

    assert_int_equal(decide(world, migration, true, &decision, &err), rc);
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" is not in: %s", text, err.text);
}

static void test_nothing_in_doubt(void **state)
{
    static const char *const kinds[] = {"done", "undo done", "up"};
    struct world *world = *state;
    const struct migration *script = load(world, "script", three, two_down);

    assert_refused(world, script, ERR_NOT_FOUND, "no statement is in doubt"); /* no journal */
    prepare(world);
    assert_refused(world, script, ERR_NOT_FOUND, "no statement is in doubt"); /* no row */
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        leave_row(world, script, kinds[i], 1);
        assert_refused(world, script, ERR_NOT_FOUND, "no statement is in doubt");
    }
}

static void test_in_the_middle(void **state)
{
    struct world *world = *state;
    const struct migration *script = load(world, "script", three, two_down);
    struct backend_decision decision;

    prepare(world);
    admin_text(world, "CREATE TABLE s.t (a int)");
    for (int applied = 0; applied < 2; applied++) {
        leave_row(world, script, "started", 2);
        decision = must_decide(world, script, applied != 0);
        assert_true(!decision.undo && !decision.complete);
        assert_int_equal(decision.statement, 2);
        assert_int_equal(decision.statements, 3);
        assert_string_equal(decision.checksum, script->up.checksum);
        assert_row(world, script, applied ? "done 2" : "done 1");
        assert_refused(world, script, ERR_NOT_FOUND, "no statement is in doubt");
        up(world, script, "s", BACKEND_DONE); /* at once, nobody is waited for */
        assert_admin(world, "SELECT string_agg(a::text, ' ' ORDER BY a) FROM s.t",
                     applied ? "3" : "2 3");
        admin_text(world, "TRUNCATE s.t");
    }
    leave_row(world, script, "started", 1);
    must_decide(world, script, false);
    assert_row(world, script, "done 0");
}

static void test_the_last_statement(void **state)
{
    struct world *world = *state;
    const struct migration *script = load(world, "script", three, two_down);
    struct backend_decision decision;

    prepare(world);
    leave_row(world, script, "started", 3);
    decision = must_decide(world, script, true);
    assert_true(decision.complete && !decision.undo);
    assert_row(world, script, "up");
    assert_admin(world,
                 "SELECT now() - applied_at < interval '1 min' FROM bfm.journal WHERE run_id = "
                 "'dead'",
                 "t");
    up(world, script, "s", BACKEND_WAS_DONE);
    leave_row(world, script, "started", 3);
    assert_false(must_decide(world, script, false).complete);
    assert_row(world, script, "done 2");
}

static void test_a_down_script(void **state)
{
    struct world *world = *state;
    const struct migration *script = load(world, "script", three, two_down);
    struct backend_decision decision;

    prepare(world);
    leave_row(world, script, "undo started", 1);
    decision = must_decide(world, script, true);
    assert_true(decision.undo && !decision.complete);
    assert_string_equal(decision.checksum, script->down.checksum);
    assert_row(world, script, "undo done 1");
    leave_row(world, script, "undo started", 2);
    decision = must_decide(world, script, true);
    assert_true(decision.undo && decision.complete);
    assert_row(world, script, "none");
}

static void test_who_is_at_work_is_left_alone(void **state)
{
    struct world *world = *state;
    const struct migration *script = load(world, "script", three, two_down);

    prepare(world);
    leave_row(world, script, "started", 2);
    admin_text(world, "UPDATE bfm.journal SET applied_at = now() - interval '2 s'");
    assert_refused(world, script, ERR_LOCKED, "statement 2 is being run, or was a moment ago");
    assert_row(world, script, "started 2");
}

static void test_a_changed_script(void **state)
{
    struct world *world = *state;
    const struct migration *script = load(world, "script", three, "SELECT 1");

    prepare(world);
    leave_row(world, script, "started", 2);
    admin_text(world, "UPDATE bfm.journal SET checksum = 'another'");
    assert_refused(world, script, ERR_CONFLICT, "the script was changed");
    leave_row(world, script, "undo started", 2); /* the down script has one only */
    assert_refused(world, script, ERR_CONFLICT, "the script was changed");
    leave_row(world, script, "undo started", 0);
    assert_refused(world, script, ERR_CONFLICT, "the script was changed");
}

/* The decision is in the journal and its answer is not: asked once more, it finds its own row. */
static void test_a_lost_answer(void **state)
{
    struct world *world = *state;
    const struct migration *script = load(world, "script", three, two_down);
    struct backend_decision decision;
    struct cut_proxy proxy;
    struct err err;

    prepare(world);
    proxy_open(world, &proxy, "UPDATE \"bfm\".journal");
    for (int applied = 0; applied < 2; applied++) {
        leave_row(world, script, "started", 2);
        proxy.armed = 1;
        must_decide(world, script, applied != 0);
        assert_int_equal(proxy.cuts, applied + 1);
        assert_row(world, script, applied ? "done 2" : "done 1");
    }
    leave_row(world, script, "started", 2);
    proxy.armed = 2;
    assert_int_equal(decide(world, script, true, &decision, &err), ERR_UNREACHABLE);
    assert_non_null(strstr(err.text, "not known, ask again"));
    assert_true(decision.unknown);
    assert_int_equal(decision.statement, 2);
    proxy_close(world, &proxy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_in_doubt, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_in_the_middle, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_the_last_statement, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_a_down_script, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_who_is_at_work_is_left_alone, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_a_changed_script, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_answer, world_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
