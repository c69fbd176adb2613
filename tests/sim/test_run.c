/* Runs against a world in memory: what is answered, recorded and left behind. */
#include "run_fixture.h"

#include "base/mem.h"

static void test_up_applies_in_order_and_again_skips(void **state)
{
    static const char *const schemas[] = {"tenant_a", "tenant_b"};
    struct run_request request = up_request(schemas, 2);
    struct fake_world world;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    run = run_to_end(&world, &request);
    assert_non_null(run);
    assert_int_equal(run->err.code, 0);
    assert_int_equal(run->lane_count, 2);
    assert_int_equal(count_kind(run, RUN_ITEM_APPLIED), 8);
    assert_string_equal(run->lanes[0].items[0].migration->id, FIRST);
    assert_string_equal(run->lanes[0].items[3].migration->id, USERS);
    assert_string_equal(run->lanes[1].items[3].schema, "tenant_b");
    assert_true(fake_world_agrees(&world));
    run_free(run);

    run = run_to_end(&world, &request);
    assert_int_equal(count_kind(run, RUN_ITEM_SKIPPED), 8);
    assert_int_equal(world.executed, 8);
    assert_int_equal(world.skips, 8);
    run_free(run);
    fake_world_free(&world);
}

static void test_every_step_is_pending_before_it_ends(void **state)
{
    static const char *const schemas[] = {"s"};
    struct run_request request = up_request(schemas, 1);
    struct fake_world world;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    run = run_to_end(&world, &request);
    assert_string_equal(world.log,
                        "pending " FIRST "@s\napplied " FIRST "@s\npending " SECOND "@s\n"
                        "applied " SECOND "@s\npending " THIRD "@s\napplied " THIRD "@s\n"
                        "pending " USERS "@s\napplied " USERS "@s\n");
    run_free(run);
    fake_world_free(&world);
}

static void test_fixed_without_schema_runs_dynamic_is_refused(void **state)
{
    struct run_request request = up_request(NULL, 0);
    struct fake_world world;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    run = run_to_end(&world, &request);
    assert_int_equal(count_kind(run, RUN_ITEM_APPLIED), 1);
    assert_int_equal(count_kind(run, RUN_ITEM_FAILED), 3);
    assert_non_null(
        strstr(find_item(run, 0, SECOND)->err->text, "dynamic schema but no schema provided"));
    assert_true(fake_world_has_effect(&world, USERS, "core"));
    run_free(run);

    world.target.default_schema = "fallback";
    run = run_to_end(&world, &request);
    assert_int_equal(count_kind(run, RUN_ITEM_APPLIED), 3);
    assert_int_equal(count_kind(run, RUN_ITEM_SKIPPED), 1);
    assert_true(fake_world_has_effect(&world, FIRST, "fallback"));
    run_free(run);
    fake_world_free(&world);
}

static void test_failure_stops_its_schema_only(void **state)
{
    static const char *const schemas[] = {"a", "b"};
    struct run_request request = up_request(schemas, 2);
    struct fake_world world;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    fake_world_set_effect(&world, SECOND, "b", true);
    fake_world_set_belief(&world, SECOND, "b", true);
    world.broken = "second";
    run = run_to_end(&world, &request);
    assert_int_equal(find_item(run, 0, SECOND)->kind, RUN_ITEM_FAILED);
    assert_int_equal(find_item(run, 0, THIRD)->kind, RUN_ITEM_NOT_RUN);
    assert_string_equal(find_item(run, 0, THIRD)->err->text, SECOND " failed before it");
    assert_int_equal(find_item(run, 1, THIRD)->kind, RUN_ITEM_APPLIED);
    assert_false(fake_world_has_effect(&world, THIRD, "a"));
    assert_non_null(strstr(world.log, "failed " SECOND "@a"));
    run_free(run);

    world.broken = NULL;
    run = run_to_end(&world, &request);
    assert_int_equal(count_kind(run, RUN_ITEM_FAILED), 0);
    assert_int_equal(find_item(run, 0, SECOND)->kind, RUN_ITEM_APPLIED);
    run_free(run);
    fake_world_free(&world);
}

