#include "migrate/engine.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "migrate/run_internal.h"

enum {
    ENGINE_WORK_AT_ONCE = 2000, /* handing so few to a thread would take longer than doing them */
};

void engine_init(struct engine *engine, struct sched *sched, struct store *store,
                 const struct engine_config *config)
{
    *engine = (struct engine){.sched = sched, .store = store, .config = *config};
    map_init(&engine->backends);
    locks_init(&engine->locks, sched);
    list_init(&engine->listeners);
    list_init(&engine->runs);
    map_init(&engine->runs_by_id);
    list_init(&engine->reconciles);
}

void engine_free(struct engine *engine)
{
    assert(list_is_empty(&engine->runs));
    locks_free(&engine->locks);
    map_free(&engine->runs_by_id);
    map_free(&engine->backends);
    registry_unref(engine->registry);
}

int engine_add_target(struct engine *engine, struct engine_target *target)
{
    return map_put_str(&engine->backends, target->connection, target);
}

struct engine_target *engine_target(const struct engine *engine, const char *connection)
{
    return map_get_str(&engine->backends, connection);
}

void engine_set_registry(struct engine *engine, struct registry *registry)
{
    struct engine_target *target;

    registry_unref(engine->registry);
    engine->registry = registry;
    for (size_t at = 0; (target = map_next(&engine->backends, &at)) != NULL;)
        if (target->compared_in_part)
            target->compared = false;
}

void engine_listen(struct engine *engine, struct engine_listener *listener)
{
    list_push_back(&engine->listeners, &listener->link);
}

void engine_unlisten(struct engine_listener *listener)
{
    if (list_is_linked(&listener->link))
        list_remove(&listener->link);
}

void engine_emit(struct engine *engine, enum run_event_kind kind, const struct run_full *run,
                 const struct run_item *item)
{
    struct run_event event = {.kind = kind, .run = &run->pub};

    if (run->request.explain)
        return;
    event.seq = ++engine->event_seq;
    if (item != NULL) {
        event.migration = item->migration;
        event.schema = item->schema;
        event.err = item->err;
        event.not_run = kind == RUN_EVENT_FAILED && item->kind == RUN_ITEM_NOT_RUN;
        event.attempts = item->attempts;
        event.duration_ms = item->duration_ms;
    }
    list_foreach_safe(node, &engine->listeners) {
        struct engine_listener *listener = container_of(node, struct engine_listener, link);

        listener->on_event(listener, &event);
    }
}

const char *run_event_reason(const struct err *why)
{
    if (why->code == ERR_LOCKED || strcmp(why->sqlstate, "55P03") == 0)
        return "lock_timeout";
    if (strcmp(why->sqlstate, "40P01") == 0)
        return "deadlock";
    if (strcmp(why->sqlstate, "40001") == 0)
        return "serialization";
    if (why->code == ERR_UNREACHABLE)
        return "connection_lost";
    return why->code == ERR_TIMEOUT ? "timeout" : "other";
}

int engine_work(struct engine *engine, size_t size, struct op *op,
                int (*fn)(void *arg, struct err *err), void *arg)
{
    const struct engine_config *config = &engine->config;
    struct err err = {0};
    int rc;

    if (config->work != NULL && size > ENGINE_WORK_AT_ONCE)
        return config->work(config->work_arg, op, fn, arg);
    rc = fn(arg, &err);
    op_begin(op, NULL, NULL);
    op->err = err;
    op_finish_later(op, engine->sched, rc);
    return 0;
}

void engine_check_idle(struct engine *engine)
{
    void (*on_idle)(struct engine * engine) = engine->on_idle;

    if (!engine->stopping || on_idle == NULL || !list_is_empty(&engine->runs) ||
        !list_is_empty(&engine->reconciles))
        return;
    engine->on_idle = NULL;
    on_idle(engine);
}

bool engine_has_lost(const struct engine *engine, const struct store_standing *row)
{
    uint64_t after_ms = engine->config.lost_after_ms;
    int64_t age_us = clock_wall_us() - row->since_us;

    if (row->owner != STORE_OWNER_UNKNOWN)
        return row->owner == STORE_OWNER_ENDED;
    return age_us > (int64_t)(after_ms > 0 ? after_ms : ENGINE_LOST_AFTER_MS) * 1000;
}

static void engine_on_stop_task(struct task *task)
{
    engine_check_idle(container_of(task, struct engine, stop_task));
}

static void engine_stop_runs(struct engine *engine, bool hard)
{
    list_foreach_safe(node, &engine->runs) {
        struct run_full *run = container_of(node, struct run_full, link);

        run_stop(run, ERR_SHUTDOWN, hard);
    }
}

void engine_stop(struct engine *engine, void (*on_idle)(struct engine *engine))
{
    engine->stopping = true;
    engine->on_idle = on_idle;
    engine->stop_task.run = engine_on_stop_task;
    sched_defer(engine->sched, &engine->stop_task);
    list_foreach_safe(node, &engine->reconciles)
        reconcile_stop(node);
    engine_stop_runs(engine, false);
}

void engine_cancel_all(struct engine *engine)
{
    engine_stop_runs(engine, true);
}
