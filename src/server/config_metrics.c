#include "server/config_reader.h"

void config_read_metrics(struct config_reader *reader)
{
    struct config *config = reader->config;

    config->metrics = config_switch(reader, "BFM_METRICS", true);
    config->metrics_auth = config_switch(reader, "BFM_METRICS_AUTH", true);
}
