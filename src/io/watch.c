#include "io/watch.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/notify.h"
#include "io/tree_walk.h"
#include "io/work.h"

/*
 * What the watch is at. Notifications arm the pause in any state; a look that they fall into is
 * followed by another one.
 *
 *   IDLE --(pause or rescan timer)--> LOOKING --(walked, all folders watched)--> IDLE
 *   any --(watch_close)--> CLOSING
 */
enum watch_state {
    WATCH_IDLE,
    WATCH_LOOKING, /* a pool thread walks the tree and asks for notifications */
    WATCH_CLOSING,
};

enum {
    WATCH_PAUSE_MS = 200,
    WATCH_PAUSE_MAX_MS = 2000, /* notifications that never pause are acted upon after this time */
    WATCH_RESCAN_MS = 30000,
    WATCH_RETURN_MS = 2000, /* the same while the tree is gone */
};

static const uint64_t WATCH_GONE = 2; /* stands for a tree that cannot be read */

struct watch {
    struct loop *loop;
    struct watch_config config;
    char *root;
    enum watch_state state;
    struct notify *notify; /* NULL: the system has none for us */
    struct timer pause, rescan;
    uint64_t burst_began; /* 0: no notification is waiting */
    bool overdue;         /* a pause ended while a look was under way */
    bool has_baseline, changed, warned;
    uint64_t fingerprint, looks;
    struct op op; /* the walk */
    _Atomic bool stop;
    struct tree_walk walk;
    uint64_t found; /* the walk's fingerprint */
    size_t added;   /* folders watched since this walk */
    int reason;     /* why one of them is not; 0: all are */
    size_t folders; /* that are watched */
    struct task task;
    struct op *closing;
};

/* --- closing --- */

static void watch_maybe_close(struct watch *w)
{
    struct op *op = w->closing;

    if (op == NULL || w->op.active || w->notify != NULL)
        return;
    sched_undefer(&w->task);
    tree_walk_free(&w->walk);
    mem_free(w->root);
    mem_free(w);
    op_finish(op, 0);
}

static void watch_on_unnotified(void *arg)
{
    struct watch *w = arg;

    w->notify = NULL;
    watch_maybe_close(w);
}

/* Once no thread uses it. */
static void watch_close_notify(struct watch *w)
{
    if (w->notify != NULL)
        notify_close(w->notify, watch_on_unnotified, w);
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

static void watch_on_event(void *arg)
{
    struct watch *w = arg;

    if (w->state != WATCH_CLOSING)
        watch_notice(w);
}

static void watch_warn(struct watch *w, int reason)
{
    if (w->warned)
        return;
    w->warned = true;
    log_write(LOG_WARN,
              "a folder of the migration tree cannot be watched; changes in it are found later",
              LOG_STR("reason", uv_strerror(uv_translate_sys_error(reason))));
}

/* --- looking --- */

/* On a thread. What could not be walked to the end is watched as far as it was found. */
static int watch_walk(void *arg, struct err *err)
{
    struct watch *w = arg;
    int rc = tree_walk(&w->walk, w->root, &w->stop, err);

    if (rc == 0)
        rc = tree_fingerprint(&w->walk, &w->stop, &w->found, err);
    w->added = 0;
    w->reason = 0;
    if (rc != ERR_NOMEM && rc != ERR_CANCELED && w->notify != NULL)
        w->added =
            notify_set(w->notify, w->root, w->walk.folders, w->walk.folder_count, &w->reason);
    return rc;
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
    int reason;

    if (w->state != WATCH_IDLE)
        return;
    if (w->notify == NULL) {
        w->notify = notify_create(w->loop, watch_on_event, w, &reason);
        if (w->notify == NULL)
            watch_warn(w, reason);
    }
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

/* What happened between the walk and the first notification of a new watch is found by looking once
 * more. The callback is the last thing, as it may close the watch. */
static void watch_settle(struct watch *w)
{
    bool changed = w->changed;

    if (w->reason != 0)
        watch_warn(w, w->reason);
    w->folders = w->notify != NULL ? notify_count(w->notify) : 0;
    tree_walk_free(&w->walk);
    w->state = WATCH_IDLE;
    w->looks++;
    w->changed = false;
    watch_wait(w);
    if (w->overdue)
        watch_look(w);
    else if (w->added > 0)
        watch_notice(w);
    if (changed)
        w->config.on_change(w->config.arg);
}

static void watch_on_task(struct task *task)
{
    watch_maybe_close(container_of(task, struct watch, task));
}

static void watch_on_walked(struct op *op, int rc)
{
    struct watch *w = container_of(op, struct watch, op);

    if (w->state == WATCH_CLOSING) {
        watch_close_notify(w);
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
    watch_settle(w);
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
    op_init(&w->op, watch_on_walked);
    watch_look(w);
    return w;
}

int watch_close(struct watch *w, struct op *op)
{
    assert(w->closing == NULL);
    op_begin(op, w, NULL);
    w->closing = op;
    w->state = WATCH_CLOSING;
    w->stop = true;
    sched_stop_timer(loop_sched(w->loop), &w->pause);
    sched_stop_timer(loop_sched(w->loop), &w->rescan);
    op_cancel(&w->op);
    if (!w->op.active)
        watch_close_notify(w);
    sched_defer(loop_sched(w->loop), &w->task);
    return 0;
}

uint64_t watch_looks(const struct watch *w)
{
    return w->looks;
}

size_t watch_folders(const struct watch *w)
{
    return w->folders;
}
