#include "api/ops_lookup.h"

#include <string.h>

/*
 * resolve --found--> first read --state of one schema, from its rows--> history, for the error
 *    |                   |                                             |
 *    +-----------------> done <----------------------------------------+
 */
enum {
    LOOKUP_RESOLVING,
    LOOKUP_FIRST,
    LOOKUP_ERRORS,
};

/* Whether rows are passed over. */
static bool lookup_is_sieved(const struct ops_lookup *lookup)
{
    return lookup->resolve.schema != NULL || grant_is_limited(lookup->request.grant);
}

/* One more than the page tells whether there is another. Where some are passed over nobody knows
 * how many it takes. */
static size_t lookup_rows_wanted(const struct ops_lookup *lookup)
{
    const struct ops_lookup_request *request = &lookup->request;

    if (!lookup_is_sieved(lookup))
        return request->limit + request->paged;
    return request->paged ? OPS_LIMIT_MAX + 1 : OPS_ROWS_MAX;
}

/* The schema whose own rows tell the state; NULL where the store's summary does: an ID without a
 * schema, or with the declared one. */
static const char *lookup_row_schema(const struct ops_lookup *lookup)
{
    const struct migration *migration = lookup->resolve.migration;
    const char *schema = lookup->resolve.schema;

    if (schema == NULL || (migration != NULL && strcmp(schema, migration->schema) == 0))
        return NULL;
    return schema;
}

/* Whether the state is to be summed up over the schemas that the grant sees: the store's summary of
 * a migration without a declared schema is about all of them. */
static bool lookup_is_summed(const struct ops_lookup *lookup)
{
    const struct ops_resolve *resolve = &lookup->resolve;
    const char *declared =
        resolve->migration != NULL ? resolve->migration->schema : resolve->recorded->schema;

    return grant_is_partial(lookup->request.grant) && lookup_row_schema(lookup) == NULL &&
           declared[0] == '\0';
}

static int lookup_read_first(struct ops_lookup *lookup)
{
    struct store *store = lookup->ops->store;
    const struct ops_place *from = &lookup->request.from;
    const struct store_cursor *after = from->after.migration_id != NULL ? &from->after : NULL;
    const char *id = lookup->resolve.migration_id;

    switch (lookup->request.kind) {
    case OPS_LOOKUP_STATE:
        if (lookup_row_schema(lookup) == NULL && !lookup_is_summed(lookup))
            return store->ops->get_statuses(store, &lookup->step, id, &lookup->statuses);
        return store->ops->get_executions(store, &lookup->step, id, NULL, OPS_ROWS_MAX,
                                          &lookup->executions);
    case OPS_LOOKUP_EXECUTIONS:
        return store->ops->get_executions(store, &lookup->step, id, after,
                                          lookup_rows_wanted(lookup), &lookup->executions);
    case OPS_LOOKUP_HISTORY:
        return store->ops->get_history(store, &lookup->step, id, from->before_id,
                                       lookup_rows_wanted(lookup), &lookup->events);
    case OPS_LOOKUP_SKIPPED:
        return store->ops->get_skipped(store, &lookup->step, id, from->before_id,
                                       lookup_rows_wanted(lookup), &lookup->events);
    }
    return op_refuse(&lookup->step, ERR_UNSUPPORTED, "unknown kind of look-up");
}

/* Leaves the executions that have the time of the last one to the next page, which then begins at
 * that time: no cursor names a row that was passed over. */
static void lookup_cut_executions(struct ops_lookup *lookup)
{
    const struct store_execution *rows = lookup->executions.rows;
    size_t end = lookup->end;

    lookup->resume_us = rows[end - 1].updated_at_us;
    while (end > 0 && rows[end - 1].updated_at_us == lookup->resume_us)
        end--;
    if (end > 0)
        lookup->end = end;
    else
        lookup->has_rest = lookup->resume_us-- > 0; /* the rest of one microsecond is left out */
}

/* A read that gave as many rows as it could may have left some. */
static void lookup_find_end(struct ops_lookup *lookup)
{
    bool is_executions = lookup->request.kind == OPS_LOOKUP_EXECUTIONS;
    size_t count = is_executions ? lookup->executions.count : lookup->events.count;

    lookup->end = count;
    lookup->has_rest = lookup->request.paged && count > 0 && count == lookup_rows_wanted(lookup);
    if (is_executions && lookup->has_rest && lookup_is_sieved(lookup))
        lookup_cut_executions(lookup);
}

