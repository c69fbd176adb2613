#include "server/targets.h"
#include "store/mysql.h"

int stores_make_mysql(struct server *server)
{
    const struct config *config = server->config;
    const struct maria_settings settings = {
        .host = config->state_host,
        .port = config->state_port,
        .user = config->state_username,
        .password = config->state_password,
        .database = config->state_database,
        .sslmode = config->state_sslmode,
        .ca_file = config->state_tls_ca,
        .program_name = "bfm-state",
        .max_open = config->pool.max_open_conns,
        .max_idle = config->pool.max_idle_conns,
        .max_lifetime_ms = config->pool.max_lifetime_ms,
        .max_idle_time_ms = config->pool.max_idle_time_ms,
        .connect_timeout_ms = config->connect_timeout_ms,
        .keepalive = config->keepalive,
    };

    server->store = store_mysql_create(server->loop, &settings);
    return server->store != NULL ? 0 : ERR_NOMEM;
}

int stores_set_mysql_password(struct server *server, const char *password)
{
    return store_mysql_set_password(server->store, password);
}
