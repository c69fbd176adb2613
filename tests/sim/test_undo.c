/* Undos against a world in memory. */
#include "run_fixture.h"

#include "base/log.h"
#include "base/mem.h"

static void test_down_undoes_once(void **state)
{
    static const char *const schemas[] = {"a", "b"};
    struct run_request up = up_request(schemas, 2), down;
    struct fake_world world;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    run_free(run_to_end(&world, &up));
    down = down_request(&world, SECOND, schemas, 1);
    run = run_to_end(&world, &down);
    assert_int_equal(count_kind(run, RUN_ITEM_APPLIED), 1);
    assert_false(fake_world_has_effect(&world, SECOND, "a"));
    assert_true(fake_world_has_effect(&world, SECOND, "b"));
    assert_true(fake_world_agrees(&world));
    run_free(run);
    run = run_to_end(&world, &down);
    assert_int_equal(count_kind(run, RUN_ITEM_NOT_APPLIED), 1);
    run_free(run);
    fake_world_free(&world);
}

static void test_down_refuses_what_others_need(void **state)
{
    static const char *const schemas[] = {"a"};
    struct run_request up = up_request(schemas, 1), down;
    struct fake_world world;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    run_free(run_to_end(&world, &up));
    down = down_request(&world, FIRST, schemas, 1);
    run = run_to_end(&world, &down);
    assert_int_equal(run->err.code, ERR_CONFLICT);
    assert_non_null(strstr(run->err.text, SECOND));
    assert_true(fake_world_has_effect(&world, FIRST, "a"));
    run_free(run);
    down.ignore_dependencies = true;
    run = run_to_end(&world, &down);
    assert_int_equal(count_kind(run, RUN_ITEM_APPLIED), 1);
    run_free(run);
    down = down_request(&world, THIRD, schemas, 1);
    run = run_to_end(&world, &down);
    assert_string_equal(find_item(run, 0, THIRD)->err->text,
                        "migration does not have rollback SQL");
    run_free(run);
    fake_world_free(&world);
}

static void test_down_of_what_never_ran(void **state)
{
    static const char *const schemas[] = {"a"};
    struct run_request down;
    struct fake_world world;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    down =
        down_request(&world, FIRST, schemas, 1); /* SECOND depends on it and has no rows either */
    run = run_to_end(&world, &down);
    assert_int_equal(count_kind(run, RUN_ITEM_NOT_APPLIED), 1);
    run_free(run);
    fake_world_free(&world);
}

static void test_down_of_what_no_journal_knows_is_refused(void **state)
{
    static const char *const schemas[] = {"a"};
    struct run_request down;
    struct fake_world world;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    world.no_checksums = true;
    fake_world_set_belief(&world, SECOND, "a", true);
    down = down_request(&world, SECOND, schemas, 1);
    run = run_to_end(&world, &down);
    assert_int_equal(find_item(run, 0, SECOND)->kind, RUN_ITEM_FAILED);
    assert_non_null(strstr(find_item(run, 0, SECOND)->err->text, "older server"));
    assert_true(fake_world_believes(&world, SECOND, "a"));
    run_free(run);
    fake_world_free(&world);
}

/* --- nothing in the state, and a target that nobody has asked yet --- */

static void test_the_target_is_asked_before_nothing_is_said(void **state)
{
    static const char *const schemas[] = {"a", "b"};
    struct run_request down;
    struct fake_world world;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    fake_world_set_effect(&world, SECOND, "a", true);
    down = down_request(&world, SECOND, schemas, 2);
    run = run_to_end(&world, &down);
    assert_int_equal(run->err.code, 0);
    assert_int_equal(count_kind(run, RUN_ITEM_APPLIED), 1);
    assert_int_equal(count_kind(run, RUN_ITEM_NOT_APPLIED), 1);
    assert_false(fake_world_has_effect(&world, SECOND, "a"));
    assert_true(fake_world_agrees(&world));
    run_free(run);
    fake_world_free(&world);
}

static void test_what_the_target_knows_of_dependents_counts(void **state)
{
    static const char *const schemas[] = {"a"};
    struct run_request down;
    struct fake_world world;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    fake_world_set_effect(&world, FIRST, "a", true);
    fake_world_set_effect(&world, SECOND, "a", true);
    down = down_request(&world, FIRST, schemas, 1);
    run = run_to_end(&world, &down);
    assert_int_equal(run->err.code, ERR_CONFLICT);
    assert_non_null(strstr(run->err.text, SECOND));
    assert_true(fake_world_has_effect(&world, FIRST, "a"));
    run_free(run);
    fake_world_free(&world);
}

