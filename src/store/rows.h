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

enum rows_standing_column {
    ROWS_STANDING_ID,
    ROWS_STANDING_SCHEMA,
    ROWS_STANDING_CONNECTION,
    ROWS_STANDING_APPLIED, /* 0 or 1 */
    ROWS_STANDING_HISTORY,
    ROWS_STANDING_RUN,
    ROWS_STANDING_SINCE,
    ROWS_STANDING_OWNER, /* status of the run's row */
};

enum rows_run_column {
    ROWS_RUN_ID,
    ROWS_RUN_KIND,
    ROWS_RUN_CONNECTION,
    ROWS_RUN_STATUS,
    ROWS_RUN_REQUEST,
    ROWS_RUN_BY,
    ROWS_RUN_METHOD,
    ROWS_RUN_CONTEXT,
    ROWS_RUN_SERVER,
    ROWS_RUN_RETRY_OF,
    ROWS_RUN_ERROR,
    ROWS_RUN_LANES,
    ROWS_RUN_LANES_FAILED,
    ROWS_RUN_APPLIED,
    ROWS_RUN_SKIPPED,
    ROWS_RUN_FAILED,
    ROWS_RUN_NOT_RUN,
    ROWS_RUN_STARTED_AT,
    ROWS_RUN_ENDED_AT,
};

enum rows_lane_column {
    ROWS_LANE_NUMBER,
    ROWS_LANE_SCHEMA,
    ROWS_LANE_FAILED,
    ROWS_LANE_ERROR,
    ROWS_LANE_APPLIED,
    ROWS_LANE_SKIPPED,
    ROWS_LANE_FAILED_STEPS,
    ROWS_LANE_NOT_RUN,
    ROWS_LANE_DURATION,
};

enum rows_step_column {
    ROWS_STEP_NUMBER,
    ROWS_STEP_ID,
    ROWS_STEP_SCHEMA,
    ROWS_STEP_VERSION,
    ROWS_STEP_CONNECTION,
    ROWS_STEP_BACKEND,
    ROWS_STEP_STATUS,
    ROWS_STEP_ERROR,
    ROWS_STEP_ATTEMPTS,
    ROWS_STEP_DURATION,
    ROWS_STEP_AT,       /* of the newest row */
    ROWS_STEP_BEGUN_AT, /* of the row that says that it starts */
};

enum rows_tenant_column {
    ROWS_TENANT_SCHEMA,
    ROWS_TENANT_VERSION,
    ROWS_TENANT_APPLIED,
    ROWS_TENANT_COUNTED,
    ROWS_TENANT_FAILED,
    ROWS_TENANT_LAST_RUN,
};

enum rows_ledger_column {
    ROWS_LEDGER_CONNECTION,
    ROWS_LEDGER_SCHEMA,
    ROWS_LEDGER_ID,
    ROWS_LEDGER_CHECKSUM,
    ROWS_LEDGER_RUN,
    ROWS_LEDGER_UNDO, /* these three 0 or 1 */
    ROWS_LEDGER_COMPLETE,
    ROWS_LEDGER_STARTED,
    ROWS_LEDGER_DONE,
    ROWS_LEDGER_APPLIED_AT,
    ROWS_LEDGER_REVISION,
};

enum {
    ROWS_COLUMNS_MAX = 19,
};

/* A result that grows. A text equal to that of the row before is kept once. */
struct rows {
    struct arena *arena;
    struct rows_source source;
    size_t cap;
    const char *last[ROWS_COLUMNS_MAX];
    bool failed;
};

void rows_init(struct rows *rows, struct arena *arena, const struct rows_source *source);
/* Each adds the source's current row. Returns 0 or ERR_NOMEM. */
int rows_add_execution(struct rows *rows, struct store_executions *out);
int rows_add_event(struct rows *rows, struct store_event_rows *out);
int rows_add_standing(struct rows *rows, struct store_standings *out);
int rows_add_status(struct rows *rows, struct store_statuses *out);

int rows_add_run(struct rows *rows, struct store_runs *out);
int rows_add_lane(struct rows *rows, struct store_run_lanes *out);
int rows_add_step(struct rows *rows, struct store_run_steps *out);
int rows_add_tenant(struct rows *rows, struct store_tenants *out);
int rows_add_ledger(struct rows *rows, struct ledger_rows *out);

/* For those functions: one more item of `size` bytes, zeroed and counted, in the array that
 * `*(T **)array` is (NULL when memory is out); cells of the current row, texts kept in the arena;
 * and what to return, as texts may have failed. */
void *rows_push(struct rows *rows, void *array, size_t *count, size_t size);
int rows_rc(const struct rows *rows);
const char *rows_text(struct rows *rows, int column);
int64_t rows_integer(struct rows *rows, int column);

/* By (schema, connection, migration), each row once. */
void rows_order_executions(struct store_executions *executions);
/* Newest first, each once, at most `limit`. */
void rows_order_runs(struct store_runs *runs, size_t limit);

#endif
