#include "store/runs.h"

#include <string.h>

#include "base/base.h"

static const char *const store_run_status_names[] = {
    [STORE_RUN_RUNNING] = "running",         [STORE_RUN_SUCCEEDED] = "succeeded",
    [STORE_RUN_FAILED] = "failed",           [STORE_RUN_CANCELED] = "canceled",
    [STORE_RUN_INTERRUPTED] = "interrupted",
};

const char *store_run_status_name(enum store_run_status status)
{
    return store_run_status_names[status];
}

bool store_run_status_parse(const char *name, enum store_run_status *status)
{
    for (size_t i = 0; i < ARRAY_SIZE(store_run_status_names); i++)
        if (strcmp(store_run_status_names[i], name) == 0) {
            *status = (enum store_run_status)i;
            return true;
        }
    return false;
}
