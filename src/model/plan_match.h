#ifndef BFM_MODEL_PLAN_MATCH_H
#define BFM_MODEL_PLAN_MATCH_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "model/registry.h"

/*
 * For plan*.c: which migrations a dependency needs, as the comment at struct plan_edge says. Groups
 * of the registry that are large are filtered once per distinct question and remembered, so that
 * many dependents of a name that many migrations have do not cost their product.
 */
enum {
    PLAN_MATCH_SMALL = 16, /* members of a group that is filtered anew each time */
};

struct plan_matcher {
    struct arena arena;
    struct map answers;  /* question as text -> struct plan_answer */
    struct buf question; /* the current one */
    const struct migration *all[PLAN_MATCH_SMALL];
    const struct migration *own[PLAN_MATCH_SMALL];
};

/* What a dependency needs. Valid until the next question. */
struct plan_matches {
    const struct migration *const *items; /* in registry order */
    size_t count;                         /* 0: nothing matches */
    const struct migration *skip;         /* an item to be passed over, or NULL */
};

void plan_matcher_init(struct plan_matcher *matcher);
void plan_matcher_free(struct plan_matcher *matcher);
/* Returns 0 or ERR_NOMEM. */
int plan_matcher_find(struct plan_matcher *matcher, const struct registry *registry,
                      const struct migration *dependent, const struct dependency *dependency,
                      struct plan_matches *out);

#endif
