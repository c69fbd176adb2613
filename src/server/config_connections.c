#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model/ids.h"
#include "server/config_reader.h"

static const char suffix[] = "_BACKEND";

enum {
    SUFFIX_LEN = sizeof(suffix) - 1,
};

static const char *config_change_case(struct config_reader *reader, const char *text, size_t len,
                                      int change(int c), const char *tail)
{
    char *out = arena_printf(&reader->config->arena, "%.*s%s", (int)len, text, tail);

    if (out == NULL) {
        reader->rc = ERR_NOMEM;
        return NULL;
    }
    for (size_t i = 0; i < len; i++)
        out[i] = (char)change((unsigned char)out[i]);
    return out;
}

static bool config_declares_connection(const char *variable)
{
    size_t len = strlen(variable);

    return len > SUFFIX_LEN && strcmp(variable + len - SUFFIX_LEN, suffix) == 0 &&
           strncasecmp(variable, "BFM_", 4) != 0;
}

static struct config_connection *config_find_connection(struct config *config, const char *name)
{
    for (size_t i = 0; i < config->connection_count; i++)
        if (strcmp(config->connections[i].name, name) == 0)
            return &config->connections[i];
    return NULL;
}

static void config_declare_connection(struct config_reader *reader, const struct env_var *var)
{
    struct config *config = reader->config;
    size_t len = strlen(var->name) - SUFFIX_LEN;
    struct config_connection connection = {0};
    struct config_connection *other;

    connection.name = config_change_case(reader, var->name, len, tolower, "");
    connection.prefix = config_change_case(reader, var->name, len, toupper, "_");
    if (connection.name == NULL || connection.prefix == NULL)
        return;
    connection.foreign = !backend_kind_parse(var->value, &connection.kind);
    if (connection.foreign)
        config_warn(
            reader,
            "%s: not a backend (postgresql, greptimedb, etcd, mysql); the variable is ignored",
            var->name);
    other = config_find_connection(config, connection.name);
    if (other == NULL)
        config->connections[config->connection_count++] = connection;
    else if (other->foreign && !connection.foreign)
        *other = connection;
    else if (!connection.foreign && other->kind != connection.kind)
        config_error(reader,
                     "%s: expected one backend for connection %s, which another spelling of this "
                     "variable declares differently",
                     var->name, connection.name);
}

/* The connection with the longest prefix that the variable begins with; NULL if there is none. */
static struct config_connection *config_owner(struct config *config, const char *variable)
{
    struct config_connection *owner = NULL;
    size_t longest = 0;

    for (size_t i = 0; i < config->connection_count; i++) {
        size_t len = strlen(config->connections[i].prefix);

        if (len > longest && strncmp(variable, config->connections[i].prefix, len) == 0 &&
            variable[len] != '\0') {
            owner = &config->connections[i];
            longest = len;
        }
    }
    return owner;
}

static bool config_is_setting(const char *key)
{
    static const char *const settings[] = {"BACKEND", "SCHEMA"};

    for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
        if (strcmp(key, settings[i]) == 0)
            return true;
    return strncmp(key, "DB_", 3) == 0;
}

/* {C}_FOO_TOKEN_FILE is the extra FOO_TOKEN, kept in a file. */
static bool config_is_secret_file(const char *key, size_t len)
{
    static const char *const tails[] = {"PASSWORD_FILE", "TOKEN_FILE"};

    for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
        size_t tail = strlen(tails[i]);

        if (len >= tail && strcmp(key + len - tail, tails[i]) == 0)
            return true;
    }
    return false;
}

static const struct config_extra *config_find_extra(const struct config_connection *connection,
                                                    const char *key)
{
    for (size_t i = 0; i < connection->extra_count; i++)
        if (strcmp(connection->extras[i].key, key) == 0)
            return &connection->extras[i];
    return NULL;
}

const char *config_extra(const struct config_connection *connection, const char *key)
{
    const struct config_extra *extra = config_find_extra(connection, key);

    return extra != NULL ? extra->value : NULL;
}

static void config_add_extra(struct config_reader *reader, struct config_connection *connection,
                             const struct env_var *var)
{
    const char *raw_key = var->name + strlen(connection->prefix);
    size_t len = strlen(raw_key);
    const char *key = config_change_case(reader, raw_key, len, toupper, "");
    struct config_extra extra = {.variable = config_keep(reader, var->name)};
    const struct config_extra *other;

    if (key == NULL)
        return;
    if (config_is_secret_file(key, len)) {
        char variable[CONFIG_NAME_MAX];

        snprintf(variable, sizeof(variable), "%.*s", (int)(strlen(var->name) - strlen("_FILE")),
                 var->name);
        if (config_raw(reader, variable) == NULL)
            extra.value = config_secret(reader, variable);
        else
            config_error(reader, "%s: expected only one of %s and %s", variable, variable,
                         var->name);
        key = config_change_case(reader, key, len - strlen("_FILE"), toupper, "");
    } else {
        extra.value = config_keep(reader, var->value);
    }
    if (key == NULL || extra.value == NULL)
        return;
    config_check_key(reader, connection, var, key, true);
    extra.key = key;
    other = config_find_extra(connection, key);
    if (other != NULL)
        config_error(reader, "%s: expected only one of %s and %s", var->name, other->variable,
                     var->name);
    else
        connection->extras[connection->extra_count++] = extra;
}

