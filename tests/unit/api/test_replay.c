/* Idempotency keys that stand for a run already. */
#include "api/ops_run.h"
#include "io/loop.h"
#include "unit/api/fixture.h"

#define RUN_ID "0123456789ab-0123456789abcdef"

static struct engine engine;
static struct ops ops;

/* --- a target that does everything at once, and counts --- */

static unsigned executed;

static int target_execute(struct backend *backend, struct op *op, const struct backend_step *step,
                          struct backend_result *result)
{
    (void)backend;
    (void)step;
    executed++;
    *result = (struct backend_result){.attempts = 1};
    op_begin(op, NULL, NULL);
    op_finish_later(op, loop_sched(loop), 0);
    return 0;
}

static const struct backend_ops target_ops = {.execute = target_execute};
static struct backend target_backend = {.ops = &target_ops, .connection = "core", .parallel = 2};
static struct engine_target target = {
    .connection = "core", .backend = &target_backend, .compared = true};

static int set_up(void **state)
{
    static const struct registry_file files[] = {
        SQL_FILE("postgresql/core/20250101000000_a.up.sql", "SELECT 1;"),
    };
    const struct engine_config config = {
        .lock_wait_ms = 1000, .settle_retry_ms = 1, .settle_give_up_ms = 10, .server_id = "srv"};
    struct registry *registry;
    struct err err;

    (void)state;
    loop = loop_create();
    assert_non_null(loop);
    fake_reset();
    executed = 0;
    engine_init(&engine, loop_sched(loop), &fake_store, &config);
    assert_int_equal(engine_add_target(&engine, &target), 0);
    assert_int_equal(registry_build(files, ARRAY_SIZE(files), &registry, &err), 0);
    engine_set_registry(&engine, registry);
    ops = (struct ops){.loop = loop, .engine = &engine, .store = &fake_store};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    engine_free(&engine);
    loop_destroy(loop);
    return 0;
}

/* --- requests --- */

struct asking {
    struct op op;
    struct ops_run run;
    int rc;
    unsigned done;
};

static void asking_on_done(struct op *op, int rc)
{
    struct asking *asking = container_of(op, struct asking, op);

    asking->rc = rc;
    asking->done++;
}

static void keep_answer(struct run *run, struct buf *out)
{
    (void)run;
    buf_puts(out, "200 {}");
}

static int ask(struct asking *asking)
{
    static const char *const schemas[] = {"a"};
    static const struct plan_filter filter = {
        .backend = "", .connection = "", .schema = "", .version = ""};
    const struct ops_up_request request = {
        .connection = "core",
        .target = &filter,
        .schemas = schemas,
        .schema_count = 1,
        .caller = {.executed_by = "ci", .execution_method = "api", .execution_context = "{}"},
        .how = {.key = "key", .fingerprint = "print", .answer = keep_answer},
    };

    *asking = (struct asking){.rc = 0};
    op_init(&asking->op, asking_on_done);
    return ops_up_start(&ops, &asking->op, &request, &asking->run);
}

static void settle(void)
{
    struct sched *sched = loop_sched(loop);

    while (!list_is_empty(&engine.runs) || sched_has_tasks(sched))
        sched_run(sched, sched->now_ms + 1);
}

static const struct store_run cut_off = {
    .id = RUN_ID,
    .kind = "up",
    .connection = "core",
    .status = STORE_RUN_INTERRUPTED,
    .request = "{}",
    .executed_by = "ci",
    .execution_method = "api",
    .execution_context = "{}",
    .server_id = "dead",
    .retry_of = "",
    .error = "",
};

/* All who waited find out in the same turn that nothing was done. */
static void test_only_one_takes_over(void **state)
{
    struct asking asking[5];

    (void)state;
    kept_run = &cut_off;
    kept_key = true;
    for (size_t i = 0; i < ARRAY_SIZE(asking); i++)
        assert_int_equal(ask(&asking[i]), 0);
    settle();
    assert_int_equal(executed, 1);
    for (size_t i = 0; i < ARRAY_SIZE(asking); i++) {
        assert_true(asking[i].done == 1 && asking[i].rc == 0);
        assert_int_equal(asking[i].run.replayed, i > 0);
        assert_int_equal(asking[i].run.applied, 1);
        assert_ptr_equal(asking[i].run.run, asking[0].run.run);
        assert_string_equal(asking[i].run.run->id, RUN_ID);
    }
    for (size_t i = 0; i < ARRAY_SIZE(asking); i++)
        ops_run_free(&asking[i].run);
}

static void wait_for(const struct asking *asking)
{
    struct sched *sched = loop_sched(loop);

    while (asking->done == 0)
        sched_run(sched, sched->now_ms + 1);
}

/* The state database was away for a moment: the run could not begin, and its row is late. */
static void test_what_did_nothing_is_tried_again(void **state)
{
    struct store_run row = cut_off;
    struct asking first, again;

    (void)state;
    assert_int_equal(ask(&first), 0);
    while (list_is_empty(&engine.runs))
        sched_run(loop_sched(loop), loop_sched(loop)->now_ms);
    store_rc = ERR_STORE;
    wait_for(&first);
    assert_true(first.rc == 0 && first.run.failure.code == ERR_STORE);
    store_rc = 0;
    row.id = first.run.run->id;
    row.status = STORE_RUN_FAILED;
    row.error = "the state database is away";
    kept_run = &row;
    kept_key = true;
    assert_int_equal(ask(&again), 0);
    assert_false(list_is_empty(&engine.runs));
    wait_for(&again);
    assert_true(again.rc == 0 && !again.run.replayed && again.run.applied == 1);
    settle();
    ops_run_free(&again.run);
    ops_run_free(&first.run);
}

static void test_an_answer_is_made_again(void **state)
{
    struct store_run ended = cut_off;
    struct asking asking;

    (void)state;
    ended.status = STORE_RUN_SUCCEEDED;
    ended.counts.applied = 1;
    kept_run = &ended;
    kept_key = true;
    assert_int_equal(ask(&asking), 0);
    settle();
    assert_true(asking.done == 1 && asking.rc == 0 && executed == 0);
    assert_non_null(asking.run.rebuild);
    assert_string_equal(asking.run.run_id, RUN_ID);
    ops_run_free(&asking.run);
}

static void test_memory_may_run_out(void **state)
{
    struct store_run row = cut_off;
    bool hit = true;
    unsigned served = 0;

    (void)state;
    kept_run = &row;
    for (uint64_t nth = 1; hit; nth++) {
        static const enum store_run_status ends[] = {STORE_RUN_INTERRUPTED, STORE_RUN_SUCCEEDED};
        struct asking asking[2];
        int rc[2];

        hit = false;
        for (size_t kind = 0; kind < 3; kind++) {
            kept_key = kind > 0;
            row.status = ends[kind == 2];
            row.counts.applied = kind == 2;
            stands_count = 0;
            mem_fail_at(nth, 0);
            for (size_t i = 0; i < 2; i++)
                rc[i] = ask(&asking[i]);
            settle();
            hit = mem_fail_hit() || hit;
            mem_fail_at(0, 0);
            settle();
            for (size_t i = 0; i < 2; i++) {
                if (rc[i] != 0)
                    continue;
                assert_int_equal(asking[i].done, 1);
                served += asking[i].rc == 0;
                ops_run_free(&asking[i].run);
            }
        }
    }
    assert_true(served > 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_only_one_takes_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_did_nothing_is_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_answer_is_made_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory_may_run_out, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
