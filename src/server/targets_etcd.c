#include "backend/etcd.h"
#include "base/mem.h"
#include "server/targets.h"

/* What BfM keeps of every etcd connection. NULL: out of memory. */
static const char **targets_list_reserved(const struct config *config, size_t *count)
{
    const char **list = mem_calloc(config->connection_count, sizeof(*list));

    *count = 0;
    for (size_t i = 0; i < config->connection_count && list != NULL; i++)
        if (config->connections[i].kind == BACKEND_ETCD)
            list[(*count)++] = config->connections[i].reserved_key;
    return list;
}

int targets_make_etcd(struct server *server, const struct config_connection *connection,
                      struct backend **out, struct err *err)
{
    struct backend_etcd_settings settings = {
        .connection = connection->name,
        .default_schema = connection->schema,
        .endpoints = connection->endpoints,
        .prefix = connection->prefix_key,
        .username = connection->username,
        .password = connection->password,
        .tls = connection->tls,
        .ca_file = connection->tls_ca,
        .cert_file = connection->tls_cert,
        .key_file = connection->tls_key,
        .insecure = connection->tls_insecure,
        .timeout_ms = connection->timeout_ms,
        .max_open = connection->max_open_conns,
        .max_txn_ops = connection->max_txn_ops,
        .max_request = connection->max_request,
        .connect_timeout_ms = connection->connect_timeout_ms,
        .keepalive = server->config->keepalive,
    };
    const char **reserved = targets_list_reserved(server->config, &settings.reserved_count);
    int rc;

    if (reserved == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_code_text(ERR_NOMEM));
    settings.reserved = reserved;
    rc = backend_etcd_create(server->loop, server->curl, &settings, out, err);
    mem_free(reserved);
    return rc;
}
