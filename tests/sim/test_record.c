/* A run's row in the state database: when it is written, and that it always tells the end. */
#include <string.h>

#include "base/log.h"
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
};
#define FIRST "20250101000000_first_postgresql_core"

static const char *const schemas[] = {"a", "b", "c"};
static unsigned done_count, recorded_count, answer_count;
static char row_at_done[32], row_at_recorded[32];
static struct fake_world world;

static void on_done(struct run *run)
{
    done_count++;
    assert_true(run_has_ended(run));
    strcpy(row_at_done, world.run_row);
}

static void on_recorded(struct run *run)
{
    recorded_count++;
    assert_false(run_has_ended(run));
    assert_int_equal(world.ops, 1); /* nothing came before it */
    strcpy(row_at_recorded, world.run_row);
}

static void on_answer(struct run *run, struct buf *out)
{
    answer_count++;
    assert_true(run_has_ended(run));
    buf_puts(out, run->id);
}

static struct run_request request_of(bool first)
{
    return (struct run_request){
        .kind = RUN_UP,
        .connection = "core",
        .filter = {.backend = "", .connection = "core", .schema = "", .version = ""},
        .schemas = schemas,
        .schema_count = ARRAY_SIZE(schemas),
        .caller = {.executed_by = "tester", .execution_method = "api", .execution_context = "{}"},
        .record = {.kind = "up",
                   .request = "{}",
                   .first = first,
                   .recorded = first ? on_recorded : NULL,
                   .answer = on_answer},
    };
}

static void begin(void)
{
    fake_world_init(&world, files, ARRAY_SIZE(files));
    world.backend.parallel = 2;
    done_count = recorded_count = answer_count = 0;
    row_at_done[0] = row_at_recorded[0] = '\0';
}

static struct run *start(const struct run_request *request)
{
    struct run *run = NULL;
    struct err err = {0};

    assert_int_equal(run_start(&world.engine, request, on_done, NULL, &run, &err), 0);
    return run;
}

static void end(struct run *run)
{
    fake_world_settle(&world);
    assert_int_equal(done_count, 1);
    assert_null(run_find(&world.engine, run->id));
    run_free(run);
    fake_world_free(&world);
}

static void test_the_row_comes_with_the_first_step(void **state)
{
    struct run_request request = request_of(false);
    struct run *run;

    (void)state;
    begin();
    run = start(&request);
    fake_world_settle(&world);
    assert_int_equal(strncmp(world.log, "run running\npending ", strlen("run running\npending ")),
                     0);
    assert_string_equal(row_at_done, "succeeded"); /* durable before anybody hears of it */
    assert_int_equal(world.run_puts, 2);
    assert_int_equal(world.run_lanes, 3);
    assert_int_equal(answer_count, 1);
    assert_int_equal(run->counts.applied, 6);
    end(run);
}

static void test_nothing_to_do_is_written_once_behind_the_answer(void **state)
{
    struct run_request request = request_of(false);
    struct run *run;

    (void)state;
    begin();
    for (size_t i = 0; i < ARRAY_SIZE(schemas); i++) {
        fake_world_set_belief(&world, FIRST, schemas[i], true);
        fake_world_set_belief(&world, "20250102000000_second_postgresql_core", schemas[i], true);
    }
    run = start(&request);
    fake_world_settle(&world);
    assert_string_equal(row_at_done, "");
    assert_string_equal(world.run_row, "succeeded");
    assert_int_equal(world.run_puts, 1);
    assert_int_equal(world.run_lanes, 0);
    assert_int_equal(run->counts.skipped, 6);
    end(run);
}

static void test_a_dry_run_leaves_no_row(void **state)
{
    struct run_request request = request_of(true);
    struct run *run;

    (void)state;
    begin();
    request.dry_run = true;
    run = start(&request);
    fake_world_settle(&world);
    assert_int_equal(world.run_puts, 0);
    assert_int_equal(recorded_count, 0);
    end(run);
}

static void test_first_means_before_everything(void **state)
{
    struct run_request request = request_of(true);
    struct run *run;

    (void)state;
    begin();
    run = start(&request);
    assert_ptr_equal(run_find(&world.engine, run->id), run);
    assert_int_equal(run_status(run), STORE_RUN_RUNNING);
    fake_world_settle(&world);
    assert_int_equal(recorded_count, 1);
    assert_string_equal(row_at_recorded, "running");
    assert_string_equal(world.run_row, "succeeded");
    end(run);
}

static void test_failures_and_their_lanes_are_told(void **state)
{
    struct run_request request = request_of(false);
    struct run *run;

    (void)state;
    begin();
    world.broken = "first";
    run = start(&request);
    fake_world_settle(&world);
    assert_string_equal(world.run_row, "failed");
    assert_int_equal(world.run_lanes, 3);
    assert_int_equal(run->lanes_failed, 3);
    assert_int_equal(run->counts.failed, 3);
    assert_int_equal(run->counts.not_run, 3);
    end(run);
}

