#ifndef BFM_STORE_STATUS_H
#define BFM_STORE_STATUS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What the tables say about one base ID, and what that means. Older servers write to the same
 * tables and leave them contradicting each other (bfm-api.md §6.3, §7): executions win over
 * history, history wins over the list.
 */
struct status_facts {
    bool fixed;                 /* the list row declares a schema */
    const char *listed;         /* status of the list row; NULL as any below */
    const char *listed_error;   /* its error_message */
    int64_t executions;         /* rows in migrations_executions, all schemas */
    int64_t applied_executions; /* of them applied */
    int64_t applied_at_us;      /* newest of those */
    const char *declared;       /* fixed: status of the execution in the declared schema */
    bool declared_applied;      /* and whether it is applied */
    int64_t declared_applied_at_us;
    const char *newest; /* status of the newest terminal history row, where looked up */
    const char *newest_error;
};

struct status_verdict {
    const char *status;
    bool applied;
    int64_t applied_at_us;
    const char *error; /* never NULL */
    int64_t schemas_applied;
};

/* "applied" for "success"; "pending" for NULL and anything unknown. A constant string. */
const char *status_normalize(const char *status);

void status_judge(const struct status_facts *facts, struct status_verdict *verdict);

#endif
