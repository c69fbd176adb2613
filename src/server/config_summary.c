#include <inttypes.h>

#include "server/config.h"

static const char *config_or(const char *text, const char *otherwise)
{
    return text != NULL ? text : otherwise;
}

static const char *config_on_off(bool on)
{
    return on ? "on" : "off";
}

static void config_put_tls(const struct config_connection *connection, struct buf *out)
{
    if (!connection->tls && connection->tls_ca == NULL)
        return;
    buf_printf(out, ", TLS%s", connection->tls_cert != NULL ? " with a client certificate" : "");
    if (connection->tls_insecure)
        buf_puts(out, " with any certificate of the server");
}

/* What only some kinds have. */
static void config_put_kind(const struct config_connection *connection, struct buf *out)
{
    switch (connection->kind) {
    case BACKEND_POSTGRESQL:
    case BACKEND_MYSQL:
        buf_printf(out,
                   ", sslmode %s, journal schema %s, create schema %s, lock timeout %" PRIu64 " ms",
                   connection->sslmode, connection->journal_schema,
                   config_on_off(connection->create_schema), connection->lock_timeout_ms);
        return;
    case BACKEND_GREPTIMEDB:
        config_put_tls(connection, out);
        buf_printf(out, ", create schema %s, statement timeout %" PRIu64 " ms",
                   config_on_off(connection->create_schema), connection->statement_timeout_ms);
        return;
    case BACKEND_ETCD:
        config_put_tls(connection, out);
        buf_printf(out,
                   ", prefix %s, timeout %" PRIu64 " ms, at most %u operation%s and %zu bytes a "
                   "transaction",
                   connection->prefix_key, connection->timeout_ms, connection->max_txn_ops,
                   connection->max_txn_ops == 1 ? "" : "s", connection->max_request);
        return;
    case BACKEND_KINDS:
        return;
    }
}

static void config_put_connection(const struct config_connection *connection, struct buf *out)
{
    buf_printf(out, "  %s: %s at ", connection->name, backend_kind_name(connection->kind));
    if (connection->kind == BACKEND_ETCD)
        buf_puts(out, config_or(connection->endpoints, "(no endpoints)"));
    else
        buf_printf(out, "%s:%s", config_or(connection->host, "(no host)"), connection->port);
    if (connection->database != NULL)
        buf_printf(out, ", database %s", connection->database);
    if (connection->username != NULL)
        buf_printf(out, ", user %s", connection->username);
    if (connection->password != NULL)
        buf_puts(out, ", password set");
    if (connection->schema != NULL)
        buf_printf(out, ", schema %s", connection->schema);
    config_put_kind(connection, out);
    buf_printf(out, ", at most %u connection%s%s\n", connection->max_open_conns,
               connection->max_open_conns == 1 ? "" : "s",
               connection->kind == BACKEND_ETCD ? " an endpoint" : "");
}

static void config_put_state(const struct config *config, struct buf *out)
{
    if (config->state == CONFIG_STATE_SQLITE) {
        buf_printf(out, "state: sqlite, file %s\n", config->state_db_path);
        return;
    }
    buf_printf(out, "state: %s at %s:%s, database %s, user %s",
               config->state == CONFIG_STATE_MYSQL ? "mysql" : "postgresql", config->state_host,
               config->state_port, config->state_database, config->state_username);
    if (config->state == CONFIG_STATE_POSTGRESQL)
        buf_printf(out, ", schema %s", config->state_schema);
    buf_printf(out, ", sslmode %s\n", config->state_sslmode);
}

int config_summarize(const struct config *config, struct buf *out)
{
    buf_printf(out, "listen: %s port %u, gRPC port %u\n",
               config_or(config->http_host, "all interfaces"), config->http_port,
               config->grpc_port);
    config_put_state(config, out);
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
