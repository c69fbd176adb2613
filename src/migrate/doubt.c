/*
 *   LOCKING ──> DECIDING ──────────> RECORDING ──> OVER
 *                  │                  ^  ^ │
 *                  v                  │  │ v
 *              LOOKING_BACK ──────────┘ PAUSING      LOCKING, DECIDING, LOOKING_BACK ──> OVER:
 *                                                    nothing was done
 *
 *   LOCKING       waits for the lock between servers, where there is one
 *   DECIDING      waits until the target's journal has it
 *   LOOKING_BACK  nothing is in doubt there: waits for the history, which knows whether the same
 *                 was decided before and its answer was lost
 *   RECORDING     waits until the state database has it
 *   PAUSING       waits before that is offered once more
 */
#include "migrate/doubt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "migrate/doubt_note.h"
#include "migrate/run_internal.h"

enum {
    DOUBT_PAGE_ROWS = 500, /* of the history, looked at at once */
    DOUBT_PAGES_MAX = 20,
};

enum doubt_state {
    DOUBT_LOCKING,
    DOUBT_DECIDING,
    DOUBT_LOOKING_BACK,
    DOUBT_RECORDING,
    DOUBT_PAUSING,
    DOUBT_OVER,
};

static const struct sm_state doubt_states[] = {
    [DOUBT_LOCKING] = {"locking", SM_TO(DOUBT_DECIDING) | SM_TO(DOUBT_OVER)},
    [DOUBT_DECIDING] = {"deciding",
                        SM_TO(DOUBT_LOOKING_BACK) | SM_TO(DOUBT_RECORDING) | SM_TO(DOUBT_OVER)},
    [DOUBT_LOOKING_BACK] = {"looking_back",
                            SM_TO(DOUBT_LOOKING_BACK) | SM_TO(DOUBT_RECORDING) | SM_TO(DOUBT_OVER)},
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
    if (!doubt->decided || !doubt->decision.complete)
        return LOCK_NEWS_NONE;
    return doubt->decision.undo ? LOCK_NEWS_UNDONE : LOCK_NEWS_APPLIED;
}

