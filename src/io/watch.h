#ifndef BFM_IO_WATCH_H
#define BFM_IO_WATCH_H

#include "io/loop.h"

/*
 * Notices changes of a migration tree. The system's notifications (one watch per folder: the root,
 * backends, connections) are gathered until they pause; a slow look at everything finds what they
 * miss, such as the target of a link. Either way the tree's fingerprint decides whether anything
 * changed that can belong to a migration. A tree that vanishes is a change, and so is its return.
 */
struct watch;

struct watch_config {
    const char *root;     /* copied */
    uint64_t pause_ms;    /* quiet time that ends a burst of notifications; 0: 200 */
    uint64_t rescan_ms;   /* between slow looks; 0: 30000 */
    uint64_t fingerprint; /* what tree_load() read; 0: what the first look finds is the start */
    /* Called on the loop when the tree differs from what was seen last. It may call watch_close().
     */
    void (*on_change)(void *arg);
    void *arg;
};

/* Starts watching; NULL when memory is out. */
struct watch *watch_create(struct loop *loop, const struct watch_config *config);
/* Stops calling on_change at once, gives up its handles, then is gone and `op` is done. Always
 * starts; cannot be cut short. */
int watch_close(struct watch *watch, struct op *op);

/* How many looks at the tree were finished, and how many folders the system tells about: for tests
 * and metrics. */
uint64_t watch_looks(const struct watch *watch);
size_t watch_folders(const struct watch *watch);

#endif
