#include "base/trace.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/hash.h"

enum {
    /* "00-{trace}-{span}-{flags}" */
    PARENT_TRACE_AT = 3,
    PARENT_SPAN_AT = 36,
    PARENT_FLAGS_AT = 53,
    PARENT_LEN = 55,
};

/* SplitMix64 from a random start: a system call per request would cost more than the request. */
static uint64_t trace_next(void)
{
    static uint64_t state;
    uint64_t z;

    if (state == 0)
        hash_random(&state, sizeof(state));
    z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void trace_put_hex(uint64_t value, char *out)
{
    for (size_t i = 16; i-- > 0; value >>= 4)
        out[i] = "0123456789abcdef"[value & 15];
    out[16] = '\0';
}

void trace_make_id(char out[TRACE_ID_SIZE])
{
    trace_put_hex(trace_next(), out);
    trace_put_hex(trace_next(), out + 16);
}

static void trace_make_span(char out[TRACE_SPAN_SIZE])
{
    uint64_t value = trace_next();

    trace_put_hex(value != 0 ? value : 1, out); /* all zeros mean that there is none */
}

static bool trace_is_printable(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len > TRACE_REQUEST_MAX)
        return false;
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~')
            return false;
    return true;
}

static bool trace_is_hex(const char *text, size_t len)
{
    return strspn(text, "0123456789abcdef") >= len;
}

static bool trace_is_id(const char *text, size_t len)
{
    return trace_is_hex(text, len) && strspn(text, "0") < len;
}

bool trace_parse_parent(const char *text, char trace_id[TRACE_ID_SIZE])
{
    size_t len = strlen(text);

    if (len < PARENT_LEN || !trace_is_hex(text, 2) || strncmp(text, "ff", 2) == 0)
        return false;
    if (len > PARENT_LEN && (strncmp(text, "00", 2) == 0 || text[PARENT_LEN] != '-'))
        return false;
    if (text[PARENT_TRACE_AT - 1] != '-' || !trace_is_id(text + PARENT_TRACE_AT, 32) ||
        text[PARENT_SPAN_AT - 1] != '-' || !trace_is_id(text + PARENT_SPAN_AT, 16) ||
        text[PARENT_FLAGS_AT - 1] != '-' || !trace_is_hex(text + PARENT_FLAGS_AT, 2))
        return false;
    memcpy(trace_id, text + PARENT_TRACE_AT, 32);
    trace_id[32] = '\0';
    return true;
}

void trace_begin(struct trace *trace, const char *request_id, const char *traceparent)
{
    *trace = (struct trace){.request_id = ""};
    if (request_id != NULL && trace_is_printable(request_id))
        memcpy(trace->request_id, request_id, strlen(request_id) + 1);
    else
        trace_make_id(trace->request_id);
    if (traceparent != NULL && trace_parse_parent(traceparent, trace->trace_id))
        trace_make_span(trace->span_id);
}
