#include "server/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/ids.h"
#include "server/config_reader.h"

enum {
    MAX_BODY = 1 << 20,
    MAX_BODY_MAX = 1 << 30,
    RUNS_KEEP_DAYS = 90,
};

static void config_read_http(struct config_reader *reader)
{
    struct config *config = reader->config;
    unsigned char raw[sizeof(struct in6_addr)];
    const char *host = config_text(reader, "BFM_HTTP_HOST", NULL);

    if (host != NULL && inet_pton(AF_INET, host, raw) != 1 && inet_pton(AF_INET6, host, raw) != 1)
        config_error(reader,
                     "BFM_HTTP_HOST: expected an IPv4 or IPv6 address, such as 127.0.0.1 or ::1");
    config->http_host = host;
    config->http_port = (unsigned)config_number(reader, "BFM_HTTP_PORT", 1, 65535, 7070);
    config->http_max_body = config_bytes(reader, "BFM_HTTP_MAX_BODY", 1, MAX_BODY_MAX, MAX_BODY);
    config->http_request_timeout_ms = config_duration(reader, "BFM_HTTP_REQUEST_TIMEOUT", 1, 30000);
    config->http_max_connections =
        config_number(reader, "BFM_HTTP_MAX_CONNECTIONS", 1, 1000000, 10240);
    config->grpc_port = (unsigned)config_number(reader, "BFM_GRPC_PORT", 1, 65535, 9090);
    if (config->grpc_port == config->http_port)
        config_error(reader, "BFM_GRPC_PORT: expected another port than BFM_HTTP_PORT");
    config->grpc_max_connections =
        config_number(reader, "BFM_GRPC_MAX_CONNECTIONS", 1, 1000000, 256);
    config->grpc_open = !config_switch(reader, "BFM_GRPC_AUTH", true);
    if (config->grpc_open)
        config_warn(reader, "BFM_GRPC_AUTH: everybody who reaches BFM_GRPC_PORT may run and undo "
                            "migrations without a token");
    config->api_token = config_required_secret(reader, "BFM_API_TOKEN", "a token; it is required");
}

/* scheme://host, perhaps with a port: what a browser sends as Origin. */
static bool config_is_origin(const char *text, size_t len)
{
    const char *sep = memmem(text, len, "://", 3);
    size_t rest;

    if (sep == NULL || sep == text)
        return false;
    rest = len - (size_t)(sep + 3 - text);
    return rest > 0 && memchr(sep + 3, '/', rest) == NULL && memchr(text, ' ', len) == NULL;
}

static void config_read_cors(struct config_reader *reader)
{
    const char *list = config_text(reader, "BFM_CORS_ALLOWED_ORIGINS", "*");

    reader->config->cors_allowed_origins = list;
    if (list == NULL || strcmp(list, "*") == 0 || strcmp(list, "none") == 0)
        return;
    for (const char *at = list; *at != '\0';) {
        size_t len, blanks = strspn(at, " ,");

        at += blanks;
        len = strcspn(at, " ,");
        if (len > 0 && !config_is_origin(at, len)) {
            config_error(reader, "BFM_CORS_ALLOWED_ORIGINS: expected *, none, or a comma list of "
                                 "origins such as https://app.example.org");
            return;
        }
        at += len;
    }
}

static void config_read_frontend(struct config_reader *reader)
{
    struct config *config = reader->config;

    config->frontend_path = config_text(reader, "BFM_FRONTEND_PATH", NULL);
    config->frontend_api_url = config_text(reader, "BFM_FRONTEND_API_URL", "/api");
    config->frontend_expose_token = config_is_true(reader, "BFM_FRONTEND_EXPOSE_TOKEN");
    config->frontend_auth_enabled = config_is_true(reader, "BFM_FRONTEND_AUTH_ENABLED");
    config->frontend_username = config_text(reader, "BFM_FRONTEND_AUTH_USERNAME", NULL);
    config->frontend_password = config_secret(reader, "BFM_FRONTEND_AUTH_PASSWORD");
    if (config->frontend_expose_token)
        config_warn(reader, "BFM_FRONTEND_EXPOSE_TOKEN: everybody who can open the dashboard is "
                            "given the API token");
}

static void config_read_state_schema(struct config_reader *reader)
{
    struct config *config = reader->config;
    bool mysql = config->state == CONFIG_STATE_MYSQL;
    struct err err = {0};

    config->state_schema = config_text(reader, "BFM_STATE_SCHEMA", "public");
    if (config->state_schema == NULL)
        return;
    if (ids_check_schema(config->state_schema, mysql ? BACKEND_MYSQL : BACKEND_POSTGRESQL, &err) !=
        0)
        config_error(reader, "BFM_STATE_SCHEMA: expected a schema name: %s", err_text(&err));
    if (mysql && strcmp(config->state_schema, "public") != 0)
        config->state_database = config->state_schema;
}

