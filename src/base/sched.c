#include "base/sched.h"

/* Timers are in a pairing heap: a node's `child` is its first child, `next` its next sibling,
 * `prev` its previous sibling or, for a first child, its parent. */

void sched_init(struct sched *sched, uint64_t now_ms)
{
    *sched = (struct sched){.now_ms = now_ms};
    list_init(&sched->ready);
}

static void sched_wake(struct sched *sched)
{
    if (sched->wake != NULL)
        sched->wake(sched);
}

void sched_defer(struct sched *sched, struct task *task)
{
    if (list_is_linked(&task->link))
        return;
    list_push_back(&sched->ready, &task->link);
    sched_wake(sched);
}

void sched_undefer(struct task *task)
{
    if (list_is_linked(&task->link))
        list_remove(&task->link);
}

static bool timer_is_before(const struct timer *a, const struct timer *b)
{
    return a->due != b->due ? a->due < b->due : a->seq < b->seq;
}

static struct timer *heap_meld(struct timer *a, struct timer *b)
{
    if (a == NULL)
        return b;
    if (b == NULL)
        return a;
    if (timer_is_before(b, a)) {
        struct timer *swap = a;

        a = b;
        b = swap;
    }
    b->next = a->child;
    if (b->next != NULL)
        b->next->prev = b;
    b->prev = a;
    a->child = b;
    a->next = NULL;
    a->prev = NULL;
    return a;
}

/* Melds a list of siblings: pairs from the left, then all from the right. */
static struct timer *heap_merge(struct timer *first)
{
    struct timer *pairs = NULL, *root = NULL;

    while (first != NULL) {
        struct timer *second = first->next;
        struct timer *rest = second != NULL ? second->next : NULL;
        struct timer *pair = heap_meld(first, second);

        pair->next = pairs;
        pairs = pair;
        first = rest;
    }
    while (pairs != NULL) {
        struct timer *rest = pairs->next;

        root = heap_meld(root, pairs);
        pairs = rest;
    }
    if (root != NULL) {
        root->next = NULL;
        root->prev = NULL;
    }
    return root;
}

static void heap_remove(struct sched *sched, struct timer *timer)
{
    struct timer *below = heap_merge(timer->child);

    if (timer == sched->heap) {
        sched->heap = below;
    } else {
        if (timer->prev->child == timer)
            timer->prev->child = timer->next;
        else
            timer->prev->next = timer->next;
        if (timer->next != NULL)
            timer->next->prev = timer->prev;
        sched->heap = heap_meld(sched->heap, below);
    }
    timer->child = NULL;
    timer->next = NULL;
    timer->prev = NULL;
    timer->armed = false;
}

void sched_start_timer(struct sched *sched, struct timer *timer, uint64_t ms)
{
    if (timer->armed)
        heap_remove(sched, timer);
    timer->due = sched->now_ms + ms;
    timer->seq = sched->seq++;
    timer->child = NULL;
    timer->next = NULL;
    timer->prev = NULL;
    timer->armed = true;
    sched->heap = heap_meld(sched->heap, timer);
    if (sched->heap == timer)
        sched_wake(sched);
}

void sched_stop_timer(struct sched *sched, struct timer *timer)
{
    if (timer->armed)
        heap_remove(sched, timer);
}

void sched_run(struct sched *sched, uint64_t now_ms)
{
    uint64_t armed_before = sched->seq;
    struct list turn;
    struct list *node;

    sched->now_ms = now_ms;
    while (sched->heap != NULL && sched->heap->due <= now_ms && sched->heap->seq < armed_before) {
        struct timer *timer = sched->heap;

        heap_remove(sched, timer);
        timer->fire(timer);
    }
    list_init(&turn);
    list_append_all(&turn, &sched->ready);
    while ((node = list_pop_front(&turn)) != NULL) {
        struct task *task = container_of(node, struct task, link);

        task->run(task);
    }
}

bool sched_has_tasks(const struct sched *sched)
{
    return !list_is_empty(&sched->ready);
}

bool sched_next_timer(const struct sched *sched, uint64_t *in_ms)
{
    if (sched->heap == NULL)
        return false;
    *in_ms = sched->heap->due > sched->now_ms ? sched->heap->due - sched->now_ms : 0;
    return true;
}