/* The state database goes away for a while behind operation `nth`: the row tells the end in the
 * end. */
static bool sweep_outage(uint64_t nth, bool first, bool sticky)
{
    struct run_request request = request_of(first);
    struct run *run = NULL;
    struct err err = {0};
    bool reached;
    int rc;

    begin();
    world.fail_at = nth;
    world.fail_rc = ERR_STORE;
    world.fail_store_only = true;
    world.fail_sticky = sticky;
    rc = run_start(&world.engine, &request, on_done, NULL, &run, &err);
    for (int i = 0; i < 200 && fake_world_turn(&world); i++)
        continue;
    reached = world.ops >= nth;
    world.fail_at = 0;
    fake_world_settle(&world);
    assert_int_equal(done_count, rc == 0);
    if (rc == 0) {
        assert_true(run_status(run) != STORE_RUN_RUNNING);
        assert_string_equal(world.run_row, fake_status_name(run_status(run)));
        run_free(run);
    }
    fake_world_free(&world);
    return reached;
}

static void test_every_outage_of_the_state_database(void **state)
{
    unsigned cases = 0;

    (void)state;
    for (int way = 0; way < 4; way++)
        for (uint64_t nth = 1; sweep_outage(nth, way & 1, way & 2); nth++)
            cases++;
    print_message("%u cases\n", cases);
    assert_true(cases > 40);
}

static bool sweep_cancel(unsigned turn, bool first, int how)
{
    struct run_request request = request_of(first);
    struct run *run;
    bool reached;

    begin();
    run = start(&request);
    for (unsigned i = 0; i < turn && done_count == 0; i++)
        fake_world_turn(&world);
    reached = done_count == 0;
    if (how == 0)
        assert_int_equal(run_cancel(run, ERR_CANCELED), !run_has_ended(run));
    else
        engine_stop(&world.engine, NULL);
    fake_world_settle(&world);
    assert_string_equal(world.run_row, fake_status_name(run_status(run)));
    assert_true(run_status(run) == STORE_RUN_CANCELED || run_status(run) == STORE_RUN_SUCCEEDED);
    if (run_status(run) == STORE_RUN_CANCELED)
        assert_true(run->counts.applied < 6);
    end(run);
    return reached;
}

static void test_a_cancel_at_every_turn(void **state)
{
    unsigned cases = 0;

    (void)state;
    for (int way = 0; way < 4; way++)
        for (unsigned turn = 0; sweep_cancel(turn, way & 1, way / 2); turn++)
            cases++;
    print_message("%u cases\n", cases);
    assert_true(cases > 30);
}

static bool sweep_allocation(uint64_t nth, bool sticky)
{
    struct run_request request = request_of(true);
    struct run *run = NULL;
    struct err err = {0};
    int rc, hit;

    begin();
    mem_fail_at(nth, sticky);
    rc = run_start(&world.engine, &request, on_done, NULL, &run, &err);
    fake_world_settle(&world);
    hit = mem_fail_hit();
    mem_fail_at(0, 0);
    assert_int_equal(done_count, rc == 0);
    if (rc == 0) {
        assert_string_equal(world.run_row, fake_status_name(run_status(run)));
        run_free(run);
    }
    fake_world_free(&world);
    return hit;
}

static void test_every_allocation_fails(void **state)
{
    unsigned cases = 0;

    (void)state;
    for (int sticky = 0; sticky < 2; sticky++)
        for (uint64_t nth = 1; sweep_allocation(nth, sticky); nth++)
            cases++;
    print_message("%u cases\n", cases);
    assert_true(cases > 20);
}

static unsigned told;

static void on_told(struct run_waiter *waiter, struct run *run)
{
    (void)waiter;
    assert_int_equal(done_count, 0);
    assert_int_equal(run_status(run), STORE_RUN_SUCCEEDED);
    told++;
}

static void test_others_may_wait_too(void **state)
{
    struct run_request request = request_of(false);
    struct run_waiter waiters[3] = {{.ended = on_told}, {.ended = on_told}, {.ended = on_told}};
    struct run *run;

    (void)state;
    begin();
    told = 0;
    run = start(&request);
    for (size_t i = 0; i < ARRAY_SIZE(waiters); i++)
        run_wait(run, &waiters[i]);
    run_unwait(&waiters[1]);
    fake_world_settle(&world);
    assert_int_equal(told, 2);
    end(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_row_comes_with_the_first_step),
        cmocka_unit_test(test_nothing_to_do_is_written_once_behind_the_answer),
        cmocka_unit_test(test_a_dry_run_leaves_no_row),
        cmocka_unit_test(test_first_means_before_everything),
        cmocka_unit_test(test_failures_and_their_lanes_are_told),
        cmocka_unit_test(test_every_outage_of_the_state_database),
        cmocka_unit_test(test_a_cancel_at_every_turn),
        cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test(test_others_may_wait_too),
    };

    log_configure(LOG_FATAL, LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
