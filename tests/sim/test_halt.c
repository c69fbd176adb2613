/* Many lanes, some of which fail: the others go on, or are left alone. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cmocka_all.h"
#include "fake_world.h"

#define FILE_OF(path_, text_)                                  \
    {                                                          \
        .path = path_, .text = text_, .len = sizeof(text_) - 1 \
    }

static const struct registry_file files[] = {
    FILE_OF("postgresql/core/20250101000000_first.up.sql", "CREATE TABLE first (id int);"),
    FILE_OF("postgresql/core/20250102000000_second.up.sql", "CREATE TABLE second (id int);"),
    FILE_OF("postgresql/core/20250103000000_third.up.sql", "CREATE TABLE third (id int);"),
};

enum {
    LANES = 100,
    STEPS = 3,
    BAD = 10, /* lanes that fail, if they begin: the first ones */
};

static char names[LANES][16];
static const char *schemas[LANES];

static void name_schemas(void)
{
    for (size_t i = 0; i < LANES; i++) {
        snprintf(names[i], sizeof(names[i]), i < BAD ? "bad%zu" : "good%zu", i);
        schemas[i] = names[i];
    }
}

static struct run_request up_request(size_t max_failures)
{
    return (struct run_request){
        .kind = RUN_UP,
        .connection = "core",
        .filter = {.backend = "", .connection = "core", .schema = "", .version = ""},
        .schemas = schemas,
        .schema_count = LANES,
        .limits_failures = true,
        .max_failures = max_failures,
        .caller = {.executed_by = "tester", .execution_method = "api", .execution_context = "{}"},
        .record = {.kind = "up", .request = "{}"},
    };
}

static void on_done(struct run *run)
{
    (void)run;
}

static void world_init(struct fake_world *world)
{
    name_schemas();
    fake_world_init(world, files, ARRAY_SIZE(files));
    world->step_ms = 5;
    world->broken = "second";
    world->broken_schema = "bad";
}

static struct run *start(struct fake_world *world, const struct run_request *request)
{
    struct run *run = NULL;
    struct err err = {0};

    assert_int_equal(run_start(&world->engine, request, on_done, NULL, &run, &err), 0);
    return run;
}

static struct run *run_to_end(struct fake_world *world, const struct run_request *request)
{
    struct run *run = start(world, request);

    fake_world_settle(world);
    assert_true(run_has_ended(run));
    return run;
}

static size_t count_lanes(const struct run *run, bool (*is)(const struct run_lane_result *lane))
{
    size_t count = 0;

    for (size_t i = 0; i < run->lane_count; i++)
        count += is(&run->lanes[i]);
    return count;
}

static bool has_failed(const struct run_lane_result *lane)
{
    return lane->counts.failed > 0;
}

static bool never_began(const struct run_lane_result *lane)
{
    return !lane->started;
}

static bool is_complete(const struct run_lane_result *lane)
{
    return lane->counts.applied == STEPS;
}

/* What holds of every run of this file that was not canceled, however it went. */
static void check_halted(const struct fake_world *world, const struct run *run)
{
    size_t failed = count_lanes(run, has_failed);

    assert_int_equal(run->err.code, 0);
    assert_int_equal(run->lanes_failed, failed);
    assert_int_equal(run_status(run), failed > 0 ? STORE_RUN_FAILED : STORE_RUN_SUCCEEDED);
    for (size_t i = 0; i < run->lane_count; i++) {
        const struct run_lane_result *lane = &run->lanes[i];

        assert_true(lane->ended);
        assert_int_equal(run_lane_failed(lane), lane->counts.applied < STEPS);
        if (lane->started)
            continue;
        assert_int_equal(lane->err.code, ERR_HALTED);
        assert_string_equal(lane->err.text, "left alone because others failed");
        assert_int_equal(lane->counts.not_run, 1);
    }
    assert_true(fake_world_agrees(world));
}

