#include "cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/core.h"

enum {
    OPS = 16,
};

/* A database that does nothing until it is told to. */
struct fake {
    struct store_core core;
    struct sched sched;
    struct list reads; /* running */
    unsigned batches, batch_size;
    unsigned sync_steps; /* that are left */
    bool closed;
    struct request *canceled;
};

struct task_op {
    struct op op;
    unsigned done;
    int rc;
};

static void on_done(struct op *op, int rc)
{
    struct task_op *task = container_of(op, struct task_op, op);

    task->done++;
    task->rc = rc;
}

static void fake_run_batch(struct store_core *core, struct list *batch)
{
    struct fake *fake = container_of(core, struct fake, core);

    fake->batches++;
    fake->batch_size = 0;
    list_foreach(node, batch)
        fake->batch_size++;
}

static void fake_run_reads(struct store_core *core, struct list *reads)
{
    list_append_all(&container_of(core, struct fake, core)->reads, reads);
}

static void fake_cancel(struct store_core *core, struct request *request)
{
    container_of(core, struct fake, core)->canceled = request;
}

static void fake_close(struct store_core *core, struct op *op)
{
    container_of(core, struct fake, core)->closed = true;
    op_finish(op, 0);
}

static const struct core_ops parallel_ops = {.run_batch = fake_run_batch,
                                             .run_reads = fake_run_reads,
                                             .cancel = fake_cancel,
                                             .close = fake_close};
static const struct core_ops exclusive_ops = {.exclusive = true,
                                              .run_batch = fake_run_batch,
                                              .run_reads = fake_run_reads,
                                              .close = fake_close};
static const struct store_ops no_ops = {.name = "fake"};
static const struct migration migration = {.id = "id", .schema = ""};
static const struct store_caller caller = {.execution_context = ""};
static const struct store_record outcome = {
    .event = STORE_APPLIED, .migration = &migration, .caller = &caller, .schema = ""};

static void fake_turn(struct fake *fake)
{
    sched_run(&fake->sched, fake->sched.now_ms);
}

static void fake_end_batch(struct fake *fake, int rc)
{
    struct request *first = container_of(fake->core.batch.next, struct request, link);

    assert_false(list_is_empty(&fake->core.batch));
    list_foreach(node, &fake->core.batch)
        container_of(node, struct request, link)->rc = rc;
    if (first->kind == REQUEST_SYNC && fake->sync_steps > 0) {
        fake->sync_steps--;
        first->more = true;
    }
    core_end_batch(&fake->core);
}

static size_t fake_end_reads(struct fake *fake)
{
    struct list ended;
    struct list *node;
    size_t count = 0;

    list_init(&ended);
    list_append_all(&ended, &fake->reads);
    while ((node = list_pop_front(&ended)) != NULL) {
        struct request *request = container_of(node, struct request, link);

        request->rc = 0;
        core_end_read(request);
        count++;
    }
    return count;
}

static void fake_init(struct fake *fake, const struct core_ops *ops, struct task_op *tasks)
{
    *fake = (struct fake){.closed = false};
    sched_init(&fake->sched, 0);
    list_init(&fake->reads);
    core_init(&fake->core, &no_ops, ops, &fake->sched);
    for (int i = 0; i < OPS; i++) {
        tasks[i] = (struct task_op){.done = 0};
        op_init(&tasks[i].op, on_done);
    }
}

static void fake_prepare(struct fake *fake, struct task_op *task)
{
    assert_int_equal(core_prepare(&fake->core.store, &task->op), 0);
    fake_turn(fake);
    assert_int_equal(task->done, 0);
    fake_end_batch(fake, 0);
    assert_int_equal(task->done, 1);
    fake_turn(fake);
}

static void fake_close_now(struct fake *fake, struct task_op *task)
{
    assert_int_equal(core_close(&fake->core.store, &task->op), 0);
    assert_int_equal(task->done, 0);
    fake_turn(fake);
    assert_int_equal(task->done, 1);
    assert_true(fake->closed);
}

static void start_write(struct fake *fake, struct task_op *task)
{
    assert_int_equal(core_write(&fake->core.store, &task->op, &outcome, 1), 0);
}

static void start_read(struct fake *fake, struct task_op *task, struct store_statuses *out)
{
    assert_int_equal(core_get_statuses(&fake->core.store, &task->op, NULL, out), 0);
}

