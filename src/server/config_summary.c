#include <inttypes.h>

#include "server/config.h"

static const char *config_or(const char *text, const char *otherwise)
{
    return text != NULL ? text : otherwise;
}

static void config_put_connection(const struct config_connection *connection, struct buf *out)
{
    buf_printf(out, "  %s: %s at %s:%s", connection->name, backend_kind_name(connection->kind),
               config_or(connection->host, "(no host)"), connection->port);
    if (connection->database != NULL)
        buf_printf(out, ", database %s", connection->database);
    if (connection->username != NULL)
        buf_printf(out, ", user %s", connection->username);
    if (connection->password != NULL)
        buf_puts(out, ", password set");
    if (connection->schema != NULL)
        buf_printf(out, ", schema %s", connection->schema);
    if (connection->kind == BACKEND_POSTGRESQL)
        buf_printf(out,
                   ", sslmode %s, journal schema %s, create schema %s, lock timeout %" PRIu64 " ms",
                   connection->sslmode, connection->journal_schema,
                   connection->create_schema ? "on" : "off", connection->lock_timeout_ms);
    buf_printf(out, ", at most %u connections\n", connection->max_open_conns);
}

int config_summarize(const struct config *config, struct buf *out)
{
    buf_printf(out, "listen: %s port %u\n", config_or(config->http_host, "all interfaces"),
               config->http_port);
    if (config->state == CONFIG_STATE_SQLITE)
        buf_printf(out, "state: sqlite, file %s\n", config->state_db_path);
    else
        buf_printf(out, "state: postgresql at %s:%s, database %s, user %s, schema %s, sslmode %s\n",
                   config->state_host, config->state_port, config->state_database,
                   config->state_username, config->state_schema, config->state_sslmode);
    buf_printf(out, "migrations: %s\n",
               config_or(config->sfm_path, "the ones built into the program"));
    if (config->tokens_path != NULL)
        buf_printf(out, "tokens: %zu from %s\n", token_set_count(config->tokens) - 1,
                   config->tokens_path);
    if (config->frontend_path != NULL)
        buf_printf(out, "dashboard: %s\n", config->frontend_path);
    buf_printf(out, "connections: %zu\n", config->connection_count);
    for (size_t i = 0; i < config->connection_count; i++)
        config_put_connection(&config->connections[i], out);
    for (size_t i = 0; i < config->warnings.count; i++)
        buf_printf(out, "warning: %s\n", config->warnings.lines[i]);
    return out->rc;
}