static void test_others_go_on(void **state)
{
    struct run_request request = up_request(0);
    struct fake_world world;
    struct run *run;

    (void)state;
    world_init(&world);
    request.limits_failures = false;
    run = run_to_end(&world, &request);
    check_halted(&world, run);
    assert_int_equal(run->lanes_failed, BAD);
    assert_int_equal(count_lanes(run, is_complete), LANES - BAD);
    run_free(run);
    fake_world_free(&world);
}

static void test_the_first_failure_stops_the_others(void **state)
{
    struct run_request request = up_request(0);
    struct fake_world world;
    struct run *run;
    size_t began;

    (void)state;
    world_init(&world);
    run = run_to_end(&world, &request);
    check_halted(&world, run);
    began = LANES - count_lanes(run, never_began);
    assert_in_range(began, 1, 2 * (size_t)world.backend.parallel);
    assert_in_range(run->lanes_failed, 1, began);
    assert_int_equal(count_lanes(run, is_complete), 0);
    assert_string_equal(world.run_row, "failed");
    assert_int_equal(world.run_lanes, LANES);
    run_free(run);
    fake_world_free(&world);
}

/* As many as were allowed fail, and one more, and those that were under way with it. */
static void test_some_may_fail(void **state)
{
    struct fake_world world;
    struct run *run;

    (void)state;
    for (size_t max = 1; max <= BAD; max++) {
        struct run_request request = up_request(max);

        world_init(&world);
        world.backend.parallel = 1;
        run = run_to_end(&world, &request);
        check_halted(&world, run);
        if (max < BAD) {
            assert_in_range(run->lanes_failed, max + 1, max + 2);
            assert_in_range(count_lanes(run, never_began), LANES - BAD - 1, LANES - max - 1);
        } else {
            assert_int_equal(run->lanes_failed, BAD);
            assert_int_equal(count_lanes(run, is_complete), LANES - BAD);
        }
        run_free(run);
        fake_world_free(&world);
    }
}

/* Also where no step ever reached the target: what the first schema met is told. */
static void test_nothing_reaches_the_target(void **state)
{
    struct run_request request = up_request(0);
    struct fake_world world;
    struct run *run;

    (void)state;
    world_init(&world);
    world.target.backend = NULL;
    world.target.why = "not built in";
    run = run_to_end(&world, &request);
    assert_int_equal(run->err.code, 0);
    assert_int_equal(run_status(run), STORE_RUN_FAILED);
    assert_int_equal(run->lanes[0].err.code, ERR_UNSUPPORTED);
    assert_int_equal(run->lanes_failed, 1);
    assert_int_equal(count_lanes(run, never_began), LANES - 1);
    assert_int_equal(run->lanes[1].err.code, ERR_HALTED);
    assert_int_equal(world.asked, 0);
    run_free(run);
    fake_world_free(&world);
}

/* Lanes under way end the step they are at, and say what they left. */
static void test_steps_under_way_end(void **state)
{
    struct run_request request = up_request(0);
    struct fake_world world;
    const struct run_lane_result *lane;
    struct run *run;

    (void)state;
    world_init(&world);
    world.broken = "first";
    world.broken_schema = "bad0";
    request.schema_count = 3;
    run = run_to_end(&world, &request);
    check_halted(&world, run);
    assert_int_equal(run->lanes_failed, 1);
    assert_int_equal(world.executed, 2);
    for (size_t i = 1; i < 3; i++) {
        lane = &run->lanes[i];
        assert_int_equal(lane->err.code, 0);
        assert_int_equal(lane->counts.applied, 1);
        assert_int_equal(lane->counts.not_run, STEPS - 1);
        assert_int_equal(lane->items[1].err->code, ERR_HALTED);
    }
    run_free(run);
    fake_world_free(&world);
}

