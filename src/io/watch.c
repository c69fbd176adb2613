#include "io/watch.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/tree_walk.h"
#include "io/work.h"

/*
 * What the watch is at. Notifications arm the pause in any state; a look that they fall into is
 * followed by another one.
 *
 *   IDLE --(pause or rescan timer)--> LOOKING --(walked)--> ADJUSTING --(all folders watched)-->
 * IDLE any --(watch_close)--> CLOSING
 */
enum watch_state {
    WATCH_IDLE,
    WATCH_LOOKING,   /* a pool thread walks the tree */
    WATCH_ADJUSTING, /* folders get their handles, some in each turn of the loop */
    WATCH_CLOSING,
};

enum {
    WATCH_PAUSE_MS = 200,
    WATCH_PAUSE_MAX_MS = 2000, /* notifications that never pause are acted upon after this time */
    WATCH_RESCAN_MS = 30000,
    WATCH_RETURN_MS = 2000, /* the same while the tree is gone */
    WATCH_ADJUST_MAX = 200, /* folders of one turn */
    WATCH_PATH_MAX = 4096,
};

static const uint64_t WATCH_GONE = 2; /* stands for a tree that cannot be read */

struct watch_folder {
    struct list link; /* of watch->folders, while it is watched */
    uv_fs_event_t handle;
    struct watch *watch;
    uint64_t device, inode;
    uint64_t seen; /* number of the look that found it last */
    bool stale;    /* the folder itself was moved or removed */
    char path[];   /* below the root */
};

struct watch {
    struct loop *loop;
    struct watch_config config;
    char *root;
    enum watch_state state;
    struct list folders;
    struct map by_path; /* of the same */
    size_t handles;     /* initialised and not closed yet */
    struct timer pause, rescan;
    uint64_t burst_began; /* 0: no notification is waiting */
    bool overdue;         /* a pause ended while a look was under way */
    bool has_baseline, changed, watched_more, warned;
    uint64_t fingerprint, looks;
    struct op op; /* the walk */
    _Atomic bool stop;
    struct tree_walk walk;
    uint64_t found; /* the walk's fingerprint */
    size_t next_folder;
    struct task task;
    struct op *closing;
};

/* --- closing --- */

static void watch_maybe_close(struct watch *w)
{
    struct op *op = w->closing;

    if (op == NULL || w->op.active || w->handles > 0)
        return;
    sched_undefer(&w->task);
    map_free(&w->by_path);
    tree_walk_free(&w->walk);
    mem_free(w->root);
    mem_free(w);
    op_finish(op, 0);
}

static void folder_on_closed(uv_handle_t *handle)
{
    struct watch_folder *folder = handle->data;
    struct watch *w = folder->watch;

    mem_free(folder);
    w->handles--;
    watch_maybe_close(w);
}

static void folder_close(struct watch_folder *folder)
{
    map_remove_str(&folder->watch->by_path, folder->path);
    list_remove(&folder->link);
    uv_close((uv_handle_t *)&folder->handle, folder_on_closed);
}

/* --- notifications --- */

/* Every notification moves the end of the pause, but not beyond its maximum. */
static void watch_notice(struct watch *w)
{
    struct sched *sched = loop_sched(w->loop);
    uint64_t pause = w->config.pause_ms, left;

    if (w->burst_began == 0)
        w->burst_began = sched->now_ms + 1; /* not 0 */
    left = w->burst_began + WATCH_PAUSE_MAX_MS;
    left = left > sched->now_ms ? left - sched->now_ms : 0;
    sched_start_timer(sched, &w->pause, pause < left ? pause : left);
}

/* The folder's own end is told with its own name, as is that of a file in it with the same name:
 * taking both for the former does no harm. */
static bool folder_is_about_itself(const struct watch_folder *folder, const char *name, int events)
{
    const char *path = folder->path[0] != '\0' ? folder->path : folder->watch->root;
    const char *slash = strrchr(path, '/');

    return (events & UV_RENAME) != 0 &&
           (name == NULL || strcmp(name, slash != NULL ? slash + 1 : path) == 0);
}

