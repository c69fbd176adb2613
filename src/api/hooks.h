#ifndef BFM_API_HOOKS_H
#define BFM_API_HOOKS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/op.h"

/* What a reindex changed, as base IDs. Zeroed by the api; filled before done(op, 0), all memory in
 * `arena`, which the api frees. On failure it holds nothing. */
struct api_reindex_result {
    struct arena arena; /* arena_init() was called */
    const char *const *added, *const *removed, *const *updated;
    size_t added_count, removed_count, updated_count;
    size_t total; /* migrations known afterwards */
};

/* A connection of the configuration, as far as it is known without asking the target. */
struct api_target {
    const char *connection;
    const char *backend;
    const char *status; /* "up", "down", "unknown": not asked yet, "unusable": no address, or a bad
                           setting */
    int64_t contact_us; /* wall time of the last sign of life; 0: none yet */
};

/* What the api asks of the server around it. All but `reindex` answer at once, without I/O. */
struct api_hooks {
    void *arg;
    /* Reads the tree anew, swaps the registry, syncs the state database; keeps the contract of
     * base/op.h. Concurrent calls are allowed. An empty or unreadable tree fails with ERR_IO or
     * ERR_INVALID and changes nothing. */
    int (*reindex)(void *arg, struct op *op, struct api_reindex_result *out);
    /* NULL: healthy. Else the reason, from cached state; no host, user or database name in it. */
    const char *(*health)(void *arg);
    /* Whether the state database can be used: its tables are there and the last contact worked.
     * False: everything that needs it is answered 503 with Retry-After. */
    bool (*state_ready)(void *arg);
    /* Whether the server is shutting down: new work is answered 503 with Connection: close. */
    bool (*stopping)(void *arg);
    /* The target at `at`, in order of names; false behind the last one. NULL: there are none. */
    bool (*target)(void *arg, size_t at, struct api_target *out);
};

#endif
