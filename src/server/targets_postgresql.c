#include "backend/postgresql.h"
#include "server/targets.h"

int targets_make_postgresql(struct server *server, const struct config_connection *connection,
                            struct backend **out, struct err *err)
{
    const struct config *config = server->config;
    const struct backend_pg_settings settings = {
        .connection = connection->name,
        .default_schema = connection->schema,
        .pool = {.host = connection->host,
                 .port = connection->port,
                 .user = connection->username,
                 .password = connection->password,
                 .database = connection->database,
                 .sslmode = connection->sslmode,
                 .application_name = "bfm",
                 .max_open = connection->max_open_conns,
                 .max_idle = config->pool.max_idle_conns,
                 .max_lifetime_ms = config->pool.max_lifetime_ms,
                 .max_idle_time_ms = config->pool.max_idle_time_ms,
                 .connect_timeout_ms = connection->connect_timeout_ms,
                 .keepalive = config->keepalive},
        .journal_schema = connection->journal_schema,
        .create_schema = connection->create_schema,
        .lock_timeout_ms = connection->lock_timeout_ms,
        .lock_wait_ms = config->lock_wait_ms,
    };

    *out = backend_postgresql_create(server->loop, &settings);
    return *out != NULL ? 0 : err_set(err, ERR_NOMEM, "%s", err_code_text(ERR_NOMEM));
}
