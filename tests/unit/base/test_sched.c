#include "cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "base/sched.h"

enum {
    TIMERS = 200,
    ROUNDS = 50,
};

/* A timer that writes down when it fired. */
struct alarm {
    struct timer timer;
    struct sched *sched;
    uint64_t fired_at; /* 0: not yet */
    unsigned place;    /* in the order of firing */
};

static unsigned fired;

static void on_fire(struct timer *timer)
{
    struct alarm *alarm = container_of(timer, struct alarm, timer);

    assert_int_equal(alarm->fired_at, 0);
    alarm->fired_at = alarm->sched->now_ms;
    alarm->place = ++fired;
}

static void alarm_init(struct alarm *alarm, struct sched *sched)
{
    *alarm = (struct alarm){.timer = {.fire = on_fire}, .sched = sched};
}

static void test_order_of_firing(void **state)
{
    struct alarm a, b, c;
    struct sched sched;
    uint64_t in;

    (void)state;
    fired = 0;
    sched_init(&sched, 100);
    assert_false(sched_next_timer(&sched, &in));
    alarm_init(&a, &sched);
    alarm_init(&b, &sched);
    alarm_init(&c, &sched);
    sched_start_timer(&sched, &a.timer, 20);
    sched_start_timer(&sched, &b.timer, 10);
    sched_start_timer(&sched, &c.timer, 20);
    assert_true(sched_next_timer(&sched, &in));
    assert_int_equal(in, 10);
    sched_run(&sched, 109);
    assert_int_equal(fired, 0);
    sched_run(&sched, 110);
    assert_int_equal(b.place, 1);
    assert_true(sched_next_timer(&sched, &in));
    assert_int_equal(in, 10);
    sched_run(&sched, 500);
    assert_int_equal(a.place, 2); /* equal times in the order of arming */
    assert_int_equal(c.place, 3);
    assert_false(sched_next_timer(&sched, &in));
}

static void test_moving_and_stopping(void **state)
{
    struct alarm a, b;
    struct sched sched;

    (void)state;
    fired = 0;
    sched_init(&sched, 0);
    alarm_init(&a, &sched);
    alarm_init(&b, &sched);
    sched_stop_timer(&sched, &a.timer);
    sched_start_timer(&sched, &a.timer, 10);
    sched_start_timer(&sched, &b.timer, 15);
    sched_start_timer(&sched, &a.timer, 30);
    sched_stop_timer(&sched, &b.timer);
    sched_stop_timer(&sched, &b.timer);
    sched_run(&sched, 29);
    assert_int_equal(fired, 0);
    sched_run(&sched, 30);
    assert_int_equal(a.place, 1);
    assert_int_equal(b.fired_at, 0);
}

/* Arms, moves and stops at random; each fires at the first turn at or behind its time, in order. */
static void test_random(void **state)
{
    static struct alarm alarms[TIMERS];
    uint64_t due[TIMERS], order[TIMERS], arming = 0;
    struct sched sched;

    (void)state;
    srand(20250101);
    for (int round = 0; round < ROUNDS; round++) {
        fired = 0;
        sched_init(&sched, 1);
        for (int i = 0; i < TIMERS; i++) {
            alarm_init(&alarms[i], &sched);
            due[i] = 0;
        }
        for (int step = 0; step < 3 * TIMERS; step++) {
            int i = rand() % TIMERS;
            uint64_t in = (uint64_t)(rand() % 50);

            if (alarms[i].fired_at != 0)
                continue;
            if (rand() % 4 == 0) {
                sched_stop_timer(&sched, &alarms[i].timer);
                due[i] = 0;
            } else {
                sched_start_timer(&sched, &alarms[i].timer, in);
                due[i] = sched.now_ms + in;
                order[i] = arming++;
            }
            if (rand() % 20 == 0)
                sched_run(&sched, sched.now_ms + (uint64_t)(rand() % 10));
            for (int n = 0; n < TIMERS; n++)
                if (due[n] != 0 && alarms[n].fired_at != 0)
                    assert_true(alarms[n].fired_at >= due[n]);
        }
        sched_run(&sched, sched.now_ms + 1000);
        for (int i = 0; i < TIMERS; i++) {
            assert_int_equal(alarms[i].fired_at != 0, due[i] != 0);
            for (int n = 0; n < TIMERS; n++)
                if (due[i] != 0 && due[n] != 0 && alarms[i].fired_at == alarms[n].fired_at &&
                    (due[i] < due[n] || (due[i] == due[n] && order[i] < order[n])))
                    assert_true(alarms[i].place < alarms[n].place);
        }
    }
}

