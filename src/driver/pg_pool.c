#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "driver/pg_private.h"

enum {
    PG_SURPLUS_LINGER_MS = 1000, /* an idle connection above max_idle is kept for so long, so that a
                                    busy pool does not reconnect between two steps */
    PG_CROWD_RETRY_MS = 500,
    PG_DOWN_MIN_MS = 20,
    PG_DOWN_MAX_MS = 5000,
};

/* One pg_acquire() that had to wait. */
struct pg_waiter {
    struct list link;
    struct pg_pool *pool;
    struct op *op;
    struct pg_conn **out;
    uint64_t since_ns;
};

static void pg_pool_pump(struct pg_pool *pool);

static uint64_t pg_pool_now(const struct pg_pool *pool)
{
    return loop_sched(pool->loop)->now_ms;
}

static void pg_pool_check(const struct pg_pool *pool)
{
    assert(pool->open <= pool->settings.max_open);
    assert(pool->idle_count + pool->connecting_count <= pool->open);
    assert(pool->alive >= pool->open);
}

/* --- waiters --- */

static void pg_waiter_finish(struct pg_waiter *waiter, int rc)
{
    struct op *op = waiter->op;

    list_remove(&waiter->link);
    waiter->pool->waiting--;
    waiter->pool->stats.wait_us += (clock_monotonic_ns() - waiter->since_ns) / 1000;
    op_finish_later(op, loop_sched(waiter->pool->loop), rc);
    mem_free(waiter);
}

static struct pg_waiter *pg_pool_first_waiter(struct pg_pool *pool)
{
    return container_of(pool->waiters.next, struct pg_waiter, link);
}

static void pg_pool_fail_first(struct pg_pool *pool, const struct err *err)
{
    struct pg_waiter *waiter = pg_pool_first_waiter(pool);

    waiter->op->err = *err;
    pg_waiter_finish(waiter, err->code);
}

static void pg_pool_fail_all(struct pg_pool *pool, const struct err *err)
{
    while (pool->waiting > 0)
        pg_pool_fail_first(pool, err);
}

static void pg_waiter_cancel(struct op *op)
{
    pg_waiter_finish(op->impl, ERR_CANCELED);
}

