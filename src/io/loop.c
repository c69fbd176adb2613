#include "io/loop.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"

struct loop {
    uv_loop_t uv;
    struct sched sched;
    uv_timer_t timer;                /* fires at the sched's earliest timer */
    uv_prepare_t prepare;            /* before polling: runs tasks, arms the timer */
    uv_check_t check;                /* after polling: tells the scheduler the time */
    uv_idle_t idle;                  /* active while tasks wait, so that polling does not */
    uint64_t turn_began_ns, idle_ns; /* hrtime and idle time when the last turn began */
    uint64_t turn_cpu_ns;            /* the thread's time on a processor then */
    uint64_t longest_ns, longest_cpu_ns;
    uint64_t turns[LOOP_TURN_BOUNDS + 1], busy_ns; /* of loop_stats */
    uint64_t recent_since_ns, recent_ns, before_ns;
};

const uint64_t loop_turn_bounds[LOOP_TURN_BOUNDS] = {100,   500,   1000,   5000,   10000,
                                                     25000, 50000, 100000, 500000, 1000000};

enum {
    LOOP_RECENT_S = 60,
};

static void loop_on_idle(uv_idle_t *idle)
{
    (void)idle;
}

/* Also keeps the loop alive until the prepare handle has looked: the wake may come from the last
 * handle's end. */
static void loop_on_wake(struct sched *sched)
{
    struct loop *loop = container_of(sched, struct loop, sched);

    loop->sched.now_ms = uv_now(&loop->uv);
    uv_idle_start(&loop->idle, loop_on_idle);
}

static void loop_on_timer(uv_timer_t *timer)
{
    (void)timer; /* it only ends the polling; the prepare handle runs what is due */
}

static void loop_arm(struct loop *loop)
{
    uint64_t in_ms;

    if (sched_has_tasks(&loop->sched))
        uv_idle_start(&loop->idle, loop_on_idle);
    else
        uv_idle_stop(&loop->idle);
    if (sched_next_timer(&loop->sched, &in_ms))
        uv_timer_start(&loop->timer, loop_on_timer, in_ms, 0);
    else
        uv_timer_stop(&loop->timer);
}

static uint64_t loop_cpu_ns(void)
{
    struct timespec used;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

static void loop_begin_turn(struct loop *loop)
{
    loop->turn_began_ns = uv_hrtime();
    loop->idle_ns = uv_metrics_idle_time(&loop->uv);
    loop->turn_cpu_ns = loop_cpu_ns();
}

/* The longest turn of this minute and of the one before are kept. */
static void loop_note_recent(struct loop *loop, uint64_t busy_ns)
{
    uint64_t age_ns = loop->turn_began_ns - loop->recent_since_ns;
    uint64_t minute_ns = (uint64_t)LOOP_RECENT_S * 1000000000;

    if (age_ns >= minute_ns) {
        loop->before_ns = age_ns < 2 * minute_ns ? loop->recent_ns : 0;
        loop->recent_ns = 0;
        loop->recent_since_ns = loop->turn_began_ns;
    }
    if (busy_ns > loop->recent_ns)
        loop->recent_ns = busy_ns;
}

static void loop_count_turn(struct loop *loop, uint64_t busy_ns)
{
    size_t at = 0;

    while (at < LOOP_TURN_BOUNDS && busy_ns > loop_turn_bounds[at] * 1000)
        at++;
    loop->turns[at]++;
    loop->busy_ns += busy_ns;
    loop_note_recent(loop, busy_ns);
}

/* From one prepare to the next is a turn; what libuv did not spend waiting in it kept the loop
 * busy. */
static void loop_measure_turn(struct loop *loop)
{
    uint64_t turn = uv_hrtime() - loop->turn_began_ns;
    uint64_t waited = uv_metrics_idle_time(&loop->uv) - loop->idle_ns;
    uint64_t cpu = loop_cpu_ns() - loop->turn_cpu_ns;

    if (turn > waited && turn - waited > loop->longest_ns)
        loop->longest_ns = turn - waited;
    loop_count_turn(loop, turn > waited ? turn - waited : 0);
    if (cpu > loop->longest_cpu_ns)
        loop->longest_cpu_ns = cpu;
    loop_begin_turn(loop);
}

static void loop_on_prepare(uv_prepare_t *prepare)
{
    struct loop *loop = prepare->data;

    loop_measure_turn(loop);
    uv_update_time(&loop->uv);
    sched_run(&loop->sched, uv_now(&loop->uv));
    loop_arm(loop);
}

static void loop_on_check(uv_check_t *check)
{
    struct loop *loop = check->data;

    loop->sched.now_ms = uv_now(&loop->uv);
}

struct loop *loop_create(void)
{
    struct loop *loop = mem_calloc(1, sizeof(*loop));

    if (loop == NULL)
        return NULL;
    if (uv_loop_init(&loop->uv) != 0) {
        mem_free(loop);
        return NULL;
    }
    uv_loop_configure(&loop->uv, UV_METRICS_IDLE_TIME);
    sched_init(&loop->sched, uv_now(&loop->uv));
    loop->sched.wake = loop_on_wake;
    uv_timer_init(&loop->uv, &loop->timer);
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    uv_idle_init(&loop->uv, &loop->idle);
    loop->prepare.data = loop;
    loop->check.data = loop;
    uv_prepare_start(&loop->prepare, loop_on_prepare);
    uv_check_start(&loop->check, loop_on_check);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_unref((uv_handle_t *)&loop->check);
    return loop;
}

void loop_run(struct loop *loop)
{
    loop_begin_turn(loop);
    loop_arm(loop);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

static void loop_report_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    log_write(LOG_FATAL, "handle left open at exit",
              LOG_STR("type", uv_handle_type_name(uv_handle_get_type(handle))));
}

void loop_destroy(struct loop *loop)
{
    uv_close((uv_handle_t *)&loop->timer, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop->uv) != 0) {
        uv_walk(&loop->uv, loop_report_handle, NULL);
        abort();
    }
    mem_free(loop);
}

struct sched *loop_sched(struct loop *loop)
{
    return &loop->sched;
}

uv_loop_t *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

void loop_note_signal(struct loop *loop)
{
    loop_begin_turn(loop);
}

uint64_t loop_take_longest_us(struct loop *loop)
{
    uint64_t longest = loop->longest_ns / 1000;

    loop->longest_ns = 0;
    return longest;
}

uint64_t loop_take_longest_cpu_us(struct loop *loop)
{
    uint64_t longest = loop->longest_cpu_ns / 1000;

    loop->longest_cpu_ns = 0;
    return longest;
}

void loop_get_stats(const struct loop *loop, struct loop_stats *out)
{
    uint64_t longest_ns = loop->recent_ns > loop->before_ns ? loop->recent_ns : loop->before_ns;

    memcpy(out->turns, loop->turns, sizeof(out->turns));
    out->busy_us = loop->busy_ns / 1000;
    out->longest_us = longest_ns / 1000;
}
