#include "backend/backoff.h"

#include "base/hash.h"

uint64_t backend_backoff_ms(unsigned nth, uint64_t min_ms, uint64_t max_ms)
{
    uint64_t ms = min_ms;
    uint32_t dice;

    for (; nth > 0 && ms < max_ms; nth--)
        ms *= 2;
    ms = ms < max_ms ? ms : max_ms;
    hash_random(&dice, sizeof(dice));
    return ms / 2 + dice % ms;
}
