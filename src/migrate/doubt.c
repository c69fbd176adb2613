/*
 *   LOCKING ──> DECIDING ──> RECORDING ──> OVER        LOCKING, DECIDING ──> OVER: nothing was done
 *                               ^ │
 *                               │ v
 *                             PAUSING
 *
 *   LOCKING    waits for the lock between servers, where there is one
 *   DECIDING   waits until the target's journal has it
 *   RECORDING  waits until the state database has it
 *   PAUSING    waits before that is offered once more
 */
#include "migrate/doubt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "migrate/run_internal.h"

enum doubt_state {
    DOUBT_LOCKING,
    DOUBT_DECIDING,
    DOUBT_RECORDING,
    DOUBT_PAUSING,
    DOUBT_OVER,
};

static const struct sm_state doubt_states[] = {
    [DOUBT_LOCKING] = {"locking", SM_TO(DOUBT_DECIDING) | SM_TO(DOUBT_OVER)},
    [DOUBT_DECIDING] = {"deciding", SM_TO(DOUBT_RECORDING) | SM_TO(DOUBT_OVER)},
    [DOUBT_RECORDING] = {"recording", SM_TO(DOUBT_PAUSING) | SM_TO(DOUBT_OVER)},
    [DOUBT_PAUSING] = {"pausing", SM_TO(DOUBT_RECORDING)},
    [DOUBT_OVER] = {"over", 0},
};

static bool doubt_await(struct doubt *doubt, enum doubt_state next, int rc)
{
    sm_move(&doubt->sm, (int)next);
    doubt->rc = rc;
    return rc != 0;
}

/* --- the end --- */

static enum lock_news doubt_news(const struct doubt *doubt)
{
    if (!doubt->decision.complete)
        return LOCK_NEWS_NONE;
    return doubt->decision.undo ? LOCK_NEWS_UNDONE : LOCK_NEWS_APPLIED;
}

static bool doubt_end(struct doubt *doubt)
{
    struct store *store = doubt->engine->store;
    struct err err = doubt->err;
    struct op *op = doubt->op;

    sm_move(&doubt->sm, DOUBT_OVER);
    if (doubt->grant.lock != NULL)
        store->ops->unlock(store, doubt->grant.lock);
    lock_release(&doubt->lock, doubt_news(doubt));
    arena_free(&doubt->arena);
    if (err.code != 0)
        op_fail(op, &err);
    else
        op_finish(op, 0);
    return false;
}

static bool doubt_fail(struct doubt *doubt)
{
    doubt->err = doubt->work.err;
    if (doubt->err.code == 0)
        err_set(&doubt->err, doubt->rc, "%s", err_code_text(doubt->rc));
    if (doubt->rc == ERR_LOCKED)
        doubt->err.code = ERR_CONFLICT;
    return doubt_end(doubt);
}

/* --- what is recorded --- */

static void doubt_put_message(struct doubt *doubt)
{
    const struct backend_decision *decision = &doubt->decision;
    const char *who = doubt->caller.executed_by;
    const char *how = decision->applied ? "applied" : "not applied";
    unsigned next = decision->statement + (decision->applied ? 1 : 0);

    if (decision->complete)
        snprintf(doubt->message, sizeof(doubt->message),
                 "statement %u of %u counts as %s (decided by %s); with it the migration is %s",
                 decision->statement, decision->statements, how, who,
                 decision->undo ? "undone" : "applied");
    else
        snprintf(doubt->message, sizeof(doubt->message),
                 "statement %u of %u counts as %s (decided by %s); the next %s goes on with "
                 "statement %u",
                 decision->statement, decision->statements, how, who,
                 decision->undo ? "down" : "up", next);
}

/* The caller's context also says what was decided. */
static const char *doubt_context(struct doubt *doubt)
{
    const struct backend_decision *decision = &doubt->decision;
    const char *context = doubt->caller.execution_context;
    size_t len = strlen(context);
    const char *longer = NULL;

    if (len >= 2 && context[len - 1] == '}')
        longer = arena_printf(&doubt->arena, "%.*s%s\"resolved\":{\"statement\":%u,\"as\":\"%s\"}}",
                              (int)(len - 1), context, len > 2 ? "," : "", decision->statement,
                              decision->applied ? "applied" : "not_applied");
    return longer != NULL ? longer : context;
}

static void doubt_make_record(struct doubt *doubt)
{
    const struct backend_decision *decision = &doubt->decision;

    doubt->caller.execution_context = doubt_context(doubt);
    doubt->record = (struct store_record){
        .event = STORE_RESOLVED,
        .migration = decision->migration,
        .schema = decision->schema,
        .caller = &doubt->caller,
        .run_id = doubt->run_id,
        .at_us = clock_wall_us(),
    };
    if (!decision->complete)
        doubt->record.error = doubt->message;
    else
        doubt->record.event = decision->undo ? STORE_ROLLED_BACK : STORE_APPLIED;
    if (doubt->record.event == STORE_APPLIED)
        doubt->record.checksum = decision->checksum;
}

static void doubt_log(const struct doubt *doubt)
{
    const struct backend_decision *decision = &doubt->decision;
    const char *request_id = doubt->caller.request_id;

    log_write(LOG_WARN, "a statement in doubt was decided about",
              LOG_STR("migration_id", decision->migration->id), LOG_STR("schema", decision->schema),
              LOG_STR("connection", decision->migration->connection),
              LOG_STR("as", decision->applied ? "applied" : "not_applied"),
              LOG_INT("statement", decision->statement),
              LOG_INT("statements", decision->statements),
              LOG_STR("executed_by", doubt->caller.executed_by),
              LOG_STR("request_id", request_id != NULL ? request_id : ""));
}