static void test_dry_run_touches_nothing(void **state)
{
    static const char *const schemas[] = {"a"};
    struct run_request request = up_request(schemas, 1);
    struct fake_world world;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    fake_world_set_belief(&world, FIRST, "a", true);
    request.dry_run = true;
    run = run_to_end(&world, &request);
    assert_int_equal(count_kind(run, RUN_ITEM_DRY_RUN), 3);
    assert_int_equal(count_kind(run, RUN_ITEM_SKIPPED), 1);
    assert_int_equal(world.executed, 0);
    assert_int_equal(world.log_len, 0);
    run_free(run);
    fake_world_free(&world);
}

static void test_journal_repairs_state(void **state)
{
    static const char *const schemas[] = {"a"};
    struct run_request request = up_request(schemas, 1);
    struct fake_world world;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    fake_world_set_effect(&world, FIRST, "a", true);
    run = run_to_end(&world, &request);
    assert_int_equal(find_item(run, 0, FIRST)->kind, RUN_ITEM_SKIPPED);
    assert_non_null(strstr(world.log, "found_applied " FIRST "@a"));
    assert_int_equal(world.executed, 3);
    assert_true(fake_world_agrees(&world));
    run_free(run);
    fake_world_free(&world);
}

static void test_64_equal_runs_have_one_effect(void **state)
{
    static const char *const schemas[] = {"a"};
    struct run_request request = up_request(schemas, 1);
    struct fake_world world;
    struct run *runs[64];
    struct err err;
    unsigned applied = 0, skipped = 0;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    world.step_ms = 10;
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++)
        assert_int_equal(run_start(&world.engine, &request, on_done, NULL, &runs[i], &err), 0);
    fake_world_settle(&world);
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
        applied += count_kind(runs[i], RUN_ITEM_APPLIED);
        skipped += count_kind(runs[i], RUN_ITEM_SKIPPED);
        run_free(runs[i]);
    }
    assert_int_equal(applied, 4);
    assert_int_equal(skipped, 63 * 4);
    assert_int_equal(world.asked, 4); /* the others learned it from the first */
    assert_int_equal(world.executed, 4);
    fake_world_free(&world);
}

static void test_waiting_for_a_lock_ends(void **state)
{
    static const char *const schemas[] = {"a"};
    struct run_request request = up_request(schemas, 1);
    struct fake_world world;
    struct run *slow, *late;
    struct err err;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    world.step_ms = 31000;
    assert_int_equal(run_start(&world.engine, &request, on_done, NULL, &slow, &err), 0);
    assert_int_equal(run_start(&world.engine, &request, on_done, NULL, &late, &err), 0);
    fake_world_settle(&world);
    assert_int_equal(count_kind(slow, RUN_ITEM_APPLIED), 4);
    assert_int_equal(find_item(late, 0, FIRST)->kind, RUN_ITEM_FAILED);
    assert_string_equal(find_item(late, 0, FIRST)->err->text,
                        "migration is already being executed");
    run_free(slow);
    run_free(late);
    fake_world_free(&world);
}

static void test_lanes_stay_within_their_limit(void **state)
{
    const char *schemas[500] = {NULL};
    char names[500][16];
    struct run_request request = up_request(schemas, ARRAY_SIZE(schemas));
    struct fake_world world;
    struct run *run;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(schemas); i++) {
        snprintf(names[i], sizeof(names[i]), "t%zu", i);
        schemas[i] = names[i];
    }
    fake_world_init(&world, files, ARRAY_SIZE(files));
    world.step_ms = 5;
    run = run_to_end(&world, &request);
    assert_int_equal(count_kind(run, RUN_ITEM_APPLIED), 2000);
    assert_in_range(world.most_running, 4, 8);
    run_free(run);
    fake_world_free(&world);
}

static void test_duplicate_schemas_are_one_lane(void **state)
{
    static const char *const schemas[] = {"a", "a", "", "a"};
    struct run_request request = up_request(schemas, 4);
    struct fake_world world;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    run = run_to_end(&world, &request);
    assert_int_equal(run->lane_count, 2);
    run_free(run);
    fake_world_free(&world);
}

static void test_refusals(void **state)
{
    static const char *const schemas[] = {"bad\xff"};
    struct run_request request = up_request(schemas, 1);
    struct fake_world world;
    struct run *run;
    struct err err;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    assert_int_equal(run_start(&world.engine, &request, on_done, NULL, &run, &err), ERR_INVALID);
    request.schema_count = 0;
    request.connection = "nowhere";
    assert_int_equal(run_start(&world.engine, &request, on_done, NULL, &run, &err), ERR_NOT_FOUND);
    assert_string_equal(err.text, "connection nowhere not found");
    fake_world_free(&world);
}

