#include "server/beat.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

enum {
    BEAT_EVERY_MS = 5000,
    BEAT_FIRST_MS = 200, /* until the first one has arrived */
};

#define BEAT_DEAD_AFTER_US (INT64_C(20) * 1000 * 1000)

void beat_make_server_id(char out[40])
{
    uint64_t random;

    hash_random(&random, sizeof(random));
    snprintf(out, 40, "%012" PRIx64 "-%016" PRIx64, (uint64_t)clock_wall_us() / 1000, random);
}

static void beat_end(struct beat *beat)
{
    beat->on_stopped(beat);
}

static void beat_wait(struct beat *beat)
{
    sched_start_timer(beat->sched, &beat->timer, beat->heard ? BEAT_EVERY_MS : BEAT_FIRST_MS);
}

static int beat_say(struct beat *beat)
{
    beat->said.now_us = clock_wall_us();
    beat->said.goodbye = beat->stopping;
    return beat->store->ops->beat(beat->store, &beat->op, &beat->said, &beat->result);
}

/* Goodbye only where somebody listened a moment ago. */
static void beat_say_goodbye(struct beat *beat)
{
    if (!beat->heard || beat_say(beat) != 0)
        sched_start_timer(beat->sched, &beat->timer, 0);
}

/* What this server itself leaves behind is looked at by the others, or at its next start. */
static void beat_report(const struct beat *beat)
{
    log_write(LOG_WARN, "runs of a server that is gone were interrupted",
              LOG_INT("runs", beat->result.interrupted));
    if (!beat->stopping)
        beat->hooks.on_interrupted(beat->hooks.arg);
}

static void beat_on_said(struct op *op, int rc)
{
    struct beat *beat = container_of(op, struct beat, op);

    beat->heard = rc == 0;
    if (rc == 0 && beat->result.interrupted > 0)
        beat_report(beat);
    if (beat->said.goodbye)
        beat_end(beat);
    else if (beat->stopping)
        beat_say_goodbye(beat);
    else
        beat_wait(beat);
}

static void beat_on_timer(struct timer *timer)
{
    struct beat *beat = container_of(timer, struct beat, timer);

    if (beat->stopping)
        beat_end(beat);
    else if (!beat->hooks.may(beat->hooks.arg) || beat_say(beat) != 0)
        beat_wait(beat);
}

void beat_start(struct beat *beat, struct store *store, struct sched *sched, const char *server_id,
                uint64_t keep_runs_ms, const struct beat_hooks *hooks)
{
    *beat = (struct beat){.store = store, .sched = sched, .hooks = *hooks};
    beat->said.server_id = server_id;
    beat->said.dead_after_us = BEAT_DEAD_AFTER_US;
    beat->said.keep_runs_us = (int64_t)keep_runs_ms * 1000;
    beat->timer.fire = beat_on_timer;
    op_init(&beat->op, beat_on_said);
    beat_wait(beat);
}

void beat_stop(struct beat *beat, void (*on_stopped)(struct beat *beat))
{
    beat->stopping = true;
    beat->on_stopped = on_stopped;
    sched_stop_timer(beat->sched, &beat->timer);
    if (!beat->op.active)
        beat_say_goodbye(beat);
}
