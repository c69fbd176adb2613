#ifndef BFM_API_OPS_REQUEST_H
#define BFM_API_OPS_REQUEST_H

#include "api/ops_run.h"
#include "base/buf.h"

/*
 * The JSON object that is recorded of a run's request (store_run.request), enough to ask again:
 *   up, migrate     {"connection","target":{...},"schemas":[...],"ignore_dependencies"}
 *   down, rollback  {"migration_id","schemas":[...],"ignore_dependencies"}
 * and, where they were asked for, "max_failures" and "schemas_from" (the schemas are those found).
 */
void ops_request_put(const struct run_request *request, struct buf *out);

/* The names of kinds, as recorded. */
const char *ops_run_kind_name(enum ops_run_kind kind);
bool ops_run_kind_parse(const char *name, enum ops_run_kind *kind);

/* What was recorded, read back. Strings live in `arena`. ERR_INVALID or ERR_NOMEM. */
struct ops_recorded {
    enum ops_run_kind kind;
    struct plan_filter target;
    const char *connection, *migration_id;
    const char *const *schemas;
    size_t schema_count;
    bool ignore_dependencies;
    bool no_lone_lane;
    struct ops_failures failures;
};
int ops_request_read(const struct store_run *run, struct arena *arena, struct ops_recorded *out,
                     struct err *err);

#endif
