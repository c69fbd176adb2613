#include "io/retire.h"

#include <assert.h>

#include "base/mem.h"
#include "io/work.h"

enum {
    RETIRE_LOOK_MS = 1000, /* how often it is looked whether runs have ended */
};

struct retire {
    struct loop *loop;
    struct list held; /* of struct retired, with other users still */
    size_t held_count;
    size_t freeing;
    struct timer timer;
    struct task task; /* ends the closing when nothing is being freed */
    struct op *closing;
};

struct retired {
    struct list link;
    struct op op;
    struct retire *retire;
    struct registry *registry;
};

static void retire_maybe_close(struct retire *r)
{
    struct op *op = r->closing;

    if (op == NULL || r->freeing > 0)
        return;
    sched_undefer(&r->task);
    mem_free(r);
    op_finish(op, 0);
}

static int retired_free(void *arg, struct err *err)
{
    struct retired *retired = arg;

    (void)err;
    registry_unref(retired->registry);
    return 0;
}

static void retired_on_freed(struct op *op, int rc)
{
    struct retired *retired = container_of(op, struct retired, op);
    struct retire *r = retired->retire;

    (void)rc;
    mem_free(retired);
    r->freeing--;
    retire_maybe_close(r);
}

/* Frees what only we have; looks again later if something is left. */
static void retire_look(struct retire *r)
{
    list_foreach_safe(node, &r->held) {
        struct retired *retired = container_of(node, struct retired, link);

        if (retired->registry->refs > 1)
            continue;
        if (work_start(r->loop, &retired->op, retired_free, retired) != 0)
            break; /* memory is out: later */
        list_remove(&retired->link);
        r->held_count--;
        r->freeing++;
    }
    if (!list_is_empty(&r->held))
        sched_start_timer(loop_sched(r->loop), &r->timer, RETIRE_LOOK_MS);
}

static void retire_on_timer(struct timer *timer)
{
    retire_look(container_of(timer, struct retire, timer));
}

static void retire_on_task(struct task *task)
{
    retire_maybe_close(container_of(task, struct retire, task));
}

struct retire *retire_create(struct loop *loop)
{
    struct retire *r = mem_calloc(1, sizeof(*r));

    if (r == NULL)
        return NULL;
    r->loop = loop;
    r->timer.fire = retire_on_timer;
    r->task.run = retire_on_task;
    list_init(&r->held);
    return r;
}

void retire_add(struct retire *r, struct registry *registry)
{
    struct retired *retired;

    assert(r->closing == NULL);
    if (registry == NULL)
        return;
    retired = mem_calloc(1, sizeof(*retired));
    if (retired == NULL) {
        registry_unref(registry);
        return;
    }
    op_init(&retired->op, retired_on_freed);
    retired->retire = r;
    retired->registry = registry;
    list_push_back(&r->held, &retired->link);
    r->held_count++;
    retire_look(r);
}

size_t retire_held(const struct retire *r)
{
    return r->held_count;
}

int retire_close(struct retire *r, struct op *op)
{
    struct list *node;

    retire_look(r);
    sched_stop_timer(loop_sched(r->loop), &r->timer);
    while ((node = list_pop_front(&r->held)) != NULL) {
        struct retired *retired = container_of(node, struct retired, link);

        registry_unref(retired->registry);
        mem_free(retired);
    }
    op_begin(op, r, NULL);
    r->closing = op;
    sched_defer(loop_sched(r->loop), &r->task);
    return 0;
}
