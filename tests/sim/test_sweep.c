/*
 * Everything that can go wrong once: each operation of the store and the target fails, each
 * allocation fails, a cancel comes at each turn. Whatever happened, a clean run afterwards brings
 * both sides to the same end, nothing is held and nothing took effect twice.
 */
#include <stdio.h>
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
    FILE_OF("postgresql/core/20250101000000_first.down.sql", "DROP TABLE first;"),
    FILE_OF(
        "postgresql/core/20250102000000_second.up.sql",
        "-- bfm-requires: connection=core target=first table=there\nCREATE TABLE second (id int);"),
    FILE_OF("postgresql/core/20250102000000_second.down.sql", "DROP TABLE second;"),
    FILE_OF("postgresql/core/20250103000000_third.up.sql", "CREATE TABLE third (id int);"),
};

static const char *const schemas[] = {"a", "b", "c", "d", "e", "f"};

static const struct run_request request = {
    .kind = RUN_UP,
    .connection = "core",
    .filter = {.backend = "", .connection = "core", .schema = "", .version = ""},
    .schemas = schemas,
    .schema_count = ARRAY_SIZE(schemas),
    .caller = {.executed_by = "tester", .execution_method = "api", .execution_context = "{}"},
};

enum {
    STEPS = 3 * ARRAY_SIZE(schemas),
};

static unsigned done_count;

static void on_done(struct run *run)
{
    (void)run;
    done_count++;
}

/* Two schemas have their first migration already, one of them unknown to the state. */
static void world_start(struct fake_world *world)
{
    fake_world_init(world, files, ARRAY_SIZE(files));
    fake_world_set_effect(world, "20250101000000_first_postgresql_core", "a", true);
    fake_world_set_belief(world, "20250101000000_first_postgresql_core", "a", true);
    fake_world_set_effect(world, "20250101000000_first_postgresql_core", "b", true);
    world->step_ms = 3;
    world->step_spread = 2;
    world->backend.parallel = 2;
    done_count = 0;
}

static void world_finish(struct fake_world *world)
{
    struct run *run = NULL;
    struct err err = {0};

    world->fail_at = 0;
    mem_fail_at(0, 0);
    done_count = 0;
    assert_int_equal(run_start(&world->engine, &request, on_done, NULL, &run, &err), 0);
    fake_world_settle(world);
    assert_int_equal(done_count, 1);
    assert_int_equal(run->err.code, 0);
    run_free(run);
    assert_int_equal(world->effects.len, STEPS);
    assert_true(fake_world_agrees(world));
    assert_int_equal(world->executed, STEPS - 2);
    fake_world_free(world);
}

/* Operations of a run in which nothing fails. */
static uint64_t count_operations(void)
{
    struct fake_world world;
    struct run *run;
    struct err err;
    uint64_t ops;

    world_start(&world);
    assert_int_equal(run_start(&world.engine, &request, on_done, NULL, &run, &err), 0);
    fake_world_settle(&world);
    run_free(run);
    ops = world.ops;
    fake_world_free(&world);
    return ops;
}

/* A run that may be refused, fail or succeed; its callback comes once if it was started. */
static void run_whatever(struct fake_world *world)
{
    struct run *run = NULL;
    struct err err = {0};
    int rc = run_start(&world->engine, &request, on_done, NULL, &run, &err);

    fake_world_settle(world);
    assert_int_equal(done_count, rc == 0);
    if (rc == 0)
        run_free(run);
    else
        assert_int_equal(err.code, rc);
}

static void test_every_operation_fails(void **state)
{
    static const int codes[] = {ERR_DB,       ERR_STORE, ERR_UNREACHABLE,
                                ERR_IN_DOUBT, ERR_NOMEM, ERR_CANCELED};
    uint64_t total = count_operations();
    unsigned cases = 0;

    (void)state;
    for (size_t code = 0; code < ARRAY_SIZE(codes); code++)
        for (int way = 0; way < 4; way++)
            for (uint64_t nth = 1; nth <= total; nth++, cases++) {
                struct fake_world world;

                world_start(&world);
                world.fail_at = nth;
                world.fail_rc = codes[code];
                world.fail_refused = way & 1;
                world.fail_sticky = way & 2;
                run_whatever(&world);
                world_finish(&world);
            }
    print_message("%u cases\n", cases);
    assert_true(cases > 500);
}

