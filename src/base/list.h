#ifndef BFM_BASE_LIST_H
#define BFM_BASE_LIST_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"

/*
 * Intrusive circular list. The head is a `struct list` of its own, set up by list_init(). A node
 * that is in no list is all NULL (zeroed memory is fine), so that this can be asserted.
 */
struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *head)
{
    head->next = head;
    head->prev = head;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_is_linked(const struct list *node)
{
    return node->next != NULL;
}

static inline void list_insert_before(struct list *at, struct list *node)
{
    assert(!list_is_linked(node));
    node->next = at;
    node->prev = at->prev;
    at->prev->next = node;
    at->prev = node;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    list_insert_before(head, node);
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_insert_before(head->next, node);
}

static inline void list_remove(struct list *node)
{
    assert(list_is_linked(node));
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = NULL;
    node->prev = NULL;
}

/* The first node taken off the list, NULL when it is empty. */
static inline struct list *list_pop_front(struct list *head)
{
    struct list *node = head->next;

    if (node == head)
        return NULL;
    list_remove(node);
    return node;
}

/* Moves every node of `from` to the end of `to`; `from` is left empty. */
static inline void list_append_all(struct list *to, struct list *from)
{
    if (list_is_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define list_foreach(node, head) \
    for (struct list *node = (head)->next; node != (head); node = node->next)

/* As list_foreach; the body may remove `node` (and only it). */
#define list_foreach_safe(node, head)                                                 \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head); \
         node = node##_next, node##_next = node->next)

#endif
