/* What the loop and the system say about this process. */
#include <fcntl.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "cmocka_all.h"
#include "io/loop.h"
#include "io/process.h"

enum {
    BUSY_MS = 600, /* no other turn is so long, on a busy machine either */
};

static void on_timer(struct timer *timer)
{
    uint64_t until = clock_monotonic_ns() + (uint64_t)BUSY_MS * 1000000;

    (void)timer;
    while (clock_monotonic_ns() < until)
        continue;
}

static void on_nothing(struct timer *timer)
{
    (void)timer; /* a turn is measured when the next one begins */
}

static void test_turns_are_counted_by_length(void **state)
{
    struct timer timers[] = {{.fire = on_timer}, {.fire = on_timer}, {.fire = on_nothing}};
    struct loop *loop = loop_create();
    struct loop_stats stats;
    uint64_t long_turns = 0, turns = 0;

    (void)state;
    assert_non_null(loop);
    sched_start_timer(loop_sched(loop), &timers[0], 1);
    sched_start_timer(loop_sched(loop), &timers[1], 2 * BUSY_MS);
    sched_start_timer(loop_sched(loop), &timers[2], 4 * BUSY_MS);
    loop_run(loop);
    loop_get_stats(loop, &stats);
    loop_destroy(loop);
    for (size_t i = 0; i <= LOOP_TURN_BOUNDS; i++) {
        turns += stats.turns[i];
        if (i > 0 && loop_turn_bounds[i - 1] >= 500 * 1000)
            long_turns += stats.turns[i];
    }
    assert_int_equal(long_turns, 2);
    assert_true(turns >= 2);
    assert_true(stats.busy_us >= 2 * BUSY_MS * 1000);
    assert_true(stats.longest_us >= BUSY_MS * 1000 && stats.longest_us <= stats.busy_us);
}

static void test_the_bounds_rise(void **state)
{
    (void)state;
    for (size_t i = 1; i < LOOP_TURN_BOUNDS; i++)
        assert_true(loop_turn_bounds[i] > loop_turn_bounds[i - 1]);
}

static void test_the_process(void **state)
{
    struct process_figures before, after;
    uint64_t now_us = (uint64_t)clock_wall_us();
    int files[8];

    (void)state;
    assert_int_equal(process_read(&before, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        files[i] = open("/dev/null", O_RDONLY);
    assert_int_equal(process_read(&after, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        close(files[i]);
    assert_int_equal(after.open_files, before.open_files + ARRAY_SIZE(files));
    assert_true(before.open_files >= 3 && before.max_files > before.open_files);
    assert_true(before.resident_bytes > 100 * 1024);
    assert_true(before.virtual_bytes > before.resident_bytes);
    assert_true(after.cpu_us >= before.cpu_us);
    assert_true(before.started_us < now_us + 2000000);
    assert_true(before.started_us + (uint64_t)600 * 1000000 > now_us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns_are_counted_by_length),
        cmocka_unit_test(test_the_bounds_rise),
        cmocka_unit_test(test_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
