#include "server/bringup.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"

/*
 *   LOADING ──> PREPARING ──> SYNCING ──> RECONCILING <──────────> WATCHING ──┐
 *                 │   ^         │            │        bringup_compare   │  ^  │ away
 *                 v   │         v            v                          │  └──┘
 *                PAUSING <──────┴─────<──────┘     PREPARING <── back ──┘
 *
 * In RECONCILING and WATCHING the pulse tells whether the database answers: a comparison may wait
 * for a slow target, and readiness does not wait for it. One that was away is prepared again: it
 * may be another database, or one from a backup. One that has lost a table is prepared at once.
 * PAUSING waits for time to pass, all others for operations. When stopping, each of them ends in
 * STOPPED as soon as what it waits for has completed.
 */
enum bringup_state {
    BRINGUP_LOADING,
    BRINGUP_PREPARING,
    BRINGUP_PAUSING,
    BRINGUP_SYNCING,
    BRINGUP_RECONCILING,
    BRINGUP_WATCHING,
    BRINGUP_STOPPED,
};

static const struct sm_state bringup_states[] = {
    [BRINGUP_LOADING] = {"loading", SM_TO(BRINGUP_PREPARING) | SM_TO(BRINGUP_STOPPED)},
    [BRINGUP_PREPARING] = {"preparing", SM_TO(BRINGUP_PAUSING) | SM_TO(BRINGUP_SYNCING) |
                                            SM_TO(BRINGUP_STOPPED)},
    [BRINGUP_PAUSING] = {"pausing", SM_TO(BRINGUP_PREPARING) | SM_TO(BRINGUP_STOPPED)},
    [BRINGUP_SYNCING] = {"syncing", SM_TO(BRINGUP_PAUSING) | SM_TO(BRINGUP_RECONCILING) |
                                        SM_TO(BRINGUP_STOPPED)},
    [BRINGUP_RECONCILING] = {"reconciling", SM_TO(BRINGUP_PAUSING) | SM_TO(BRINGUP_PREPARING) |
                                                SM_TO(BRINGUP_WATCHING) | SM_TO(BRINGUP_STOPPED)},
    [BRINGUP_WATCHING] = {"watching", SM_TO(BRINGUP_WATCHING) | SM_TO(BRINGUP_PREPARING) |
                                          SM_TO(BRINGUP_RECONCILING) | SM_TO(BRINGUP_STOPPED)},
    [BRINGUP_STOPPED] = {"stopped", 0},
};

enum {
    PAUSE_FIRST_MS = 100,
    PAUSE_MAX_MS = 5000,
};

static void bringup_on_op(struct op *op, int rc);
static void bringup_on_reconciled(struct reconcile *reconcile);
static void bringup_advance(struct bringup *bringup);

static void bringup_move(struct bringup *bringup, enum bringup_state next)
{
    sm_move(&bringup->sm, (int)next);
    assert(!bringup->ready || bringup->prepared);
    assert(next != BRINGUP_STOPPED ||
           (bringup->reconcile == NULL && !pulse_is_on(&bringup->pulse)));
}

static bool bringup_await(struct bringup *bringup, enum bringup_state next, int rc)
{
    bringup_move(bringup, next);
    bringup->rc = rc;
    return rc != 0;
}

/* Doubles from 100 ms to 5 s. */
static uint64_t bringup_pause_ms(const struct bringup *bringup)
{
    uint64_t ms = PAUSE_FIRST_MS;

    for (unsigned i = 1; i < bringup->failures && ms < PAUSE_MAX_MS; i++)
        ms *= 2;
    return ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS;
}

/* Left out of the line where there is none. */
static struct log_field bringup_file(const struct bringup *bringup)
{
    return (struct log_field){.key = bringup->state_file != NULL ? "file" : NULL,
                              .text = bringup->state_file};
}

static void bringup_set_ready(struct bringup *bringup)
{
    err_clear(&bringup->lost);
    if (!bringup->ready)
        log_write(LOG_INFO, "state database ready", LOG_STR("store", bringup->store->ops->name));
    bringup->ready = true;
}

static void bringup_set_away(struct bringup *bringup, const char *why)
{
    if (bringup->ready)
        log_write(LOG_ERROR, "state database is away", bringup_file(bringup),
                  LOG_STR("error", why));
    bringup->ready = false;
}