static int lookup_read_errors(struct ops_lookup *lookup)
{
    struct store *store = lookup->ops->store;

    return store->ops->get_history(store, &lookup->step, lookup->resolve.migration_id, 0,
                                   OPS_ROWS_MAX, &lookup->events);
}

/* Does the next read; false: there is none. */
static bool lookup_advance(struct ops_lookup *lookup, int *rc)
{
    switch (lookup->stage++) {
    case LOOKUP_RESOLVING:
        if (!lookup->resolve.found)
            return false;
        *rc = lookup_read_first(lookup);
        return true;
    case LOOKUP_FIRST:
        lookup_find_end(lookup);
        if (lookup->request.kind != OPS_LOOKUP_STATE || lookup->executions.count == 0)
            return false;
        *rc = lookup_read_errors(lookup);
        return true;
    case LOOKUP_ERRORS:
        return false;
    }
    return false;
}

static void lookup_on_step(struct op *step, int rc)
{
    struct ops_lookup *lookup = container_of(step, struct ops_lookup, step);

    if (rc == 0 && !lookup_advance(lookup, &rc)) {
        op_finish(lookup->op, 0);
        return;
    }
    if (rc != 0)
        op_fail(lookup->op, &step->err);
}

static void lookup_cancel(struct op *op)
{
    struct ops_lookup *lookup = op->impl;

    op_cancel(&lookup->step);
}

int ops_lookup_start(struct ops *ops, struct op *op, const struct ops_lookup_request *request,
                     struct ops_lookup *lookup)
{
    int rc;

    *lookup =
        (struct ops_lookup){.request = *request, .ops = ops, .op = op, .left = request->limit};
    op_init(&lookup->step, lookup_on_step);
    if (request->id != NULL) {
        rc = ops_resolve_start(ops, &lookup->step, request->id, request->grant, &lookup->resolve);
    } else {
        lookup->resolve.registry = registry_ref(ops->engine->registry);
        lookup->stage = LOOKUP_FIRST;
        rc = lookup_read_first(lookup);
    }
    if (rc != 0) {
        op->err = lookup->step.err;
        ops_lookup_free(lookup);
        return rc;
    }
    op_begin(op, lookup, lookup_cancel);
    return 0;
}

void ops_lookup_free(struct ops_lookup *lookup)
{
    arena_free(&lookup->executions.arena);
    arena_free(&lookup->events.arena);
    arena_free(&lookup->statuses.arena);
    ops_resolve_free(&lookup->resolve);
    *lookup = (struct ops_lookup){0};
}

void ops_status_show(struct ops_status *status, const struct migration *migration,
                     const char *recorded_checksum)
{
    if (status->applied)
        status->status = "applied";
    if (migration == NULL)
        return;
    if (migration->invalid != NULL) {
        status->status = "invalid";
        status->error_message = migration->invalid;
    } else if (status->applied && recorded_checksum[0] != '\0' &&
               strcmp(recorded_checksum, migration->up.checksum) != 0) {
        status->status = "modified";
    }
}

/* The newest outcome in a schema, NULL if there is none. */
static const struct store_event_row *lookup_last_outcome(const struct ops_lookup *lookup,
                                                         const char *schema)
{
    for (size_t i = 0; i < lookup->events.count; i++) {
        const struct store_event_row *row = &lookup->events.rows[i];

        if (strcmp(row->schema, schema) == 0 && strcmp(row->status, "pending") != 0)
            return row;
    }
    return NULL;
}

/* What the rows of one schema say; an undo of an older server shows only in the history. */
static void lookup_judge_row(const struct ops_lookup *lookup, const struct store_execution *row,
                             struct ops_status *out)
{
    const struct store_event_row *last = lookup_last_outcome(lookup, row->schema);

    *out = (struct ops_status){row->status, row->applied, row->applied_at_us, ""};
    if (last == NULL)
        return;
    if (strcmp(last->status, "failed") == 0)
        out->error_message = last->error_message;
    if (!row->applied && strcmp(last->status, "rolled_back") == 0)
        out->status = "rolled_back";
}

/* Applied if it is in any schema that the grant sees, else what the newest row says. */
static const char *lookup_sum_up(const struct ops_lookup *lookup, struct ops_status *out)
{
    const char *checksum = "";
    bool found = false;

    for (size_t i = 0; i < lookup->executions.count && !out->applied; i++) {
        const struct store_execution *row = &lookup->executions.rows[i];

        if (!grant_sees(lookup->request.grant, row->connection, row->schema) ||
            (found && !row->applied))
            continue;
        lookup_judge_row(lookup, row, out);
        checksum = row->checksum;
        found = true;
    }
    return checksum;
}

