/* The loop drives the scheduler: nothing deferred is lost, time passes, work comes back. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "cmocka_all.h"
#include "io/loop.h"
#include "io/resolve.h"
#include "io/signals.h"
#include "io/work.h"

static struct loop *loop;
static unsigned ran;

static void on_task(struct task *task)
{
    (void)task;
    ran++;
}

static struct task task = {.run = on_task};

static void on_closed(uv_handle_t *handle)
{
    (void)handle;
    sched_defer(loop_sched(loop), &task);
}

/* Once the handle is closed nothing else keeps libuv's loop alive. */
static void test_task_of_the_last_close_callback_runs(void **state)
{
    uv_timer_t timer;

    (void)state;
    ran = 0;
    loop = loop_create();
    uv_timer_init(loop_uv(loop), &timer);
    uv_close((uv_handle_t *)&timer, on_closed);
    loop_run(loop);
    assert_int_equal(ran, 1);
    loop_destroy(loop);
}

static void on_fire(struct timer *timer)
{
    (void)timer;
    ran++;
}

static void test_timers_fire_when_due(void **state)
{
    struct timer timers[3] = {{.fire = on_fire}, {.fire = on_fire}, {.fire = on_fire}};
    uint64_t start = clock_monotonic_ns();

    (void)state;
    ran = 0;
    loop = loop_create();
    for (size_t i = 0; i < ARRAY_SIZE(timers); i++)
        sched_start_timer(loop_sched(loop), &timers[i], 20 * i);
    loop_run(loop);
    assert_int_equal(ran, 3);
    assert_true(clock_monotonic_ns() - start >= 39000000u);
    loop_destroy(loop);
}

static void on_busy(uv_timer_t *timer)
{
    uint64_t start = clock_monotonic_ns();

    while (clock_monotonic_ns() - start < 30000000u)
        continue;
    uv_close((uv_handle_t *)timer, NULL);
}

/* What I/O callbacks of libuv itself take counts, not only tasks of the scheduler; waiting does
 * not. */
static void test_longest_turn_is_seen(void **state)
{
    struct timer later = {.fire = on_fire};
    uv_timer_t timer;
    uint64_t longest;

    (void)state;
    loop = loop_create();
    uv_timer_init(loop_uv(loop), &timer);
    uv_timer_start(&timer, on_busy, 0, 0); /* before the first look of the loop */
    sched_start_timer(loop_sched(loop), &later, 3000);
    loop_run(loop);
    longest = loop_take_longest_us(loop);
    assert_in_range(longest, 30000, 2900000);
    assert_in_range(loop_take_longest_cpu_us(loop), 1, longest);
    loop_destroy(loop);
}

static struct signals *signals;
static struct timer until_signal = {.fire = on_fire}; /* signals alone keep no loop alive */

static void on_signal(void *arg, int signum)
{
    (void)arg;
    assert_int_equal(signum, SIGTERM);
    ran++;
    sched_stop_timer(loop_sched(loop), &until_signal);
    signals_stop(signals);
}

static int interrupt(void *arg, struct err *err)
{
    const pthread_t *loop_thread = arg;

    (void)err;
    sleep(2);
    return pthread_kill(*loop_thread, SIGTERM);
}

static void on_interrupted(struct op *op, int rc)
{
    (void)op;
    assert_int_equal(rc, 0);
}

/* A signal cuts the wait short; what was waited until then is no work. */
static void test_wait_before_a_signal_is_no_turn(void **state)
{
    pthread_t self = pthread_self();
    struct op op;

    (void)state;
    ran = 0;
    loop = loop_create();
    signals = signals_start(loop, on_signal, NULL);
    sched_start_timer(loop_sched(loop), &until_signal, 60000);
    op_init(&op, on_interrupted);
    assert_int_equal(work_start(loop, &op, interrupt, &self), 0);
    loop_run(loop);
    assert_int_equal(ran, 1);
    assert_in_range(loop_take_longest_us(loop), 0, 1900000);
    loop_destroy(loop);
}

static int answer(void *arg, struct err *err)
{
    int *rc = arg;

    return *rc != 0 ? err_set(err, *rc, "the work said so") : 0;
}

static int work_rc;
static char work_text[ERR_TEXT_MAX];

static void on_work(struct op *op, int rc)
{
    work_rc = rc;
    snprintf(work_text, sizeof(work_text), "%s", op->err.text);
}

static void test_work_brings_its_result(void **state)
{
    int codes[] = {0, ERR_IO};
    struct op op;

    (void)state;
    loop = loop_create();
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        op_init(&op, on_work);
        assert_int_equal(work_start(loop, &op, answer, &codes[i]), 0);
        loop_run(loop);
        assert_int_equal(work_rc, codes[i]);
    }
    assert_string_equal(work_text, "the work said so");
    loop_destroy(loop);
}

static void test_numeric_hosts_need_no_lookup(void **state)
{
    struct resolve_result result;
    struct op op;

    (void)state;
    loop = loop_create();
    op_init(&op, on_work);
    assert_int_equal(resolve_start(loop, &op, "::1", &result), 0);
    loop_run(loop);
    assert_int_equal(work_rc, 0);
    assert_int_equal(result.count, 1);
    assert_string_equal(result.addresses[0], "::1");
    op_init(&op, on_work);
    assert_int_equal(resolve_start(loop, &op, "localhost", &result), 0);
    loop_run(loop);
    assert_int_equal(work_rc, 0);
    assert_true(result.count >= 1);
    loop_destroy(loop);
}

/* Without it the second SIGTERM of an impatient supervisor ends the program by that signal. */
static void test_signals_behind_the_end_are_ignored(void **state)
{
    (void)state;
    loop = loop_create();
    signals = signals_start(loop, on_signal, NULL);
    signals_stop(signals);
    raise(SIGTERM);
    raise(SIGINT);
    raise(SIGHUP);
    ran = 0;
    loop_run(loop);
    assert_int_equal(ran, 0);
    loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_task_of_the_last_close_callback_runs),
        cmocka_unit_test(test_timers_fire_when_due),
        cmocka_unit_test(test_longest_turn_is_seen),
        cmocka_unit_test(test_wait_before_a_signal_is_no_turn),
        cmocka_unit_test(test_signals_behind_the_end_are_ignored),
        cmocka_unit_test(test_work_brings_its_result),
        cmocka_unit_test(test_numeric_hosts_need_no_lookup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
