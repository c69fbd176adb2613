#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/etcd_keys.h"
#include "base/clock.h"
#include "server/config_reader.h"

/* What connections of each kind are given beside their address. */

enum {
    LOCK_TIMEOUT_MS = 5000,
    STATEMENT_TIMEOUT_MS = 300 * 1000,
    ETCD_TIMEOUT_MS = 5000,
    ETCD_TXN_OPS = 128,
    ETCD_TXN_OPS_MAX = 1000 * 1000,
    ETCD_REQUEST = 1536 * 1024,
    ETCD_REQUEST_MAX = 1 << 30,
};

static void target_warn_of_host(struct config_reader *reader,
                                const struct config_connection *connection)
{
    if (connection->host == NULL)
        config_warn(reader, "%sDB_HOST: not given; nothing can run on connection %s",
                    connection->prefix, connection->name);
}

/* --- postgresql, mysql --- */

static void target_read_sql(struct config_reader *reader, struct config_connection *connection)
{
    static const char *const modes[] = {"disable", "prefer", "require", "verify-ca", "verify-full"};
    const char *journal = config_extra(connection, "JOURNAL_SCHEMA");

    connection->sslmode = config_choice(reader, config_extra_variable(connection, "SSLMODE"), modes,
                                        ARRAY_SIZE(modes), "prefer");
    connection->journal_schema = journal != NULL ? journal : "bfm";
    config_check_schema(reader, connection, "JOURNAL_SCHEMA", journal);
    connection->create_schema =
        config_switch(reader, config_extra_variable(connection, "CREATE_SCHEMA"), true);
    connection->lock_timeout_ms = config_duration(
        reader, config_extra_variable(connection, "LOCK_TIMEOUT"), 1, LOCK_TIMEOUT_MS);
    target_warn_of_host(reader, connection);
}

static void target_read_mysql(struct config_reader *reader, struct config_connection *connection)
{
    target_read_sql(reader, connection);
    connection->tls_ca = config_extra(connection, "TLS_CA");
}

/* --- what goes over HTTP --- */

static void target_read_tls(struct config_reader *reader, struct config_connection *connection)
{
    bool ssl = config_switch(reader, config_extra_variable(connection, "SSL"), false);

    connection->tls_ca = config_extra(connection, "TLS_CA");
    connection->tls_cert = config_extra(connection, "TLS_CERT");
    connection->tls_key = config_extra(connection, "TLS_KEY");
    /* who names a certificate means TLS, unless it is switched off */
    connection->tls =
        config_switch(reader, config_extra_variable(connection, "TLS"),
                      ssl || connection->tls_ca != NULL || connection->tls_cert != NULL);
    connection->tls_insecure =
        config_switch(reader, config_extra_variable(connection, "TLS_INSECURE"), false);
    if ((connection->tls_cert == NULL) != (connection->tls_key == NULL))
        config_error(reader, "%sTLS_%s: expected beside %sTLS_%s", connection->prefix,
                     connection->tls_cert == NULL ? "CERT" : "KEY", connection->prefix,
                     connection->tls_cert == NULL ? "KEY" : "CERT");
    if (connection->tls_insecure)
        config_warn(reader,
                    "%s: the server's certificate is not looked at; whoever stands in between can "
                    "read and change what is sent",
                    config_extra_variable(connection, "TLS_INSECURE"));
}

static void target_read_greptimedb(struct config_reader *reader,
                                   struct config_connection *connection)
{
    target_read_tls(reader, connection);
    connection->create_schema =
        config_switch(reader, config_extra_variable(connection, "CREATE_SCHEMA"), true);
    connection->statement_timeout_ms = config_duration(
        reader, config_extra_variable(connection, "STATEMENT_TIMEOUT"), 1, STATEMENT_TIMEOUT_MS);
    target_warn_of_host(reader, connection);
}

static const char *target_print(struct config_reader *reader, const char *a, size_t len,
                                const char *b, const char *c, const char *d)
{
    const char *text = arena_printf(&reader->config->arena, "%.*s%s%s%s", (int)len, a, b, c, d);

    if (text == NULL)
        reader->rc = ERR_NOMEM;
    return text;
}

/* Unparsable means the default, as bfm-api.md §1.1 has it, but not silently. */
static uint64_t target_read_etcd_timeout(struct config_reader *reader,
                                         const struct config_connection *connection)
{
    const char *text = config_extra(connection, "TIMEOUT");
    int64_t ms;

    if (text == NULL)
        return ETCD_TIMEOUT_MS;
    if (clock_parse_duration(text, &ms) && ms > 0 && ms <= INT32_MAX)
        return (uint64_t)ms;
    config_warn(reader, "%s: expected a duration above 0, such as 500ms or 5s; 5s is used",
                config_extra_variable(connection, "TIMEOUT"));
    return ETCD_TIMEOUT_MS;
}

static bool target_is_endpoint(const char *text, size_t len)
{
    const char *colon = memrchr(text, ':', len);
    char *end;

    if (colon == NULL || memchr(text, '@', len) != NULL || !isdigit((unsigned char)colon[1]) ||
        strtoul(colon + 1, &end, 10) > 65535)
        return false;
    end += strspn(end, "/ ");
    return end == text + len;
}

