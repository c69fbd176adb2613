#ifndef BFM_SERVER_CONFIG_H
#define BFM_SERVER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/tokens.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "io/keepalive.h"
#include "model/migration.h"
#include "server/env.h"

/* The configuration of bfm-api.md §1, read from variables. All strings live in `arena`. */
enum config_state {
    CONFIG_STATE_POSTGRESQL,
    CONFIG_STATE_SQLITE,
    CONFIG_STATE_MYSQL,
};

/* One connection (bfm-api.md §1.1). */
struct config_extra {
    const char *key; /* upper case, without the connection's prefix */
    const char *variable;
    const char *value;
};

struct config_connection {
    const char *name;   /* lower case */
    const char *prefix; /* upper case, with '_' behind */
    enum backend_kind kind;
    bool foreign;            /* its _BACKEND names nothing we know: it only keeps its variables */
    const char *host;        /* NULL: not given, the target cannot be reached */
    const char *port;        /* decimal; the backend's own if not given */
    const char *username;    /* NULL: not given */
    const char *password;    /* NULL: not given */
    const char *database;    /* NULL: not given */
    const char *schema;      /* NULL: not given */
    unsigned max_open_conns; /* at least 1 */
    uint64_t connect_timeout_ms;
    /* postgresql, mysql */
    const char *sslmode;
    const char *journal_schema;
    uint64_t lock_timeout_ms;
    bool create_schema; /* greptimedb, too */
    /* etcd, greptimedb; of mysql only the first file */
    const char *tls_ca, *tls_cert, *tls_key; /* NULL: not given */
    bool tls;                                /* without a scheme: https */
    bool tls_insecure;
    /* etcd */
    const char *endpoints;    /* NULL: neither they nor a host are given */
    const char *prefix_key;   /* of every key; ends in one '/' */
    const char *reserved_key; /* of what BfM keeps beside those */
    uint64_t timeout_ms;
    unsigned max_txn_ops;
    size_t max_request;
    /* greptimedb */
    uint64_t statement_timeout_ms;
    /* whatever else begins with the prefix */
    struct config_extra *extras;
    size_t extra_count;
};

struct config_pool {
    unsigned max_open_conns;
    unsigned max_idle_conns;
    uint64_t max_lifetime_ms;  /* 0: no limit */
    uint64_t max_idle_time_ms; /* 0: no limit */
};

struct config_notes {
    const char **lines;
    size_t count, cap;
};

/* Reads a whole file that holds a secret. 0, or a negative code with the reason. */
typedef int config_read_fn(const char *path, struct buf *out, struct err *err);

struct config {
    struct arena arena;
    const struct env *env; /* what it was read from and with, borrowed: to read secrets again */
    config_read_fn *read;

    const char *http_host; /* NULL: all interfaces */
    unsigned http_port;
    size_t http_max_body;
    uint64_t http_request_timeout_ms;
    size_t http_max_connections;
    unsigned grpc_port;
    size_t grpc_max_connections; /* each carries many calls at a time */
    bool grpc_open;              /* BFM_GRPC_AUTH=off: calls need no token */
    const char *api_token;
    const char *tokens_path;  /* BFM_API_TOKENS_FILE; NULL: none */
    struct token_set *tokens; /* with api_token; a reference. NULL after an error */
    const char *cors_allowed_origins;
    const char *frontend_path; /* NULL: none */
    const char *frontend_api_url;
    bool frontend_expose_token;
    bool frontend_auth_enabled;
    const char *frontend_username, *frontend_password; /* NULL: none */

    enum config_state state;
    const char *state_db_path; /* sqlite */
    const char *state_host, *state_port, *state_username, *state_password, *state_database;
    const char *state_schema, *state_sslmode; /* of mysql the database is what the schema names */
    const char *state_tls_ca;                 /* mysql: NULL: the system's */
    bool state_advisory_locks;                /* postgresql: BFM_STATE_ADVISORY_LOCKS */

    const char *sfm_path; /* NULL: the scripts in the program */
    enum log_level log_level;
    enum log_format log_format;
    enum log_level access_log_level; /* of a line per request; BFM_APP_MODE */
    bool metrics;                    /* figures are kept, and GET /metrics shows them */
    bool metrics_auth;               /* only with a token */
    uint64_t reindex_interval_ms;
    bool auto_migrate;
    const char *auto_migrate_connections; /* comma list; NULL: all */
    uint64_t auto_migrate_interval_ms;    /* between rounds */
    unsigned auto_migrate_rounds;         /* at most, at least 1 */
    uint64_t lock_wait_ms;
    uint64_t state_wait_ms; /* for a state database that is away when an outcome is recorded */
    uint64_t shutdown_timeout_ms;
    uint64_t runs_keep_ms; /* how long a run stays listed after its end; 0: for ever */
    struct config_pool pool;
    uint64_t connect_timeout_ms; /* of the state database and of connections that name none */
    struct keepalive keepalive;  /* of every TCP connection */

    struct config_connection *connections; /* ordered by name, foreign ones left out */
    size_t connection_count;

    struct config_notes errors;   /* one line each: "NAME: what was expected" */
    struct config_notes warnings; /* same form; none of them stops the start */
};

/*
 * Reads every variable. Pure but for `read`, which fetches what {NAME}_FILE names. Returns 0,
 * ERR_INVALID if config->errors has any, or ERR_NOMEM. Free with config_free() in any case. No
 * value of a variable ever stands in an error or a warning.
 */
int config_load(struct config *config, const struct env *env, config_read_fn *read);
void config_free(struct config *config);

/* Looks whether the folders named exist, and the state file can be opened; adds errors as above,
 * and a warning for the latter, which names the path. */
int config_check_paths(struct config *config);

/* How many servers it names: each has connections of its own. */
size_t config_peers(const struct config_connection *connection);

/* What an extra setting is, by its key in upper case; NULL if it is not given. */
const char *config_extra(const struct config_connection *connection, const char *key);

/* Appends a summary for people, without secrets. */
int config_summarize(const struct config *config, struct buf *out);

#endif