static void test_target_down_fails_the_pass(void **state)
{
    static const char *const schemas[] = {"a"};
    struct run_request request = up_request(schemas, 1);
    struct fake_world world;
    struct run *run;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    world.fail_at = 1;
    world.fail_rc = ERR_UNREACHABLE;
    world.fail_sticky = true;
    world.fail_target_only = true;
    run = run_to_end(&world, &request);
    assert_int_equal(run->lanes[0].err.code, ERR_UNREACHABLE);
    assert_int_equal(run->lanes[0].count, 0);
    run_free(run);
    fake_world_free(&world);
}

static void test_state_away_for_a_while_is_waited_for(void **state)
{
    static const char *const schemas[] = {"a"};
    struct run_request request = up_request(schemas, 1);
    struct fake_world world;
    struct run *run;
    struct err err;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    world.step_ms = 50;
    assert_int_equal(run_start(&world.engine, &request, on_done, NULL, &run, &err), 0);
    while (world.executed == 0)
        assert_true(fake_world_turn(&world));
    world.fail_at = 1;
    world.fail_sticky = true;
    world.fail_store_only = true;
    world.fail_rc = ERR_STORE;
    while (world.now_ms < 20000)
        assert_true(fake_world_turn(&world));
    world.fail_at = 0;
    fake_world_settle(&world);
    assert_int_equal(run->err.code, 0);
    assert_int_equal(count_kind(run, RUN_ITEM_APPLIED), 4);
    assert_true(fake_world_agrees(&world));
    run_free(run);
    fake_world_free(&world);
}

static void test_state_gone_says_that_the_target_is_ahead(void **state)
{
    static const char *const schemas[] = {"a"};
    struct run_request request = up_request(schemas, 1);
    struct fake_world world;
    struct run *run;
    struct err err;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    assert_int_equal(run_start(&world.engine, &request, on_done, NULL, &run, &err), 0);
    world.fail_at = 4; /* look-up, pending, the step itself, then its outcome */
    world.fail_sticky = true;
    world.fail_store_only = true;
    world.fail_rc = ERR_STORE;
    fake_world_settle(&world);
    assert_int_equal(run->err.code, ERR_STORE);
    assert_non_null(strstr(run->err.text, "ahead of the state database"));
    assert_int_equal(world.executed, 1);
    run_free(run);

    world.fail_at = 0;
    run = run_to_end(&world, &request);
    assert_int_equal(run->err.code, 0);
    assert_true(fake_world_agrees(&world));
    run_free(run);
    fake_world_free(&world);
}

/* The steps of one lane are settled over many turns, also behind a failure. */
static void test_many_steps_share_the_turns(void **state)
{
    enum {
        COUNT = 5000,
    };
    static const char *const schemas[] = {"a"};
    struct run_request request = up_request(schemas, 1);
    struct registry_file *many = mem_calloc(COUNT, sizeof(*many));
    char(*paths)[64] = mem_calloc(COUNT, sizeof(*paths));
    struct fake_world world;
    unsigned turns = 0;
    struct run *run;
    struct err err;

    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(paths[i], sizeof(paths[i]), "postgresql/core/%014u_step.up.sql", i + 1);
        many[i] = (struct registry_file){.path = paths[i], .text = "SELECT 1;", .len = 9};
    }
    fake_world_init(&world, many, COUNT);
    world.broken = "step";
    assert_int_equal(run_start(&world.engine, &request, on_done, NULL, &run, &err), 0);
    while (fake_world_turn(&world))
        turns++;
    assert_int_equal(count_kind(run, RUN_ITEM_FAILED), 1);
    assert_int_equal(count_kind(run, RUN_ITEM_NOT_RUN), COUNT - 1);
    assert_ptr_equal(run->lanes[0].items[1].err, run->lanes[0].items[COUNT - 1].err);
    assert_true(turns >= COUNT / 1000);
    run_free(run);
    fake_world_free(&world);
    mem_free(paths);
    mem_free(many);
}

