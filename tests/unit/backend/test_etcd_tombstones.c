/*
 * What is undone leaves a tombstone: an up behind it, and an up that was undone before it knew that
 * it had taken effect. That no late copy takes effect is asserted behind every case of the sweep.
 */
#include "unit/backend/etcd_scenarios.h"

static struct backend_step step_of(const struct world *world, enum backend_direction direction)
{
    return (struct backend_step){
        .migration = world->migration, .direction = direction, .schema = "t", .run_id = "r"};
}

/* An up, a down, an up: so many steps. */
static void go_back_and_forth(struct world *world, int steps)
{
    struct backend_result result;
    struct err why;

    for (int i = 0; i < steps; i++)
        assert_int_equal(run(world, i % 2 == 0 ? BACKEND_UP : BACKEND_DOWN, &result, &why), 0);
}

/* Starts a step whose call `lost` has that fault and no answer, and leaves it waiting. */
static void start_with(struct world *world, struct ended *ended, const struct backend_step *step,
                       enum fake_fault fault, size_t lost, struct backend_result *result)
{
    lost += fake->called;
    fake->faults[lost] = fault;
    op_init(&ended->op, on_end);
    assert_int_equal(world->backend->ops->execute(world->backend, &ended->op, step, result), 0);
    while (fake->called <= lost || fake->calls[0].op != NULL)
        assert_true(fake_turn());
}

static void start_in_doubt(struct world *world, struct ended *ended,
                           const struct backend_step *step, size_t lost,
                           struct backend_result *result)
{
    start_with(world, ended, step, FAKE_LOST_BEHIND, lost, result);
}

/* What was lost on its way there is sent again, and takes effect then. */
static void test_what_never_arrived_is_sent_again(void **state)
{
    (void)state;
    for (size_t s = 0; s < 3; s++) {
        for (int again = 0; again < 2; again++) { /* with a tombstone there before */
            struct ended ended = {.done = false};
            struct backend_result result;
            struct backend_step step;
            struct world world;

            set_up(&world, &scenarios[s]);
            step = step_of(&world, BACKEND_UP);
            go_back_and_forth(&world, 2 * again);
            start_with(&world, &ended, &step, FAKE_LOST_BEFORE,
                       scenarios[s].down == NULL || again ? 1 : 0, &result);
            assert_shown(before);
            while (!ended.done)
                assert_true(fake_turn());
            assert_int_equal(ended.rc, 0);
            assert_int_equal(result.outcome, BACKEND_DONE);
            assert_int_equal(result.attempts, 2);
            finish(&world, &scenarios[s]);
            tear_down(&world);
        }
    }
}

/* A step took effect unseen, and before it has found that out, somebody undid that and did it once
 * more, or the other way round: whose doing is whose nobody can tell, and it is not done again. */
static void test_reversed_meanwhile(void **state)
{
    (void)state;
    for (size_t s = 0; s < 2; s++) {
        for (int is_down = 0; is_down < 2; is_down++) {
            struct ended ended = {.done = false};
            struct backend_result result, other;
            struct backend_step step;
            struct world world;
            struct err why;
            size_t writes;

            set_up(&world, &scenarios[s]);
            step = step_of(&world, is_down ? BACKEND_DOWN : BACKEND_UP);
            go_back_and_forth(&world, is_down ? 1 : 2);
            start_in_doubt(&world, &ended, &step, is_down && scenarios[s].down == NULL ? 2 : 1,
                           &result);
            for (int i = 0; i < (is_down ? 1 : 3); i++) {
                bool undo = !is_down && i != 1;

                assert_int_equal(run(&world, undo ? BACKEND_DOWN : BACKEND_UP, &other, &why), 0);
                assert_int_equal(other.outcome, BACKEND_DONE);
            }
            writes = fake->writes;
            while (!ended.done)
                assert_true(fake_turn());
            assert_int_equal(ended.rc, ERR_CONFLICT);
            assert_non_null(strstr(err_text(&ended.op.err), "while it was at work"));
            assert_int_equal(fake->writes, writes);
            assert_shown(is_down ? scenarios[s].after : before);
            finish(&world, &scenarios[s]);
            tear_down(&world);
        }
    }
}

