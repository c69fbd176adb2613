#ifndef BFM_SERVER_PULSE_H
#define BFM_SERVER_PULSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/op.h"
#include "store/store.h"

/*
 * Whether the state database answers: a wait, then one ping. A database may be slow to fail, so one
 * that has not answered within PULSE_ANSWER_MS is away, whatever becomes of the ping.
 */
enum {
    PULSE_EVERY_MS = 2000,
    PULSE_ANSWER_MS = 2000,
};

struct pulse {
    struct sched *sched;
    struct store *store;
    void (*on_late)(struct pulse *pulse);
    void (*done)(struct pulse *pulse, int rc);
    struct op op; /* done(): its err is the reason */
    struct op_sleep pause;
    struct timer limit;
    bool canceled;
    bool pinging;
    bool late; /* the last ping took too long */
};

/* `on_late` is called at most once a ping, before its end, which is asked for then. */
void pulse_init(struct pulse *pulse, struct sched *sched, struct store *store,
                void (*on_late)(struct pulse *pulse), void (*done)(struct pulse *pulse, int rc));
/* Pings once, `in_ms` milliseconds from now. done() comes once, never from inside; it may start the
 * next one. */
void pulse_start(struct pulse *pulse, uint64_t in_ms);
bool pulse_is_on(const struct pulse *pulse);
/* Pings now instead of waiting any longer. */
void pulse_hurry(struct pulse *pulse);
/* Ends early, with ERR_CANCELED unless the answer is there already. */
void pulse_cancel(struct pulse *pulse);

#endif
