/* Plans of many steps are made where they do not keep the loop: on threads, which are played here.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cmocka_all.h"
#include "fake_world.h"

enum {
    MANY = 3000,
};

/* A thread that does its work when the test says so. */
struct fake_thread {
    struct op *op;
    int (*fn)(void *arg, struct err *err);
    void *arg;
    struct sched *sched;
    unsigned started;
};

static struct fake_thread thread;
static unsigned done_count;

static void thread_cancel(struct op *op)
{
    thread.op = NULL;
    op_finish_later(op, thread.sched, ERR_CANCELED);
}

static int thread_start(void *work_arg, struct op *op, int (*fn)(void *arg, struct err *err),
                        void *arg)
{
    assert_ptr_equal(work_arg, &thread);
    assert_null(thread.op);
    thread.op = op;
    thread.fn = fn;
    thread.arg = arg;
    thread.started++;
    op_begin(op, NULL, thread_cancel);
    return 0;
}

static void thread_work(void)
{
    struct op *op = thread.op;
    struct err err = {0};
    int rc;

    assert_non_null(op);
    rc = thread.fn(thread.arg, &err);
    op->err = err;
    thread.op = NULL;
    op_finish(op, rc);
}

static void on_done(struct run *run)
{
    (void)run;
    done_count++;
}

static void world_start(struct fake_world *world)
{
    static const char text[] = "SELECT 1;";
    struct registry_file *files = calloc(MANY, sizeof(*files));
    char(*paths)[64] = calloc(MANY, sizeof(*paths));

    assert_non_null(files);
    assert_non_null(paths);
    for (int i = 0; i < MANY; i++) {
        snprintf(paths[i], sizeof(paths[i]), "postgresql/core/2025%010d_step.up.sql", i);
        files[i] = (struct registry_file){.path = paths[i], .text = text, .len = sizeof(text) - 1};
    }
    fake_world_init(world, files, MANY);
    free(paths);
    free(files);
    world->engine.config.work = thread_start;
    world->engine.config.work_arg = &thread;
    thread = (struct fake_thread){.sched = &world->sched};
    done_count = 0;
}

static struct run *run_dry(struct fake_world *world)
{
    static const char *const schemas[] = {"a", "b"};
    const struct run_request request = {
        .kind = RUN_UP,
        .connection = "core",
        .filter = {.backend = "", .connection = "core", .schema = "", .version = ""},
        .schemas = schemas,
        .schema_count = ARRAY_SIZE(schemas),
        .dry_run = true,
        .caller = {.executed_by = "tester", .execution_method = "api", .execution_context = "{}"},
    };
    struct run *run;
    struct err err = {0};

    assert_int_equal(run_start(&world->engine, &request, on_done, NULL, &run, &err), 0);
    fake_world_settle(world);
    return run;
}

/* The graph is one piece of work, the plan that both lanes share another. */
static void test_plans_are_made_on_threads(void **state)
{
    struct fake_world world;
    struct run *run;

    (void)state;
    world_start(&world);
    run = run_dry(&world);
    assert_int_equal(world.ops, 0); /* nothing is looked up before it is known what */
    thread_work();
    fake_world_settle(&world);
    assert_int_equal(done_count, 0);
    thread_work();
    fake_world_settle(&world);
    assert_int_equal(done_count, 1);
    assert_int_equal(thread.started, 2);
    assert_int_equal(run->err.code, 0);
    for (size_t i = 0; i < run->lane_count; i++)
        assert_int_equal(run->lanes[i].count, MANY);
    run_free(run);
    fake_world_free(&world);
}

static void test_cancel_while_a_thread_works(void **state)
{
    (void)state;
    for (unsigned before = 0; before < 2; before++) {
        struct fake_world world;
        struct run *run;

        world_start(&world);
        run = run_dry(&world);
        for (unsigned i = 0; i < before; i++) {
            thread_work();
            fake_world_settle(&world);
        }
        assert_int_equal(done_count, 0);
        run_cancel(run, ERR_CANCELED);
        fake_world_settle(&world);
        assert_int_equal(done_count, 1);
        assert_int_equal(run->err.code, ERR_CANCELED);
        run_free(run);
        fake_world_free(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans_are_made_on_threads),
        cmocka_unit_test(test_cancel_while_a_thread_works),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
