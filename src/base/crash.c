#include "base/crash.h"

#ifdef BFM_CRASH_POINTS

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void crash_point(const char *name)
{
    const char *wanted = getenv("BFM_CRASH_AT");

    if (wanted != NULL && strcmp(wanted, name) == 0)
        raise(SIGKILL);
}

void crash_point_nth(const char *name, size_t nth)
{
    char full[64];

    snprintf(full, sizeof(full), "%s_%zu", name, nth);
    crash_point(full);
}

#endif