static void config_collect_extras(struct config_reader *reader)
{
    struct config *config = reader->config;

    for (size_t i = 0; i < config->connection_count; i++) {
        config->connections[i].extras =
            arena_calloc(&config->arena, reader->env->count, sizeof(struct config_extra));
        if (config->connections[i].extras == NULL) {
            reader->rc = ERR_NOMEM;
            return;
        }
    }
    for (size_t i = 0; i < reader->env->count; i++) {
        const struct env_var *var = &reader->env->vars[i];
        struct config_connection *owner = config_owner(config, var->name);

        if (owner == NULL || owner->foreign || config_declares_connection(var->name))
            continue;
        if (!config_is_setting(var->name + strlen(owner->prefix)))
            config_add_extra(reader, owner, var);
        else
            config_check_key(reader, owner, var, var->name + strlen(owner->prefix), false);
    }
}

/* A variable of the connection by its fixed name; NULL if a longer prefix owns it. */
static const char *config_own_name(struct config_reader *reader,
                                   const struct config_connection *connection, const char *key,
                                   char out[CONFIG_NAME_MAX])
{
    if (snprintf(out, CONFIG_NAME_MAX, "%s%s", connection->prefix, key) >= CONFIG_NAME_MAX ||
        config_owner(reader->config, out) != connection)
        return NULL;
    return out;
}

static const char *config_own_text(struct config_reader *reader,
                                   const struct config_connection *connection, const char *key)
{
    char name[CONFIG_NAME_MAX];

    if (config_own_name(reader, connection, key, name) == NULL)
        return NULL;
    return config_text(reader, name, NULL);
}

static const char *config_default_port(enum backend_kind kind)
{
    switch (kind) {
    case BACKEND_POSTGRESQL:
        return "5432";
    case BACKEND_GREPTIMEDB:
        return "4000";
    case BACKEND_ETCD:
        return "2379";
    case BACKEND_MYSQL:
        return "3306";
    case BACKEND_KINDS:
        break;
    }
    return NULL;
}

/* A URL in a host's place would not be found, and may have a password in it. */
static void config_check_host(struct config_reader *reader,
                              const struct config_connection *connection)
{
    const char *host = connection->host;

    if (host != NULL && (strchr(host, '@') != NULL || strstr(host, "://") != NULL))
        config_error(reader, "%sDB_HOST: expected a name or an address, not a URL",
                     connection->prefix);
}

static void config_read_address(struct config_reader *reader, struct config_connection *connection)
{
    char name[CONFIG_NAME_MAX];

    connection->host = config_own_text(reader, connection, "DB_HOST");
    connection->username = config_own_text(reader, connection, "DB_USERNAME");
    connection->database = config_own_text(reader, connection, "DB_NAME");
    connection->schema = config_own_text(reader, connection, "SCHEMA");
    connection->port = config_default_port(connection->kind);
    if (config_own_name(reader, connection, "DB_PORT", name) != NULL)
        connection->port = config_port(reader, name, connection->port);
    if (config_own_name(reader, connection, "DB_PASSWORD", name) != NULL)
        connection->password = config_secret(reader, name);
    config_check_host(reader, connection);
}

void config_check_schema(struct config_reader *reader, const struct config_connection *connection,
                         const char *key, const char *schema)
{
    struct err err = {0};

    if (schema != NULL && ids_check_schema(schema, connection->kind, &err) != 0)
        config_error(reader, "%s%s: expected a schema name: %s", connection->prefix, key,
                     err_text(&err));
}

const char *config_extra_variable(const struct config_connection *connection, const char *key)
{
    const struct config_extra *extra = config_find_extra(connection, key);

    return extra != NULL ? extra->variable : "";
}

static void config_read_connection(struct config_reader *reader,
                                   struct config_connection *connection)
{
    config_read_address(reader, connection);
    config_check_schema(reader, connection, "SCHEMA", connection->schema);
    connection->max_open_conns =
        (unsigned)config_number(reader, config_extra_variable(connection, "MAX_OPEN_CONNS"), 1,
                                10000, reader->config->pool.max_open_conns);
    connection->connect_timeout_ms =
        config_duration(reader, config_extra_variable(connection, "CONNECT_TIMEOUT"), 1,
                        reader->config->connect_timeout_ms);
    config_read_target(reader, connection);
}

static int config_compare_connections(const void *a, const void *b)
{
    const struct config_connection *left = a, *right = b;

    return strcmp(left->name, right->name);
}

static void config_drop_foreign(struct config *config)
{
    size_t kept = 0;

    for (size_t i = 0; i < config->connection_count; i++)
        if (!config->connections[i].foreign)
            config->connections[kept++] = config->connections[i];
    config->connection_count = kept;
}

void config_read_connections(struct config_reader *reader)
{
    struct config *config = reader->config;
    size_t count = 0;

    for (size_t i = 0; i < reader->env->count; i++)
        count += config_declares_connection(reader->env->vars[i].name);
    config->connections =
        arena_calloc(&config->arena, count > 0 ? count : 1, sizeof(*config->connections));
    if (config->connections == NULL) {
        reader->rc = ERR_NOMEM;
        return;
    }
    for (size_t i = 0; i < reader->env->count; i++)
        if (config_declares_connection(reader->env->vars[i].name))
            config_declare_connection(reader, &reader->env->vars[i]);
    qsort(config->connections, config->connection_count, sizeof(*config->connections),
          config_compare_connections);
    config_collect_extras(reader);
    if (reader->rc != 0)
        return;
    for (size_t i = 0; i < config->connection_count; i++)
        if (!config->connections[i].foreign)
            config_read_connection(reader, &config->connections[i]);
    config_drop_foreign(config);
    config_check_prefixes(reader);
}
