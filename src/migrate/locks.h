#ifndef BFM_MIGRATE_LOCKS_H
#define BFM_MIGRATE_LOCKS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/map.h"
#include "base/op.h"

/*
 * Where runs of this process meet: one lock per (migration, schema). Who changes it holds it alone;
 * who depends on it shares it, so that it is not undone under them. A waiter is told what the one
 * who held it alone found out, so that 63 of 64 equal requests learn "applied" without asking the
 * target. Between processes the target's journal and the state database decide.
 *
 * Who needs several waits for them in one order, by (id, schema), and then nobody waits in a
 * circle.
 */
struct locks {
    struct sched *sched;
    struct map held; /* key -> struct lock_entry */
};

enum lock_mode {
    LOCK_ALONE,
    LOCK_SHARED,
};

enum lock_news {
    LOCK_NEWS_NONE,    /* nobody held it before, or the holder changed nothing */
    LOCK_NEWS_APPLIED, /* the holder found or made it applied */
    LOCK_NEWS_UNDONE,  /* the holder found or made it not applied */
};

/* One claim on a lock; embedded by whoever wants it. Zeroed memory holds nothing. */
struct lock {
    struct lock_entry *entry; /* NULL: nothing held or waited for */
    enum lock_mode mode;
    enum lock_news wish;
    bool held;
    enum lock_news news; /* valid when held */
    struct op *op;
    struct list link;
    struct timer timer;
    struct locks *locks;
};

void locks_init(struct locks *locks, struct sched *sched);
void locks_free(struct locks *locks); /* nothing is held or waited for */

/*
 * Waits in turn, at most `wait_ms`, for the lock of (id, schema). When done with 0 it is held.
 * ERR_LOCKED when the wait was too long, ERR_CANCELED, ERR_NOMEM. Whose `wish` is the news has
 * nothing left to do and gets a share instead, without waiting for others who share it.
 */
int lock_acquire(struct locks *locks, struct op *op, struct lock *lock, const char *id,
                 const char *schema, enum lock_mode mode, enum lock_news wish, uint64_t wait_ms);
/* Takes it if it can be had at once. False: it cannot, or out of memory. */
bool lock_try(struct locks *locks, struct lock *lock, const char *id, const char *schema,
              enum lock_mode mode);
/* Gives it to the next in line. What was held alone leaves `news` to them. No effect if nothing is
 * held. */
void lock_release(struct lock *lock, enum lock_news news);
/* What `from` holds is held by `to`, which held nothing. */
void lock_move(struct lock *to, struct lock *from);
/* What `from` holds alone is shared by `to`, which held nothing; nobody gets in between. */
void lock_move_shared(struct lock *to, struct lock *from, enum lock_news news);
/* Whether `lock` is held and is that of (id, schema). */
bool lock_is_of(const struct lock *lock, const char *id, const char *schema);

#endif
