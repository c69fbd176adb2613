/*
 * One session, one query at a time:
 *
 *   IDLE ──> ACQUIRING ──> PROVING ──> READY <──> ASKING        any of them ──> IDLE: nothing is
 *                                                               held or wanted, or the session is
 *                                                               lost
 *
 *   ACQUIRING  waits for the connection
 *   PROVING    waits for the number of the process that answers: a pooler makes another one up
 *   ASKING     waits for what was given back and what could be had
 */
#include "store/postgresql_lock_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sm.h"

enum {
    LOCK_TEXT_MAX = 1024 * 1024,
    LOCK_BATCH = 400,
    LOCK_ANSWER_MS = 5000,      /* no answer for so long: the session counts as lost */
    LOCK_POLL_MS = 50,          /* to twice that between two tries */
    LOCK_LINGER_MS = 30 * 1000, /* the session is kept for so long when nothing is held */
};

static const struct sm_state lock_states[] = {
    [LOCKS_IDLE] = {"idle", SM_TO(LOCKS_ACQUIRING)},
    [LOCKS_ACQUIRING] = {"acquiring", SM_TO(LOCKS_PROVING) | SM_TO(LOCKS_IDLE)},
    [LOCKS_PROVING] = {"proving", SM_TO(LOCKS_READY) | SM_TO(LOCKS_IDLE)},
    [LOCKS_READY] = {"ready", SM_TO(LOCKS_ASKING) | SM_TO(LOCKS_IDLE)},
    [LOCKS_ASKING] = {"asking", SM_TO(LOCKS_READY) | SM_TO(LOCKS_IDLE)},
};

static void locks_on_step(struct op *op, int rc);

struct sched *locks_sched(const struct pgstore_locks *locks)
{
    return loop_sched(locks->pg->loop);
}

/* --- the end of a wait --- */

static void lock_fail(struct store_lock *lock, const struct err *err)
{
    struct op *op = lock->op;
    struct err kept = *err;

    mem_free(lock);
    op_fail(op, &kept);
}

static void lock_finish(struct store_lock *lock, int rc)
{
    struct op *op = lock->op;

    mem_free(lock);
    op_finish(op, rc);
}

static void lock_grant(struct store_lock *lock, bool applied)
{
    struct pgstore_locks *locks = lock->locks;
    struct op *op = lock->op;

    locks->held++;
    lock->session = locks->session;
    lock->asking = false;
    *lock->out = (struct store_lock_grant){.lock = lock, .applied = applied};
    lock->op = NULL;
    op_finish(op, 0);
}

/* Somebody has it: once more in a moment, not all at the same one. */
static void lock_wait(struct store_lock *lock, uint64_t now_ms)
{
    uint8_t random;

    lock->asking = false;
    hash_random(&random, sizeof(random));
    lock->try_at_ms = now_ms + LOCK_POLL_MS + random % LOCK_POLL_MS;
    if (lock->try_at_ms > lock->until_ms)
        lock->try_at_ms = lock->until_ms;
    list_push_back(&lock->locks->wanted, &lock->link);
}

/* --- the session --- */

void locks_wake(struct pgstore_locks *locks)
{
    sched_defer(locks_sched(locks), &locks->task);
}

static void locks_move(struct pgstore_locks *locks, enum lock_state next)
{
    sm_move(&locks->sm, (int)next);
    assert((locks->conn != NULL) == (next != LOCKS_IDLE && next != LOCKS_ACQUIRING));
}

static void locks_free_given_back(struct pgstore_locks *locks)
{
    struct list *node;

    while ((node = list_pop_front(&locks->given_back)) != NULL)
        mem_free(lock_of(node));
}

/* What was held is not any more; those who have it do not know, and need not. */
static void locks_drop_session(struct pgstore_locks *locks)
{
    if (locks->conn != NULL)
        pg_discard(locks->conn);
    locks->conn = NULL;
    locks->held = 0;
    locks->is_taught = false;
    locks->session++;
    locks_free_given_back(locks);
    locks_move(locks, LOCKS_IDLE);
}

/* Those asked for wait for another session, or are told why there is none. */
static void locks_retry_asked(struct pgstore_locks *locks, const struct err *err)
{
    uint64_t now_ms = locks_sched(locks)->now_ms;
    struct list asked;
    struct list *node;

    list_init(&asked);
    list_append_all(&asked, &locks->asked);
    while ((node = list_pop_front(&asked)) != NULL) {
        struct store_lock *lock = lock_of(node);

        if (lock->canceled)
            lock_finish(lock, ERR_CANCELED);
        else if (now_ms >= lock->until_ms)
            lock_fail(lock, err);
        else
            lock_wait(lock, now_ms);
    }
}