static void config_read_state_address(struct config_reader *reader)
{
    static const char *const modes[] = {"disable", "prefer", "require", "verify-ca", "verify-full"};
    struct config *config = reader->config;
    bool mysql = config->state == CONFIG_STATE_MYSQL;

    config->state_host = config_text(reader, "BFM_STATE_DB_HOST", "localhost");
    config->state_port = config_port(reader, "BFM_STATE_DB_PORT", mysql ? "3306" : "5432");
    config->state_username =
        config_text(reader, "BFM_STATE_DB_USERNAME", mysql ? "root" : "postgres");
    config->state_database = config_text(reader, "BFM_STATE_DB_NAME", "migration_state");
    config->state_sslmode =
        config_choice(reader, "BFM_STATE_DB_SSLMODE", modes, ARRAY_SIZE(modes), "prefer");
    config->state_tls_ca = config_text(reader, "BFM_STATE_DB_TLS_CA", NULL);
    config_read_state_schema(reader);
}

/* They need a session that stays the same. */
static void config_read_state_locks(struct config_reader *reader)
{
    static const char *const words[] = {"on", "off"};
    const char *word = config_choice(reader, "BFM_STATE_ADVISORY_LOCKS", words, 2, "on");

    reader->config->state_advisory_locks = word == NULL || strcmp(word, "on") == 0;
}

/* False if it names something else, so that nobody can say what is needed beside it. */
static bool config_read_state_kind(struct config_reader *reader)
{
    static const struct {
        const char *name;
        enum config_state state;
    } kinds[] = {{"postgresql", CONFIG_STATE_POSTGRESQL},
                 {"postgres", CONFIG_STATE_POSTGRESQL},
                 {"mysql", CONFIG_STATE_MYSQL},
                 {"mariadb", CONFIG_STATE_MYSQL},
                 {"sqlite", CONFIG_STATE_SQLITE}};
    const char *kind = config_trim(reader, config_text(reader, "BFM_STATE_BACKEND", "postgresql"));

    for (size_t i = 0; kind != NULL && i < ARRAY_SIZE(kinds); i++)
        if (strcasecmp(kind, kinds[i].name) == 0) {
            reader->config->state = kinds[i].state;
            return true;
        }
    config_error(reader, "BFM_STATE_BACKEND: expected postgresql, mysql or sqlite");
    return false;
}

static void config_read_state(struct config_reader *reader)
{
    struct config *config = reader->config;
    bool known = config_read_state_kind(reader);

    config->state_db_path = config_text(reader, "BFM_STATE_DB_PATH", "bfm-state.db");
    config_read_state_address(reader);
    config_read_state_locks(reader);
    if (known && config->state != CONFIG_STATE_SQLITE)
        config->state_password =
            config_required_secret(reader, "BFM_STATE_DB_PASSWORD",
                                   "a password; it is required unless BFM_STATE_BACKEND is sqlite");
}

static void config_read_log(struct config_reader *reader)
{
    static const char *const plain[] = {"plaintext", "plain", "text"};
    static const char *const modes[] = {"debug", "release", "test"};
    struct config *config = reader->config;
    const char *format = config_trim(reader, config_raw(reader, "BFM_LOG_FORMAT"));
    const char *level = config_trim(reader, config_raw(reader, "BFM_LOG_LEVEL"));
    const char *mode = config_choice(reader, "BFM_APP_MODE", modes, ARRAY_SIZE(modes), "release");

    config->log_level = level != NULL ? log_parse_level(level) : LOG_INFO;
    config->log_format = LOG_JSON;
    for (size_t i = 0; format != NULL && i < ARRAY_SIZE(plain); i++)
        if (strcasecmp(format, plain[i]) == 0)
            config->log_format = LOG_TEXT;
    config->access_log_level = strcmp(mode, "test") == 0 ? LOG_DEBUG : LOG_INFO;
}

/* Unparsable means the default, as it always did, but no longer silently. */
static uint64_t config_read_interval(struct config_reader *reader)
{
    const double fallback = 5;
    const char *text = config_raw(reader, "BFM_REINDEX_INTERVAL_MINUTES");
    double minutes = fallback;
    char *end;

    if (text != NULL) {
        minutes = strtod(text, &end);
        if (end == text || *end != '\0' || !(minutes > 0) || minutes > 1e6) {
            config_warn(reader, "BFM_REINDEX_INTERVAL_MINUTES: expected a number of minutes above "
                                "0; 5 is used");
            minutes = fallback;
        }
    }
    return minutes * 60000 < 1 ? 1 : (uint64_t)(minutes * 60000);
}

