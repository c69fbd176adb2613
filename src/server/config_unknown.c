#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "server/config_reader.h"

/*
 * Variables that look like ours and mean nothing to us are most likely misspelt, and a misspelt
 * variable is a setting that silently has its default.
 */

/* Everything that begins with BFM_ and that the server or one of its tools reads. */
static const char *const known_variables[] = {
    "BFM_API_TOKEN",
    "BFM_API_TOKENS_FILE",
    "BFM_API_TOKEN_FILE",
    "BFM_APP_MODE",
    "BFM_AUTO_MIGRATE",
    "BFM_AUTO_MIGRATE_CONNECTIONS",
    "BFM_AUTO_MIGRATE_RETRY_INTERVAL",
    "BFM_AUTO_MIGRATE_RETRY_MAX_ROUNDS",
    "BFM_BIN",
    "BFM_CORS_ALLOWED_ORIGINS",
    "BFM_CRASH_AT",
    "BFM_DB_CONNECT_TIMEOUT",
    "BFM_DB_CONN_MAX_IDLE_TIME_MINUTES",
    "BFM_DB_CONN_MAX_IDLE_TIME_SECONDS",
    "BFM_DB_CONN_MAX_LIFETIME_MINUTES",
    "BFM_DB_MAX_IDLE_CONNS",
    "BFM_DB_MAX_OPEN_CONNS",
    "BFM_FRONTEND_API_URL",
    "BFM_FRONTEND_AUTH_ENABLED",
    "BFM_FRONTEND_AUTH_PASSWORD",
    "BFM_FRONTEND_AUTH_PASSWORD_FILE",
    "BFM_FRONTEND_AUTH_USERNAME",
    "BFM_FRONTEND_EXPOSE_TOKEN",
    "BFM_FRONTEND_PATH",
    "BFM_GRPC_AUTH",
    "BFM_GRPC_MAX_CONNECTIONS",
    "BFM_GRPC_PORT",
    "BFM_HTTP_HOST",
    "BFM_HTTP_MAX_BODY",
    "BFM_HTTP_MAX_CONNECTIONS",
    "BFM_HTTP_PORT",
    "BFM_HTTP_REQUEST_TIMEOUT",
    "BFM_LOCK_WAIT",
    "BFM_LOG_FORMAT",
    "BFM_LOG_LEVEL",
    "BFM_METRICS",
    "BFM_METRICS_AUTH",
    "BFM_QUEUE_ENABLED",
    "BFM_QUEUE_KAFKA_BROKERS",
    "BFM_QUEUE_KAFKA_GROUP_ID",
    "BFM_QUEUE_KAFKA_HOST",
    "BFM_QUEUE_KAFKA_PORT",
    "BFM_QUEUE_KAFKA_TOPIC",
    "BFM_QUEUE_PULSAR_SUBSCRIPTION",
    "BFM_QUEUE_PULSAR_TOPIC",
    "BFM_QUEUE_PULSAR_URL",
    "BFM_QUEUE_TYPE",
    "BFM_REINDEX_INTERVAL_MINUTES",
    "BFM_RUNS_KEEP",
    "BFM_SFM_PATH",
    "BFM_SHUTDOWN_TIMEOUT",
    "BFM_STATE_ADVISORY_LOCKS",
    "BFM_STATE_BACKEND",
    "BFM_STATE_DB_HOST",
    "BFM_STATE_DB_NAME",
    "BFM_STATE_DB_PASSWORD",
    "BFM_STATE_DB_PASSWORD_FILE",
    "BFM_STATE_DB_PATH",
    "BFM_STATE_DB_PORT",
    "BFM_STATE_DB_SSLMODE",
    "BFM_STATE_DB_TLS_CA",
    "BFM_STATE_DB_USERNAME",
    "BFM_STATE_SCHEMA",
    "BFM_STATE_WAIT",
    "BFM_TCP_KEEPALIVE_COUNT",
    "BFM_TCP_KEEPALIVE_IDLE",
    "BFM_TCP_KEEPALIVE_INTERVAL",
    "BFM_TCP_USER_TIMEOUT",
    "BFM_URL",
};

/* Below a connection's prefix, and for which kinds; of extras in any case, of the others in this
 * one. */
#define KIND(name) (1U << BACKEND_##name)
enum {
    KIND_SQL = KIND(POSTGRESQL) | KIND(MYSQL),
    KIND_HTTP = KIND(GREPTIMEDB) | KIND(ETCD),
    KIND_ALL = KIND_SQL | KIND_HTTP,
};

