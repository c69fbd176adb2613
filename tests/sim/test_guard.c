/* Locks among servers around the steps of a lane: held while a step runs, given back whatever
 * becomes of it, and never in the way of what happened. */
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
#define FIRST  "20250101000000_first_postgresql_core"
#define SECOND "20250102000000_second_postgresql_core"
#define THIRD  "20250103000000_third_postgresql_core"

static const char *const schemas[] = {"a", "b", "c", "d"};

/* The store's lock, as the machines see it. */
struct store_lock {
    struct timer timer;
    struct op *op;
    struct store_lock_grant *out;
    bool fails;
};

static struct fake_world world;
static struct store_ops ops;
static unsigned held, asked, asked_at_once, most_held;
static unsigned fail_at; /* the lock of this number is refused by somebody else */
static int fail_rc;
static uint64_t lock_ms;
static const char *applied_elsewhere; /* of this migration the state says so behind the lock */
static unsigned done_count;

static void on_lock_time(struct timer *timer)
{
    struct store_lock *lock = container_of(timer, struct store_lock, timer);
    struct op *op = lock->op;

    if (lock->fails) {
        mem_free(lock);
        op_finish(op, fail_rc);
        return;
    }
    held++;
    most_held = held > most_held ? held : most_held;
    lock->out->lock = lock;
    op_finish(op, 0);
}

static void on_lock_cancel(struct op *op)
{
    struct store_lock *lock = op->impl;

    sched_stop_timer(&world.sched, &lock->timer);
    mem_free(lock);
    op_finish_later(op, &world.sched, ERR_CANCELED);
}

static int guard_lock(struct store *store, struct op *op, const struct store_lock_want *want,
                      struct store_lock_grant *out)
{
    struct store_lock *lock = mem_calloc(1, sizeof(*lock));

    (void)store;
    *out = (struct store_lock_grant){.lock = NULL};
    if (lock == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    if (++asked == fail_at && fail_rc == ERR_NOMEM) {
        mem_free(lock);
        return op_refuse(op, ERR_NOMEM, "out of memory");
    }
    asked_at_once += want->wait_ms == 0;
    out->applied = applied_elsewhere != NULL && strcmp(want->migration->id, applied_elsewhere) == 0;
    lock->fails = asked == fail_at;
    lock->op = op;
    lock->out = out;
    lock->timer.fire = on_lock_time;
    sched_start_timer(&world.sched, &lock->timer, lock_ms);
    op_begin(op, lock, on_lock_cancel);
    return 0;
}

static void guard_unlock(struct store *store, struct store_lock *lock)
{
    (void)store;
    assert_true(held > 0);
    held--;
    mem_free(lock);
}

static void on_done(struct run *run)
{
    (void)run;
    done_count++;
}

static void begin(void)
{
    fake_world_init(&world, files, ARRAY_SIZE(files));
    ops = *world.store.ops;
    ops.lock = guard_lock;
    ops.unlock = guard_unlock;
    world.store.ops = &ops;
    world.backend.parallel = 2;
    world.step_ms = 10;
    world.step_spread = 3;
    held = asked = asked_at_once = most_held = fail_at = done_count = 0;
    fail_rc = 0;
    lock_ms = 1;
    applied_elsewhere = NULL;
}

static struct run *start(void)
{
    const struct run_request request = {
        .kind = RUN_UP,
        .connection = "core",
        .filter = {.backend = "", .connection = "core", .schema = "", .version = ""},
        .schemas = schemas,
        .schema_count = ARRAY_SIZE(schemas),
        .caller = {.executed_by = "tester", .execution_method = "api", .execution_context = "{}"},
    };
    struct run *run = NULL;
    struct err err = {0};