/* An up took effect unseen, and somebody undoes it before it has found that out: it is not done a
 * second time. */
static void test_undone_meanwhile(void **state)
{
    (void)state;
    for (size_t s = 0; s < 3; s++) {
        for (int again = 0; again < 2; again++) { /* with a tombstone there before */
            struct ended ended = {.done = false};
            struct backend_result result, other;
            struct backend_step step;
            struct world world;
            size_t looks, writes;
            struct err why;

            set_up(&world, &scenarios[s]);
            step = step_of(&world, BACKEND_UP);
            looks = scenarios[s].down == NULL ? 1 : again ? 1 : 0;
            go_back_and_forth(&world, 2 * again);
            start_in_doubt(&world, &ended, &step, looks, &result);
            assert_shown(scenarios[s].after);
            assert_int_equal(run(&world, BACKEND_DOWN, &other, &why), 0);
            assert_int_equal(other.outcome, BACKEND_DONE);
            assert_undone();
            assert_false(ended.done);
            writes = fake->writes;
            while (!ended.done)
                assert_true(fake_turn());
            assert_int_equal(ended.rc, ERR_CONFLICT);
            assert_non_null(strstr(err_text(&ended.op.err), "somebody undid this migration"));
            assert_int_equal(fake->writes, writes);
            finish(&world, &scenarios[s]);
            tear_down(&world);
        }
    }
}

/* The same by an older server, which deletes the marker: what became of it is not known. */
static void test_marker_deleted_meanwhile(void **state)
{
    static const char key[] = "/app.bfm/journal/t\0"
                              "20250101120000_m_etcd_conf";
    struct ended ended = {.done = false};
    struct backend_result result;
    struct backend_step step;
    struct world world;
    struct err why;
    size_t writes, at;

    (void)state;
    set_up(&world, &scenarios[0]);
    step = (struct backend_step){
        .migration = world.migration, .direction = BACKEND_UP, .schema = "t", .run_id = "r"};
    assert_int_equal(run(&world, BACKEND_UP, &result, &why), 0);
    assert_int_equal(run(&world, BACKEND_DOWN, &result, &why), 0);
    start_in_doubt(&world, &ended, &step, 1, &result);
    at = fake_find(key, sizeof(key) - 1);
    assert_true(fake_is_at(at, key, sizeof(key) - 1));
    fake_remove(at, at + 1);
    writes = fake->writes;
    while (!ended.done)
        assert_true(fake_turn());
    assert_int_equal(ended.rc, ERR_IN_DOUBT);
    assert_int_equal(fake->writes, writes);
    finish(&world, &scenarios[0]);
    tear_down(&world);
}

/* A second up takes one request more than the first, and the tombstone's place. */
static void test_up_behind_a_tombstone(void **state)
{
    (void)state;
    for (size_t s = 0; s < ARRAY_SIZE(scenarios); s++) {
        struct backend_result result;
        size_t called, first, tombstones;
        struct world world;
        struct err why;

        set_up(&world, &scenarios[s]);
        assert_int_equal(run(&world, BACKEND_UP, &result, &why), 0);
        first = fake->called;
        assert_int_equal(run(&world, BACKEND_DOWN, &result, &why), 0);
        assert_undone();
        called = fake->called;
        assert_int_equal(run(&world, BACKEND_UP, &result, &why), 0);
        assert_int_equal(result.outcome, BACKEND_DONE);
        assert_int_equal(result.attempts, 1);
        assert_true(fake->called - called <= first + 1);
        assert_true(reserved_keys(&tombstones) > 0);
        assert_int_equal(tombstones, 0);
        assert_shown(scenarios[s].after);
        finish(&world, &scenarios[s]);
        tear_down(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_never_arrived_is_sent_again),
        cmocka_unit_test(test_reversed_meanwhile),
        cmocka_unit_test(test_undone_meanwhile),
        cmocka_unit_test(test_marker_deleted_meanwhile),
        cmocka_unit_test(test_up_behind_a_tombstone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