static int pg_waiter_add(struct pg_pool *pool, struct op *op, struct pg_conn **out)
{
    struct pg_waiter *waiter = mem_calloc(1, sizeof(*waiter));

    if (waiter == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    waiter->pool = pool;
    waiter->op = op;
    waiter->out = out;
    waiter->since_ns = clock_monotonic_ns();
    pool->stats.waits++;
    list_push_back(&pool->waiters, &waiter->link);
    pool->waiting++;
    op_begin(op, waiter, pg_waiter_cancel);
    return 0;
}

/* --- places --- */

static void pg_pool_unlink(struct pg_conn *conn)
{
    struct pg_pool *pool = conn->pool;

    if (!list_is_linked(&conn->link))
        return;
    list_remove(&conn->link);
    if (conn->sm.state == PG_IDLE)
        pool->idle_count--;
    else
        pool->connecting_count--;
}

static void pg_pool_close_conn(struct pg_conn *conn)
{
    struct pg_pool *pool = conn->pool;

    pg_pool_unlink(conn);
    pool->open--;
    pg_conn_close(conn);
}

static void pg_pool_arm_expiry(struct pg_pool *pool, uint64_t in_ms)
{
    uint64_t due = pg_pool_now(pool) + in_ms;

    if (!pool->expiry.armed || due < pool->expiry.due)
        sched_start_timer(loop_sched(pool->loop), &pool->expiry, in_ms);
}

/* Milliseconds until the idle connection has to go; `surplus`: it is above max_idle. */
static uint64_t pg_pool_expires_in(const struct pg_conn *conn, bool surplus)
{
    const struct pg_settings *settings = &conn->pool->settings;
    uint64_t now = pg_pool_now(conn->pool);
    uint64_t due = UINT64_MAX;

    if (settings->max_lifetime_ms > 0)
        due = conn->opened_ms + settings->max_lifetime_ms;
    if (settings->max_idle_time_ms > 0 && conn->idle_since_ms + settings->max_idle_time_ms < due)
        due = conn->idle_since_ms + settings->max_idle_time_ms;
    if (surplus && conn->idle_since_ms + PG_SURPLUS_LINGER_MS < due)
        due = conn->idle_since_ms + PG_SURPLUS_LINGER_MS;
    if (due == UINT64_MAX)
        return UINT64_MAX;
    return due > now ? due - now : 0;
}

static void pg_pool_on_expiry(struct timer *timer)
{
    struct pg_pool *pool = container_of(timer, struct pg_pool, expiry);
    uint64_t next = UINT64_MAX;
    unsigned kept = 0;

    list_foreach_safe(node, &pool->idle) {
        struct pg_conn *conn = container_of(node, struct pg_conn, link);
        uint64_t in_ms = pg_pool_expires_in(conn, kept >= pool->settings.max_idle);

        if (in_ms == 0) {
            pg_pool_close_conn(conn);
            continue;
        }
        kept++;
        if (in_ms < next)
            next = in_ms;
    }
    if (next != UINT64_MAX)
        pg_pool_arm_expiry(pool, next);
    pg_pool_pump(pool);
}

static void pg_pool_put_idle(struct pg_conn *conn)
{
    struct pg_pool *pool = conn->pool;
    uint64_t in_ms;

    conn->idle_since_ms = pg_pool_now(pool);
    list_push_front(&pool->idle, &conn->link);
    pool->idle_count++;
    pg_conn_move(conn, PG_IDLE);
    if (pg_conn_watch(conn, UV_READABLE) != 0) {
        pg_pool_close_conn(conn);
        return;
    }
    in_ms = pg_pool_expires_in(conn, pool->idle_count > pool->settings.max_idle);
    if (in_ms != UINT64_MAX)
        pg_pool_arm_expiry(pool, in_ms);
}

/* The most recently used idle connection, now lent. */
static struct pg_conn *pg_pool_take_idle(struct pg_pool *pool)
{
    struct pg_conn *conn = container_of(pool->idle.next, struct pg_conn, link);

    pg_pool_unlink(conn);
    pg_conn_move(conn, PG_LENT);
    return conn;
}

static int pg_pool_connect(struct pg_pool *pool, struct err *err)
{
    struct pg_conn *conn = pg_conn_create(pool);

    if (conn == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    conn->opened_ms = pg_pool_now(pool);
    pool->open++;
    pool->connecting_count++;
    list_push_back(&pool->connecting, &conn->link);
    if (pg_connect_start(conn, err) != 0)
        pg_pool_close_conn(conn);
    else
        err_clear(err);
    return err->code;
}

/* Gives idle connections to waiters in turn, then opens one for each who is left, up to the limit.
 */
static void pg_pool_pump(struct pg_pool *pool)
{
    struct err err;

    while (pool->waiting > 0 && pool->idle_count > 0) {
        struct pg_waiter *waiter = pg_pool_first_waiter(pool);

        *waiter->out = pg_pool_take_idle(pool);
        pg_waiter_finish(waiter, 0);
    }
    while (!pool->closing && !pool->crowded && pool->waiting > pool->connecting_count &&
           pool->open < pool->settings.max_open)
        if (pg_pool_connect(pool, &err) != 0)
            pg_pool_fail_first(pool, &err);
    pg_pool_check(pool);
}

static void pg_pool_note_contact(struct pg_pool *pool)
{
    pool->stats.contact_us = clock_wall_us();
    pool->stats.contacted = true;
    pool->stats.is_up = true;
}

void pg_pool_on_connected(struct pg_conn *conn)
{
    struct pg_pool *pool = conn->pool;

    pool->down_until_ms = 0;
    pg_pool_note_contact(pool);
    conn->opened_ms = pg_pool_now(pool);
    pg_pool_unlink(conn);
    pg_pool_put_idle(conn);
    pg_pool_pump(pool);
}

/*
 * With nothing open the target is away, and everyone who waits waits for the same: all fail, and
 * for as long as it took to find out nobody tries again. With others open, the one whose turn it
 * is fails, or, when the server has no more places, waits for one of those.
 */
void pg_pool_on_connect_failed(struct pg_conn *conn, const struct err *err)
{
    struct pg_pool *pool = conn->pool;
    uint64_t took = pg_pool_now(pool) - conn->opened_ms;
    struct err why = *err;

    pool->failed_since_ms = conn->opened_ms;
    pool->stats.failures++;
    pool->stats.contacted = true;
    pool->stats.is_up = false;
    pg_pool_close_conn(conn);
    if (pool->open == 0 || (pool->open == pool->connecting_count && !pg_error_is_crowded(&why))) {
        took = took < PG_DOWN_MIN_MS ? PG_DOWN_MIN_MS : took;
        took = took > PG_DOWN_MAX_MS ? PG_DOWN_MAX_MS : took;
        pool->down = why;
        pool->down_until_ms = why.code == ERR_UNREACHABLE ? pg_pool_now(pool) + took : 0;
        pg_pool_fail_all(pool, &why);
    } else if (pg_error_is_crowded(&why)) {
        pool->crowded = true;
        sched_start_timer(loop_sched(pool->loop), &pool->crowd_timer, PG_CROWD_RETRY_MS);
    } else if (pool->waiting > 0) {
        pg_pool_fail_first(pool, &why);
    }
    pg_pool_pump(pool);
}

static void pg_pool_on_crowd_timer(struct timer *timer)
{
    struct pg_pool *pool = container_of(timer, struct pg_pool, crowd_timer);

    pool->crowded = false;
    pg_pool_pump(pool);
}

void pg_pool_on_idle_readable(struct pg_conn *conn)
{
    pg_pool_close_conn(conn); /* a goodbye or the end of the stream: nothing else comes unasked */
}

int pg_acquire(struct pg_pool *pool, struct op *op, struct pg_conn **out)
{
    int rc;

    *out = NULL;
    if (pool->closing)
        return op_refuse(op, ERR_SHUTDOWN, "the server is stopping");
    if (pool->idle_count == 0 && pg_pool_now(pool) < pool->down_until_ms) {
        op->err = pool->down;
        return pool->down.code;
    }
    if (pool->waiting == 0 && pool->idle_count > 0) {
        *out = pg_pool_take_idle(pool);
        op_begin(op, NULL, NULL);
        op_finish_later(op, loop_sched(pool->loop), 0);
        return 0;
    }
    rc = pg_waiter_add(pool, op, out);
    if (rc == 0)
        pg_pool_pump(pool);
    return rc;
}

static bool pg_conn_is_reusable(struct pg_conn *conn)
{
    const struct pg_pool *pool = conn->pool;

    return !pool->closing && !conn->broken && !conn->retire &&
           PQtransactionStatus(conn->pq) == PQTRANS_IDLE &&
           (pool->settings.max_lifetime_ms == 0 ||
            pg_pool_now(pool) - conn->opened_ms < pool->settings.max_lifetime_ms);
}

void pg_release(struct pg_conn *conn)
{
    struct pg_pool *pool = conn->pool;

    assert(conn->sm.state == PG_LENT);
    if (!pg_conn_is_reusable(conn)) {
        pg_discard(conn);
        return;
    }
    pg_pool_note_contact(pool);
    pg_pool_put_idle(conn);
    pg_pool_pump(pool);
}

void pg_discard(struct pg_conn *conn)
{
    struct pg_pool *pool = conn->pool;

    assert(conn->sm.state == PG_LENT);
    pg_pool_close_conn(conn);
    pg_pool_pump(pool);
}

/* --- the pool itself --- */

static void pg_pool_free(struct pg_pool *pool)
{
    const struct pg_settings *settings = &pool->settings;
    const char *const texts[] = {settings->host,
                                 settings->port,
                                 settings->user,
                                 settings->password,
                                 settings->database,
                                 settings->sslmode,
                                 settings->application_name};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        char *text = NULL;

        memcpy(&text, &texts[i], sizeof(text)); /* ours since pg_settings_copy() */
        mem_free(text);
    }
    mem_free(pool);
}

static bool pg_text_copy(const char **text)
{
    if (*text == NULL)
        return true;
    *text = mem_strdup(*text);
    return *text != NULL;
}

static bool pg_settings_copy(struct pg_settings *to, const struct pg_settings *from)
{
    const char **texts[] = {&to->host,
                            &to->port,
                            &to->user,
                            &to->password,
                            &to->database,
                            &to->sslmode,
                            &to->application_name};
    bool complete = true;

    *to = *from;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        complete = pg_text_copy(texts[i]) && complete;
    return complete;
}

struct pg_pool *pg_pool_create(struct loop *loop, const struct pg_settings *settings)
{
    struct pg_pool *pool = mem_calloc(1, sizeof(*pool));

    if (pool == NULL)
        return NULL;
    if (!pg_settings_copy(&pool->settings, settings)) {
        pg_pool_free(pool);
        return NULL;
    }
    if (pool->settings.max_open == 0)
        pool->settings.max_open = 1;
    pool->loop = loop;
    list_init(&pool->idle);
    list_init(&pool->connecting);
    list_init(&pool->waiters);
    pool->expiry.fire = pg_pool_on_expiry;
    pool->crowd_timer.fire = pg_pool_on_crowd_timer;
    return pool;
}

int pg_pool_set_password(struct pg_pool *pool, const char *password)
{
    const char *copy = password;
    char *old = NULL;

    if (!pg_text_copy(&copy))
        return ERR_NOMEM;
    memcpy(&old, &pool->settings.password, sizeof(old)); /* ours since pg_settings_copy() */
    mem_free(old);
    pool->settings.password = copy;
    pool->down_until_ms = 0; /* the old one may have been the reason */
    return 0;
}

static void pg_pool_on_closed(struct task *task)
{
    struct op *op = container_of(task, struct op, task);
    struct pg_pool *pool = op->impl;

    pg_pool_free(pool);
    op_finish(op, 0);
}

void pg_pool_on_freed(struct pg_pool *pool)
{
    struct op *op = pool->close_op;

    if (!pool->closing || pool->alive > 0)
        return;
    op->task.run = pg_pool_on_closed;
    sched_defer(loop_sched(pool->loop), &op->task);
}

int pg_pool_close(struct pg_pool *pool, struct op *op)
{
    const struct err err = {.code = ERR_SHUTDOWN, .text = "the server is stopping"};

    op_begin(op, pool, NULL);
    pool->close_op = op;
    pool->alive++; /* holds the pool until everything below was asked to close */
    pool->closing = true;
    sched_stop_timer(loop_sched(pool->loop), &pool->expiry);
    sched_stop_timer(loop_sched(pool->loop), &pool->crowd_timer);
    pg_pool_fail_all(pool, &err);
    list_foreach_safe(node, &pool->idle)
        pg_pool_close_conn(container_of(node, struct pg_conn, link));
    list_foreach_safe(other, &pool->connecting)
        pg_pool_close_conn(container_of(other, struct pg_conn, link));
    pool->alive--;
    pg_pool_on_freed(pool);
    return 0;
}

void pg_pool_get_stats(const struct pg_pool *pool, struct pg_pool_stats *out)
{
    *out = (struct pg_pool_stats){.open = pool->open,
                                  .idle = pool->idle_count,
                                  .waiting = pool->waiting,
                                  .lent = pool->open - pool->idle_count - pool->connecting_count,
                                  .failed_since_ms = pool->failed_since_ms};
}

void pg_pool_report(const struct pg_pool *pool, struct pool_stats *out)
{
    *out = pool->stats;
    out->max = pool->settings.max_open;
    out->open = pool->open;
    out->busy = pool->open - pool->idle_count - pool->connecting_count;
    out->waiting = pool->waiting;
}
