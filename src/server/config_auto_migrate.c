#include <strings.h>

#include "base/clock.h"
#include "server/config_reader.h"

enum {
    AUTO_INTERVAL_MS = 5000,
    AUTO_ROUNDS = 24,
};

static bool config_is_auto_migrate_on(struct config_reader *reader)
{
    static const char *const on[] = {"true", "1", "on", "yes"};
    const char *text = config_trim(reader, config_raw(reader, "BFM_AUTO_MIGRATE"));

    for (size_t i = 0; text != NULL && i < ARRAY_SIZE(on); i++)
        if (strcasecmp(text, on[i]) == 0)
            return true;
    return false;
}

/* BFM_AUTO_MIGRATE and its settings (bfm-api.md §1): what cannot be read means the default. */
void config_read_auto_migrate(struct config_reader *reader)
{
    struct config *config = reader->config;
    const char *interval = config_raw(reader, "BFM_AUTO_MIGRATE_RETRY_INTERVAL");
    const char *rounds = config_raw(reader, "BFM_AUTO_MIGRATE_RETRY_MAX_ROUNDS");
    int64_t ms = AUTO_INTERVAL_MS;
    uint64_t value = AUTO_ROUNDS;

    if (interval != NULL && !clock_parse_duration(interval, &ms)) {
        config_warn(reader, "BFM_AUTO_MIGRATE_RETRY_INTERVAL: expected a duration; 5s is used");
        ms = AUTO_INTERVAL_MS;
    }
    if (rounds != NULL && !config_parse_number(rounds, 1, 1000000000, &value)) {
        config_warn(reader, "BFM_AUTO_MIGRATE_RETRY_MAX_ROUNDS: expected an integer above 0; 24 is "
                            "used");
        value = AUTO_ROUNDS;
    }
    config->auto_migrate = config_is_auto_migrate_on(reader);
    config->auto_migrate_connections = config_text(reader, "BFM_AUTO_MIGRATE_CONNECTIONS", NULL);
    config->auto_migrate_interval_ms = ms > 0 ? (uint64_t)ms : 0;
    config->auto_migrate_rounds = ms > 0 ? (unsigned)value : 1;
}
