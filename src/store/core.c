#include "store/core.h"

#include <assert.h>

#include "base/mem.h"

static void core_on_task(struct task *task);

void core_init(struct store_core *core, const struct store_ops *store_ops,
               const struct core_ops *ops, struct sched *sched)
{
    *core = (struct store_core){.store.ops = store_ops, .ops = ops, .sched = sched};
    core->task.run = core_on_task;
    list_init(&core->writes);
    list_init(&core->syncs);
    list_init(&core->reads);
    list_init(&core->batch);
}

static struct request *core_first(const struct list *list)
{
    return list_is_empty(list) ? NULL : container_of(list->next, struct request, link);
}

/* Those that go together in a batch; 0: not one that is queued as a write. */
enum core_class {
    CORE_NO_WRITE,
    CORE_ALONE,
    CORE_WRITES,
    CORE_CLAIMS,
    CORE_SWAPS,
};

static enum core_class core_class(enum request_kind kind)
{
    switch (kind) {
    case REQUEST_PREPARE:
    case REQUEST_BEAT:
        return CORE_ALONE;
    case REQUEST_WRITE:
    case REQUEST_PUT_RUN:
        return CORE_WRITES;
    case REQUEST_CLAIM_KEY:
        return CORE_CLAIMS;
    case REQUEST_SWAP_LEDGER:
        return CORE_SWAPS;
    case REQUEST_PING:
    case REQUEST_SYNC:
    case REQUEST_APPLIED:
    case REQUEST_EXECUTIONS:
    case REQUEST_STATUSES:
    case REQUEST_HISTORY:
    case REQUEST_SKIPPED:
    case REQUEST_RUNS:
    case REQUEST_RUN_LANES:
    case REQUEST_RUN_STEPS:
    case REQUEST_TENANTS:
    case REQUEST_STANDING:
    case REQUEST_UNENDED:
    case REQUEST_LEDGER:
        break;
    }
    return CORE_NO_WRITE;
}

bool core_is_read(enum request_kind kind)
{
    return core_class(kind) == CORE_NO_WRITE && kind != REQUEST_SYNC;
}

/* --- the end of a request --- */

/* On failure a result holds nothing. */
static void core_drop_result(struct request *request)
{
    struct arena *arena = core_result_arena(request);

    if (arena != NULL)
        arena_free(arena);
    core_zero_result(request);
}

static struct op *core_free_request(struct request *request)
{
    struct store_core *core = request->core;
    struct op *op = request->op;

    if (request->rc != 0)
        core_drop_result(request);
    if (request->state != NULL)
        core->ops->release(request);
    core->queued_records -= request->rows;
    core->queued_bytes -= request->bytes;
    mem_free(request);
    return op;
}

static void core_finish(struct request *request)
{
    int rc = request->rc;
    struct op *op = core_free_request(request);

    op_finish(op, rc);
}

void core_fail_list(struct list *requests, const struct err *err)
{
    list_foreach(node, requests) {
        struct request *request = container_of(node, struct request, link);

        request->rc = err->code;
        request->op->err = *err;
    }
}

/* A sync that needs another step goes back to the queue. */
static bool core_requeue(struct store_core *core, struct request *request)
{
    if (!request->more || request->rc != 0)
        return false;
    request->more = false;
    request->running = false;
    if (request->op->canceled) {
        request->rc = ERR_CANCELED;
        return false;
    }
    list_push_front(&core->syncs, &request->link);
    return true;
}

void core_end_batch(struct store_core *core)
{
    struct list ended;
    struct list *node;

    list_init(&ended);
    list_append_all(&ended, &core->batch);
    sched_defer(core->sched, &core->task);
    while ((node = list_pop_front(&ended)) != NULL) {
        struct request *request = container_of(node, struct request, link);

        if (core_requeue(core, request))
            continue;
        if (request->kind == REQUEST_PREPARE && request->rc == 0)
            core->prepared = true;
        core_finish(request);
    }
}

void core_end_read(struct request *request)
{
    struct store_core *core = request->core;

    assert(!list_is_linked(&request->link) && core->reading > 0);
    core->reading--;
    sched_defer(core->sched, &core->task);
    core_finish(request);
}

/* --- dealing out --- */

static bool core_refuse_unprepared(const struct store_core *core, struct list *requests)
{
    struct err err;

    if (core->prepared)
        return false;
    err_set(&err, ERR_STORE, "the state database is not ready yet");
    core_fail_list(requests, &err);
    return true;
}

/* Whether a read of this kind shows nothing that the write changes. */
static bool core_is_hidden(const struct request *write, enum request_kind read)
{
    if (write->kind == REQUEST_PREPARE)
        return false;
    if (write->kind == REQUEST_SWAP_LEDGER || read == REQUEST_LEDGER)
        return write->kind != REQUEST_SWAP_LEDGER || read != REQUEST_LEDGER;
    if (write->kind == REQUEST_CLAIM_KEY)
        return true;
    if (write->kind == REQUEST_BEAT)
        return read != REQUEST_RUNS;
    return write->only_skips && read != REQUEST_SKIPPED;
}

/* Every write with a smaller number that such a read shows has ended. */
static uint64_t core_oldest_write(const struct store_core *core, enum request_kind read)
{
    const struct list *const lists[] = {&core->writes, &core->syncs, &core->batch};
    uint64_t oldest = UINT64_MAX;

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        list_foreach(node, lists[i]) {
            const struct request *request = container_of(node, struct request, link);

            if (core_is_hidden(request, read))
                continue;
            if (request->seq < oldest)
                oldest = request->seq;
            break;
        }
    return oldest;
}

