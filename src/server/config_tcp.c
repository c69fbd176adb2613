#include "server/config_reader.h"

enum {
    COUNT_MAX = 127, /* what the kernel takes */
    IDLE_S = 30,
    INTERVAL_S = 10,
    COUNT = 3,
    USER_TIMEOUT_MS = 60 * 1000,
    CONNECT_TIMEOUT_MS = 10 * 1000,
    SECONDS_MAX = 32767, /* of idle time and interval, what the kernel takes */
};

/* A duration that the kernel takes in whole seconds. */
static unsigned config_seconds(struct config_reader *reader, const char *name, uint64_t min_s,
                               unsigned fallback_s)
{
    uint64_t ms = config_duration(reader, name, min_s * 1000, (uint64_t)fallback_s * 1000);
    uint64_t seconds = (ms + 999) / 1000;

    if (seconds <= SECONDS_MAX)
        return (unsigned)seconds;
    config_error(reader, "%s: expected at most %ds", name, SECONDS_MAX);
    return fallback_s;
}

void config_read_tcp(struct config_reader *reader)
{
    struct config *config = reader->config;
    struct keepalive *keepalive = &config->keepalive;

    keepalive->idle_s = config_seconds(reader, "BFM_TCP_KEEPALIVE_IDLE", 0, IDLE_S);
    keepalive->interval_s = config_seconds(reader, "BFM_TCP_KEEPALIVE_INTERVAL", 1, INTERVAL_S);
    keepalive->count =
        (unsigned)config_number(reader, "BFM_TCP_KEEPALIVE_COUNT", 1, COUNT_MAX, COUNT);
    keepalive->user_timeout_ms =
        (unsigned)config_duration(reader, "BFM_TCP_USER_TIMEOUT", 0, USER_TIMEOUT_MS);
    config->connect_timeout_ms =
        config_duration(reader, "BFM_DB_CONNECT_TIMEOUT", 1, CONNECT_TIMEOUT_MS);
}