static void test_parent_names_the_dependencies_that_ran(void **state)
{
    static const char *const schemas[] = {"a"};
    struct run_request request = up_request(schemas, 1);
    struct fake_world world;
    struct run *run;

    (void)state;
    request.filter.version = "20250102000000";
    request.caller.execution_context = "{\"method\":\"POST\"}";
    fake_world_init(&world, files, ARRAY_SIZE(files));
    run = run_to_end(&world, &request);
    assert_int_equal(count_kind(run, RUN_ITEM_APPLIED), 2);
    assert_true(run->lanes[0].items[0].dependency);
    assert_string_equal(world.context,
                        "{\"method\":\"POST\",\"executed_dependencies\":[\"" FIRST "\"]}");
    run_free(run);
    fake_world_free(&world);
}

static void on_reconciled(struct reconcile *reconcile)
{
    bool *flag = reconcile->data;

    *flag = true;
}

static void test_reconcile_repairs_both_ways(void **state)
{
    struct fake_world world;
    struct reconcile *rec;
    struct err err;
    bool done = false;

    (void)state;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    fake_world_set_effect(&world, FIRST, "a", true);
    fake_world_set_belief(&world, SECOND, "a", true);
    fake_world_set_effect(&world, "gone_migration", "a", true);
    fake_world_set_effect(&world, "20250105000000_elsewhere_postgresql_other", "a", true);
    assert_int_equal(reconcile_start(&world.engine, NULL, on_reconciled, &done, &rec, &err), 0);
    fake_world_settle(&world);
    assert_true(done);
    assert_int_equal(rec->err.code, 0);
    assert_int_equal(rec->count, 1);
    assert_int_equal(rec->targets[0].repaired, 2);
    assert_int_equal(rec->targets[0].unknown, 1);
    assert_true(fake_world_believes(&world, FIRST, "a"));
    assert_false(fake_world_believes(&world, SECOND, "a"));
    reconcile_free(rec);
    fake_world_free(&world);
}

static bool idle;

static void on_idle(struct engine *engine)
{
    (void)engine;
    idle = true;
}

static void test_stop_finishes_running_steps_only(void **state)
{
    static const char *const schemas[] = {"a", "b", "c"};
    struct run_request request = up_request(schemas, 3);
    struct fake_world world;
    struct run *run, *waiting;
    struct err err;

    (void)state;
    idle = false;
    fake_world_init(&world, files, ARRAY_SIZE(files));
    world.step_ms = 100;
    assert_int_equal(run_start(&world.engine, &request, on_done, NULL, &run, &err), 0);
    while (world.running < 3)
        assert_true(fake_world_turn(&world));
    assert_int_equal(run_start(&world.engine, &request, on_done, NULL, &waiting, &err), 0);
    for (int i = 0; i < 5; i++)
        sched_run(&world.sched, world.now_ms);
    engine_stop(&world.engine, on_idle);
    assert_false(idle);
    fake_world_settle(&world);
    assert_true(idle);
    assert_int_equal(world.executed, 3);
    assert_int_equal(count_kind(run, RUN_ITEM_APPLIED), 3);
    assert_int_equal(count_kind(run, RUN_ITEM_NOT_RUN), 9);
    assert_int_equal(waiting->err.code, ERR_SHUTDOWN);
    assert_true(fake_world_agrees(&world));
    run_free(run);
    run_free(waiting);
    fake_world_free(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up_applies_in_order_and_again_skips),
        cmocka_unit_test(test_every_step_is_pending_before_it_ends),
        cmocka_unit_test(test_fixed_without_schema_runs_dynamic_is_refused),
        cmocka_unit_test(test_failure_stops_its_schema_only),
        cmocka_unit_test(test_dry_run_touches_nothing),
        cmocka_unit_test(test_journal_repairs_state),
        cmocka_unit_test(test_64_equal_runs_have_one_effect),
        cmocka_unit_test(test_waiting_for_a_lock_ends),
        cmocka_unit_test(test_lanes_stay_within_their_limit),
        cmocka_unit_test(test_duplicate_schemas_are_one_lane),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_target_down_fails_the_pass),
        cmocka_unit_test(test_state_away_for_a_while_is_waited_for),
        cmocka_unit_test(test_state_gone_says_that_the_target_is_ahead),
        cmocka_unit_test(test_many_steps_share_the_turns),
        cmocka_unit_test(test_parent_names_the_dependencies_that_ran),
        cmocka_unit_test(test_reconcile_repairs_both_ways),
        cmocka_unit_test(test_stop_finishes_running_steps_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