static void core_deal_reads(struct store_core *core)
{
    uint64_t of_skips = core_oldest_write(core, REQUEST_SKIPPED);
    uint64_t of_runs = core_oldest_write(core, REQUEST_RUNS);
    uint64_t of_ledger = core_oldest_write(core, REQUEST_LEDGER);
    uint64_t of_others = core_oldest_write(core, REQUEST_APPLIED);
    struct list ready;
    struct list *node;

    list_init(&ready);
    list_foreach_safe(at, &core->reads) {
        struct request *request = container_of(at, struct request, link);
        uint64_t oldest = request->kind == REQUEST_SKIPPED  ? of_skips
                          : request->kind == REQUEST_RUNS   ? of_runs
                          : request->kind == REQUEST_LEDGER ? of_ledger
                                                            : of_others;

        if (request->seq > oldest && request->kind != REQUEST_PING)
            continue;
        list_remove(at);
        list_push_back(&ready, at);
        request->running = true;
        core->reading++;
    }
    if (list_is_empty(&ready))
        return;
    core->batch_was_last = false;
    if (!core_refuse_unprepared(core, &ready)) {
        core->ops->run_reads(core, &ready);
        return;
    }
    while ((node = list_pop_front(&ready)) != NULL)
        core_end_read(container_of(node, struct request, link));
}

static void core_take(struct store_core *core, struct request *request)
{
    list_remove(&request->link);
    list_push_back(&core->batch, &request->link);
    request->running = true;
}

/* The first write and those behind it that go with it, up to the size of a batch. Claims,
 * changes of the ledger and other writes may overtake each other, as they touch different rows;
 * nothing overtakes a prepare. */
static void core_take_writes(struct store_core *core)
{
    struct request *first = core_first(&core->writes);
    size_t rows = 0, looked = 0;
    enum core_class class;

    if (first == NULL)
        return;
    class = core_class(first->kind);
    if (class == CORE_ALONE) {
        core_take(core, first);
        return;
    }
    list_foreach_safe(node, &core->writes) {
        struct request *request = container_of(node, struct request, link);

        if (rows >= CORE_BATCH_RECORDS || ++looked > CORE_BATCH_LOOK ||
            request->kind == REQUEST_PREPARE)
            return;
        if (core_class(request->kind) != class)
            continue;
        core_take(core, request);
        rows += request->rows;
    }
}

static void core_deal_batch(struct store_core *core)
{
    bool sync_next = !core->sync_was_last && core->prepared;
    struct request *sync = core_first(&core->syncs);

    if (!list_is_empty(&core->batch))
        return;
    if (sync != NULL && (sync_next || list_is_empty(&core->writes))) {
        list_remove(&sync->link);
        list_push_back(&core->batch, &sync->link);
        sync->running = true;
        core->sync_was_last = true;
    } else {
        core_take_writes(core);
        core->sync_was_last = false;
    }
    if (list_is_empty(&core->batch))
        return;
    core->batch_was_last = true;
    if (core_first(&core->batch)->kind != REQUEST_PREPARE &&
        core_refuse_unprepared(core, &core->batch))
        core_end_batch(core);
    else
        core->ops->run_batch(core, &core->batch);
}

static bool core_is_idle(const struct store_core *core)
{
    return core->reading == 0 && list_is_empty(&core->batch);
}

static void core_try_close(struct store_core *core)
{
    struct op *op = core->close_op;

    if (op == NULL || !core_is_idle(core) || !list_is_empty(&core->reads) ||
        !list_is_empty(&core->writes) || !list_is_empty(&core->syncs))
        return;
    core->close_op = NULL;
    sched_undefer(&core->task);
    core->ops->close(core, op);
}

static void core_deal(struct store_core *core)
{
    if (!core->ops->exclusive) {
        core_deal_batch(core);
        core_deal_reads(core);
        return;
    }
    if (core_is_idle(core) && core->batch_was_last)
        core_deal_reads(core);
    if (core_is_idle(core))
        core_deal_batch(core);
    if (core_is_idle(core))
        core_deal_reads(core);
}

static void core_on_task(struct task *task)
{
    struct store_core *core = container_of(task, struct store_core, task);

    core_deal(core);
    core_try_close(core); /* last: the core may be gone */
}

/* --- the start of a request --- */

static void core_cancel(struct op *op)
{
    struct request *request = op->impl;
    struct store_core *core = request->core;

    if (request->running) {
        if (core->ops->cancel != NULL)
            core->ops->cancel(core, request);
        return;
    }
    list_remove(&request->link);
    request->rc = ERR_CANCELED;
    core_free_request(request);
    sched_defer(core->sched, &core->task); /* it may have been what others waited for */
    op_finish_later(op, core->sched, ERR_CANCELED);
}

int core_start(struct store *store, struct op *op, const struct request *arguments)
{
    struct store_core *core = container_of(store, struct store_core, store);
    struct request *request;

    if (core->close_op != NULL)
        return op_refuse(op, ERR_SHUTDOWN, "the server is stopping");
    request = mem_alloc(sizeof(*request));
    if (request == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    *request = *arguments;
    request->core = core;
    request->op = op;
    request->seq = ++core->seq;
    core->queued_records += request->rows;
    core->queued_bytes += request->bytes;
    if (core_is_read(request->kind))
        list_push_back(&core->reads, &request->link);
    else if (request->kind == REQUEST_SYNC)
        list_push_back(&core->syncs, &request->link);
    else
        list_push_back(&core->writes, &request->link);
    op_begin(op, request, core_cancel);
    sched_defer(core->sched, &core->task);
    return 0;
}

int core_close(struct store *store, struct op *op)
{
    struct store_core *core = container_of(store, struct store_core, store);

    assert(core->close_op == NULL);
    op_begin(op, core, NULL);
    core->close_op = op;
    sched_defer(core->sched, &core->task);
    return 0;
}
