#ifndef BFM_IO_NOTIFY_H
#define BFM_IO_NOTIFY_H

#include "io/loop.h"
#include "io/tree_walk.h"

/*
 * The system's notifications about a set of folders. Not libuv's: the system needs the longer to
 * begin watching a folder the more files are in it, 15 ms for 100,000, and libuv can only ask for
 * that on the loop. Here a thread does it.
 */
struct notify;

/*
 * `on_event` is called on the loop when something happened in a folder; several events may be told
 * at once. NULL when it cannot be had; *reason is an errno then.
 */
struct notify *notify_create(struct loop *loop, void (*on_event)(void *arg), void *arg,
                             int *reason);

/*
 * For pool threads: from now on exactly these folders below `root` are watched, as far as the
 * system allows: *reason is the errno of the last one that it refused, 0 if there is none. A folder
 * that was moved here since the last call is a new one. Returns how many are new. One call at a
 * time, and none under way at the other functions below.
 */
size_t notify_set(struct notify *notify, const char *root, const struct tree_folder *folders,
                  size_t count, int *reason);
size_t notify_count(const struct notify *notify); /* folders that are watched */

/* No more events from now on; `on_closed` is called, later, when it is gone. */
void notify_close(struct notify *notify, void (*on_closed)(void *arg), void *arg);

#endif