static void config_read_pool(struct config_reader *reader)
{
    struct config_pool *pool = &reader->config->pool;
    uint64_t seconds, minutes;

    pool->max_open_conns = (unsigned)config_number(reader, "BFM_DB_MAX_OPEN_CONNS", 1, 10000, 8);
    pool->max_idle_conns = (unsigned)config_number(reader, "BFM_DB_MAX_IDLE_CONNS", 0, 10000, 2);
    pool->max_lifetime_ms =
        config_number(reader, "BFM_DB_CONN_MAX_LIFETIME_MINUTES", 0, 525600, 3) * 60000;
    seconds = config_number(reader, "BFM_DB_CONN_MAX_IDLE_TIME_SECONDS", 0, 31536000, 0);
    minutes = config_number(reader, "BFM_DB_CONN_MAX_IDLE_TIME_MINUTES", 0, 525600, 1);
    pool->max_idle_time_ms = seconds > 0 ? seconds * 1000 : minutes * 60000;
}

int config_load(struct config *config, const struct env *env, config_read_fn *read)
{
    struct config_reader reader = {.config = config, .env = env, .read = read};

    *config = (struct config){.env = env, .read = read};
    arena_init(&config->arena);
    config_read_http(&reader);
    config_read_tokens(&reader);
    config_read_tcp(&reader);
    config_read_cors(&reader);
    config_read_frontend(&reader);
    config_read_state(&reader);
    config->sfm_path = config_text(&reader, "BFM_SFM_PATH", NULL);
    config_read_log(&reader);
    config_read_metrics(&reader);
    config->reindex_interval_ms = config_read_interval(&reader);
    config->lock_wait_ms = config_duration(&reader, "BFM_LOCK_WAIT", 0, 30000);
    config->state_wait_ms = config_duration(&reader, "BFM_STATE_WAIT", 0, 60000);
    config->shutdown_timeout_ms = config_duration(&reader, "BFM_SHUTDOWN_TIMEOUT", 0, 30000);
    config->runs_keep_ms = config_days(&reader, "BFM_RUNS_KEEP", RUNS_KEEP_DAYS);
    config_read_pool(&reader);
    config_read_connections(&reader);
    config_read_auto_migrate(&reader);
    config_read_later(&reader);
    config_check_names(&reader);
    if (reader.rc != 0)
        return reader.rc;
    return config->errors.count > 0 ? ERR_INVALID : 0;
}

void config_free(struct config *config)
{
    token_set_unref(config->tokens);
    config->tokens = NULL;
    arena_free(&config->arena);
}

static void config_check_folder(struct config_reader *reader, const char *variable,
                                const char *path)
{
    struct stat found;

    if (path == NULL)
        return;
    if (stat(path, &found) != 0)
        config_error(reader, "%s: expected an existing folder (%s)", variable, strerror(errno));
    else if (!S_ISDIR(found.st_mode))
        config_error(reader, "%s: expected a folder, not a file", variable);
    else if (access(path, R_OK | X_OK) != 0)
        config_error(reader, "%s: expected a folder that can be read (%s)", variable,
                     strerror(errno));
}

/* Only a warning: what the file lies on may come after the server. */
static void config_check_state_file(struct config_reader *reader, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    const char *folder = arena_strndup(&reader->config->arena, slash != NULL ? path : ".", len);
    struct stat found;

    if (folder == NULL)
        reader->rc = ERR_NOMEM;
    else if (stat(path, &found) == 0 && S_ISDIR(found.st_mode))
        config_warn(reader, "BFM_STATE_DB_PATH: %s is a folder, not a file", path);
    else if (access(path, R_OK | W_OK) != 0 &&
             (errno != ENOENT || access(folder, W_OK | X_OK) != 0))
        config_warn(reader, "BFM_STATE_DB_PATH: %s cannot be opened (%s)", path, strerror(errno));
}

int config_check_paths(struct config *config)
{
    struct config_reader reader = {.config = config};

    config_check_folder(&reader, "BFM_SFM_PATH", config->sfm_path);
    config_check_folder(&reader, "BFM_FRONTEND_PATH", config->frontend_path);
    if (config->errors.count == 0 && config->state == CONFIG_STATE_SQLITE)
        config_check_state_file(&reader, config->state_db_path);
    config_check_tokens_file(&reader);
    config_check_target_files(&reader);
    if (reader.rc != 0)
        return reader.rc;
    return config->errors.count > 0 ? ERR_INVALID : 0;
}
