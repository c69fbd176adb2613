#ifndef BFM_API_OPS_LOOKUP_H
#define BFM_API_OPS_LOOKUP_H

#include "api/ops_resolve.h"

/* What is recorded about one migration, or about all of them. */
enum ops_lookup_kind {
    OPS_LOOKUP_STATE, /* detail, status, applied */
    OPS_LOOKUP_HISTORY,
    OPS_LOOKUP_EXECUTIONS,
    OPS_LOOKUP_SKIPPED,
};

/* Behind which row a page begins; all zero: at the newest one. */
struct ops_place {
    int64_t before_id;         /* of history and skipped */
    struct store_cursor after; /* of executions; migration_id NULL: at the newest */
};

/* What is pointed to is borrowed until ops_lookup_free(). */
struct ops_lookup_request {
    enum ops_lookup_kind kind;
    const char *id; /* NULL: of all migrations */
    size_t limit;   /* of rows; with a schema-specific ID only those of its schema count */
    bool paged;     /* find out whether there are more. A page of rows that few can see may be
                       shorter than `limit`, and yet not the last one */
    struct ops_place from;
    const struct grant *grant;
};

/*
 * The reads of one ID (status, applied, detail, history, executions, skipped) and, with `id` NULL,
 * the recent executions and skips of all. An unknown ID is no failure: resolve.found is false then
 * and there are no rows.
 */
struct ops_lookup {
    struct ops_lookup_request request;
    struct ops_resolve resolve;

    /* private */
    struct ops *ops;
    struct op *op;
    struct op step;
    size_t left; /* rows that may still be given */
    size_t last; /* index of the row that was given last */
    bool more;
    bool is_cut;       /* the page ends where what was read ends, not behind a row that was given */
    bool has_rest;     /* behind what was read */
    size_t end;        /* of the rows that the page is made from */
    int64_t resume_us; /* where the executions begin that follow those */
    int stage;
    struct store_executions executions;
    struct store_event_rows events; /* history or skipped */
    struct store_statuses statuses;
};

/* The state of a migration for the schema of the ID, or summed over schemas where there is none. */
struct ops_status {
    const char *status; /* applied, failed, rolled_back, pending, invalid, modified */
    bool applied;
    int64_t applied_at_us;     /* 0: never */
    const char *error_message; /* "" if none */
};

/* Fails with ERR_FORBIDDEN when the grant does not see what the ID stands for; rows that it does
 * not see are passed over. */
int ops_lookup_start(struct ops *ops, struct op *op, const struct ops_lookup_request *request,
                     struct ops_lookup *lookup);
void ops_lookup_free(struct ops_lookup *lookup); /* zeroed memory is fine */

/* After OPS_LOOKUP_STATE. Unknown or never run: pending. */
void ops_lookup_status(const struct ops_lookup *lookup, struct ops_status *out);

/* Rows in order, newest first; *at starts at 0. NULL for a row that was passed over. */
enum ops_next ops_lookup_next_execution(struct ops_lookup *lookup, size_t *at,
                                        const struct store_execution **out);
enum ops_next ops_lookup_next_event(struct ops_lookup *lookup, size_t *at,
                                    const struct store_event_row **out);
/* After OPS_NEXT_END of a paged one: where the next page begins; false: this was the last. */
bool ops_lookup_next_place(const struct ops_lookup *lookup, struct ops_place *out);

/* The declared table of a row's migration, "" if it has none or is not known any more. */
const char *ops_lookup_table(const struct ops_lookup *lookup, const char *migration_id);

/* A number that stays the same for an execution: 53 bits, so that it survives JavaScript. */
int64_t ops_execution_id(const struct store_execution *row);

/* "success" of older servers is "applied". */
const char *ops_event_status(const struct store_event_row *row);

/* How a state is shown: `invalid` and `modified` come from the current script. */
void ops_status_show(struct ops_status *status, const struct migration *migration,
                     const char *recorded_checksum);

#endif
