#ifndef BFM_MODEL_PLAN_CYCLE_H
#define BFM_MODEL_PLAN_CYCLE_H

#include <stddef.h>
#include <stdint.h>

#include "model/plan.h"

#define PLAN_NO_LINK SIZE_MAX

/* `dependent` waits for the node in whose chain the link is. */
struct plan_link {
    size_t dependent;
    size_t next; /* index of the next link of the chain, or PLAN_NO_LINK */
};

/*
 * Says which nodes wait for each other in a circle. `waiting` tells of each node for how many
 * others it still waits when nothing is ready any more; `first_link` starts each node's chain of
 * dependents. Returns ERR_DEPENDENCY with the text, or ERR_NOMEM.
 */
int plan_cycle_error(const struct plan_graph *graph, const size_t *waiting,
                     const size_t *first_link, const struct plan_link *links, struct err *err);

#endif
