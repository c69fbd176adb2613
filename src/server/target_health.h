#ifndef BFM_SERVER_TARGET_HEALTH_H
#define BFM_SERVER_TARGET_HEALTH_H

#include "api/hooks.h"
#include "base/op.h"
#include "migrate/engine.h"

/*
 * Whether a target answers, by what is known of its connections and by the last ping. Who asks is
 * never kept waiting: a ping that is due is started for those who ask next, one at a time.
 */
struct target_health {
    struct op op; /* a ping, while `pinging` */
    bool pinging;
    uint64_t asked_ms; /* when the last ping was started; 0: none was */
    int64_t pinged_us; /* wall time of the last one's end; 0: none has ended */
    bool answered;     /* it was a good one */
};

/* Zeroed memory knows nothing yet. `may_ping`: one may be started. */
void target_health_look(struct target_health *health, const struct engine_target *target,
                        uint64_t now_ms, bool may_ping, struct api_target *out);

#endif