static void test_a_target_that_cannot_be_asked_is_the_answer(void **state)
{
    static const char *const schemas[] = {"a"};
    struct run_request down;
    struct fake_world world;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    fake_world_set_effect(&world, SECOND, "a", true);
    world.fail_at = 1;
    world.fail_rc = ERR_UNREACHABLE;
    world.fail_sticky = world.fail_target_only = true;
    down = down_request(&world, SECOND, schemas, 1);
    for (int dry = 0; dry < 2; dry++) {
        down.dry_run = dry > 0;
        run = run_to_end(&world, &down);
        assert_int_equal(run->err.code, ERR_UNREACHABLE);
        assert_int_equal(count_kind(run, RUN_ITEM_NOT_APPLIED), 0);
        run_free(run);
    }
    world.target.backend = NULL;
    world.target.why = "no address";
    run = run_to_end(&world, &down);
    assert_int_equal(run->err.code, ERR_UNSUPPORTED);
    assert_string_equal(run->err.text, "connection core: no address");
    run_free(run);
    world.target.backend = &world.backend;
    world.fail_at = 0;
    fake_world_free(&world);
}

/* What a run holds is left to that run, and proves nothing. */
static void test_a_difference_that_is_held_is_no_proof(void **state)
{
    static const char *const schemas[] = {"a"};
    struct lock lock = {0};
    struct run_request down;
    struct fake_world world;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    fake_world_set_effect(&world, SECOND, "a", true);
    down = down_request(&world, SECOND, schemas, 1);
    assert_true(lock_try(&world.engine.locks, &lock, SECOND, "a", LOCK_ALONE));
    run = run_to_end(&world, &down);
    assert_int_equal(run->err.code, ERR_LOCKED);
    run_free(run);
    lock_release(&lock, LOCK_NEWS_NONE);
    run = run_to_end(&world, &down);
    assert_int_equal(count_kind(run, RUN_ITEM_APPLIED), 1);
    run_free(run);
    fake_world_free(&world);
}

/* Others who put the same right are waited for. */
static void test_a_difference_that_is_held_is_waited_for(void **state)
{
    static const char *const schemas[] = {"a"};
    struct lock lock = {0};
    struct run_request down;
    struct fake_world world;
    struct run *run = NULL;
    struct err err;
    bool done = false;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    fake_world_set_effect(&world, SECOND, "a", true);
    down = down_request(&world, SECOND, schemas, 1);
    assert_true(lock_try(&world.engine.locks, &lock, SECOND, "a", LOCK_ALONE));
    assert_int_equal(run_start(&world.engine, &down, on_done, &done, &run, &err), 0);
    while (world.now_ms < 5000)
        assert_true(fake_world_turn(&world));
    assert_false(done);
    lock_release(&lock, LOCK_NEWS_NONE);
    fake_world_settle(&world);
    assert_true(done);
    assert_int_equal(run->err.code, 0);
    assert_int_equal(count_kind(run, RUN_ITEM_APPLIED), 1);
    assert_true(world.now_ms < 10000);
    run_free(run);
    fake_world_free(&world);
}

/* A step that took effect and could not be recorded: the target has to be asked again. */
static void test_what_was_not_recorded_is_asked_for(void **state)
{
    static const char *const schemas[] = {"a"};
    unsigned unrecorded = 0;

    (void)state;
    for (unsigned at = 1; at < 20; at++) {
        struct run_request up = up_request(schemas, 1), down;
        struct fake_world world;
        struct run *run;

        fake_world_init(&world, files, ARRAY_SIZE(files));
        world.target.compared = true;
        world.fail_at = at;
        world.fail_rc = ERR_STORE;
        world.fail_sticky = true;
        run_free(run_to_end(&world, &up));
        world.fail_at = 0;
        if (fake_world_has_effect(&world, SECOND, "a") &&
            !fake_world_believes(&world, SECOND, "a")) {
            unrecorded++;
            down = down_request(&world, SECOND, schemas, 1);
            run = run_to_end(&world, &down);
            assert_int_equal(count_kind(run, RUN_ITEM_APPLIED), 1);
            assert_false(fake_world_has_effect(&world, SECOND, "a"));
            run_free(run);
        }
        fake_world_free(&world);
    }
    assert_true(unrecorded > 0);
}