static void folder_on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct watch_folder *folder = handle->data;

    if (folder->watch->state == WATCH_CLOSING)
        return;
    if (status != 0 || folder_is_about_itself(folder, name, events))
        folder->stale = true;
    watch_notice(folder->watch);
}

/* --- looking --- */

static int watch_walk(void *arg, struct err *err)
{
    struct watch *w = arg;
    int rc = tree_walk(&w->walk, w->root, &w->stop, err);

    return rc == 0 ? tree_fingerprint(&w->walk, &w->stop, &w->found, err) : rc;
}

/* For the next slow look. */
static void watch_wait(struct watch *w)
{
    uint64_t ms = w->config.rescan_ms;

    if (w->fingerprint == WATCH_GONE && ms > WATCH_RETURN_MS)
        ms = WATCH_RETURN_MS;
    sched_start_timer(loop_sched(w->loop), &w->rescan, ms);
}

static void watch_look(struct watch *w)
{
    if (w->state != WATCH_IDLE)
        return;
    if (work_start(w->loop, &w->op, watch_walk, w) != 0) {
        watch_wait(w);
        return;
    }
    w->burst_began = 0;
    w->overdue = false;
    sched_stop_timer(loop_sched(w->loop), &w->pause);
    sched_stop_timer(loop_sched(w->loop), &w->rescan);
    w->state = WATCH_LOOKING;
}

static void watch_on_pause(struct timer *timer)
{
    struct watch *w = container_of(timer, struct watch, pause);

    w->overdue = w->state != WATCH_IDLE;
    watch_look(w);
}

static void watch_on_rescan(struct timer *timer)
{
    watch_look(container_of(timer, struct watch, rescan));
}

/* --- adjusting --- */

static void watch_warn(struct watch *w, int rc)
{
    if (rc == UV_ENOENT || rc == UV_ENOTDIR || w->warned)
        return;
    w->warned = true;
    log_write(LOG_WARN,
              "a folder of the migration tree cannot be watched; changes in it are found later",
              LOG_STR("reason", uv_strerror(rc)));
}

static void watch_add_folder(struct watch *w, const struct tree_folder *found)
{
    size_t len = strlen(found->path);
    struct watch_folder *folder = mem_calloc(1, sizeof(*folder) + len + 1);
    char full[WATCH_PATH_MAX];
    int rc = snprintf(full, sizeof(full), "%s%s%s", w->root, len > 0 ? "/" : "", found->path);

    if (folder == NULL)
        return; /* the next look tries again */
    memcpy(folder->path, found->path, len);
    if (rc >= WATCH_PATH_MAX || map_put_str(&w->by_path, folder->path, folder) != 0) {
        mem_free(folder);
        return;
    }
    folder->watch = w;
    folder->device = found->device;
    folder->inode = found->inode;
    folder->seen = w->looks;
    list_push_back(&w->folders, &folder->link);
    uv_fs_event_init(loop_uv(w->loop), &folder->handle);
    folder->handle.data = folder;
    w->handles++;
    rc = uv_fs_event_start(&folder->handle, folder_on_event, full, 0);
    if (rc != 0) {
        watch_warn(w, rc);
        folder_close(folder);
        return;
    }
    w->watched_more = true;
}

static void watch_adjust_folder(struct watch *w, const struct tree_folder *found)
{
    struct watch_folder *folder = map_get_str(&w->by_path, found->path);

    if (folder != NULL && !folder->stale && folder->device == found->device &&
        folder->inode == found->inode) {
        folder->seen = w->looks;
        return;
    }
    if (folder != NULL)
        folder_close(folder);
    watch_add_folder(w, found);
}

static void watch_drop_unseen(struct watch *w)
{
    list_foreach_safe(node, &w->folders) {
        struct watch_folder *folder = container_of(node, struct watch_folder, link);

        if (folder->seen != w->looks)
            folder_close(folder);
    }
}

