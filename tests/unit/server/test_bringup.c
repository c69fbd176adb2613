/* The bring-up with virtual time, against fakes of everything around it. */
#include "cmocka_all.h"

#include <string.h>

#include "server/bringup.h"

/* What the next operations of each kind come to; -1000 never completes until canceled. */
enum {
    HANG = -1000,
};

static struct {
    struct sched sched;
    int load_rc, prepare_rc, sync_rc, ping_rc, reconcile_rc;
    unsigned loads, prepares, syncs, pings, reconciles;
    unsigned stopped;
    int hung_rc; /* what comes of one that hung and was canceled */
    struct op *hanging;
    struct reconcile *reconcile; /* hanging */
    void (*reconcile_done)(struct reconcile *reconcile);
    struct task reconcile_task;
} world;

static void fake_cancel(struct op *op)
{
    world.hanging = NULL;
    op_finish_later(op, &world.sched, world.hung_rc);
}

static int fake_start(struct op *op, int rc, unsigned *count)
{
    ++*count;
    if (rc == HANG) {
        world.hanging = op;
        op_begin(op, NULL, fake_cancel);
        return 0;
    }
    if (rc == ERR_NOMEM) /* refused at once */
        return op_refuse(op, rc, "out of memory");
    op_begin(op, NULL, NULL);
    op_finish_later(op, &world.sched, rc);
    return 0;
}

int catalog_load(struct catalog *catalog, struct op *op)
{
    (void)catalog;
    return fake_start(op, world.load_rc, &world.loads);
}

int catalog_sync(struct catalog *catalog, struct op *op)
{
    (void)catalog;
    return fake_start(op, world.sync_rc, &world.syncs);
}

static int fake_prepare(struct store *store, struct op *op)
{
    (void)store;
    return fake_start(op, world.prepare_rc, &world.prepares);
}

static int fake_ping(struct store *store, struct op *op)
{
    (void)store;
    return fake_start(op, world.ping_rc, &world.pings);
}

static struct reconcile_target fake_targets[] = {{.connection = "core", .checked = 3}};
static struct reconcile fake_reconcile;

static void fake_on_reconcile(struct task *task)
{
    (void)task;
    fake_reconcile.err.code = world.reconcile_rc == HANG ? ERR_CANCELED : world.reconcile_rc;
    world.reconcile = NULL;
    world.reconcile_done(&fake_reconcile);
}

int reconcile_start(struct engine *engine, const char *connection,
                    void (*done)(struct reconcile *reconcile), void *data, struct reconcile **out,
                    struct err *err)
{
    (void)engine;
    assert_null(connection);
    world.reconciles++;
    if (world.reconcile_rc == ERR_NOMEM)
        return err_set(err, ERR_NOMEM, "out of memory");
    fake_reconcile = (struct reconcile){.targets = fake_targets, .count = 1, .data = data};
    world.reconcile_done = done;
    world.reconcile_task.run = fake_on_reconcile;
    world.reconcile = &fake_reconcile;
    *out = &fake_reconcile;
    if (world.reconcile_rc != HANG)
        sched_defer(&world.sched, &world.reconcile_task);
    return 0;
}

void reconcile_cancel(struct reconcile *reconcile)
{
    (void)reconcile;
    sched_defer(&world.sched, &world.reconcile_task);
}

void reconcile_free(struct reconcile *reconcile)
{
    (void)reconcile;
}

static const struct store_ops fake_ops = {
    .name = "fake", .prepare = fake_prepare, .ping = fake_ping};
static struct store fake_store = {.ops = &fake_ops};
static struct engine fake_engine;
static struct bringup bringup;

static void on_stopped(struct bringup *b)
{
    assert_ptr_equal(b, &bringup);
    world.stopped++;
}

static void drop_line(void *arg, const char *line, size_t len)
{
    (void)arg;
    (void)line;
    (void)len;
}

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    world.hung_rc = ERR_CANCELED;
    sched_init(&world.sched, 0);
    fake_engine.sched = &world.sched;
    fake_engine.store = &fake_store;
    log_set_sink(drop_line, NULL);
    return 0;
}