/* Also when there never was one. */
static void locks_lose(struct pgstore_locks *locks)
{
    struct err err = locks->step.err;

    if (err.code == 0)
        err_set(&err, ERR_NOMEM, "%s", err_code_text(ERR_NOMEM));
    pgstore_translate(&err);
    list_append_all(&locks->asked, &locks->wanted);
    locks_drop_session(locks);
    locks_wake(locks);
    locks_retry_asked(locks, &err);
}

/* --- asking --- */

static void locks_ask(struct pgstore_locks *locks)
{
    int rc;

    sched_stop_timer(locks_sched(locks), &locks->linger);
    rc = locks_put_query(locks);
    locks_move(locks, LOCKS_ASKING);
    op_init(&locks->step, locks_on_step);
    if (rc == 0)
        rc = pg_query(locks->conn, &locks->step, buf_str(&locks->sql), LOCK_ANSWER_MS,
                      &locks->results);
    else
        err_set(&locks->step.err, rc, "%s", err_code_text(rc));
    if (rc != 0)
        locks_lose(locks);
}

static void locks_answer_one(struct pgstore_locks *locks, struct store_lock *lock, bool had,
                             bool applied)
{
    uint64_t now_ms = locks_sched(locks)->now_ms;

    if (had && lock->canceled) {
        struct op *op = lock->op;

        list_push_back(&locks->given_back, &lock->link);
        op_finish(op, ERR_CANCELED);
    } else if (had) {
        lock_grant(lock, applied);
    } else if (lock->canceled) {
        lock_finish(lock, ERR_CANCELED);
    } else if (now_ms >= lock->until_ms) {
        lock_finish(lock, ERR_LOCKED);
    } else {
        lock_wait(lock, now_ms);
    }
}

static void locks_on_answer(struct pgstore_locks *locks)
{
    struct pg_results results = locks->results;
    struct list asked;
    struct list *node;

    locks->results = (struct pg_results){0};
    list_init(&asked);
    list_append_all(&asked, &locks->asked);
    locks_move(locks, LOCKS_READY);
    locks_wake(locks);
    while ((node = list_pop_front(&asked)) != NULL) {
        struct store_lock *lock = lock_of(node);

        locks_answer_one(locks, lock, locks_was_had(&results, lock),
                         locks_is_applied(&results, lock));
    }
    pg_results_free(&results);
}

/* --- getting a session --- */

static void locks_acquire(struct pgstore_locks *locks)
{
    int rc;

    locks_move(locks, LOCKS_ACQUIRING);
    op_init(&locks->step, locks_on_step);
    rc = pg_acquire(locks->pool, &locks->step, &locks->conn);
    if (rc != 0)
        locks_lose(locks);
}

static void locks_on_acquired(struct pgstore_locks *locks)
{
    int rc;

    locks_move(locks, LOCKS_PROVING);
    op_init(&locks->step, locks_on_step);
    rc = ERR_NOMEM;
    if (pgstore_quoted_schema(locks->pg, locks->conn, &locks->step.err) != NULL)
        rc = pg_query(locks->conn, &locks->step, "SELECT pg_backend_pid()", LOCK_ANSWER_MS,
                      &locks->results);
    if (rc != 0)
        locks_lose(locks);
}

static void locks_turn_off(struct pgstore_locks *locks)
{
    struct list wanted;
    struct list *node;

    log_write(LOG_WARN,
              "the state database is behind a pooler, where its advisory locks are of no use: they "
              "are not taken, so older servers must not run migrations at the same time; connect "
              "to PostgreSQL itself, or set BFM_STATE_ADVISORY_LOCKS=off");
    locks->off = true;
    locks_drop_session(locks);
    locks_wake(locks);
    list_init(&wanted);
    list_append_all(&wanted, &locks->wanted);
    while ((node = list_pop_front(&wanted)) != NULL)
        lock_finish(lock_of(node), 0); /* its `lock` stays NULL */
}