static const struct known_key {
    const char *name;
    bool extra;
    unsigned kinds;
} known_keys[] = {
    {"DB_HOST", false, KIND_ALL},
    {"DB_NAME", false, KIND_SQL | KIND(GREPTIMEDB)},
    {"DB_PASSWORD", false, KIND_ALL},
    {"DB_PASSWORD_FILE", false, KIND_ALL},
    {"DB_PORT", false, KIND_ALL},
    {"DB_USERNAME", false, KIND_ALL},
    {"SCHEMA", false, KIND_ALL},
    {"CONNECT_TIMEOUT", true, KIND_ALL},
    {"CREATE_SCHEMA", true, KIND_SQL | KIND(GREPTIMEDB)},
    {"ENDPOINTS", true, KIND(ETCD)},
    {"JOURNAL_SCHEMA", true, KIND_SQL},
    {"LOCK_TIMEOUT", true, KIND_SQL},
    {"MAX_OPEN_CONNS", true, KIND_ALL},
    {"MAX_REQUEST_BYTES", true, KIND(ETCD)},
    {"MAX_TXN_OPS", true, KIND(ETCD)},
    {"PREFIX", true, KIND(ETCD)},
    {"SSL", true, KIND_HTTP},
    {"SSLMODE", true, KIND_SQL},
    {"STATEMENT_TIMEOUT", true, KIND(GREPTIMEDB)},
    {"TIMEOUT", true, KIND(ETCD)},
    {"TLS", true, KIND_HTTP},
    {"TLS_CA", true, KIND_HTTP | KIND(MYSQL)},
    {"TLS_CERT", true, KIND_HTTP},
    {"TLS_INSECURE", true, KIND_HTTP},
    {"TLS_KEY", true, KIND_HTTP},
};

static bool unknown_is_listed(const char *text, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0)
            return true;
    return false;
}

/* Kubernetes gives each container variables about every service, named after it. */
static bool unknown_is_service_link(const struct env_var *var)
{
    return strstr(var->name, "_SERVICE_HOST") != NULL ||
           strstr(var->name, "_SERVICE_PORT") != NULL || strncmp(var->value, "tcp://", 6) == 0 ||
           strncmp(var->value, "udp://", 6) == 0 || strstr(var->name, "_TCP_") != NULL ||
           strstr(var->name, "_UDP_") != NULL;
}

static void unknown_check_variable(struct config_reader *reader, const struct env_var *var)
{
    size_t best = NEAREST_EDITS_MAX + 1;
    const char *nearest;

    if (unknown_is_listed(var->name, known_variables, ARRAY_SIZE(known_variables)))
        return;
    nearest = nearest_name(var->name, known_variables, ARRAY_SIZE(known_variables), NULL, &best);
    if (nearest != NULL)
        config_warn(reader, "%s: not a variable of BfM; did you mean %s?", var->name, nearest);
    else
        config_warn(reader, "%s: not a variable of BfM; it has no effect", var->name);
}

static bool unknown_is_key(const struct known_key *known, enum backend_kind kind)
{
    return (known->kinds & 1U << kind) != 0;
}

/* Whether it is one; else the name that it was most likely meant to be, or NULL. */
static bool unknown_find_key(enum backend_kind kind, const char *key, bool is_extra,
                             const char **nearest)
{
    size_t best = NEAREST_EDITS_MAX + 1;

    *nearest = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(known_keys); i++) {
        const struct known_key *known = &known_keys[i];

        if (!unknown_is_key(known, kind))
            continue;
        if (known->extra == is_extra && strcmp(known->name, key) == 0)
            return true;
        *nearest = nearest_name(key, &known->name, 1, *nearest, &best);
    }
    return false;
}

void config_check_key(struct config_reader *reader, const struct config_connection *connection,
                      const struct env_var *var, const char *key, bool is_extra)
{
    const char *article = connection->kind == BACKEND_ETCD ? "an" : "a";
    const char *nearest;

    if (unknown_is_service_link(var) || unknown_find_key(connection->kind, key, is_extra, &nearest))
        return;
    if (nearest != NULL)
        config_warn(reader, "%s: not a setting of %s %s connection; did you mean %s%s?", var->name,
                    article, backend_kind_name(connection->kind), connection->prefix, nearest);
    else
        config_warn(reader, "%s: not a setting of %s %s connection; it has no effect", var->name,
                    article, backend_kind_name(connection->kind));
}

void config_check_names(struct config_reader *reader)
{
    for (size_t i = 0; i < reader->env->count; i++) {
        const struct env_var *var = &reader->env->vars[i];

        if (strncmp(var->name, "BFM_", 4) == 0 && !unknown_is_service_link(var))
            unknown_check_variable(reader, var);
    }
}
