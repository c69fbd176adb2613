#ifndef BFM_BACKEND_MYSQL_H
#define BFM_BACKEND_MYSQL_H

#include "backend/backend.h"
#include "driver/maria.h"

/* A MySQL or MariaDB target; a schema is a database there. Zeros mean the defaults named here. */
struct backend_mysql_settings {
    const char *connection;     /* name, lower case */
    const char *default_schema; /* {C}_SCHEMA, or NULL */
    struct maria_settings pool; /* its database: of migrations without a schema */
    const char *journal_schema; /* {C}_JOURNAL_SCHEMA: database of the journal; NULL: "bfm" */
    bool create_schema;         /* {C}_CREATE_SCHEMA: create the effective schema if missing */
    uint64_t lock_timeout_ms;   /* lock_wait_timeout and innodb_lock_wait_timeout of a script that
                                   names none; 0: 5000 */
    unsigned max_attempts;      /* 0: 5 */
    uint64_t lock_wait_ms;      /* BFM_LOCK_WAIT: for another writer of the same step */
    uint64_t doubt_wait_ms; /* how long to try to reconnect when an outcome is unknown; 0: 30000 */
};

/* Copies the settings; connects to nothing yet. NULL when memory is out. Closed by ops->close. */
struct backend *backend_mysql_create(struct loop *loop,
                                     const struct backend_mysql_settings *settings);

/* As maria_pool_set_password(). */
int backend_mysql_set_password(struct backend *backend, const char *password);

#endif
