#ifndef BFM_BASE_CLOCK_H
#define BFM_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CLOCK_RFC3339_SIZE = 21, /* "2025-01-01T12:00:00Z" and NUL */
};

uint64_t clock_monotonic_ns(void);
int64_t clock_wall_us(void); /* microseconds since 1970-01-01T00:00:00Z */

/* RFC 3339, seconds, UTC. */
void clock_format(int64_t wall_us, char out[CLOCK_RFC3339_SIZE]);

/* RFC 3339 with any offset and up to nine digits of a second's fraction, such as
 * `2025-01-01T12:00:00Z` or `2025-01-01 13:00:00.5+01:00`. False for anything else. */
bool clock_parse_rfc3339(const char *text, int64_t *out_us);

/*
 * A duration such as `300ms`, `10s`, `1m30s`, `1.5h` (units ns us ms s m h, as Go writes them; "0"
 * needs none). Returns false for anything else; *out_ms may be negative.
 */
bool clock_parse_duration(const char *text, int64_t *out_ms);

#endif
