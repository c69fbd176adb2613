#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "server/config_reader.h"

/*
 * Variables of parts that this version does not have: validated as they will be, so that one
 * environment works for this version and the next, and warned about where somebody relies on them.
 */

static bool config_is_one_host_port(const char *text, size_t len)
{
    const char *colon = memrchr(text, ':', len);
    char port[8];
    size_t port_len;
    uint64_t value;

    if (colon == NULL || colon == text)
        return false;
    port_len = len - (size_t)(colon + 1 - text);
    if (port_len == 0 || port_len >= sizeof(port))
        return false;
    memcpy(port, colon + 1, port_len);
    port[port_len] = '\0';
    return config_parse_number(port, 1, 65535, &value);
}

static bool config_is_broker_list(const char *list)
{
    size_t entries = 0;

    for (const char *at = list; *at != '\0';) {
        size_t len;

        at += strspn(at, " ,");
        len = strcspn(at, " ,");
        if (len > 0 && !config_is_one_host_port(at, len))
            return false;
        entries += len > 0;
        at += len;
    }
    return entries > 0;
}

static void config_read_queue(struct config_reader *reader)
{
    static const char *const types[] = {"kafka", "pulsar"};
    const char *brokers = config_raw(reader, "BFM_QUEUE_KAFKA_BROKERS");
    const char *url = config_raw(reader, "BFM_QUEUE_PULSAR_URL");

    config_choice(reader, "BFM_QUEUE_TYPE", types, ARRAY_SIZE(types), "kafka");
    config_port(reader, "BFM_QUEUE_KAFKA_PORT", "9092");
    if (brokers != NULL && !config_is_broker_list(brokers))
        config_error(reader, "BFM_QUEUE_KAFKA_BROKERS: expected a comma list of host:port");
    if (url != NULL && strncasecmp(url, "pulsar://", 9) != 0 &&
        strncasecmp(url, "pulsar+ssl://", 13) != 0)
        config_error(reader, "BFM_QUEUE_PULSAR_URL: expected pulsar://host:port or "
                             "pulsar+ssl://host:port");
    if (config_is_true(reader, "BFM_QUEUE_ENABLED"))
        config_warn(reader, "BFM_QUEUE_ENABLED: the queue is not built into this version; requests "
                            "are run at once");
}

void config_read_later(struct config_reader *reader)
{
    config_read_queue(reader);
}