static void test_a_turn_makes_a_batch(void **state)
{
    struct task_op tasks[OPS];
    struct fake fake;

    (void)state;
    fake_init(&fake, &parallel_ops, tasks);
    fake_prepare(&fake, &tasks[0]);
    for (int i = 1; i <= 3; i++)
        start_write(&fake, &tasks[i]);
    assert_int_equal(fake.batches, 1); /* the prepare */
    fake_turn(&fake);
    assert_int_equal(fake.batches, 2);
    assert_int_equal(fake.batch_size, 3);
    for (int i = 4; i <= 8; i++) /* these wait for the running one */
        start_write(&fake, &tasks[i]);
    fake_turn(&fake);
    assert_int_equal(fake.batches, 2);
    fake_end_batch(&fake, 0);
    fake_turn(&fake);
    assert_int_equal(fake.batches, 3);
    assert_int_equal(fake.batch_size, 5);
    fake_end_batch(&fake, ERR_STORE);
    assert_int_equal(tasks[3].rc, 0);
    assert_int_equal(tasks[8].rc, ERR_STORE);
    fake_close_now(&fake, &tasks[9]);
}

static void test_reads_wait_for_earlier_writes(void **state)
{
    struct store_statuses out[3];
    struct task_op tasks[OPS];
    struct fake fake;

    (void)state;
    fake_init(&fake, &parallel_ops, tasks);
    fake_prepare(&fake, &tasks[0]);
    start_read(&fake, &tasks[1], &out[0]);
    start_write(&fake, &tasks[2]);
    start_read(&fake, &tasks[3], &out[1]);
    fake_turn(&fake);
    start_write(&fake, &tasks[4]);
    start_read(&fake, &tasks[5], &out[2]);
    fake_turn(&fake);
    assert_int_equal(fake_end_reads(&fake), 1);
    assert_int_equal(tasks[1].done, 1);
    fake_end_batch(&fake, 0);
    fake_turn(&fake);
    assert_int_equal(fake_end_reads(&fake), 1);
    assert_int_equal(tasks[3].done, 1);
    assert_int_equal(tasks[5].done, 0);
    fake_end_batch(&fake, 0);
    fake_turn(&fake);
    assert_int_equal(fake_end_reads(&fake), 1);
    assert_int_equal(tasks[5].done, 1);
    fake_close_now(&fake, &tasks[6]);
}

/* Thousands of skips may be queued behind an answer; the next request does not wait for them. */
static void test_only_skips_wait_for_skips(void **state)
{
    static const struct store_record skip = {.event = STORE_SKIPPED, .migration = &migration};
    struct store_event_rows skipped;
    struct store_statuses statuses;
    struct task_op tasks[OPS];
    struct fake fake;

    (void)state;
    fake_init(&fake, &parallel_ops, tasks);
    fake_prepare(&fake, &tasks[0]);
    assert_int_equal(core_write(&fake.core.store, &tasks[1].op, &skip, 1), 0);
    start_read(&fake, &tasks[2], &statuses);
    assert_int_equal(core_get_skipped(&fake.core.store, &tasks[3].op, NULL, 0, 5, &skipped), 0);
    fake_turn(&fake);
    assert_int_equal(fake_end_reads(&fake), 1);
    assert_int_equal(tasks[2].done, 1);
    assert_int_equal(tasks[3].done, 0);
    fake_end_batch(&fake, 0);
    fake_turn(&fake);
    assert_int_equal(fake_end_reads(&fake), 1);
    assert_int_equal(tasks[3].done, 1);
    fake_close_now(&fake, &tasks[4]);
}

/* Writes and runs go together, claims by themselves and a beat alone, in the order of the first. */
static void test_what_goes_together(void **state)
{
    static const struct store_key key = {.owner = "ci", .key = "k"};
    static const struct store_beat beat = {.server_id = "s"};
    static const struct store_run run = {.id = "r"};
    const struct store_run_filter filter = {.id = NULL};
    struct store_statuses statuses;
    struct store_key_claim claims[2];
    struct store_beat_result result;
    struct task_op tasks[OPS];
    struct store_runs runs;
    struct fake fake;

    (void)state;
    fake_init(&fake, &parallel_ops, tasks);
    fake_prepare(&fake, &tasks[0]);
    assert_int_equal(core_claim_key(&fake.core.store, &tasks[1].op, &key, &claims[0]), 0);
    start_read(&fake, &tasks[2], &statuses); /* no claim shows in a read */
    start_write(&fake, &tasks[3]);
    assert_int_equal(core_beat(&fake.core.store, &tasks[4].op, &beat, &result), 0);
    assert_int_equal(core_get_runs(&fake.core.store, &tasks[5].op, &filter, 9, &runs), 0);
    assert_int_equal(core_put_run(&fake.core.store, &tasks[6].op, &run, NULL, 0), 0);
    assert_int_equal(core_claim_key(&fake.core.store, &tasks[7].op, &key, &claims[1]), 0);
    fake_turn(&fake);
    assert_int_equal(fake_end_reads(&fake), 1);
    assert_int_equal(tasks[2].done, 1);
    assert_int_equal(fake.batch_size, 2);
    fake_end_batch(&fake, 0);
    assert_true(tasks[1].done == 1 && tasks[7].done == 1);
    fake_turn(&fake);
    assert_int_equal(fake.batch_size, 2);
    fake_end_batch(&fake, 0);
    assert_true(tasks[3].done == 1 && tasks[6].done == 1);
    fake_turn(&fake);
    assert_int_equal(fake.batch_size, 1);
    assert_int_equal(tasks[5].done, 0); /* a beat may change runs */
    fake_end_batch(&fake, 0);
    assert_int_equal(tasks[4].done, 1);
    fake_turn(&fake);
    assert_int_equal(fake_end_reads(&fake), 1);
    assert_int_equal(tasks[5].done, 1);
    fake_close_now(&fake, &tasks[8]);
}

