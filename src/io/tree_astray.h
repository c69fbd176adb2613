#ifndef BFM_IO_TREE_ASTRAY_H
#define BFM_IO_TREE_ASTRAY_H

#include "io/tree_walk.h"

/*
 * What lies in a tree where nothing is read. Somebody may wait for it to run: it is noted in
 * walk->misplaced if its name is like a backend's or there are scripts in it, and passed over if
 * not. Of such folders a few thousand names are looked at in all, and none that cannot be read is a
 * fault. For the walk; each returns 0 or ERR_NOMEM.
 */

/* A name in the root (open as `fd`) that is no backend's. */
int tree_astray_in_root(struct tree_walk *walk, int fd, const char *name, struct err *err);
/* A file in a backend's folder. */
int tree_astray_in_backend(struct tree_walk *walk, const char *backend, const char *name,
                           struct err *err);
/* A folder in a connection's folder, which is open as `fd`; any file in it that ends like a script
 * is one that is meant. */
int tree_astray_in_connection(struct tree_walk *walk, int fd, const char *folder, const char *name,
                              struct err *err);

#endif
