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

/* `count` digits at *text as a number, which is passed over; false if there are fewer. */
static bool clock_take_digits(const char **text, size_t count, int *out)
{
    *out = 0;
    for (size_t i = 0; i < count; i++, (*text)++) {
        if (**text < '0' || **text > '9')
            return false;
        *out = *out * 10 + (**text - '0');
    }
    return true;
}

static bool clock_take_any(const char **text, const char *set)
{
    if (**text == '\0' || strchr(set, **text) == NULL)
        return false;
    (*text)++;
    return true;
}

/* The digits behind the point of a second, if there is one. */
static bool clock_take_fraction(const char **text, int64_t *out_us)
{
    size_t digits;
    int value;

    *out_us = 0;
    if (!clock_take_any(text, "."))
        return true;
    digits = strspn(*text, "0123456789");
    if (digits == 0 || digits > 9 || !clock_take_digits(text, digits, &value))
        return false;
    *out_us = value;
    for (; digits < 6; digits++)
        *out_us *= 10;
    for (; digits > 6; digits--)
        *out_us /= 10;
    return true;
}

static bool clock_take_offset(const char **text, int64_t *out_seconds)
{
    bool is_west = **text == '-';
    int hours, minutes;

    *out_seconds = 0;
    if (clock_take_any(text, "Zz"))
        return true;
    if (!clock_take_any(text, "+-") || !clock_take_digits(text, 2, &hours) ||
        !clock_take_any(text, ":") || !clock_take_digits(text, 2, &minutes) || hours > 23 ||
        minutes > 59)
        return false;
    *out_seconds = (int64_t)(hours * 60 + minutes) * 60 * (is_west ? -1 : 1);
    return true;
}

bool clock_parse_rfc3339(const char *text, int64_t *out_us)
{
    struct tm tm = {0}, again;
    int64_t fraction_us, offset, leap;

    if (!clock_take_digits(&text, 4, &tm.tm_year) || !clock_take_any(&text, "-") ||
        !clock_take_digits(&text, 2, &tm.tm_mon) || !clock_take_any(&text, "-") ||
        !clock_take_digits(&text, 2, &tm.tm_mday) || !clock_take_any(&text, "Tt ") ||
        !clock_take_digits(&text, 2, &tm.tm_hour) || !clock_take_any(&text, ":") ||
        !clock_take_digits(&text, 2, &tm.tm_min) || !clock_take_any(&text, ":") ||
        !clock_take_digits(&text, 2, &tm.tm_sec) || !clock_take_fraction(&text, &fraction_us) ||
        !clock_take_offset(&text, &offset) || *text != '\0')
        return false;
    if (tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
        return false;
    leap = tm.tm_sec == 60;
    tm.tm_sec -= (int)leap;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    again = tm;
    *out_us = ((int64_t)timegm(&again) + leap - offset) * 1000000 + fraction_us;
    return again.tm_mday == tm.tm_mday && again.tm_mon == tm.tm_mon; /* else no such day */
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