/* Nothing of what is wrong is shown, as it may have a password in it. */
static void target_check_endpoints(struct config_reader *reader,
                                   const struct config_connection *connection, const char *list)
{
    for (const char *at = list; *at != '\0'; at += strcspn(at, ","), at += *at == ',') {
        if (target_is_endpoint(at, strcspn(at, ",")))
            continue;
        config_error(reader,
                     "%sENDPOINTS: expected a comma list of host:port or http(s)://host:port, "
                     "without user and password",
                     connection->prefix);
        return;
    }
}

static const char *target_read_endpoints(struct config_reader *reader,
                                         const struct config_connection *connection)
{
    const char *list = config_trim(reader, config_extra(connection, "ENDPOINTS"));
    const char *host = connection->host;
    bool bare;

    if (list != NULL && list[0] != '\0') {
        target_check_endpoints(reader, connection, list);
        return list;
    }
    if (host == NULL) {
        config_warn(reader,
                    "%sENDPOINTS: not given, nor is %sDB_HOST; nothing can run on connection %s",
                    connection->prefix, connection->prefix, connection->name);
        return NULL;
    }
    bare = strchr(host, ':') != NULL && host[0] != '[' && strstr(host, "://") == NULL;
    return target_print(reader, bare ? "[" : "", bare, host, bare ? "]:" : ":", connection->port);
}

static const char *target_make_reserved(struct config_reader *reader, const char *prefix)
{
    const char *text = NULL;
    struct buf reserved;

    buf_init(&reserved, SIZE_MAX);
    if (prefix != NULL && etcdb_put_reserved(&reserved, prefix) == 0)
        text = arena_strndup(&reader->config->arena, reserved.data, reserved.len);
    buf_free(&reserved);
    if (text == NULL)
        reader->rc = ERR_NOMEM;
    return text;
}

static void target_read_etcd(struct config_reader *reader, struct config_connection *connection)
{
    const char *prefix = config_extra(connection, "PREFIX");
    size_t len = prefix != NULL ? strlen(prefix) : 0;

    while (len > 0 && prefix[len - 1] == '/')
        len--;
    connection->prefix_key = target_print(reader, prefix != NULL ? prefix : "", len, "/", "", "");
    connection->reserved_key = target_make_reserved(reader, connection->prefix_key);
    target_read_tls(reader, connection);
    connection->endpoints = target_read_endpoints(reader, connection);
    connection->timeout_ms = target_read_etcd_timeout(reader, connection);
    connection->max_txn_ops =
        (unsigned)config_number(reader, config_extra_variable(connection, "MAX_TXN_OPS"), 8,
                                ETCD_TXN_OPS_MAX, ETCD_TXN_OPS);
    connection->max_request =
        config_bytes(reader, config_extra_variable(connection, "MAX_REQUEST_BYTES"), 4096,
                     ETCD_REQUEST_MAX, ETCD_REQUEST);
}

void config_read_target(struct config_reader *reader, struct config_connection *connection)
{
    switch (connection->kind) {
    case BACKEND_POSTGRESQL:
        target_read_sql(reader, connection);
        return;
    case BACKEND_MYSQL:
        target_read_mysql(reader, connection);
        return;
    case BACKEND_GREPTIMEDB:
        target_read_greptimedb(reader, connection);
        return;
    case BACKEND_ETCD:
        target_read_etcd(reader, connection);
        return;
    case BACKEND_KINDS:
        return;
    }
}

/* Scripts of one connection would write among what BfM keeps of another: whether both are on one
 * cluster cannot be told from their endpoints. */
void config_check_prefixes(struct config_reader *reader)
{
    const struct config *config = reader->config;

    for (size_t i = 0; i < config->connection_count && reader->rc == 0; i++)
        for (size_t k = 0; k < config->connection_count; k++) {
            const struct config_connection *one = &config->connections[i];
            const struct config_connection *other = &config->connections[k];

            if (one->kind == BACKEND_ETCD && other->kind == BACKEND_ETCD &&
                strncmp(one->prefix_key, other->reserved_key, strlen(other->reserved_key)) == 0)
                config_error(reader,
                             "%s: expected another prefix: below \"%s\" BfM keeps the journal of "
                             "connection %s",
                             config_extra_variable(one, "PREFIX"), other->reserved_key,
                             other->name);
        }
}

size_t config_peers(const struct config_connection *connection)
{
    size_t count = 1;

    if (connection->endpoints == NULL)
        return count;
    for (const char *comma = connection->endpoints; (comma = strchr(comma, ',')) != NULL; comma++)
        count++;
    return count;
}

/* --- files --- */

void config_check_target_files(struct config_reader *reader)
{
    static const char *const keys[] = {"TLS_CA", "TLS_CERT", "TLS_KEY"};
    const struct config *config = reader->config;

    for (size_t i = 0; i < config->connection_count; i++)
        for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
            const struct config_connection *connection = &config->connections[i];
            const char *path = config_extra(connection, keys[k]);

            if (connection->kind != BACKEND_POSTGRESQL && path != NULL && access(path, R_OK) != 0)
                config_error(reader, "%s: expected the path of a readable file (%s)",
                             config_extra_variable(connection, keys[k]), strerror(errno));
        }
    if (config->state == CONFIG_STATE_MYSQL && config->state_tls_ca != NULL &&
        access(config->state_tls_ca, R_OK) != 0)
        config_error(reader, "BFM_STATE_DB_TLS_CA: expected the path of a readable file (%s)",
                     strerror(errno));
}
