#ifndef BFM_STORE_ROWS_H
#define BFM_STORE_ROWS_H

#include "store/store.h"

/*
 * Turns rows of a database into results. Both SQL stores select the columns below in this order;
 * what differs is how a cell is read. Pure, for any thread.
 */
struct rows_source {
    const char *(*text)(void *arg, int column); /* NULL for NULL; valid until the next row */
    int64_t (*integer)(void *arg, int column);  /* 0 for NULL */
    void *arg;
};

enum rows_execution_column {
    ROWS_EXECUTION_ID,
    ROWS_EXECUTION_SCHEMA,
    ROWS_EXECUTION_VERSION,
    ROWS_EXECUTION_CONNECTION,
    ROWS_EXECUTION_BACKEND,
    ROWS_EXECUTION_STATUS,
    ROWS_EXECUTION_APPLIED, /* 0 or 1 */
    ROWS_EXECUTION_CHECKSUM,
    ROWS_EXECUTION_APPLIED_AT, /* microseconds, as all times here */
    ROWS_EXECUTION_CREATED_AT,
    ROWS_EXECUTION_UPDATED_AT,
};

enum rows_event_column {
    ROWS_EVENT_NUMBER,
    ROWS_EVENT_ID,
    ROWS_EVENT_SCHEMA,
    ROWS_EVENT_VERSION,
    ROWS_EVENT_CONNECTION,
    ROWS_EVENT_BACKEND,
    ROWS_EVENT_STATUS,
    ROWS_EVENT_ERROR,
    ROWS_EVENT_BY,
    ROWS_EVENT_METHOD,
    ROWS_EVENT_CONTEXT,
    ROWS_EVENT_AT,
    ROWS_EVENT_CREATED_AT,
};

enum rows_status_column {
    ROWS_STATUS_ID,
    ROWS_STATUS_SCHEMA,
    ROWS_STATUS_VERSION,
    ROWS_STATUS_NAME,
    ROWS_STATUS_CONNECTION,
    ROWS_STATUS_BACKEND,
    ROWS_STATUS_LISTED,
    ROWS_STATUS_LISTED_ERROR,
    ROWS_STATUS_CHECKSUM,
    ROWS_STATUS_EXECUTIONS,
    ROWS_STATUS_APPLIED_EXECUTIONS,
    ROWS_STATUS_APPLIED_AT,
    ROWS_STATUS_DECLARED,
    ROWS_STATUS_DECLARED_APPLIED,
    ROWS_STATUS_DECLARED_APPLIED_AT,
    ROWS_STATUS_NEWEST,
    ROWS_STATUS_NEWEST_ERROR,
};

enum {
    ROWS_COLUMNS_MAX = 17,
};

/* A result that grows. A text equal to that of the row before is kept once. */
struct rows {
    struct arena *arena;
    const struct rows_source *source;
    size_t cap;
    const char *last[ROWS_COLUMNS_MAX];
    bool failed;
};

void rows_init(struct rows *rows, struct arena *arena, const struct rows_source *source);
/* Each adds the source's current row. Returns 0 or ERR_NOMEM. */
int rows_add_execution(struct rows *rows, struct store_executions *out);
int rows_add_event(struct rows *rows, struct store_event_rows *out);
int rows_add_status(struct rows *rows, struct store_statuses *out);

/* By (schema, connection, migration), each row once. */
void rows_order_executions(struct store_executions *executions);

#endif