/* Once is enough, unless its journal has what nobody knew then. */
static void test_a_target_that_was_compared_is_not_asked_again(void **state)
{
    static const char *const schemas[] = {"a"};
    struct run_request down;
    struct fake_world world;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    down = down_request(&world, SECOND, schemas, 1);
    for (unsigned known = 0; known < 3; known++) {
        bool asks = known != 1;

        if (known == 2) {
            fake_world_set_effect(&world, "gone_migration", "a", true);
            world.target.compared = false;
            run_free(run_to_end(&world, &down));
            engine_set_registry(&world.engine, registry_ref(world.engine.registry));
        }
        world.fail_at = 1;
        world.fail_rc = ERR_UNREACHABLE;
        world.fail_sticky = world.fail_target_only = true;
        run = run_to_end(&world, &down);
        assert_int_equal(run->err.code, asks ? ERR_UNREACHABLE : 0);
        assert_int_equal(count_kind(run, RUN_ITEM_NOT_APPLIED), asks ? 0 : 1);
        run_free(run);
        world.fail_at = 0;
        run_free(run_to_end(&world, &down));
    }
    fake_world_free(&world);
}

static void test_an_undo_that_compares_can_be_stopped(void **state)
{
    static const char *const schemas[] = {"a"};
    struct run_request down;

    (void)state;
    for (unsigned turns = 0; turns < 40; turns++) {
        struct fake_world world;
        struct run *run = NULL;
        struct lock lock = {0};
        struct err err;
        bool done = false;

        fake_world_init(&world, files, ARRAY_SIZE(files));
        down = down_request(&world, SECOND, schemas, 1);
        if (turns % 2 == 0) { /* so that it compares again and again */
            fake_world_set_effect(&world, SECOND, "a", true);
            assert_true(lock_try(&world.engine.locks, &lock, SECOND, "a", LOCK_ALONE));
        }
        assert_int_equal(run_start(&world.engine, &down, on_done, &done, &run, &err), 0);
        for (unsigned i = 0; i < turns; i++)
            fake_world_turn(&world);
        if (run_cancel(run, ERR_CANCELED))
            assert_false(done);
        fake_world_settle(&world);
        assert_true(done);
        assert_true(run->err.code == ERR_CANCELED ||
                    (turns % 2 == 1 && count_kind(run, RUN_ITEM_NOT_APPLIED) == 1));
        assert_true(world.now_ms < 20000);
        if (turns % 2 == 0)
            lock_release(&lock, LOCK_NEWS_NONE);
        run_free(run);
        fake_world_free(&world);
    }
}

static void test_every_allocation_of_a_comparing_undo_fails(void **state)
{
    static const char *const schemas[] = {"a"};
    unsigned refused = 0;
    bool hit = true;

    (void)state;
    for (uint64_t nth = 1; hit; nth++) {
        struct run_request down;
        struct fake_world world;
        struct run *run;

        fake_world_init(&world, files, ARRAY_SIZE(files));
        fake_world_set_effect(&world, SECOND, "a", true);
        down = down_request(&world, SECOND, schemas, 1);
        mem_fail_at(nth, 0);
        run = run_to_end(&world, &down);
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        if (run != NULL) {
            assert_int_equal(count_kind(run, RUN_ITEM_NOT_APPLIED), 0);
            refused += run->err.code == ERR_NOMEM;
            run_free(run);
        }
        fake_world_free(&world);
    }
    assert_true(refused > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_down_undoes_once),
        cmocka_unit_test(test_down_refuses_what_others_need),
        cmocka_unit_test(test_down_of_what_never_ran),
        cmocka_unit_test(test_down_of_what_no_journal_knows_is_refused),
        cmocka_unit_test(test_the_target_is_asked_before_nothing_is_said),
        cmocka_unit_test(test_what_the_target_knows_of_dependents_counts),
        cmocka_unit_test(test_a_target_that_cannot_be_asked_is_the_answer),
        cmocka_unit_test(test_a_difference_that_is_held_is_no_proof),
        cmocka_unit_test(test_a_difference_that_is_held_is_waited_for),
        cmocka_unit_test(test_what_was_not_recorded_is_asked_for),
        cmocka_unit_test(test_a_target_that_was_compared_is_not_asked_again),
        cmocka_unit_test(test_an_undo_that_compares_can_be_stopped),
        cmocka_unit_test(test_every_allocation_of_a_comparing_undo_fails),
    };

    log_configure(LOG_FATAL, LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
