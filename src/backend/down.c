#include "backend/down.h"

uint64_t backend_down_note(struct backend_down *down, uint64_t now_ms, uint64_t since_ms)
{
    if (down->since_ms == 0 || since_ms > down->seen_ms + BACKEND_DOWN_GRACE_MS)
        down->since_ms = since_ms;
    down->seen_ms = now_ms;
    return now_ms - down->since_ms;
}

void backend_down_end(struct backend_down *down)
{
    down->since_ms = 0;
}
