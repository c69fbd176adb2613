/* Whether whoever asked for a run may touch every place that it can reach. */
#include <string.h>

#include "migrate/run_internal.h"

static int run_check_place(struct run_full *run, const char *connection, const char *schema,
                           struct err *err)
{
    return run->request.may_touch(run->request.may_touch_arg, connection, schema, err);
}

/* The connections of all migrations, and the schemas that are looked up for them: those that steps
 * would run in. A migration without a schema is refused by its lane. */
int run_check_places(struct run_full *run, struct err *err)
{
    const char *last = NULL;
    int rc = 0;

    if (run->request.may_touch == NULL)
        return 0;
    for (size_t i = 0; i < run->graph.count && rc == 0; i++) {
        const char *connection = run->graph.nodes[i].migration->connection;

        if (last != NULL && strcmp(last, connection) == 0)
            continue; /* as it is in long rows: a large run would keep the loop otherwise */
        rc = run_check_place(run, connection, "", err);
        last = connection;
    }
    for (size_t i = 0; i < run->scope_count && rc == 0; i++) {
        const struct store_scope *scope = &run->scopes[i];

        for (size_t at = 0; at < scope->schema_count && rc == 0; at++)
            rc = run_check_place(run, scope->connection, scope->schemas[at], err);
    }
    run->request.may_touch = NULL; /* what its argument points to may go now */
    return rc;
}