struct again {
    struct timer timer;
    struct sched *sched;
    unsigned count;
};

static void on_again(struct timer *timer)
{
    struct again *again = container_of(timer, struct again, timer);

    again->count++;
    sched_start_timer(again->sched, timer, 0);
}

static void test_a_turn_ends(void **state)
{
    struct sched sched;
    struct again again = {.timer = {.fire = on_again}, .sched = &sched};

    (void)state;
    sched_init(&sched, 5);
    sched_start_timer(&sched, &again.timer, 0);
    sched_run(&sched, 5);
    assert_int_equal(again.count, 1);
    sched_run(&sched, 5);
    assert_int_equal(again.count, 2);
    sched_stop_timer(&sched, &again.timer);
}

struct job {
    struct task task;
    struct sched *sched;
    unsigned count;
    struct task *undefer;
};

static void on_job(struct task *task)
{
    struct job *job = container_of(task, struct job, task);

    job->count++;
    if (job->count == 1)
        sched_defer(job->sched, task); /* for the next turn */
    if (job->undefer != NULL)
        sched_undefer(job->undefer);
}

static unsigned wakes;

static void on_wake(struct sched *sched)
{
    (void)sched;
    wakes++;
}

static void test_tasks(void **state)
{
    struct sched sched;
    struct job a = {.task = {.run = on_job}, .sched = &sched};
    struct job b = {.task = {.run = on_job}, .sched = &sched, .count = 10};

    (void)state;
    wakes = 0;
    sched_init(&sched, 0);
    sched.wake = on_wake;
    a.undefer = &b.task;
    assert_false(sched_has_tasks(&sched));
    sched_defer(&sched, &a.task);
    sched_defer(&sched, &a.task); /* once is enough */
    sched_defer(&sched, &b.task);
    assert_int_equal(wakes, 2);
    assert_true(sched_has_tasks(&sched));
    sched_run(&sched, 0);
    assert_int_equal(a.count, 1);
    assert_int_equal(b.count, 10); /* taken back by the first, in the same turn */
    assert_true(sched_has_tasks(&sched));
    sched_run(&sched, 0);
    assert_int_equal(a.count, 2);
    assert_false(sched_has_tasks(&sched));
    sched_undefer(&a.task);
}

static void test_wakes_for_an_earlier_timer(void **state)
{
    struct alarm a, b, c;
    struct sched sched;

    (void)state;
    wakes = 0;
    sched_init(&sched, 0);
    sched.wake = on_wake;
    alarm_init(&a, &sched);
    alarm_init(&b, &sched);
    alarm_init(&c, &sched);
    sched_start_timer(&sched, &a.timer, 10);
    assert_int_equal(wakes, 1);
    sched_start_timer(&sched, &b.timer, 20);
    assert_int_equal(wakes, 1);
    sched_start_timer(&sched, &c.timer, 5);
    assert_int_equal(wakes, 2);
    sched_stop_timer(&sched, &a.timer);
    sched_stop_timer(&sched, &b.timer);
    sched_stop_timer(&sched, &c.timer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_firing), cmocka_unit_test(test_moving_and_stopping),
        cmocka_unit_test(test_random),          cmocka_unit_test(test_a_turn_ends),
        cmocka_unit_test(test_tasks),           cmocka_unit_test(test_wakes_for_an_earlier_timer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
