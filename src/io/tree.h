#ifndef BFM_IO_TREE_H
#define BFM_IO_TREE_H

#include "io/loop.h"
#include "model/registry.h"

/*
 * Loads the migration tree at `root` into a new registry, off the loop: files are read and parsed
 * in slices on a few threads of libuv's pool, never on all of them for long. When done with 0, *out
 * is the registry with one reference, the caller's, and *fingerprint (may be NULL) stands for the
 * files as they were read: watch_create() takes it. Files that are too large (16 MiB) or cannot be
 * read are among the registry's problems; files that cannot belong to a migration are passed over
 * with a debug log.
 *
 * Fails, so that the caller keeps what it had, with ERR_IO when the root or a folder in it cannot
 * be read, ERR_NOT_FOUND when there is no migration in it at all, ERR_NOMEM, ERR_CANCELED. The
 * texts do not name the root. Refused with ERR_NOMEM.
 */
int tree_load(struct loop *loop, struct op *op, const char *root, struct registry **out,
              uint64_t *fingerprint);

/*
 * The same for one who wants to see what lies in a tree without any migration, too: that is no
 * failure here, *out then has none of them but the problems, strays and misplaced things.
 */
int tree_load_any(struct loop *loop, struct op *op, const char *root, struct registry **out);

/*
 * registry_compare() on a pool thread. Both registries, the arena and `out` are the caller's to
 * keep until done.
 */
int tree_compare(struct loop *loop, struct op *op, const struct registry *before,
                 const struct registry *after, struct arena *arena, struct registry_diff *out);

#endif