static void test_exclusive_takes_turns(void **state)
{
    struct store_statuses out[2];
    struct task_op tasks[OPS];
    struct fake fake;

    (void)state;
    fake_init(&fake, &exclusive_ops, tasks);
    fake_prepare(&fake, &tasks[0]);
    start_write(&fake, &tasks[1]);
    fake_turn(&fake);
    start_read(&fake, &tasks[2], &out[0]);
    start_write(&fake, &tasks[3]);
    assert_int_equal(core_ping(&fake.core.store, &tasks[4].op), 0);
    fake_turn(&fake);
    assert_true(list_is_empty(&fake.reads));
    fake_end_batch(&fake, 0);
    fake_turn(&fake);
    assert_true(list_is_empty(&fake.core.batch)); /* the reads' turn */
    assert_int_equal(fake_end_reads(&fake), 2);
    fake_turn(&fake);
    start_read(&fake, &tasks[5], &out[1]);
    fake_end_batch(&fake, 0);
    fake_turn(&fake);
    assert_int_equal(fake_end_reads(&fake), 1);
    fake_close_now(&fake, &tasks[6]);
}

static void test_writes_pass_between_the_steps_of_a_sync(void **state)
{
    struct registry registry = {.count = 0};
    struct store_statuses out;
    struct task_op tasks[OPS];
    struct fake fake;

    (void)state;
    fake_init(&fake, &parallel_ops, tasks);
    fake_prepare(&fake, &tasks[0]);
    fake.sync_steps = 2;
    assert_int_equal(core_sync(&fake.core.store, &tasks[1].op, &registry), 0);
    fake_turn(&fake);
    start_write(&fake, &tasks[2]);
    start_read(&fake, &tasks[3], &out);
    fake_turn(&fake);
    fake_end_batch(&fake, 0); /* first step */
    fake_turn(&fake);
    fake_end_batch(&fake, 0); /* the write */
    assert_int_equal(tasks[2].done, 1);
    assert_int_equal(tasks[1].done, 0);
    fake_turn(&fake);
    fake_end_batch(&fake, 0);
    fake_turn(&fake);
    assert_true(list_is_empty(&fake.reads)); /* it was started behind the sync */
    fake_end_batch(&fake, 0);
    assert_int_equal(tasks[1].done, 1);
    fake_turn(&fake);
    assert_int_equal(fake_end_reads(&fake), 1);
    fake_close_now(&fake, &tasks[4]);
}

static void test_a_sync_is_canceled_between_steps(void **state)
{
    struct registry registry = {.count = 0};
    struct task_op tasks[OPS];
    struct fake fake;

    (void)state;
    fake_init(&fake, &parallel_ops, tasks);
    fake_prepare(&fake, &tasks[0]);
    fake.sync_steps = 5;
    assert_int_equal(core_sync(&fake.core.store, &tasks[1].op, &registry), 0);
    fake_turn(&fake);
    op_cancel(&tasks[1].op);
    assert_int_equal(tasks[1].done, 0);
    fake_end_batch(&fake, 0);
    assert_int_equal(tasks[1].done, 1);
    assert_int_equal(tasks[1].rc, ERR_CANCELED);
    fake_close_now(&fake, &tasks[2]);
}

static void test_not_ready_yet(void **state)
{
    struct store_statuses out;
    struct task_op tasks[OPS];
    struct fake fake;

    (void)state;
    fake_init(&fake, &parallel_ops, tasks);
    start_write(&fake, &tasks[0]);
    start_read(&fake, &tasks[1], &out);
    assert_int_equal(core_prepare(&fake.core.store, &tasks[2].op), 0);
    start_write(&fake, &tasks[3]); /* behind the prepare */
    fake_turn(&fake);
    assert_int_equal(tasks[0].rc, ERR_STORE);
    fake_turn(&fake);
    assert_int_equal(tasks[1].rc, ERR_STORE);
    assert_int_equal(tasks[3].done, 0);
    fake_end_batch(&fake, 0);
    fake_turn(&fake);
    fake_end_batch(&fake, 0);
    assert_int_equal(tasks[3].rc, 0);
    fake_close_now(&fake, &tasks[4]);
}