static bool bringup_pause(struct bringup *bringup, const char *what)
{
    bringup->failures++;
    bringup_set_away(bringup, err_text(&bringup->op.err));
    log_write(LOG_WARN, "state database cannot be used yet", LOG_STR("step", what),
              bringup_file(bringup), LOG_STR("error", err_text(&bringup->op.err)),
              LOG_INT("retry_in_ms", bringup_pause_ms(bringup)));
    return bringup_await(
        bringup, BRINGUP_PAUSING,
        op_sleep_start(&bringup->pause, bringup->sched, &bringup->op, bringup_pause_ms(bringup)));
}

static bool bringup_prepare(struct bringup *bringup)
{
    return bringup_await(bringup, BRINGUP_PREPARING,
                         bringup->store->ops->prepare(bringup->store, &bringup->op));
}

static bool bringup_sync(struct bringup *bringup)
{
    return bringup_await(bringup, BRINGUP_SYNCING, catalog_sync(bringup->catalog, &bringup->op));
}

/* --- while it is in use --- */

static bool bringup_reconcile(struct bringup *bringup)
{
    struct err *err = &bringup->uncompared;

    bringup->compare = false;
    err_clear(err);
    bringup_move(bringup, BRINGUP_RECONCILING);
    if (reconcile_start(bringup->engine, NULL, bringup_on_reconciled, bringup, &bringup->reconcile,
                        err) != 0)
        bringup->reconcile = NULL;
    pulse_start(&bringup->pulse, PULSE_EVERY_MS);
    return bringup->reconcile == NULL;
}

static bool bringup_watch(struct bringup *bringup)
{
    bringup_move(bringup, BRINGUP_WATCHING);
    if (!pulse_is_on(&bringup->pulse))
        pulse_start(&bringup->pulse, bringup->ready ? PULSE_EVERY_MS : bringup_pause_ms(bringup));
    if (bringup->ready && bringup->compare)
        pulse_hurry(&bringup->pulse);
    return false;
}

/* The pulse has ended, and nothing else is under way. */
static bool bringup_after_pulse(struct bringup *bringup)
{
    if (!bringup->ready)
        return bringup->rc == 0 || bringup->rc == ERR_NOT_FOUND ? bringup_prepare(bringup)
                                                                : bringup_watch(bringup);
    if (bringup->uncompared.code != 0) {
        bringup->op.err = bringup->uncompared;
        return bringup_pause(bringup, "reconcile");
    }
    bringup->failures = 0;
    return bringup->compare ? bringup_reconcile(bringup) : bringup_watch(bringup);
}

static bool bringup_while_reconciling(struct bringup *bringup)
{
    if (pulse_is_on(&bringup->pulse)) {
        if (bringup->uncompared.code == 0)
            return bringup_watch(bringup);
        pulse_hurry(&bringup->pulse); /* is it the state database that failed? */
        return false;
    }
    if (bringup->reconcile == NULL)
        return bringup_after_pulse(bringup);
    if (bringup->ready)
        pulse_start(&bringup->pulse, PULSE_EVERY_MS);
    else
        reconcile_cancel(bringup->reconcile);
    return false;
}

/* Clients are told at once. */
static void bringup_on_late(struct pulse *pulse)
{
    bringup_set_away(container_of(pulse, struct bringup, pulse), "no answer");
}

static void bringup_on_pulse(struct pulse *pulse, int rc)
{
    struct bringup *bringup = container_of(pulse, struct bringup, pulse);

    bringup->rc = rc;
    if (rc != 0 && !bringup->stopping) {
        bringup->failures++;
        bringup_set_away(bringup, err_text(&pulse->op.err));
        if (rc == ERR_NOT_FOUND) /* it answers: what is gone can be made again */
            bringup->lost = pulse->op.err;
    }
    bringup_advance(bringup);
}

/* --- the machine --- */

static bool bringup_is_busy(const struct bringup *bringup)
{
    return bringup->op.active || bringup->reconcile != NULL || pulse_is_on(&bringup->pulse);
}

