#include "migrate/locks.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

/* One locked (migration, schema). It lives from the first claim to the last. */
struct lock_entry {
    struct lock *holder; /* alone; NULL: nobody, or those who share it */
    size_t sharers;
    enum lock_news news; /* of the last one who held it alone */
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
    *entry = (struct lock_entry){.key_len = key_len};
    list_init(&entry->waiters);
    if (map_put(&locks->held, entry->key, key_len, entry) != 0) {
        mem_free(entry);
        return NULL;
    }
    return entry;
}

/* Whether the lock can be had now, and how. */
static bool lock_entry_admits(const struct lock_entry *entry, struct lock *lock)
{
    if (entry->holder != NULL)
        return false;
    if (lock->wish != LOCK_NEWS_NONE && lock->wish == entry->news)
        lock->mode = LOCK_SHARED;
    return lock->mode == LOCK_SHARED || entry->sharers == 0;
}

static void lock_hold(struct lock *lock)
{
    struct lock_entry *entry = lock->entry;

    if (lock->mode == LOCK_SHARED)
        entry->sharers++;
    else
        entry->holder = lock;
    lock->held = true;
    lock->news = entry->news;
}

/* Gives the lock to those in front of the line who can have it now; without anybody the entry goes.
 */
static void lock_entry_pass_on(struct locks *locks, struct lock_entry *entry)
{
    while (!list_is_empty(&entry->waiters)) {
        struct lock *next = container_of(entry->waiters.next, struct lock, link);

        if (!lock_entry_admits(entry, next))
            return;
        list_remove(&next->link);
        sched_stop_timer(locks->sched, &next->timer);
        lock_hold(next);
        op_finish_later(next->op, locks->sched, 0);
    }
    if (entry->holder != NULL || entry->sharers > 0)
        return;
    map_remove(&locks->held, entry->key, entry->key_len);
    mem_free(entry);
}

/* Takes a waiter out of the line; what remains of its claim is the op. Others may have waited only
 * for it. */
static void lock_leave_line(struct lock *lock)
{
    struct lock_entry *entry = lock->entry;

    sched_stop_timer(lock->locks->sched, &lock->timer);
    list_remove(&lock->link);
    lock->entry = NULL;
    lock_entry_pass_on(lock->locks, entry);
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
                 const char *schema, enum lock_mode mode, enum lock_news wish, uint64_t wait_ms)
{
    assert(lock->entry == NULL);
    lock->entry = locks_get_entry(locks, id, schema);
    if (lock->entry == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    lock->locks = locks;
    lock->mode = mode;
    lock->wish = wish;
    lock->op = op;
    op_begin(op, lock, NULL);
    if (list_is_empty(&lock->entry->waiters) && lock_entry_admits(lock->entry, lock)) {
        lock_hold(lock);
        op_finish_later(op, locks->sched, 0);
        return 0;
    }
    op->cancel = lock_cancel;
    list_push_back(&lock->entry->waiters, &lock->link);
    lock->timer.fire = lock_on_timeout;
    sched_start_timer(locks->sched, &lock->timer, wait_ms);
    return 0;
}

bool lock_try(struct locks *locks, struct lock *lock, const char *id, const char *schema,
              enum lock_mode mode)
{
    struct lock_entry *entry = locks_get_entry(locks, id, schema);

    assert(lock->entry == NULL);
    lock->mode = mode;
    lock->wish = LOCK_NEWS_NONE;
    if (entry == NULL || !list_is_empty(&entry->waiters) || !lock_entry_admits(entry, lock))
        return false;
    lock->locks = locks;
    lock->entry = entry;
    lock_hold(lock);
    return true;
}

void lock_release(struct lock *lock, enum lock_news news)
{
    struct lock_entry *entry = lock->entry;

    if (!lock->held)
        return;
    lock->held = false;
    lock->entry = NULL;
    if (lock->mode == LOCK_SHARED) {
        entry->sharers--;
    } else {
        entry->holder = NULL;
        entry->news = news;
    }
    lock_entry_pass_on(lock->locks, entry);
}

void lock_move(struct lock *to, struct lock *from)
{
    assert(from->held && to->entry == NULL);
    to->locks = from->locks;
    to->entry = from->entry;
    to->mode = from->mode;
    to->held = true;
    to->news = from->news;
    if (from->mode == LOCK_ALONE)
        to->entry->holder = to;
    from->entry = NULL;
    from->held = false;
}

void lock_move_shared(struct lock *to, struct lock *from, enum lock_news news)
{
    lock_move(to, from);
    assert(to->mode == LOCK_ALONE);
    to->mode = LOCK_SHARED;
    to->entry->holder = NULL;
    to->entry->sharers = 1;
    to->entry->news = news;
    lock_entry_pass_on(to->locks, to->entry);
}

bool lock_is_of(const struct lock *lock, const char *id, const char *schema)
{
    size_t id_size = strlen(id) + 1, schema_len = strlen(schema);
    const struct lock_entry *entry = lock->entry;

    return lock->held && entry->key_len == id_size + schema_len &&
           memcmp(entry->key, id, id_size) == 0 &&
           memcmp(entry->key + id_size, schema, schema_len) == 0;
}
