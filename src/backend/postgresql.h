#ifndef BFM_BACKEND_POSTGRESQL_H
#define BFM_BACKEND_POSTGRESQL_H

#include "backend/backend.h"
#include "driver/pg.h"

/* A PostgreSQL target. Zeros mean the defaults named here. */
struct backend_pg_settings {
    const char *connection;     /* name, lower case */
    const char *default_schema; /* {C}_SCHEMA, or NULL */
    struct pg_settings pool;
    const char *journal_schema; /* {C}_JOURNAL_SCHEMA; NULL: "bfm" */
    bool create_schema;         /* {C}_CREATE_SCHEMA: create the effective schema if missing */
    uint64_t lock_timeout_ms;   /* of a script that names none; 0: 5000 */
    unsigned max_attempts;      /* 0: 5 */
    uint64_t lock_wait_ms;  /* BFM_LOCK_WAIT: for another writer of the same step; at least 100 */
    uint64_t doubt_wait_ms; /* how long to try to reconnect when an outcome is unknown; 0: 30000 */
};

/* Copies the settings; connects to nothing yet. NULL when memory is out. Closed by ops->close. */
struct backend *backend_postgresql_create(struct loop *loop,
                                          const struct backend_pg_settings *settings);

/* As pg_pool_set_password(). */
int backend_postgresql_set_password(struct backend *backend, const char *password);

#endif
