#include "backend/greptimedb.h"
#include "server/targets.h"

int targets_make_greptimedb(struct server *server, const struct config_connection *connection,
                            struct backend **out, struct err *err)
{
    const struct config *config = server->config;
    const struct backend_greptimedb_settings settings = {
        .connection = connection->name,
        .default_schema = connection->schema,
        .database = connection->database,
        .create_schema = connection->create_schema,
        .peer = {.host = connection->host,
                 .port = connection->port,
                 .tls = connection->tls,
                 .ca_file = connection->tls_ca,
                 .cert_file = connection->tls_cert,
                 .key_file = connection->tls_key,
                 .insecure = connection->tls_insecure,
                 .username = connection->username,
                 .password = connection->password,
                 .max_open = connection->max_open_conns,
                 .connect_timeout_ms = connection->connect_timeout_ms,
                 .max_idle_ms = config->pool.max_idle_time_ms,
                 .keepalive = config->keepalive},
        .statement_timeout_ms = connection->statement_timeout_ms,
        .lock_wait_ms = config->lock_wait_ms,
        .state_wait_ms = config->state_wait_ms,
    };

    return backend_greptimedb_create(server->loop, server->curl, &server->ledger.ledger, &settings,
                                     out, err);
}
