#ifndef BFM_API_OPS_H
#define BFM_API_OPS_H

#include <stdbool.h>
#include <stddef.h>

#include "api/hooks.h"
#include "base/op.h"
#include "io/loop.h"
#include "migrate/engine.h"
#include "store/store.h"

/*
 * The operations of BfM: each takes a plain struct and gives a plain struct, and holds every rule
 * that is not the matter of one mouth. HTTP, gRPC and the rest only translate. Each operation is a
 * struct that the caller owns: x_start() keeps the contract of base/op.h, the struct must live
 * until done, and x_free() gives back what it holds, also after a failure (not after a refused
 * start). What a request points to is borrowed until done.
 */
struct ops {
    struct loop *loop;
    struct engine *engine;
    struct store *store;
    struct api_hooks hooks;
};

enum {
    OPS_ROWS_MAX = 100000, /* of one migration over all schemas */
    OPS_HISTORY_DEFAULT = 1000,
    OPS_SKIPPED_DEFAULT = 5,
    OPS_RECENT_DEFAULT = 10, /* executions of all migrations */
    OPS_LIMIT_MAX = 10000,   /* what a client can ask for */
    OPS_SCHEMAS_MAX = 10000, /* in one request */
    OPS_FLEET_MAX = 100000,  /* of one connection, found in the state database */
    OPS_TAGS_MAX = 100,
    OPS_TABLES_MAX = 1000,
    OPS_ORDER_MAX = 10000,
    OPS_DETAILS_MAX = 1000,
};

/* What the next call of an iterator found; one call looks at one thing, so that a caller can stop
 * after any number of them. */
enum ops_next {
    OPS_NEXT_END,
    OPS_NEXT_NONE, /* passed over; call again */
    OPS_NEXT_ITEM,
};

/* Whether new work can be taken on: 0, ERR_SHUTDOWN, or ERR_STORE when it needs the state database
 * and that is away. */
int ops_check(const struct ops *ops, bool needs_state, struct err *err);

#endif
