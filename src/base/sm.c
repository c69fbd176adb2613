#include "base/sm.h"

#include <stdio.h>
#include <stdlib.h>

static void (*sm_trace)(const struct sm *sm, int next);

void sm_init(struct sm *sm, const struct sm_state *states, const char *machine, int first)
{
    static unsigned last_id;

    *sm = (struct sm){.states = states, .machine = machine, .id = ++last_id, .state = first};
}

void sm_move(struct sm *sm, int next)
{
    if ((sm->states[sm->state].allowed & SM_TO(next)) == 0) {
        fprintf(stderr, "%s %u: move from %s to %s is not allowed\n", sm->machine, sm->id,
                sm->states[sm->state].name, sm->states[next].name);
        abort();
    }
    if (sm_trace != NULL)
        sm_trace(sm, next);
    sm->state = next;
}

const char *sm_name(const struct sm *sm)
{
    return sm->states[sm->state].name;
}

void sm_set_trace(void (*trace)(const struct sm *sm, int next))
{
    sm_trace = trace;
}
