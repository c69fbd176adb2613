#ifndef BFM_BASE_SM_H
#define BFM_BASE_SM_H

#include <stdint.h>

/*
 * A checked state variable. A machine describes its states in one table (index = state), names
 * beside the enum:
 *
 *     static const struct sm_state lane_states[] = {
 *         [LANE_LOCKING] = {"locking", SM_TO(LANE_CLAIMING) | SM_TO(LANE_DONE)}, ...
 *
 * and changes state only with sm_move(), which aborts on a move the table does not allow and traces
 * the names. The machine's own invariant is checked by its move function, right after sm_move().
 */
struct sm_state {
    const char *name;
    uint32_t allowed; /* bit n: state n may follow */
};

struct sm {
    const struct sm_state *states;
    const char *machine; /* "run", "lane": for the trace */
    unsigned id;         /* tells machines of one kind apart in a trace */
    int state;
};

#define SM_TO(state) (UINT32_C(1) << (state))

void sm_init(struct sm *sm, const struct sm_state *states, const char *machine, int first);
void sm_move(struct sm *sm, int next);
const char *sm_name(const struct sm *sm);

/* For tests and debugging: called at every move; NULL (the default) is off. */
void sm_set_trace(void (*trace)(const struct sm *sm, int next));

#endif
