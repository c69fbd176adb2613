#include "driver/pool.h"
#include "base/clock.h"
#include "base/mem.h"

enum {
    POOL_SURPLUS_LINGER_MS = 1000, /* an idle connection above max_idle is kept for so long, so that
                                    a busy pool does not reconnect between two steps */
    POOL_CROWD_RETRY_MS = 500,
    POOL_DOWN_MIN_MS = 20,
    POOL_DOWN_MAX_MS = 5000,
};

/* One pool_acquire() that had to wait. */
struct pool_waiter {
    struct list link;
    struct pool *pool;
    struct op *op;
    void *out;
    uint64_t since_ns;
};

static void pool_pump(struct pool *pool);

static uint64_t pool_now(const struct pool *pool)
{
    return loop_sched(pool->loop)->now_ms;
}

static void pool_check(const struct pool *pool)
{
    assert(pool->open <= pool->limits.max_open);
    assert(pool->idle_count + pool->connecting_count <= pool->open);
    assert(pool->alive >= pool->open);
}

/* --- waiters --- */

static void pool_waiter_finish(struct pool_waiter *waiter, int rc)
{
    struct op *op = waiter->op;

    list_remove(&waiter->link);
    waiter->pool->waiting--;
    waiter->pool->stats.wait_us += (clock_monotonic_ns() - waiter->since_ns) / 1000;
    op_finish_later(op, loop_sched(waiter->pool->loop), rc);
    mem_free(waiter);
}

static struct pool_waiter *pool_first_waiter(struct pool *pool)
{
    return container_of(pool->waiters.next, struct pool_waiter, link);
}

static void pool_fail_first(struct pool *pool, const struct err *err)
{
    struct pool_waiter *waiter = pool_first_waiter(pool);

    waiter->op->err = *err;
    pool_waiter_finish(waiter, err->code);
}

static void pool_fail_all(struct pool *pool, const struct err *err)
{
    while (pool->waiting > 0)
        pool_fail_first(pool, err);
}

static void pool_waiter_cancel(struct op *op)
{
    pool_waiter_finish(op->impl, ERR_CANCELED);
}

