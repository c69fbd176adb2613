#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"

uint64_t clock_monotonic_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int64_t clock_wall_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void clock_format(int64_t wall_us, char out[CLOCK_RFC3339_SIZE])
{
    int64_t whole = wall_us / 1000000 - (wall_us % 1000000 < 0);
    time_t seconds = (time_t)whole;
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(out, CLOCK_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* Milliseconds per unit at the start of `text`, 0 if there is no unit; *len is the unit's length.
 */
static double clock_unit(const char *text, size_t *len)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ns", 1e-6}, {"us", 1e-3}, {"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}};

    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        *len = strlen(units[i].name);
        if (strncmp(text, units[i].name, *len) == 0)
            return units[i].ms;
    }
    return 0;
}

bool clock_parse_duration(const char *text, int64_t *out_ms)
{
    double total = 0, sign = 1;

    if (*text == '-' || *text == '+')
        sign = *text++ == '-' ? -1 : 1;
    if (strcmp(text, "0") == 0) {
        *out_ms = 0;
        return true;
    }
    if (*text == '\0')
        return false;
    while (*text != '\0') {
        size_t digits = strspn(text, "0123456789.");
        size_t len = 0;
        char *end;
        double value, unit;

        if (digits == 0)
            return false;
        value = strtod(text, &end);
        if (end != text + digits)
            return false;
        unit = clock_unit(end, &len);
        if (unit <= 0)
            return false;
        total += value * unit;
        text = end + len;
    }
    if (total > 9e15)
        return false;
    *out_ms = (int64_t)round(sign * total);
    return true;
}