/* What happened between the walk and the first notification of a new watch is found by looking once
 * more. The callback is the last thing, as it may close the watch. */
static void watch_settle(struct watch *w)
{
    bool changed = w->changed;

    watch_drop_unseen(w);
    tree_walk_free(&w->walk);
    w->state = WATCH_IDLE;
    w->looks++;
    w->changed = false;
    watch_wait(w);
    if (w->overdue)
        watch_look(w);
    else if (w->watched_more)
        watch_notice(w);
    w->watched_more = false;
    if (changed)
        w->config.on_change(w->config.arg);
}

static void watch_adjust(struct watch *w)
{
    size_t end = w->next_folder + WATCH_ADJUST_MAX;

    for (; w->next_folder < w->walk.folder_count && w->next_folder < end; w->next_folder++)
        watch_adjust_folder(w, &w->walk.folders[w->next_folder]);
    if (w->next_folder < w->walk.folder_count)
        sched_defer(loop_sched(w->loop), &w->task);
    else
        watch_settle(w);
}

static void watch_on_task(struct task *task)
{
    struct watch *w = container_of(task, struct watch, task);

    if (w->state == WATCH_CLOSING)
        watch_maybe_close(w);
    else
        watch_adjust(w);
}

static void watch_on_walked(struct op *op, int rc)
{
    struct watch *w = container_of(op, struct watch, op);

    if (w->state == WATCH_CLOSING) {
        watch_maybe_close(w);
        return;
    }
    if (rc == ERR_NOMEM) { /* that tells nothing about the tree */
        tree_walk_free(&w->walk);
        w->state = WATCH_IDLE;
        watch_wait(w);
        return;
    }
    if (rc != 0)
        w->found = WATCH_GONE;
    w->changed = w->has_baseline && w->found != w->fingerprint;
    w->has_baseline = true;
    w->fingerprint = w->found;
    w->next_folder = 0;
    w->state = WATCH_ADJUSTING;
    watch_adjust(w);
}

/* --- beginning and end --- */

struct watch *watch_create(struct loop *loop, const struct watch_config *config)
{
    struct watch *w = mem_calloc(1, sizeof(*w));

    if (w == NULL)
        return NULL;
    w->loop = loop;
    w->config = *config;
    if (config->pause_ms == 0)
        w->config.pause_ms = WATCH_PAUSE_MS;
    if (config->rescan_ms == 0)
        w->config.rescan_ms = WATCH_RESCAN_MS;
    w->root = mem_strdup(config->root);
    if (w->root == NULL) {
        mem_free(w);
        return NULL;
    }
    w->config.root = w->root;
    w->has_baseline = config->fingerprint != 0;
    w->fingerprint = config->fingerprint;
    w->walk.root = -1;
    w->pause.fire = watch_on_pause;
    w->rescan.fire = watch_on_rescan;
    w->task.run = watch_on_task;
    list_init(&w->folders);
    map_init(&w->by_path);
    op_init(&w->op, watch_on_walked);
    watch_look(w);
    return w;
}

int watch_close(struct watch *w, struct op *op)
{
    struct list *node;

    assert(w->closing == NULL);
    op_begin(op, w, NULL);
    w->closing = op;
    w->state = WATCH_CLOSING;
    w->stop = true;
    sched_stop_timer(loop_sched(w->loop), &w->pause);
    sched_stop_timer(loop_sched(w->loop), &w->rescan);
    op_cancel(&w->op);
    while (!list_is_empty(&w->folders)) {
        node = w->folders.next;
        folder_close(container_of(node, struct watch_folder, link));
    }
    sched_defer(loop_sched(w->loop), &w->task);
    return 0;
}

uint64_t watch_looks(const struct watch *w)
{
    return w->looks;
}

size_t watch_folders(const struct watch *w)
{
    return w->by_path.len;
}