/* What somebody asks for afterwards is what the run ends with. */
static void test_cancel_behind_a_halt(void **state)
{
    struct run_request request = up_request(0);
    struct fake_world world;
    struct run *run;

    (void)state;
    world_init(&world);
    world.broken = "first";
    world.broken_schema = "bad0";
    request.schema_count = 3;
    world.step_spread = 1000;
    run = start(&world, &request);
    while (run->lanes_failed == 0)
        assert_true(fake_world_turn(&world));
    assert_false(run_has_ended(run));
    assert_true(run_cancel(run, ERR_CANCELED));
    fake_world_settle(&world);
    assert_int_equal(run_status(run), STORE_RUN_CANCELED);
    assert_true(fake_world_agrees(&world));
    run_free(run);
    fake_world_free(&world);
}

/* Whatever fails, whenever: nothing hangs, and what is said is true. */
static void test_every_operation_fails(void **state)
{
    struct run_request request = up_request(1);
    struct fake_world world;
    uint64_t at = 1, ops;

    (void)state;
    request.schema_count = 20;
    do {
        struct run *run;

        world_init(&world);
        world.broken = NULL;
        world.fail_at = at++;
        world.fail_rc = ERR_DB;
        world.fail_target_only = true;
        world.fail_sticky = true;
        run = run_to_end(&world, &request);
        check_halted(&world, run);
        if (run->lanes_failed > 1)
            assert_in_range(count_lanes(run, never_began), 0, 18);
        ops = world.ops;
        run_free(run);
        fake_world_free(&world);
    } while (at <= ops);
    assert_in_range(at, 60, 1000);
}

static void test_memory_runs_out(void **state)
{
    struct run_request request = up_request(0);
    bool hit = true;

    (void)state;
    request.schema_count = 12;
    for (uint64_t nth = 1; hit; nth++) {
        struct fake_world world;
        struct run *run = NULL;
        struct err err = {0};

        world_init(&world);
        mem_fail_at(nth, 0);
        if (run_start(&world.engine, &request, on_done, NULL, &run, &err) == 0) {
            fake_world_settle(&world);
            assert_true(run_has_ended(run));
            assert_int_equal(run_status(run), STORE_RUN_FAILED);
        }
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        if (run != NULL)
            run_free(run);
        fake_world_free(&world);
    }
}

/* A fleet without schemas is not one lane without a schema. */
static void test_no_schemas_no_lanes(void **state)
{
    struct run_request request = up_request(0);
    struct fake_world world;
    struct run *run;

    (void)state;
    world_init(&world);
    request.schema_count = 0;
    request.no_lone_lane = true;
    run = run_to_end(&world, &request);
    assert_int_equal(run->lane_count, 0);
    assert_int_equal(run_status(run), STORE_RUN_SUCCEEDED);
    assert_int_equal(world.asked, 0);
    assert_string_equal(world.run_row, "succeeded");
    run_free(run);
    fake_world_free(&world);
}

/* Asking for many schemas costs as many look-ups as asking for one. */
static void test_lanes_are_looked_up_together(void **state)
{
    enum {
        MANY = 10000
    };
    static char many_names[MANY][16];
    static const char *many[MANY];
    struct run_request request = up_request(0);
    uint64_t ops[2];

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        snprintf(many_names[i], sizeof(many_names[i]), "t%zu", i);
        many[i] = many_names[i];
    }
    request.schemas = many;
    request.dry_run = true;
    for (size_t i = 0; i < 2; i++) {
        struct fake_world world;
        struct run *run;

        world_init(&world);
        request.schema_count = i == 0 ? 1 : MANY;
        run = run_to_end(&world, &request);
        assert_int_equal(run->counts.applied, (int64_t)request.schema_count * STEPS);
        ops[i] = world.ops;
        run_free(run);
        fake_world_free(&world);
    }
    assert_int_equal(ops[0], 1);
    assert_int_equal(ops[1], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_others_go_on),
        cmocka_unit_test(test_the_first_failure_stops_the_others),
        cmocka_unit_test(test_some_may_fail),
        cmocka_unit_test(test_nothing_reaches_the_target),
        cmocka_unit_test(test_steps_under_way_end),
        cmocka_unit_test(test_cancel_behind_a_halt),
        cmocka_unit_test(test_every_operation_fails),
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_no_schemas_no_lanes),
        cmocka_unit_test(test_lanes_are_looked_up_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
