#include "migrate/locks.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

/* One locked (migration, schema). It lives from the first claim to the last. */
struct lock_entry {
    struct lock *holder;
    struct list waiters; /* struct lock, first come first */
    size_t key_len;
    char key[]; /* id NUL schema */
};

void locks_init(struct locks *locks, struct sched *sched)
{
    locks->sched = sched;
    map_init(&locks->held);
}

void locks_free(struct locks *locks)
{
    assert(locks->held.len == 0);
    map_free(&locks->held);
}

/* The entry of the key, made if there is none; NULL when memory is out. */
static struct lock_entry *locks_get_entry(struct locks *locks, const char *id, const char *schema)
{
    size_t id_size = strlen(id) + 1, schema_len = strlen(schema);
    size_t key_len = id_size + schema_len;
    struct lock_entry *entry = mem_alloc(sizeof(*entry) + key_len);
    struct lock_entry *found;

    if (entry == NULL)
        return NULL;
    memcpy(entry->key, id, id_size);
    memcpy(entry->key + id_size, schema, schema_len);
    found = map_get(&locks->held, entry->key, key_len);
    if (found != NULL) {
        mem_free(entry);
        return found;
    }
    entry->holder = NULL;
    entry->key_len = key_len;
    list_init(&entry->waiters);
    if (map_put(&locks->held, entry->key, key_len, entry) != 0) {
        mem_free(entry);
        return NULL;
    }
    return entry;
}

static void lock_hold(struct lock *lock, enum lock_news news)
{
    lock->entry->holder = lock;
    lock->held = true;
    lock->news = news;
}

/* Takes a waiter out of the line; what remains of its claim is the op. */
static void lock_leave_line(struct lock *lock)
{
    sched_stop_timer(lock->locks->sched, &lock->timer);
    list_remove(&lock->link);
    lock->entry = NULL;
}

static void lock_on_timeout(struct timer *timer)
{
    struct lock *lock = container_of(timer, struct lock, timer);
    struct op *op = lock->op;

    lock_leave_line(lock);
    op_finish(op, ERR_LOCKED);
}

static void lock_cancel(struct op *op)
{
    struct lock *lock = op->impl;
    struct sched *sched = lock->locks->sched;

    lock_leave_line(lock);
    op_finish_later(op, sched, ERR_CANCELED);
}

int lock_acquire(struct locks *locks, struct op *op, struct lock *lock, const char *id,
                 const char *schema, uint64_t wait_ms)
{
    assert(lock->entry == NULL);
    lock->entry = locks_get_entry(locks, id, schema);
    if (lock->entry == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    lock->locks = locks;
    lock->op = op;
    op_begin(op, lock, NULL);
    if (lock->entry->holder == NULL) {
        lock_hold(lock, LOCK_NEWS_NONE);
        op_finish_later(op, locks->sched, 0);
        return 0;
    }
    op->cancel = lock_cancel;
    list_push_back(&lock->entry->waiters, &lock->link);
    lock->timer.fire = lock_on_timeout;
    sched_start_timer(locks->sched, &lock->timer, wait_ms);
    return 0;
}

bool lock_try(struct locks *locks, struct lock *lock, const char *id, const char *schema)
{
    struct lock_entry *entry = locks_get_entry(locks, id, schema);

    assert(lock->entry == NULL);
    if (entry == NULL || entry->holder != NULL)
        return false;
    lock->locks = locks;
    lock->entry = entry;
    lock_hold(lock, LOCK_NEWS_NONE);
    return true;
}

void lock_release(struct lock *lock, enum lock_news news)
{
    struct lock_entry *entry = lock->entry;
    struct locks *locks = lock->locks;
    struct list *node;
    struct lock *next;

    if (!lock->held)
        return;
    lock->held = false;
    lock->entry = NULL;
    entry->holder = NULL;
    node = list_pop_front(&entry->waiters);
    if (node == NULL) {
        map_remove(&locks->held, entry->key, entry->key_len);
        mem_free(entry);
        return;
    }
    next = container_of(node, struct lock, link);
    sched_stop_timer(locks->sched, &next->timer);
    lock_hold(next, news);
    op_finish_later(next->op, locks->sched, 0);
}

void lock_move(struct lock *to, struct lock *from)
{
    assert(from->held && to->entry == NULL);
    to->locks = from->locks;
    to->entry = from->entry;
    lock_hold(to, from->news);
    from->entry = NULL;
    from->held = false;
}
