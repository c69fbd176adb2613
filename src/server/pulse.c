#include "server/pulse.h"

#include <assert.h>

static void pulse_end(struct pulse *pulse, int rc)
{
    sched_stop_timer(pulse->sched, &pulse->limit);
    pulse->pinging = false;
    pulse->done(pulse, rc);
}

static void pulse_on_pinged(struct op *op, int rc)
{
    pulse_end(container_of(op, struct pulse, op), rc);
}

static void pulse_on_limit(struct timer *timer)
{
    struct pulse *pulse = container_of(timer, struct pulse, limit);

    pulse->late = true;
    pulse->on_late(pulse);
    op_cancel(&pulse->op);
}

/* A wait that was cut short was so to ping at once, unless all of it is over. */
static void pulse_on_waited(struct op *op, int rc)
{
    struct pulse *pulse = container_of(op, struct pulse, op);

    if (pulse->canceled) {
        pulse_end(pulse, rc);
        return;
    }
    pulse->pinging = true;
    pulse->late = false;
    op_init(&pulse->op, pulse_on_pinged);
    sched_start_timer(pulse->sched, &pulse->limit, PULSE_ANSWER_MS);
    rc = pulse->store->ops->ping(pulse->store, &pulse->op);
    if (rc != 0)
        pulse_end(pulse, rc);
}

void pulse_init(struct pulse *pulse, struct sched *sched, struct store *store,
                void (*on_late)(struct pulse *pulse), void (*done)(struct pulse *pulse, int rc))
{
    *pulse = (struct pulse){.sched = sched, .store = store, .on_late = on_late, .done = done};
    pulse->limit.fire = pulse_on_limit;
}

void pulse_start(struct pulse *pulse, uint64_t in_ms)
{
    assert(!pulse_is_on(pulse));
    pulse->canceled = false;
    op_init(&pulse->op, pulse_on_waited);
    op_sleep_start(&pulse->pause, pulse->sched, &pulse->op, in_ms);
}

bool pulse_is_on(const struct pulse *pulse)
{
    return pulse->op.active;
}

void pulse_hurry(struct pulse *pulse)
{
    if (!pulse->pinging)
        op_cancel(&pulse->op);
}

void pulse_cancel(struct pulse *pulse)
{
    if (pulse_is_on(pulse)) {
        pulse->canceled = true;
        op_cancel(&pulse->op);
    }
}