static bool doubt_write(struct doubt *doubt)
{
    struct store *store = doubt->engine->store;

    return doubt_await(doubt, DOUBT_RECORDING,
                       store->ops->write(store, &doubt->work, &doubt->record, 1));
}

/* --- the machine --- */

static bool doubt_on_decided(struct doubt *doubt)
{
    if (doubt->rc != 0)
        return doubt_fail(doubt);
    doubt_put_message(doubt);
    doubt_make_record(doubt);
    doubt_log(doubt);
    doubt->offered_since_ms = doubt->engine->sched->now_ms;
    doubt->pause_ms = doubt->engine->config.settle_retry_ms;
    return doubt_write(doubt);
}

static bool doubt_on_recorded(struct doubt *doubt)
{
    const struct engine *engine = doubt->engine;
    uint64_t waited = engine->sched->now_ms - doubt->offered_since_ms;
    uint64_t pause = doubt->pause_ms;

    if (doubt->rc == 0)
        return doubt_end(doubt);
    if (doubt->rc == ERR_STORE && waited < engine->config.settle_give_up_ms && !engine->stopping) {
        doubt->pause_ms = pause < 2500 ? pause * 2 : 5000;
        return doubt_await(doubt, DOUBT_PAUSING,
                           op_sleep_start(&doubt->sleep, engine->sched, &doubt->work, pause));
    }
    doubt->err = doubt->work.err;
    err_prefix(&doubt->err, "it was decided, but not recorded");
    return doubt_end(doubt);
}

static bool doubt_once(struct doubt *doubt)
{
    switch ((enum doubt_state)doubt->sm.state) {
    case DOUBT_LOCKING:
        if (doubt->rc == 0 && doubt->op->canceled)
            doubt->rc = err_set(&doubt->work.err, ERR_CANCELED, "%s", err_code_text(ERR_CANCELED));
        if (doubt->rc != 0)
            return doubt_fail(doubt);
        return doubt_await(
            doubt, DOUBT_DECIDING,
            doubt->backend->ops->resolve(doubt->backend, &doubt->work, &doubt->decision));
    case DOUBT_DECIDING:
        return doubt_on_decided(doubt);
    case DOUBT_RECORDING:
        return doubt_on_recorded(doubt);
    case DOUBT_PAUSING:
        return doubt_write(doubt);
    case DOUBT_OVER:
        break;
    }
    abort();
}

static void doubt_on_work(struct op *work, int rc)
{
    struct doubt *doubt = container_of(work, struct doubt, work);

    doubt->rc = rc;
    while (doubt_once(doubt))
        continue;
}

/* Once it is decided it is recorded. */
static void doubt_cancel(struct op *op)
{
    struct doubt *doubt = op->impl;

    if (doubt->sm.state == DOUBT_LOCKING || doubt->sm.state == DOUBT_DECIDING)
        op_cancel(&doubt->work);
}

/* --- the beginning --- */

static int doubt_find_backend(struct doubt *doubt, struct err *err)
{
    const struct migration *migration = doubt->decision.migration;
    const struct engine_target *target = engine_target(doubt->engine, migration->connection);

    if (target == NULL)
        return err_set(err, ERR_CONFLICT, "connection %s not found", migration->connection);
    if (target->backend == NULL)
        return err_set(err, ERR_CONFLICT, "connection %s: %s", migration->connection, target->why);
    if (target->backend->ops->resolve == NULL)
        return err_set(err, ERR_CONFLICT, "nothing is ever in doubt on %s targets",
                       backend_kind_name(target->kind));
    doubt->backend = target->backend;
    return 0;
}

static int doubt_lock(struct doubt *doubt)
{
    const struct backend_decision *decision = &doubt->decision;
    struct store *store = doubt->engine->store;
    const struct store_lock_want want = {.migration = decision->migration,
                                         .schema = decision->schema,
                                         .connection = decision->migration->connection};

    if (store->ops->lock != NULL)
        return store->ops->lock(store, &doubt->work, &want, &doubt->grant);
    return op_sleep_start(&doubt->sleep, doubt->engine->sched, &doubt->work, 0);
}

int doubt_start(struct engine *engine, struct op *op, const struct doubt_request *request,
                struct doubt *doubt)
{
    struct err err = {0};
    int rc;

    *doubt = (struct doubt){.engine = engine,
                            .op = op,
                            .caller = request->caller,
                            .decision = {.migration = request->migration,
                                         .schema = request->schema,
                                         .applied = request->applied}};
    rc = doubt_find_backend(doubt, &err);
    if (rc != 0)
        return op_refuse(op, rc, "%s", err_text(&err));
    if (!lock_try(&engine->locks, &doubt->lock, request->migration->id, request->schema,
                  LOCK_ALONE))
        return op_refuse(op, ERR_CONFLICT,
                         "a run is at work on this migration and schema; ask again when it has "
                         "ended");
    sm_init(&doubt->sm, doubt_states, "doubt", DOUBT_LOCKING);
    arena_init(&doubt->arena);
    run_make_id(doubt->run_id, NULL);
    op_init(&doubt->work, doubt_on_work);
    rc = doubt_lock(doubt);
    if (rc != 0) {
        err = doubt->work.err;
        lock_release(&doubt->lock, LOCK_NEWS_NONE);
        return op_refuse(op, rc == ERR_LOCKED ? ERR_CONFLICT : rc, "%s", err_text(&err));
    }
    op_begin(op, doubt, doubt_cancel);
    return 0;
}