static void start(void)
{
    bringup_start(&bringup, &fake_engine, NULL, NULL, on_stopped);
}

static void run_for(uint64_t ms)
{
    uint64_t end = world.sched.now_ms + ms;
    uint64_t in = 0;

    while (sched_has_tasks(&world.sched) ||
           (sched_next_timer(&world.sched, &in) && world.sched.now_ms + in <= end))
        sched_run(&world.sched,
                  sched_has_tasks(&world.sched) ? world.sched.now_ms : world.sched.now_ms + in);
    sched_run(&world.sched, end);
}

static void stop(void)
{
    bringup_stop(&bringup);
    assert_int_equal(world.stopped, 0);
    run_for(0);
    assert_int_equal(world.stopped, 1);
    assert_false(bringup_is_ready(&bringup));
    assert_null(world.hanging);
    run_for(100000);
    assert_int_equal(world.stopped, 1);
}

static void test_it_gets_ready(void **state)
{
    (void)state;
    start();
    assert_false(bringup_is_ready(&bringup));
    assert_non_null(bringup_reason(&bringup));
    run_for(0);
    assert_true(bringup_is_ready(&bringup));
    assert_null(bringup_reason(&bringup));
    assert_int_equal(world.loads, 1);
    assert_int_equal(world.prepares, 1);
    assert_int_equal(world.syncs, 1);
    assert_int_equal(world.reconciles, 1);
    run_for(10000);
    assert_int_equal(world.pings, 5);
    assert_int_equal(world.syncs, 1);
    stop();
}

static void test_it_retries_with_backoff(void **state)
{
    (void)state;
    world.prepare_rc = ERR_STORE;
    start();
    run_for(99);
    assert_int_equal(world.prepares, 1);
    run_for(1); /* 100 */
    assert_int_equal(world.prepares, 2);
    run_for(199); /* 299 */
    assert_int_equal(world.prepares, 2);
    run_for(1 + 400 + 800 + 1600 + 3200); /* 300, 700, 1500, 3100, 6300 */
    assert_int_equal(world.prepares, 7);
    run_for(10000); /* every 5 s from here on */
    assert_int_equal(world.prepares, 9);
    assert_int_equal(world.syncs, 0);
    world.prepare_rc = 0;
    run_for(5000);
    assert_true(bringup_is_ready(&bringup));
    stop();
}

static void test_a_tree_that_cannot_be_read_does_not_stop_it(void **state)
{
    (void)state;
    world.load_rc = ERR_IO;
    start();
    run_for(0);
    assert_true(bringup_is_ready(&bringup));
    stop();
}

static void test_a_failed_sync_prepares_again(void **state)
{
    (void)state;
    world.sync_rc = ERR_STORE;
    start();
    run_for(350);
    assert_int_equal(world.prepares, 3);
    assert_int_equal(world.syncs, 3);
    assert_false(bringup_is_ready(&bringup));
    world.sync_rc = 0;
    run_for(400);
    assert_true(bringup_is_ready(&bringup));
    stop();
}

static void test_it_notices_an_outage_and_its_end(void **state)
{
    (void)state;
    start();
    run_for(1000);
    world.ping_rc = ERR_STORE;
    run_for(1000);
    assert_false(bringup_is_ready(&bringup));
    assert_string_equal(bringup_reason(&bringup), "the state database is not reachable");
    world.ping_rc = 0;
    run_for(200);
    assert_true(bringup_is_ready(&bringup));
    assert_int_equal(world.syncs, 2);
    assert_int_equal(world.reconciles, 2);
    assert_int_equal(world.prepares, 2);
    stop();
}