void ops_lookup_status(const struct ops_lookup *lookup, struct ops_status *out)
{
    const char *schema = lookup_row_schema(lookup);
    const char *checksum = "";

    *out = (struct ops_status){.status = "pending", .error_message = ""};
    if (lookup->resolve.found && lookup_is_summed(lookup)) {
        checksum = lookup_sum_up(lookup, out);
    } else if (schema == NULL && lookup->statuses.count > 0) {
        const struct store_status *row = lookup->statuses.rows;

        *out =
            (struct ops_status){row->status, row->applied, row->applied_at_us, row->error_message};
        checksum = row->checksum;
    }
    for (size_t i = 0; schema != NULL && i < lookup->executions.count; i++) {
        const struct store_execution *row = &lookup->executions.rows[i];

        if (strcmp(row->schema, schema) != 0)
            continue;
        lookup_judge_row(lookup, row, out);
        checksum = row->checksum;
        break;
    }
    ops_status_show(out, lookup->resolve.migration, checksum);
}

static bool lookup_wants(const struct ops_lookup *lookup, const char *connection,
                         const char *schema)
{
    return grant_sees(lookup->request.grant, connection, schema) &&
           (lookup->resolve.schema == NULL || strcmp(lookup->resolve.schema, schema) == 0);
}

static bool lookup_has_ended(struct ops_lookup *lookup, size_t at)
{
    if (lookup->more)
        return true;
    if (at < lookup->end)
        return lookup->left == 0 && !lookup->request.paged;
    if (lookup->has_rest) {
        lookup->more = true;
        lookup->last = lookup->end - 1;
        lookup->is_cut = true;
    }
    return true;
}

/* What to do with the row at `at`; one that is wanted behind a full page shows that there are more.
 */
static enum ops_next lookup_judge(struct ops_lookup *lookup, size_t at, const char *connection,
                                  const char *schema)
{
    if (!lookup_wants(lookup, connection, schema))
        return OPS_NEXT_NONE;
    if (lookup->left == 0) {
        lookup->more = true;
        return OPS_NEXT_END;
    }
    lookup->left--;
    lookup->last = at;
    return OPS_NEXT_ITEM;
}

enum ops_next ops_lookup_next_execution(struct ops_lookup *lookup, size_t *at,
                                        const struct store_execution **out)
{
    const struct store_execution *row;

    if (lookup_has_ended(lookup, *at))
        return OPS_NEXT_END;
    row = &lookup->executions.rows[*at];
    *out = row;
    return lookup_judge(lookup, (*at)++, row->connection, row->schema);
}

enum ops_next ops_lookup_next_event(struct ops_lookup *lookup, size_t *at,
                                    const struct store_event_row **out)
{
    const struct store_event_row *row;

    if (lookup_has_ended(lookup, *at))
        return OPS_NEXT_END;
    row = &lookup->events.rows[*at];
    *out = row;
    return lookup_judge(lookup, (*at)++, row->connection, row->schema);
}

bool ops_lookup_next_place(const struct ops_lookup *lookup, struct ops_place *out)
{
    *out = (struct ops_place){0};
    if (!lookup->more)
        return false;
    if (lookup->request.kind == OPS_LOOKUP_EXECUTIONS) {
        const struct store_execution *row = &lookup->executions.rows[lookup->last];

        if (lookup->is_cut)
            out->after = (struct store_cursor){lookup->resume_us, "", ""};
        else
            out->after = (struct store_cursor){row->updated_at_us, row->schema, row->migration_id};
    } else {
        out->before_id = lookup->events.rows[lookup->last].id;
    }
    return true;
}

const char *ops_lookup_table(const struct ops_lookup *lookup, const char *migration_id)
{
    const struct migration *migration = registry_find(lookup->resolve.registry, migration_id);

    return migration != NULL ? migration->table : "";
}

int64_t ops_execution_id(const struct store_execution *row)
{
    uint64_t hash = HASH_FNV_START;

    hash = hash_fnv1a(hash, row->migration_id, strlen(row->migration_id) + 1);
    hash = hash_fnv1a(hash, row->schema, strlen(row->schema) + 1);
    hash = hash_fnv1a(hash, row->connection, strlen(row->connection));
    return (int64_t)(hash >> 11);
}

const char *ops_event_status(const struct store_event_row *row)
{
    return strcmp(row->status, "success") == 0 ? "applied" : row->status;
}