static bool doubt_end(struct doubt *doubt)
{
    struct store *store = doubt->engine->store;
    struct err err = doubt->err;
    struct op *op = doubt->op;

    if (err.code != 0 && doubt->sm.state == DOUBT_RECORDING) /* the target may be ahead */
        engine_target(doubt->engine, doubt->decision.migration->connection)->compared = false;
    sm_move(&doubt->sm, DOUBT_OVER);
    if (doubt->grant.lock != NULL)
        store->ops->unlock(store, doubt->grant.lock);
    lock_release(&doubt->lock, doubt_news(doubt));
    arena_free(&doubt->events.arena);
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

/* What follows from it. `who` decided, and `when`: "" or that it was before. */
static void doubt_put_message(struct doubt *doubt, const char *who, const char *when)
{
    const struct backend_decision *decision = &doubt->decision;
    const char *how = decision->applied ? "applied" : "not applied";
    unsigned next = decision->statement + (decision->applied ? 1 : 0);

    if (decision->unknown)
        snprintf(doubt->message, sizeof(doubt->message),
                 "statement %u of %u is to count as %s (decided by %s), but the connection was "
                 "lost before the journal had answered",
                 decision->statement, decision->statements, how, who);
    else if (decision->complete)
        snprintf(doubt->message, sizeof(doubt->message),
                 "statement %u of %u counts as %s (%sdecided by %s); with it the migration is %s",
                 decision->statement, decision->statements, how, when, who,
                 decision->undo ? "undone" : "applied");
    else
        snprintf(doubt->message, sizeof(doubt->message),
                 "statement %u of %u counts as %s (%sdecided by %s); the next %s goes on with "
                 "statement %u",
                 decision->statement, decision->statements, how, when, who,
                 decision->undo ? "down" : "up", next);
}

/* The caller's context also says what was decided. */
static const char *doubt_context(struct doubt *doubt)
{
    const char *context = doubt->caller.execution_context;
    const char *longer = doubt_note_add(&doubt->arena, context, &doubt->decision);

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
    if (!decision->complete || decision->unknown)
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

    log_write(
        LOG_WARN,
        decision->unknown ? "a statement in doubt was decided about; nobody knows whether the "
                            "journal has it"
                          : "a statement in doubt was decided about",
        LOG_STR("migration_id", decision->migration->id), LOG_STR("schema", decision->schema),
        LOG_STR("connection", decision->migration->connection),
        LOG_STR("as", decision->applied ? "applied" : "not_applied"),
        LOG_INT("statement", decision->statement), LOG_INT("statements", decision->statements),
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

static bool doubt_record(struct doubt *doubt)
{
    doubt->decided = !doubt->decision.unknown;
    doubt_put_message(doubt, doubt->caller.executed_by, "");
    doubt_make_record(doubt);
    doubt_log(doubt);
    doubt->offered_since_ms = doubt->engine->sched->now_ms;
    doubt->pause_ms = doubt->engine->config.settle_retry_ms;
    return doubt_write(doubt);
}

static bool doubt_look_back(struct doubt *doubt, int64_t before_id)
{
    struct store *store = doubt->engine->store;

    arena_free(&doubt->events.arena);
    return doubt_await(doubt, DOUBT_LOOKING_BACK,
                       store->ops->get_history(store, &doubt->work, doubt->decision.migration->id,
                                               before_id, DOUBT_PAGE_ROWS, &doubt->events));
}

static bool doubt_on_decided(struct doubt *doubt)
{
    if (doubt->rc == ERR_NOT_FOUND) {
        doubt->err = doubt->work.err;
        return doubt_look_back(doubt, 0);
    }
    if (doubt->rc != 0 && !doubt->decision.unknown)
        return doubt_fail(doubt);
    doubt->err = doubt->work.err;
    return doubt_record(doubt);
}

/* The newest row of that schema, among those that were read. */
static const struct store_event_row *doubt_find_row(const struct doubt *doubt)
{
    const struct migration *migration = doubt->decision.migration;

    for (size_t i = 0; i < doubt->events.count; i++) {
        const struct store_event_row *row = &doubt->events.rows[i];

        if (strcmp(row->schema, doubt->decision.schema) == 0 &&
            strcmp(row->connection, migration->connection) == 0)
            return row;
    }
    return NULL;
}

/* Nothing is in doubt, and this was the last that was done there. */
static bool doubt_decided_before(struct doubt *doubt, const struct store_event_row *row,
                                 const struct doubt_note *note)
{
    struct backend_decision *decision = &doubt->decision;

    if (note->applied != decision->applied) {
        err_set(&doubt->err, ERR_CONFLICT,
                "statement %u counts as %s already (decided by %s), and nothing is in doubt any "
                "more",
                note->statement, note->applied ? "applied" : "not applied", row->executed_by);
        return doubt_end(doubt);
    }
    err_clear(&doubt->err);
    decision->undo = note->undo;
    decision->statement = note->statement;
    decision->statements = note->statements;
    decision->complete = note->applied && note->statement == note->statements;
    memcpy(decision->checksum, note->checksum, sizeof(decision->checksum));
    if (!note->known)
        return doubt_record(doubt);
    doubt_put_message(doubt, row->executed_by, "already ");
    return doubt_end(doubt);
}

static bool doubt_on_looked_back(struct doubt *doubt)
{
    const struct store_event_rows *events = &doubt->events;
    const struct store_event_row *row;
    struct doubt_note note;

    if (doubt->rc != 0)
        return doubt_fail(doubt);
    row = doubt_find_row(doubt);
    if (row != NULL && doubt_note_read(row->execution_context, &note))
        return doubt_decided_before(doubt, row, &note);
    if (row == NULL && events->count == DOUBT_PAGE_ROWS && ++doubt->pages < DOUBT_PAGES_MAX)
        return doubt_look_back(doubt, events->rows[events->count - 1].id);
    return doubt_end(doubt);
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
    if (!doubt->decision.unknown) {
        doubt->err = doubt->work.err;
        err_prefix(&doubt->err, "it was decided, but not recorded");
    }
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
    case DOUBT_LOOKING_BACK:
        return doubt_on_looked_back(doubt);
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
    const enum doubt_state state = (enum doubt_state)doubt->sm.state;

    if (state == DOUBT_LOCKING || state == DOUBT_DECIDING || state == DOUBT_LOOKING_BACK)
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
    arena_init(&doubt->events.arena);
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