/* A database that answers without its tables gets them again; clients are told which and why. */
static void test_lost_tables_are_made_again(void **state)
{
    (void)state;
    start();
    run_for(1000);
    world.ping_rc = ERR_NOT_FOUND;
    world.prepare_rc = ERR_STORE;
    run_for(1000);
    assert_false(bringup_is_ready(&bringup));
    assert_string_equal(bringup_reason(&bringup), err_code_text(ERR_NOT_FOUND));
    assert_int_equal(world.prepares, 2);
    run_for(300); /* tried again, and the reason is still the first one */
    assert_int_equal(world.prepares, 3);
    assert_string_equal(bringup_reason(&bringup), err_code_text(ERR_NOT_FOUND));
    world.ping_rc = world.prepare_rc = 0;
    run_for(400);
    assert_true(bringup_is_ready(&bringup));
    assert_null(bringup_reason(&bringup));
    assert_int_equal(world.syncs, 2);
    assert_int_equal(world.reconciles, 2);
    world.ping_rc = ERR_STORE;
    run_for(2000);
    assert_string_equal(bringup_reason(&bringup), "the state database is not reachable");
    stop();
}

static void test_no_answer_is_an_outage(void **state)
{
    (void)state;
    start();
    run_for(0);
    world.ping_rc = HANG;
    run_for(2000 + 1999);
    assert_true(bringup_is_ready(&bringup));
    run_for(1);
    assert_false(bringup_is_ready(&bringup));
    world.ping_rc = 0;
    run_for(5000);
    assert_true(bringup_is_ready(&bringup));
    stop();
}

static void test_a_failed_comparison_is_repeated(void **state)
{
    (void)state;
    world.reconcile_rc = ERR_STORE;
    start();
    run_for(350);
    assert_true(world.reconciles >= 2);
    world.reconcile_rc = 0;
    run_for(5000);
    assert_true(bringup_is_ready(&bringup));
    stop();
}

static void test_failing_comparisons_back_off(void **state)
{
    (void)state;
    world.reconcile_rc = ERR_STORE;
    start();
    run_for(99);
    assert_int_equal(world.reconciles, 1);
    run_for(1); /* 100 */
    assert_int_equal(world.reconciles, 2);
    run_for(200 + 400 + 800 + 1600 + 3200); /* 300, 700, 1500, 3100, 6300 */
    assert_int_equal(world.reconciles, 7);
    run_for(10000); /* every 5 s from here on */
    assert_int_equal(world.reconciles, 9);
    world.reconcile_rc = 0;
    run_for(5000);
    assert_true(bringup_is_ready(&bringup));
    stop();
}

/* A target may keep a comparison waiting for as long as it likes. */
static void outage_while_comparing(void **state, int ping_rc, uint64_t noticed_ms)
{
    (void)state;
    world.reconcile_rc = HANG;
    start();
    run_for(5000);
    assert_int_equal(world.pings, 2);
    assert_true(bringup_is_ready(&bringup));
    world.ping_rc = ping_rc; /* the next one is at 6000 */
    run_for(1000 + noticed_ms - 1);
    assert_true(bringup_is_ready(&bringup));
    run_for(1);
    assert_false(bringup_is_ready(&bringup));
    assert_null(world.reconcile); /* it needs the state database */
    assert_int_equal(world.prepares, 1);
    world.ping_rc = world.reconcile_rc = 0;
    run_for(1000);
    assert_true(bringup_is_ready(&bringup));
    assert_int_equal(world.prepares, 2);
    assert_int_equal(world.reconciles, 2);
    stop();
}

static void test_no_answer_while_comparing(void **state)
{
    outage_while_comparing(state, HANG, 2000);
}

static void test_an_outage_while_comparing(void **state)
{
    outage_while_comparing(state, ERR_STORE, 0);
}

/* Late, but it came: what was asked meanwhile may have failed, so all is done again. */
static void test_a_late_answer_while_comparing(void **state)
{
    (void)state;
    world.reconcile_rc = HANG;
    start();
    run_for(1000);
    world.ping_rc = HANG;
    world.hung_rc = 0;
    run_for(3000);
    assert_int_equal(world.prepares, 2);
    assert_true(bringup_is_ready(&bringup));
    assert_int_equal(world.reconciles, 2);
    stop();
}