    assert_int_equal(run_start(&world.engine, &request, on_done, NULL, &run, &err), 0);
    return run;
}

static void end(struct run *run)
{
    fake_world_settle(&world);
    assert_int_equal(done_count, 1);
    run_free(run);
    fake_world_settle(&world); /* what was asked for ahead may come last */
    assert_int_equal(held, 0);
    assert_int_equal(fake_world_unended(&world), 0);
    assert_true(fake_world_agrees(&world));
    fake_world_free(&world);
}

static size_t count_effects(void)
{
    static const char *const ids[] = {FIRST, SECOND, THIRD};
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
        for (size_t j = 0; j < ARRAY_SIZE(schemas); j++)
            count += fake_world_has_effect(&world, ids[i], schemas[j]);
    return count;
}

static void test_the_next_lock_is_had_while_a_step_runs(void **state)
{
    struct run *run;

    (void)state;
    begin();
    run = start();
    fake_world_settle(&world);
    assert_int_equal(count_effects(), 12);
    assert_int_equal(asked, 12);
    assert_int_equal(asked_at_once, 8); /* but for the first of each lane */
    assert_int_equal(most_held, 8);     /* a lane has that of a step and that of the next one */
    end(run);
}

static void test_slow_locks_are_waited_for(void **state)
{
    struct run *run;

    (void)state;
    begin();
    lock_ms = 5000; /* longer than a step */
    run = start();
    fake_world_settle(&world);
    assert_int_equal(count_effects(), 12);
    assert_int_equal(asked - asked_at_once, 12); /* none was had ahead */
    end(run);
}

static void test_what_was_done_elsewhere_is_skipped(void **state)
{
    static const char *const ids[] = {FIRST, SECOND, THIRD};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        struct run *run;

        begin();
        applied_elsewhere = ids[i];
        for (size_t j = 0; j < ARRAY_SIZE(schemas); j++) {
            fake_world_set_effect(&world, ids[i], schemas[j], true);
            fake_world_set_belief(&world, ids[i], schemas[j], false);
        }
        run = start();
        fake_world_settle(&world);
        assert_int_equal(world.asked, 8); /* the target was not asked about it */
        for (size_t j = 0; j < run->lane_count; j++)
            assert_int_equal(run->lanes[j].items[i].kind, RUN_ITEM_SKIPPED);
        for (size_t j = 0; j < ARRAY_SIZE(schemas); j++)
            fake_world_set_belief(&world, ids[i], schemas[j], true);
        end(run);
    }
}

static void test_every_lock_is_refused_once(void **state)
{
    static const int codes[] = {ERR_LOCKED, ERR_STORE, ERR_NOMEM};

    (void)state;
    for (size_t code = 0; code < ARRAY_SIZE(codes); code++)
        for (unsigned nth = 1; nth <= 12; nth++) {
            struct run *run;

            begin();
            fail_at = nth;
            fail_rc = codes[code];
            run = start();
            fake_world_settle(&world);
            /* one ahead is asked for once more, one of a database that was away, too */
            assert_true(count_effects() == 12 ||
                        (codes[code] != ERR_STORE && count_effects() >= 9));
            end(run);
        }
}

static void test_canceled_at_every_turn(void **state)
{
    bool went_through = false;

    (void)state;
    for (unsigned turns = 0; !went_through; turns++) {
        struct run *run;
        bool more = true;

        begin();
        run = start();
        for (unsigned i = 0; i < turns && more; i++)
            more = fake_world_turn(&world);
        went_through = done_count > 0;
        if (!went_through)
            run_cancel(run, ERR_CANCELED);
        end(run);
    }
}

static size_t lanes_that_are(const char *name)
{
    for (size_t i = 0; engine_lane_state(i) != NULL; i++)
        if (strcmp(engine_lane_state(i), name) == 0)
            return world.engine.lanes_at[i];
    fail();
    return 0;
}

/* A lane that waits to ask again does not ask any more: nobody would cut that wait short. */
static void test_canceled_between_two_questions(void **state)
{
    struct run *run;
    unsigned before;

    (void)state;
    begin();
    fail_at = 1;
    fail_rc = ERR_STORE;
    run = start();
    while (lanes_that_are("pausing") == 0)
        assert_true(fake_world_turn(&world));
    before = asked;
    run_cancel(run, ERR_CANCELED);
    end(run);
    assert_int_equal(asked, before);
}

static void test_every_allocation_fails(void **state)
{
    bool went_through = false;

    (void)state;
    for (uint64_t nth = 1; !went_through; nth++) {
        struct run_request request = {
            .kind = RUN_UP,
            .connection = "core",
            .filter = {.backend = "", .connection = "core", .schema = "", .version = ""},
            .schemas = schemas,
            .schema_count = ARRAY_SIZE(schemas),
            .caller = {.executed_by = "tester",
                       .execution_method = "api",
                       .execution_context = "{}"},
        };
        struct run *run = NULL;
        struct err err = {0};
        int rc;

        begin();
        mem_fail_at(nth, 0);
        rc = run_start(&world.engine, &request, on_done, NULL, &run, &err);
        if (rc == 0)
            fake_world_settle(&world);
        went_through = !mem_fail_hit();
        mem_fail_at(0, 0);
        if (rc == 0) {
            run_free(run);
            fake_world_settle(&world);
            assert_int_equal(done_count, 1);
        }
        assert_int_equal(held, 0);
        fake_world_free(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_next_lock_is_had_while_a_step_runs),
        cmocka_unit_test(test_slow_locks_are_waited_for),
        cmocka_unit_test(test_what_was_done_elsewhere_is_skipped),
        cmocka_unit_test(test_every_lock_is_refused_once),
        cmocka_unit_test(test_canceled_at_every_turn),
        cmocka_unit_test(test_canceled_between_two_questions),
        cmocka_unit_test(test_every_allocation_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
