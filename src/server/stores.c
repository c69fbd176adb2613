#include "base/log.h"
#include "server/server_internal.h"
#include "server/targets.h"
#include "store/postgresql.h"
#include "store/sqlite.h"

static struct pg_settings stores_postgresql_settings(const struct config *config)
{
    return (struct pg_settings){
        .host = config->state_host,
        .port = config->state_port,
        .user = config->state_username,
        .password = config->state_password,
        .database = config->state_database,
        .sslmode = config->state_sslmode,
        .application_name = "bfm-state",
        .max_open = config->pool.max_open_conns,
        .max_idle = config->pool.max_idle_conns,
        .max_lifetime_ms = config->pool.max_lifetime_ms,
        .max_idle_time_ms = config->pool.max_idle_time_ms,
        .connect_timeout_ms = config->connect_timeout_ms,
        .keepalive = config->keepalive,
    };
}

/* The session of the locks is one of those that are allowed; a single one is needed for the rest.
 */
static int stores_make_postgresql(struct server *server)
{
    const struct config *config = server->config;
    struct pg_settings settings = stores_postgresql_settings(config);
    bool locks = config->state_advisory_locks && settings.max_open > 1;

    if (config->state_advisory_locks && !locks)
        log_write(LOG_WARN, "no advisory locks are taken in the state database, as one connection "
                            "is allowed: older servers must not run migrations at the same time");
    if (locks)
        settings.max_open--;
    server->store = store_postgresql_create(server->loop, &settings, config->state_schema);
    if (server->store == NULL)
        return ERR_NOMEM;
    return locks ? store_postgresql_use_locks(server->store, &settings) : 0;
}

static int stores_make_sqlite(struct server *server)
{
    server->store = store_sqlite_create(server->loop, server->config->state_db_path);
    return server->store != NULL ? 0 : ERR_NOMEM;
}

static int stores_make(struct server *server)
{
    switch (server->config->state) {
    case CONFIG_STATE_POSTGRESQL:
        return stores_make_postgresql(server);
    case CONFIG_STATE_MYSQL:
        return stores_make_mysql(server);
    case CONFIG_STATE_SQLITE:
        return stores_make_sqlite(server);
    }
    return ERR_INVALID;
}

int server_make_store(struct server *server, struct err *err)
{
    int rc = stores_make(server);

    if (rc != 0)
        return err_set(err, rc, "%s", err_code_text(rc));
    store_ledger_init(&server->ledger, server->store);
    return 0;
}

int stores_set_password(struct server *server, const char *password)
{
    switch (server->config->state) {
    case CONFIG_STATE_POSTGRESQL:
        return store_postgresql_set_password(server->store, password);
    case CONFIG_STATE_MYSQL:
        return stores_set_mysql_password(server, password);
    case CONFIG_STATE_SQLITE:
        break;
    }
    return 0;
}