static void test_journals_are_compared_once_more(void **state)
{
    (void)state;
    start();
    run_for(1000);
    bringup_compare(&bringup);
    bringup_compare(&bringup);
    assert_int_equal(world.reconciles, 1); /* not from inside */
    run_for(0);
    assert_int_equal(world.reconciles, 2);
    run_for(10000);
    assert_int_equal(world.reconciles, 2);
    assert_int_equal(world.pings, 6); /* the first one in front of the comparison */
    world.ping_rc = HANG;             /* as soon as that is over */
    run_for(2000);
    bringup_compare(&bringup);
    run_for(500);
    assert_int_equal(world.reconciles, 2);
    world.ping_rc = ERR_STORE; /* away: with all the rest when it is back */
    run_for(10000);
    assert_int_equal(world.reconciles, 2);
    world.ping_rc = 0;
    run_for(10000);
    assert_int_equal(world.reconciles, 3);
    bringup_compare(&bringup);
    stop();
    assert_int_equal(world.reconciles, 3);
}

/* Never two at once: what was found while one is under way is for the next. */
static void test_a_comparison_waits_for_another(void **state)
{
    (void)state;
    world.reconcile_rc = HANG;
    start();
    run_for(1000);
    assert_int_equal(world.reconciles, 1);
    bringup_compare(&bringup);
    run_for(5000);
    assert_int_equal(world.reconciles, 1);
    world.reconcile_rc = 0;
    sched_defer(&world.sched, &world.reconcile_task);
    run_for(0);
    assert_int_equal(world.reconciles, 2);
    run_for(5000);
    assert_int_equal(world.reconciles, 2);
    stop();
}

/* Whatever it waits for, stopping ends it; whatever is refused at once is handled as a failure. */
static void test_stop_in_every_state(void **state)
{
    int *const rcs[] = {&world.load_rc, &world.prepare_rc, &world.sync_rc, &world.reconcile_rc,
                        &world.ping_rc};

    for (size_t i = 0; i < ARRAY_SIZE(rcs); i++) {
        set_up(state);
        *rcs[i] = HANG;
        start();
        run_for(3000);
        stop();
        set_up(state);
        *rcs[i] = ERR_NOMEM;
        start();
        run_for(3000);
        *rcs[i] = 0;
        run_for(10000);
        assert_true(bringup_is_ready(&bringup));
        stop();
    }
    for (uint64_t ms = 0; ms < 4000; ms += 50) {
        set_up(state);
        world.prepare_rc = ms < 2000 ? ERR_STORE : 0;
        start();
        run_for(ms);
        stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_it_gets_ready, set_up),
        cmocka_unit_test_setup(test_it_retries_with_backoff, set_up),
        cmocka_unit_test_setup(test_a_tree_that_cannot_be_read_does_not_stop_it, set_up),
        cmocka_unit_test_setup(test_a_failed_sync_prepares_again, set_up),
        cmocka_unit_test_setup(test_it_notices_an_outage_and_its_end, set_up),
        cmocka_unit_test_setup(test_lost_tables_are_made_again, set_up),
        cmocka_unit_test_setup(test_no_answer_is_an_outage, set_up),
        cmocka_unit_test_setup(test_a_failed_comparison_is_repeated, set_up),
        cmocka_unit_test_setup(test_failing_comparisons_back_off, set_up),
        cmocka_unit_test_setup(test_no_answer_while_comparing, set_up),
        cmocka_unit_test_setup(test_an_outage_while_comparing, set_up),
        cmocka_unit_test_setup(test_a_late_answer_while_comparing, set_up),
        cmocka_unit_test_setup(test_journals_are_compared_once_more, set_up),
        cmocka_unit_test_setup(test_a_comparison_waits_for_another, set_up),
        cmocka_unit_test_setup(test_stop_in_every_state, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