static bool bringup_once(struct bringup *bringup)
{
    if (bringup->stopping && bringup->sm.state != BRINGUP_STOPPED) {
        if (bringup_is_busy(bringup))
            return false;
        bringup->ready = false;
        bringup_move(bringup, BRINGUP_STOPPED);
    }
    switch ((enum bringup_state)bringup->sm.state) {
    case BRINGUP_LOADING:
        return bringup_prepare(bringup); /* what could not be read is read again later */
    case BRINGUP_PREPARING:
        if (bringup->rc != 0)
            return bringup_pause(bringup, "prepare");
        bringup->prepared = true;
        return bringup_sync(bringup);
    case BRINGUP_PAUSING:
        return bringup_prepare(bringup);
    case BRINGUP_SYNCING:
        if (bringup->rc != 0)
            return bringup_pause(bringup, "sync");
        bringup_set_ready(bringup);
        return bringup_reconcile(bringup);
    case BRINGUP_RECONCILING:
        return bringup_while_reconciling(bringup);
    case BRINGUP_WATCHING:
        return bringup_after_pulse(bringup);
    case BRINGUP_STOPPED:
        bringup->on_stopped(bringup);
        return false;
    }
    abort();
}

static void bringup_advance(struct bringup *bringup)
{
    while (bringup_once(bringup))
        continue;
}

static void bringup_on_op(struct op *op, int rc)
{
    struct bringup *bringup = container_of(op, struct bringup, op);

    bringup->rc = rc;
    bringup_advance(bringup);
}

static void bringup_report(const struct reconcile *reconcile)
{
    for (size_t i = 0; i < reconcile->count; i++) {
        const struct reconcile_target *target = &reconcile->targets[i];

        if (target->err.code != 0)
            log_write(LOG_WARN, "target could not be compared with the state database",
                      LOG_STR("connection", target->connection),
                      LOG_STR("error", err_text(&target->err)));
        else
            log_write(LOG_INFO, "target compared with the state database",
                      LOG_STR("connection", target->connection),
                      LOG_INT("checked", target->checked), LOG_INT("repaired", target->repaired),
                      LOG_INT("adopted", target->adopted), LOG_INT("unknown", target->unknown));
    }
}

static void bringup_on_reconciled(struct reconcile *reconcile)
{
    struct bringup *bringup = reconcile->data;

    bringup->reconcile = NULL;
    bringup->uncompared = reconcile->err;
    bringup_report(reconcile);
    reconcile_free(reconcile);
    bringup_advance(bringup);
}

void bringup_start(struct bringup *bringup, struct engine *engine, struct catalog *catalog,
                   const char *state_file, void (*on_stopped)(struct bringup *bringup))
{
    *bringup = (struct bringup){.sched = engine->sched,
                                .store = engine->store,
                                .engine = engine,
                                .catalog = catalog,
                                .state_file = state_file,
                                .on_stopped = on_stopped};
    pulse_init(&bringup->pulse, engine->sched, engine->store, bringup_on_late, bringup_on_pulse);
    op_init(&bringup->op, bringup_on_op);
    sm_init(&bringup->sm, bringup_states, "bringup", BRINGUP_LOADING);
    bringup->rc = catalog_load(catalog, &bringup->op);
    if (bringup->rc != 0)
        bringup_advance(bringup);
}

void bringup_stop(struct bringup *bringup)
{
    assert(!bringup->stopping);
    bringup->stopping = true;
    if (bringup->reconcile != NULL)
        reconcile_cancel(bringup->reconcile);
    pulse_cancel(&bringup->pulse);
    op_cancel(&bringup->op);
}

void bringup_compare(struct bringup *bringup)
{
    bringup->compare = true;
    if (bringup->sm.state == BRINGUP_WATCHING && bringup->ready)
        pulse_hurry(&bringup->pulse);
}

bool bringup_is_ready(const struct bringup *bringup)
{
    return bringup->ready;
}

const char *bringup_reason(const struct bringup *bringup)
{
    if (bringup->ready)
        return NULL;
    if (bringup->lost.code != 0)
        return err_text(&bringup->lost);
    if (bringup->sm.state == BRINGUP_LOADING)
        return "starting: migrations are being read";
    return bringup->prepared ? "the state database is not reachable"
                             : "starting: the state database is not ready";
}
