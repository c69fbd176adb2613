#ifndef BFM_BASE_CRASH_H
#define BFM_BASE_CRASH_H

#include <stddef.h>

/*
 * Named points at which a test can have the process killed, as if by SIGKILL: the environment
 * variable BFM_CRASH_AT names one. Compiled in with -DCRASH_POINTS=ON only; else they cost nothing.
 */
#ifdef BFM_CRASH_POINTS
void crash_point(const char *name);
void crash_point_nth(const char *name, size_t nth); /* "<name>_<nth>" */
#else
static inline void crash_point(const char *name)
{
    (void)name;
}
static inline void crash_point_nth(const char *name, size_t nth)
{
    (void)name;
    (void)nth;
}
#endif

#endif
