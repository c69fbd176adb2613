#include "server/targets.h"

#include "backend/etcd.h"
#include "backend/greptimedb.h"
#include "backend/mysql.h"
#include "backend/postgresql.h"
#include "base/mem.h"
#include "server/server_internal.h"

static int targets_make(struct server *server, const struct config_connection *connection,
                        struct backend **out, struct err *err)
{
    switch (connection->kind) {
    case BACKEND_POSTGRESQL:
        return targets_make_postgresql(server, connection, out, err);
    case BACKEND_MYSQL:
        return targets_make_mysql(server, connection, out, err);
    case BACKEND_GREPTIMEDB:
        return targets_make_greptimedb(server, connection, out, err);
    case BACKEND_ETCD:
        return targets_make_etcd(server, connection, out, err);
    case BACKEND_KINDS:
        break;
    }
    return err_set(err, ERR_INVALID, "%s", err_code_text(ERR_INVALID));
}

int targets_set_password(struct backend *backend, enum backend_kind kind, const char *password)
{
    switch (kind) {
    case BACKEND_POSTGRESQL:
        return backend_postgresql_set_password(backend, password);
    case BACKEND_MYSQL:
        return backend_mysql_set_password(backend, password);
    case BACKEND_GREPTIMEDB:
        return backend_greptimedb_set_password(backend, password);
    case BACKEND_ETCD:
        return backend_etcd_set_password(backend, password);
    case BACKEND_KINDS:
        break;
    }
    return 0;
}

/* Why nothing can run there; NULL: it has an address. */
static const char *targets_miss(const struct config_connection *connection)
{
    if (connection->kind == BACKEND_ETCD)
        return connection->endpoints == NULL ? "the connection has no endpoints" : NULL;
    return connection->host == NULL ? "the connection has no host" : NULL;
}

static int server_make_target(struct server *server, const struct config_connection *connection,
                              struct server_target *target)
{
    int rc;

    target->server = server;
    target->target.connection = connection->name;
    target->target.kind = connection->kind;
    target->target.default_schema = connection->schema;
    target->target.why = targets_miss(connection);
    if (target->target.why == NULL) {
        rc = targets_make(server, connection, &target->target.backend, &target->err);
        if (rc != 0 && rc != ERR_INVALID)
            return rc;
        if (rc != 0) {
            target->target.why = err_text(&target->err);
            log_write(LOG_ERROR, "nothing can run on a connection",
                      LOG_STR("connection", connection->name),
                      LOG_STR("error", target->target.why));
        }
    }
    return engine_add_target(&server->engine, &target->target);
}

/* One client for all that is spoken to by HTTP. */
static int server_make_curl(struct server *server)
{
    const struct config *config = server->config;

    for (size_t i = 0; i < config->connection_count && server->curl == NULL; i++) {
        enum backend_kind kind = config->connections[i].kind;

        if (kind != BACKEND_ETCD && kind != BACKEND_GREPTIMEDB)
            continue;
        server->curl = curl_client_create(server->loop);
        if (server->curl == NULL)
            return ERR_NOMEM;
    }
    return 0;
}

int server_make_targets(struct server *server, struct err *err)
{
    const struct config *config = server->config;
    int rc;

    if (config->connection_count == 0)
        return 0;
    server->targets = mem_calloc(config->connection_count, sizeof(*server->targets));
    if (server->targets == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_code_text(ERR_NOMEM));
    rc = server_make_curl(server);
    for (size_t i = 0; i < config->connection_count && rc == 0; i++) {
        server->target_count++;
        rc = server_make_target(server, &config->connections[i], &server->targets[i]);
    }
    return rc != 0 ? err_set(err, rc, "%s", err_code_text(rc)) : 0;
}
