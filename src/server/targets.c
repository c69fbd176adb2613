#include "backend/postgresql.h"
#include "base/mem.h"
#include "server/server_internal.h"
#include "store/postgresql.h"
#include "store/sqlite.h"

/* The pool's settings, the address left out. */
static struct pg_settings server_pool(const struct config *config, unsigned max_open,
                                      const char *application_name)
{
    return (struct pg_settings){.application_name = application_name,
                                .max_open = max_open,
                                .max_idle = config->pool.max_idle_conns,
                                .max_lifetime_ms = config->pool.max_lifetime_ms,
                                .max_idle_time_ms = config->pool.max_idle_time_ms,
                                .connect_timeout_ms = config->connect_timeout_ms,
                                .keepalive = config->keepalive};
}

/* The session of the locks is one of those that are allowed; a single one is needed for the rest.
 */
static int server_make_postgresql_store(struct server *server, struct pg_settings *settings,
                                        struct err *err)
{
    const struct config *config = server->config;
    bool locks = config->state_advisory_locks && settings->max_open > 1;

    if (config->state_advisory_locks && !locks)
        log_write(LOG_WARN, "no advisory locks are taken in the state database, as one connection "
                            "is allowed: older servers must not run migrations at the same time");
    if (locks)
        settings->max_open--;
    server->store = store_postgresql_create(server->loop, settings, config->state_schema);
    if (server->store == NULL ||
        (locks && store_postgresql_use_locks(server->store, settings) != 0))
        return err_set(err, ERR_NOMEM, "%s", err_code_text(ERR_NOMEM));
    return 0;
}

int server_make_store(struct server *server, struct err *err)
{
    const struct config *config = server->config;
    struct pg_settings settings = server_pool(config, config->pool.max_open_conns, "bfm-state");

    if (config->state == CONFIG_STATE_SQLITE) {
        server->store = store_sqlite_create(server->loop, config->state_db_path);
    } else {
        settings.host = config->state_host;
        settings.port = config->state_port;
        settings.user = config->state_username;
        settings.password = config->state_password;
        settings.database = config->state_database;
        settings.sslmode = config->state_sslmode;
        return server_make_postgresql_store(server, &settings, err);
    }
    if (server->store == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_code_text(ERR_NOMEM));
    return 0;
}

static struct backend *server_make_postgresql(struct server *server,
                                              const struct config_connection *connection)
{
    struct backend_pg_settings settings = {
        .connection = connection->name,
        .default_schema = connection->schema,
        .pool = server_pool(server->config, connection->max_open_conns, "bfm"),
        .journal_schema = connection->journal_schema,
        .create_schema = connection->create_schema,
        .lock_timeout_ms = connection->lock_timeout_ms,
        .lock_wait_ms = server->config->lock_wait_ms,
    };

    settings.pool.connect_timeout_ms = connection->connect_timeout_ms;
    settings.pool.host = connection->host;
    settings.pool.port = connection->port;
    settings.pool.user = connection->username;
    settings.pool.password = connection->password;
    settings.pool.database = connection->database;
    settings.pool.sslmode = connection->sslmode;
    return backend_postgresql_create(server->loop, &settings);
}

static int server_make_target(struct server *server, const struct config_connection *connection,
                              struct server_target *target)
{
    target->server = server;
    target->target.connection = connection->name;
    target->target.kind = connection->kind;
    target->target.default_schema = connection->schema;
    if (connection->kind != BACKEND_POSTGRESQL) {
        target->target.why = "targets of this kind are not built into this version";
    } else if (connection->host == NULL) {
        target->target.why = "the connection has no host";
    } else {
        target->target.backend = server_make_postgresql(server, connection);
        if (target->target.backend == NULL)
            return ERR_NOMEM;
    }
    return engine_add_target(&server->engine, &target->target);
}

int server_make_targets(struct server *server, struct err *err)
{
    const struct config *config = server->config;
    int rc = 0;

    if (config->connection_count == 0)
        return 0;
    server->targets = mem_calloc(config->connection_count, sizeof(*server->targets));
    if (server->targets == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_code_text(ERR_NOMEM));
    for (size_t i = 0; i < config->connection_count && rc == 0; i++) {
        server->target_count++;
        rc = server_make_target(server, &config->connections[i], &server->targets[i]);
    }
    return rc != 0 ? err_set(err, rc, "%s", err_code_text(rc)) : 0;
}