static void test_cancel(void **state)
{
    struct store_statuses out[2];
    struct task_op tasks[OPS];
    struct fake fake;

    (void)state;
    fake_init(&fake, &parallel_ops, tasks);
    fake_prepare(&fake, &tasks[0]);
    start_read(&fake, &tasks[1], &out[0]);
    fake_turn(&fake);
    op_cancel(&tasks[1].op); /* running: it is asked */
    assert_non_null(fake.canceled);
    assert_int_equal(tasks[1].done, 0);
    fake_end_reads(&fake);
    assert_int_equal(tasks[1].rc, 0);
    start_write(&fake, &tasks[2]);
    start_read(&fake, &tasks[3], &out[1]);
    op_cancel(&tasks[2].op); /* queued: it is taken away, and the read need not wait */
    assert_int_equal(tasks[2].done, 0);
    fake_turn(&fake);
    fake_turn(&fake);
    assert_int_equal(tasks[2].rc, ERR_CANCELED);
    assert_int_equal(fake_end_reads(&fake), 1);
    fake_close_now(&fake, &tasks[4]);
}

static void test_close_waits(void **state)
{
    struct store_statuses out;
    struct task_op tasks[OPS];
    struct fake fake;

    (void)state;
    fake_init(&fake, &parallel_ops, tasks);
    fake_prepare(&fake, &tasks[0]);
    start_write(&fake, &tasks[1]);
    start_read(&fake, &tasks[2], &out);
    assert_int_equal(core_close(&fake.core.store, &tasks[3].op), 0);
    assert_int_equal(core_ping(&fake.core.store, &tasks[4].op), ERR_SHUTDOWN);
    fake_turn(&fake);
    assert_false(fake.closed);
    fake_end_batch(&fake, 0);
    fake_turn(&fake);
    assert_false(fake.closed);
    fake_end_reads(&fake);
    fake_turn(&fake);
    assert_true(fake.closed);
    assert_int_equal(tasks[3].done, 1);
}

static void test_out_of_memory(void **state)
{
    struct task_op tasks[OPS];
    struct fake fake;

    (void)state;
    fake_init(&fake, &parallel_ops, tasks);
    fake_prepare(&fake, &tasks[0]);
    mem_fail_at(1, 0);
    assert_int_equal(core_ping(&fake.core.store, &tasks[1].op), ERR_NOMEM);
    mem_fail_at(0, 0);
    fake_close_now(&fake, &tasks[2]); /* needs none */
}

static void test_full_queue(void **state)
{
    struct store_record *skips = calloc(CORE_QUEUE_RECORDS, sizeof(*skips));
    struct task_op tasks[OPS];
    struct fake fake;

    (void)state;
    for (int i = 0; i < CORE_QUEUE_RECORDS; i++) {
        skips[i] = outcome;
        skips[i].event = STORE_SKIPPED;
    }
    fake_init(&fake, &parallel_ops, tasks);
    fake_prepare(&fake, &tasks[0]);
    assert_int_equal(core_write(&fake.core.store, &tasks[1].op, skips, CORE_QUEUE_RECORDS), 0);
    assert_int_equal(core_write(&fake.core.store, &tasks[2].op, skips, 1), ERR_LIMIT);
    start_write(&fake, &tasks[3]); /* an outcome is never refused */
    fake_turn(&fake);
    fake_end_batch(&fake, 0); /* a batch closes when it has enough */
    assert_int_equal(tasks[1].done, 1);
    assert_int_equal(tasks[3].done, 0);
    fake_turn(&fake);
    fake_end_batch(&fake, 0);
    op_init(&tasks[2].op, on_done);
    assert_int_equal(core_write(&fake.core.store, &tasks[2].op, skips, 1), 0);
    fake_turn(&fake);
    fake_end_batch(&fake, 0);
    fake_close_now(&fake, &tasks[4]);
    free(skips);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_turn_makes_a_batch),
        cmocka_unit_test(test_reads_wait_for_earlier_writes),
        cmocka_unit_test(test_only_skips_wait_for_skips),
        cmocka_unit_test(test_what_goes_together),
        cmocka_unit_test(test_exclusive_takes_turns),
        cmocka_unit_test(test_writes_pass_between_the_steps_of_a_sync),
        cmocka_unit_test(test_a_sync_is_canceled_between_steps),
        cmocka_unit_test(test_not_ready_yet),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_close_waits),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_full_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