static void locks_on_proof(struct pgstore_locks *locks)
{
    const PGresult *rows = locks->results.results[0];
    bool is_own = atoi(PQgetvalue(rows, 0, 0)) == PQbackendPID(pg_raw(locks->conn));

    pg_results_free(&locks->results);
    if (!is_own) {
        locks_turn_off(locks);
        return;
    }
    locks_move(locks, LOCKS_READY);
    locks_wake(locks);
}

static void locks_on_step(struct op *op, int rc)
{
    struct pgstore_locks *locks = container_of(op, struct pgstore_locks, step);

    if (rc != 0) {
        pg_results_free(&locks->results);
        locks_lose(locks);
        return;
    }
    switch ((enum lock_state)locks->sm.state) {
    case LOCKS_ACQUIRING:
        locks_on_acquired(locks);
        return;
    case LOCKS_PROVING:
        locks_on_proof(locks);
        return;
    case LOCKS_ASKING:
        locks_on_answer(locks);
        return;
    case LOCKS_IDLE:
    case LOCKS_READY:
        return;
    }
}

/* --- what comes next --- */

/* Takes those whose time has come; the timer is for the first of the others. */
static void locks_choose(struct pgstore_locks *locks)
{
    struct sched *sched = locks_sched(locks);
    uint64_t next_ms = UINT64_MAX;
    size_t count = 0;

    list_foreach_safe(node, &locks->wanted) {
        struct store_lock *lock = lock_of(node);

        if (lock->try_at_ms <= sched->now_ms && count++ < LOCK_BATCH) {
            list_remove(node);
            list_push_back(&locks->asked, node);
        } else if (lock->try_at_ms < next_ms) {
            next_ms = lock->try_at_ms;
        }
    }
    sched_stop_timer(sched, &locks->poll);
    if (next_ms != UINT64_MAX)
        sched_start_timer(sched, &locks->poll,
                          next_ms > sched->now_ms ? next_ms - sched->now_ms : 0);
}

static void locks_finish_close(struct pgstore_locks *locks)
{
    struct list *node;

    while ((node = list_pop_front(&locks->wanted)) != NULL)
        lock_finish(lock_of(node), ERR_SHUTDOWN);
    sched_stop_timer(locks_sched(locks), &locks->poll);
    sched_stop_timer(locks_sched(locks), &locks->linger);
    if (locks->conn != NULL)
        locks_drop_session(locks);
    pg_pool_close(locks->pool, &locks->close_pool);
}

static bool locks_is_under_way(const struct pgstore_locks *locks)
{
    return locks->sm.state != LOCKS_IDLE && locks->sm.state != LOCKS_READY;
}

static bool locks_is_unused(const struct pgstore_locks *locks)
{
    return locks->sm.state == LOCKS_READY && locks->held == 0 && list_is_empty(&locks->wanted) &&
           list_is_empty(&locks->given_back);
}

static void locks_on_task(struct task *task)
{
    struct pgstore_locks *locks = container_of(task, struct pgstore_locks, task);

    if (locks_is_under_way(locks))
        return;
    if (locks->close_op != NULL) {
        locks_finish_close(locks);
        return;
    }
    locks_choose(locks);
    if (locks->sm.state == LOCKS_IDLE && !list_is_empty(&locks->asked)) {
        list_append_all(&locks->wanted, &locks->asked);
        locks_acquire(locks);
    } else if (!list_is_empty(&locks->asked) || !list_is_empty(&locks->given_back)) {
        locks_ask(locks);
    } else if (locks_is_unused(locks)) {
        sched_start_timer(locks_sched(locks), &locks->linger, LOCK_LINGER_MS);
    }
}

static void locks_on_poll(struct timer *timer)
{
    locks_wake(container_of(timer, struct pgstore_locks, poll));
}

static void locks_on_linger(struct timer *timer)
{
    struct pgstore_locks *locks = container_of(timer, struct pgstore_locks, linger);

    if (!locks_is_unused(locks))
        return;
    locks_drop_session(locks);
}

void locks_init_session(struct pgstore_locks *locks)
{
    sm_init(&locks->sm, lock_states, "locks", LOCKS_IDLE);
    list_init(&locks->wanted);
    list_init(&locks->asked);
    list_init(&locks->given_back);
    buf_init(&locks->sql, LOCK_TEXT_MAX);
    op_init(&locks->step, locks_on_step);
    locks->task.run = locks_on_task;
    locks->poll.fire = locks_on_poll;
    locks->linger.fire = locks_on_linger;
}