static int pool_waiter_add(struct pool *pool, struct op *op, void *out)
{
    struct pool_waiter *waiter = mem_calloc(1, sizeof(*waiter));

    if (waiter == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    waiter->pool = pool;
    waiter->op = op;
    waiter->out = out;
    waiter->since_ns = clock_monotonic_ns();
    pool->stats.waits++;
    list_push_back(&pool->waiters, &waiter->link);
    pool->waiting++;
    op_begin(op, waiter, pool_waiter_cancel);
    return 0;
}

/* --- places --- */

static void pool_unlink(struct pool_conn *conn)
{
    struct pool *pool = conn->pool;

    if (!list_is_linked(&conn->link))
        return;
    list_remove(&conn->link);
    if (conn->is_idle)
        pool->idle_count--;
    else
        pool->connecting_count--;
    conn->is_idle = false;
}

static void pool_close_conn(struct pool_conn *conn)
{
    struct pool *pool = conn->pool;

    pool_unlink(conn);
    pool->open--;
    pool->kind->close(conn);
}

static void pool_arm_expiry(struct pool *pool, uint64_t in_ms)
{
    uint64_t due = pool_now(pool) + in_ms;

    if (!pool->expiry.armed || due < pool->expiry.due)
        sched_start_timer(loop_sched(pool->loop), &pool->expiry, in_ms);
}

/* Milliseconds until the idle connection has to go; `surplus`: it is above max_idle. */
static uint64_t pool_expires_in(const struct pool_conn *conn, bool surplus)
{
    const struct pool_limits *limits = &conn->pool->limits;
    uint64_t now = pool_now(conn->pool);
    uint64_t due = UINT64_MAX;

    if (limits->max_lifetime_ms > 0)
        due = conn->opened_ms + limits->max_lifetime_ms;
    if (limits->max_idle_time_ms > 0 && conn->idle_since_ms + limits->max_idle_time_ms < due)
        due = conn->idle_since_ms + limits->max_idle_time_ms;
    if (surplus && conn->idle_since_ms + POOL_SURPLUS_LINGER_MS < due)
        due = conn->idle_since_ms + POOL_SURPLUS_LINGER_MS;
    if (due == UINT64_MAX)
        return UINT64_MAX;
    return due > now ? due - now : 0;
}

static void pool_on_expiry(struct timer *timer)
{
    struct pool *pool = container_of(timer, struct pool, expiry);
    uint64_t next = UINT64_MAX;
    unsigned kept = 0;

    list_foreach_safe(node, &pool->idle) {
        struct pool_conn *conn = container_of(node, struct pool_conn, link);
        uint64_t in_ms = pool_expires_in(conn, kept >= pool->limits.max_idle);

        if (in_ms == 0) {
            pool_close_conn(conn);
            continue;
        }
        kept++;
        if (in_ms < next)
            next = in_ms;
    }
    if (next != UINT64_MAX)
        pool_arm_expiry(pool, next);
    pool_pump(pool);
}

static void pool_put_idle(struct pool_conn *conn)
{
    struct pool *pool = conn->pool;
    uint64_t in_ms;

    conn->idle_since_ms = pool_now(pool);
    list_push_front(&pool->idle, &conn->link);
    pool->idle_count++;
    conn->is_idle = true;
    if (!pool->kind->rest(conn)) {
        pool_close_conn(conn);
        return;
    }
    in_ms = pool_expires_in(conn, pool->idle_count > pool->limits.max_idle);
    if (in_ms != UINT64_MAX)
        pool_arm_expiry(pool, in_ms);
}

/* Lends the most recently used idle connection. */
static void pool_lend_idle(struct pool *pool, void *out)
{
    struct pool_conn *conn = container_of(pool->idle.next, struct pool_conn, link);

    pool_unlink(conn);
    pool->kind->lend(conn, out);
}

static int pool_connect(struct pool *pool, struct err *err)
{
    struct pool_conn *conn = pool->kind->create(pool);

    if (conn == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    conn->opened_ms = pool_now(pool);
    pool->open++;
    pool->connecting_count++;
    list_push_back(&pool->connecting, &conn->link);
    if (pool->kind->connect(conn, err) != 0)
        pool_close_conn(conn);
    else
        err_clear(err);
    return err->code;
}

/* Gives idle connections to waiters in turn, then opens one for each who is left, up to the limit.
 */
static void pool_pump(struct pool *pool)
{
    struct err err;

    while (pool->waiting > 0 && pool->idle_count > 0) {
        struct pool_waiter *waiter = pool_first_waiter(pool);

        pool_lend_idle(pool, waiter->out);
        pool_waiter_finish(waiter, 0);
    }
    while (!pool->closing && !pool->crowded && pool->waiting > pool->connecting_count &&
           pool->open < pool->limits.max_open)
        if (pool_connect(pool, &err) != 0)
            pool_fail_first(pool, &err);
    pool_check(pool);
}

static void pool_note_contact(struct pool *pool)
{
    pool->stats.contact_us = clock_wall_us();
    pool->stats.contacted = true;
    pool->stats.is_up = true;
}

void pool_on_connected(struct pool_conn *conn)
{
    struct pool *pool = conn->pool;

    pool->down_until_ms = 0;
    pool_note_contact(pool);
    conn->opened_ms = pool_now(pool);
    pool_unlink(conn);
    pool_put_idle(conn);
    pool_pump(pool);
}

/*
 * With nothing open the target is away, and everyone who waits waits for the same: all fail, and
 * for as long as it took to find out nobody tries again. With others open, the one whose turn it
 * is fails, or, when the server has no more places, waits for one of those.
 */
void pool_on_connect_failed(struct pool_conn *conn, const struct err *err)
{
    struct pool *pool = conn->pool;
    uint64_t took = pool_now(pool) - conn->opened_ms;
    struct err why = *err;

    pool->failed_since_ms = conn->opened_ms;
    pool->stats.failures++;
    pool->stats.contacted = true;
    pool->stats.is_up = false;
    pool_close_conn(conn);
    if (pool->open == 0 ||
        (pool->open == pool->connecting_count && !pool->kind->is_crowded(&why))) {
        took = took < POOL_DOWN_MIN_MS ? POOL_DOWN_MIN_MS : took;
        took = took > POOL_DOWN_MAX_MS ? POOL_DOWN_MAX_MS : took;
        pool->down = why;
        pool->down_until_ms = why.code == ERR_UNREACHABLE ? pool_now(pool) + took : 0;
        pool_fail_all(pool, &why);
    } else if (pool->kind->is_crowded(&why)) {
        pool->crowded = true;
        sched_start_timer(loop_sched(pool->loop), &pool->crowd_timer, POOL_CROWD_RETRY_MS);
    } else if (pool->waiting > 0) {
        pool_fail_first(pool, &why);
    }
    pool_pump(pool);
}

static void pool_on_crowd_timer(struct timer *timer)
{
    struct pool *pool = container_of(timer, struct pool, crowd_timer);

    pool->crowded = false;
    pool_pump(pool);
}

void pool_on_idle_lost(struct pool_conn *conn)
{
    struct pool *pool = conn->pool;

    pool_close_conn(conn);
    pool_pump(pool);
}

int pool_acquire(struct pool *pool, struct op *op, void *out)
{
    int rc;

    if (pool->closing)
        return op_refuse(op, ERR_SHUTDOWN, "the server is stopping");
    if (pool->idle_count == 0 && pool_now(pool) < pool->down_until_ms) {
        op->err = pool->down;
        return pool->down.code;
    }
    if (pool->waiting == 0 && pool->idle_count > 0) {
        pool_lend_idle(pool, out);
        op_begin(op, NULL, NULL);
        op_finish_later(op, loop_sched(pool->loop), 0);
        return 0;
    }
    rc = pool_waiter_add(pool, op, out);
    if (rc == 0)
        pool_pump(pool);
    return rc;
}

bool pool_may_keep(struct pool_conn *conn)
{
    const struct pool *pool = conn->pool;

    return !pool->closing && pool->kind->is_fit(conn) &&
           (pool->limits.max_lifetime_ms == 0 ||
            pool_now(pool) - conn->opened_ms < pool->limits.max_lifetime_ms);
}

void pool_release(struct pool_conn *conn)
{
    struct pool *pool = conn->pool;

    assert(!list_is_linked(&conn->link));
    if (!pool_may_keep(conn)) {
        pool_discard(conn);
        return;
    }
    pool_note_contact(pool);
    pool_put_idle(conn);
    pool_pump(pool);
}

void pool_discard(struct pool_conn *conn)
{
    struct pool *pool = conn->pool;

    assert(!list_is_linked(&conn->link));
    pool_close_conn(conn);
    pool_pump(pool);
}

/* --- the pool itself --- */

void pool_init(struct pool *pool, const struct pool_kind *kind, struct loop *loop,
               const struct pool_limits *limits)
{
    pool->kind = kind;
    pool->loop = loop;
    pool->limits = *limits;
    if (pool->limits.max_open == 0)
        pool->limits.max_open = 1;
    list_init(&pool->idle);
    list_init(&pool->connecting);
    list_init(&pool->waiters);
    pool->expiry.fire = pool_on_expiry;
    pool->crowd_timer.fire = pool_on_crowd_timer;
}

void pool_attach(struct pool *pool)
{
    pool->alive++;
}

static void pool_on_closed(struct task *task)
{
    struct op *op = container_of(task, struct op, task);
    struct pool *pool = op->impl;

    pool->kind->free(pool);
    op_finish(op, 0);
}

void pool_detach(struct pool *pool)
{
    pool->alive--;
    if (!pool->closing || pool->alive > 0)
        return;
    pool->close_op->task.run = pool_on_closed;
    sched_defer(loop_sched(pool->loop), &pool->close_op->task);
}

int pool_close(struct pool *pool, struct op *op)
{
    const struct err err = {.code = ERR_SHUTDOWN, .text = "the server is stopping"};

    op_begin(op, pool, NULL);
    pool->close_op = op;
    pool_attach(pool); /* until everything below was asked to close */
    pool->closing = true;
    sched_stop_timer(loop_sched(pool->loop), &pool->expiry);
    sched_stop_timer(loop_sched(pool->loop), &pool->crowd_timer);
    pool_fail_all(pool, &err);
    list_foreach_safe(node, &pool->idle)
        pool_close_conn(container_of(node, struct pool_conn, link));
    list_foreach_safe(other, &pool->connecting)
        pool_close_conn(container_of(other, struct pool_conn, link));
    pool_detach(pool);
    return 0;
}

void pool_forget_failure(struct pool *pool)
{
    pool->down_until_ms = 0;
}

unsigned pool_lent(const struct pool *pool)
{
    return pool->open - pool->idle_count - pool->connecting_count;
}

void pool_report(const struct pool *pool, struct pool_stats *out)
{
    *out = pool->stats;
    out->max = pool->limits.max_open;
    out->open = pool->open;
    out->busy = pool_lent(pool);
    out->waiting = pool->waiting;
}
