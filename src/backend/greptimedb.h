#ifndef BFM_BACKEND_GREPTIMEDB_H
#define BFM_BACKEND_GREPTIMEDB_H

#include "backend/backend.h"
#include "backend/ledger.h"
#include "driver/curl.h"

/* A GreptimeDB target, by its HTTP SQL API. Zeros mean the defaults named here. */
struct backend_greptimedb_settings {
    const char *connection;     /* name, lower case */
    const char *default_schema; /* {C}_SCHEMA, or NULL */
    const char *database;       /* {C}_DB_NAME: of migrations without a schema; NULL: "public" */
    bool create_schema;         /* {C}_CREATE_SCHEMA: create the database if missing */
    struct curl_peer_settings peer;
    uint64_t statement_timeout_ms; /* of a script that names none; 0: 300000 */
    uint64_t probe_timeout_ms;     /* of look-ups and pings; 0: 5000 */
    unsigned max_attempts;         /* of one statement; 0: 5 */
    uint64_t lock_wait_ms;         /* BFM_LOCK_WAIT: for another writer of the same step */
    uint64_t stale_ms; /* a row not moved for so long is nobody's; its writer moves it every third
                          of that; 0: 6000 */
    uint64_t state_wait_ms; /* how long an outcome is offered to a ledger that is away; 0: 30000 */
};

/* Copies the settings, borrows the ledger; connects to nothing yet. ERR_NOMEM, or ERR_INVALID with
 * the reason. Closed by ops->close; `client` and `ledger` must live longer. */
int backend_greptimedb_create(struct loop *loop, struct curl_client *client, struct ledger *ledger,
                              const struct backend_greptimedb_settings *settings,
                              struct backend **out, struct err *err);

/* As curl_peer_set_password(). */
int backend_greptimedb_set_password(struct backend *backend, const char *password);

#endif
