#include "io/loop.h"

#include <stdlib.h>

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
    uint64_t longest_ns;
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

static void loop_begin_turn(struct loop *loop)
{
    loop->turn_began_ns = uv_hrtime();
    loop->idle_ns = uv_metrics_idle_time(&loop->uv);
}

/* From one prepare to the next is a turn; what libuv did not spend waiting in it kept the loop
 * busy. */
static void loop_measure_turn(struct loop *loop)
{
    uint64_t turn = uv_hrtime() - loop->turn_began_ns;
    uint64_t waited = uv_metrics_idle_time(&loop->uv) - loop->idle_ns;

    if (turn > waited && turn - waited > loop->longest_ns)
        loop->longest_ns = turn - waited;
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

uint64_t loop_take_longest_us(struct loop *loop)
{
    uint64_t longest = loop->longest_ns / 1000;

    loop->longest_ns = 0;
    return longest;
}
