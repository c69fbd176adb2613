#include "api/ops.h"

int ops_check(const struct ops *ops, bool needs_state, struct err *err)
{
    const struct api_hooks *hooks = &ops->hooks;

    if (hooks->stopping(hooks->arg))
        return err_set(err, ERR_SHUTDOWN, "the server is stopping; try again later");
    if (needs_state && (!hooks->state_ready(hooks->arg) || ops->engine->registry == NULL))
        return err_set(err, ERR_STORE, "the state database is not available; try again later");
    return 0;
}