static void test_every_allocation_fails(void **state)
{
    unsigned cases = 0;

    (void)state;
    for (uint64_t nth = 1;; nth++, cases++) {
        struct fake_world world;
        int hit;

        world_start(&world);
        mem_fail_at(nth, (int)(nth & 1));
        run_whatever(&world);
        hit = mem_fail_hit();
        world_finish(&world);
        if (!hit)
            break;
    }
    print_message("%u cases\n", cases);
    assert_true(cases > 20);
}

static void cancel_at(uint64_t turn, int how, bool *reached)
{
    struct fake_world world;
    struct run *run = NULL;
    struct err err = {0};

    world_start(&world);
    assert_int_equal(run_start(&world.engine, &request, on_done, NULL, &run, &err), 0);
    for (uint64_t i = 0; i < turn && done_count == 0; i++)
        fake_world_turn(&world);
    *reached = done_count == 0;
    if (how == 0)
        run_cancel(run, ERR_CANCELED);
    else if (how == 1)
        engine_stop(&world.engine, NULL);
    else
        engine_cancel_all(&world.engine);
    fake_world_settle(&world);
    assert_int_equal(done_count, 1);
    run_free(run);
    assert_int_equal(fake_world_unended(&world), 0);
    assert_true(fake_world_agrees(&world) || !*reached ||
                !fake_world_believes(&world, "20250101000000_first_postgresql_core", "b"));
    world.engine.stopping = false;
    world_finish(&world);
}

static void test_a_cancel_at_every_turn(void **state)
{
    unsigned cases = 0;

    (void)state;
    for (int how = 0; how < 3; how++) {
        bool reached = true;

        for (uint64_t turn = 0; reached; turn++, cases++)
            cancel_at(turn, how, &reached);
    }
    print_message("%u cases\n", cases);
    assert_true(cases > 30);
}

/* Runs, undos, cancels and failures in random order from a seed; time passes in between. */
static void random_history(unsigned seed)
{
    struct fake_world world;
    struct run *runs[40];
    size_t count = 0;
    unsigned random = seed;

    world_start(&world);
    world.fail_target_only = true;
    for (int step = 0; step < 200; step++) {
        struct run_request asked = request;
        struct err err = {0};

        random = random * 1103515245u + 12345u;
        world.fail_at = random >> 16 & 7 ? 0 : world.ops + 3;
        world.fail_rc = ERR_DB;
        asked.schemas = schemas + (random >> 8) % ARRAY_SIZE(schemas);
        asked.schema_count = 1;
        if ((random >> 20) % 3 == 0) {
            asked.kind = RUN_DOWN;
            asked.ignore_dependencies = true;
            asked.migration =
                registry_find(world.engine.registry, "20250101000000_first_postgresql_core");
        }
        if (count < ARRAY_SIZE(runs) && (random >> 24) % 4 == 0 &&
            run_start(&world.engine, &asked, on_done, NULL, &runs[count], &err) == 0)
            count++;
        if (count > 0 && done_count < count && (random >> 28) == 5)
            run_cancel(runs[random % count], ERR_CANCELED);
        fake_world_turn(&world);
    }
    world.fail_at = 0;
    fake_world_settle(&world);
    assert_int_equal(done_count, count);
    assert_int_equal(fake_world_unended(&world), 0);
    for (size_t i = 0; i < count; i++)
        run_free(runs[i]);
    world.executed = 0;
    done_count = 0;
    run_whatever(&world);
    assert_int_equal(world.effects.len, STEPS);
    assert_true(fake_world_agrees(&world));
    fake_world_free(&world);
}

static void test_random_histories_end_alike(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 300; seed++)
        random_history(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_operation_fails),
        cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test(test_a_cancel_at_every_turn),
        cmocka_unit_test(test_random_histories_end_alike),
    };

    log_configure(LOG_FATAL, LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
