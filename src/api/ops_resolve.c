#include "api/ops_resolve.h"

#include <string.h>

#include "base/utf8.h"

enum {
    RESOLVE_ID_MAX = 2 * MIGRATION_ID_MAX + 2, /* longer ones cannot stand for anything */
};

static void resolve_advance(struct ops_resolve *resolve);

static bool text_equal(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static const char *schema_judged(const struct migration *migration, const char *schema)
{
    return schema == NULL && migration_is_fixed(migration) ? migration->schema : schema;
}

const char *ops_resolve_schema(const struct ops_resolve *resolve)
{
    if (resolve->migration == NULL)
        return resolve->schema;
    return schema_judged(resolve->migration, resolve->schema);
}

static bool match_is_proven(const struct ids_match *match)
{
    return !match->unproven || strcmp(match->schema, match->migration->schema) == 0;
}

/* Adds one meaning; the second different one makes the ID ambiguous. */
static int resolve_take(struct ops_resolve *resolve, const struct ids_match *match,
                        const char *schema, struct err *err)
{
    if (!resolve->found) {
        resolve->found = true;
        resolve->migration = match->migration;
        resolve->migration_id = match->migration->id;
        resolve->schema = schema;
        return 0;
    }
    if (resolve->migration == match->migration &&
        text_equal(schema_judged(match->migration, resolve->schema),
                   schema_judged(match->migration, schema)))
        return 0;
    return err_set(err, ERR_AMBIGUOUS, "ambiguous migration id: %.300s (%.200s or %.200s)",
                   resolve->id, resolve->migration_id, match->migration->id);
}

/* Whether something was recorded for the schema that a match only supposes. */
static int resolve_take_recorded(struct ops_resolve *resolve, struct err *err)
{
    const struct ids_match *match = &resolve->matches.items[resolve->at];
    int rc = 0;

    for (size_t i = 0; i < resolve->rows.count && rc == 0; i++) {
        char *schema = arena_strdup(&resolve->arena, resolve->rows.rows[i].schema);
        char *compared = schema;

        if (schema != NULL && match->normalized)
            compared = ids_normalize_schema(&resolve->arena, schema);
        if (compared == NULL)
            return err_set(err, ERR_NOMEM, "out of memory");
        if (strcmp(compared, match->schema) == 0)
            rc = resolve_take(resolve, match, schema, err);
    }
    return rc;
}

static void resolve_take_status(struct ops_resolve *resolve)
{
    const struct store_status *row = resolve->statuses.rows;

    if (resolve->statuses.count == 0)
        return;
    resolve->found = true;
    resolve->recorded = row;
    resolve->migration_id = row->migration_id;
}

static void resolve_on_step(struct op *step, int rc)
{
    struct ops_resolve *resolve = container_of(step, struct ops_resolve, step);
    struct err err = {0};

    if (rc != 0) {
        op_fail(resolve->op, &step->err);
        return;
    }
    if (resolve->asked_state) {
        resolve_take_status(resolve);
    } else {
        rc = resolve_take_recorded(resolve, &err);
        arena_free(&resolve->rows.arena);
        resolve->rows.count = 0;
        resolve->at++;
    }
    if (rc != 0)
        op_fail(resolve->op, &err);
    else
        resolve_advance(resolve);
}

/* Looks at one match after the other; the state database is asked only where an ID leaves it open.
 */
static void resolve_advance(struct ops_resolve *resolve)
{
    struct store *store = resolve->ops->store;
    struct err err;
    int rc;

    for (; resolve->at < resolve->matches.count; resolve->at++) {
        const struct ids_match *match = &resolve->matches.items[resolve->at];

        if (!match_is_proven(match)) {
            rc = store->ops->get_executions(store, &resolve->step, match->migration->id,
                                            OPS_ROWS_MAX, &resolve->rows);
            if (rc != 0)
                op_fail(resolve->op, &resolve->step.err);
            return;
        }
        if (resolve_take(resolve, match, match->schema, &err) != 0) {
            op_fail(resolve->op, &err);
            return;
        }
    }
    if (!resolve->found && !resolve->asked_state && strlen(resolve->id) <= MIGRATION_ID_MAX) {
        resolve->asked_state = true;
        rc = store->ops->get_statuses(store, &resolve->step, resolve->id, &resolve->statuses);
        if (rc != 0)
            op_fail(resolve->op, &resolve->step.err);
        return;
    }
    op_finish(resolve->op, 0);
}

static void resolve_on_task(struct task *task)
{
    resolve_advance(container_of(task, struct ops_resolve, task));
}

static void resolve_cancel(struct op *op)
{
    struct ops_resolve *resolve = op->impl;

    op_cancel(&resolve->step);
}

int ops_resolve_start(struct ops *ops, struct op *op, const char *id, struct ops_resolve *resolve)
{
    size_t len = strlen(id);

    *resolve = (struct ops_resolve){.ops = ops, .op = op, .id = id};
    arena_init(&resolve->arena);
    op_init(&resolve->step, resolve_on_step);
    resolve->task.run = resolve_on_task;
    resolve->registry = registry_ref(ops->engine->registry);
    if (len > RESOLVE_ID_MAX || !utf8_is_valid(id, len)) {
        resolve->asked_state = true; /* nothing can be known by such a name */
    } else if (ids_resolve(resolve->registry, id, &resolve->arena, &resolve->matches) != 0) {
        ops_resolve_free(resolve);
        return op_refuse(op, ERR_NOMEM, "out of memory");
    }
    op_begin(op, resolve, resolve_cancel);
    sched_defer(loop_sched(ops->loop), &resolve->task);
    return 0;
}

void ops_resolve_free(struct ops_resolve *resolve)
{
    arena_free(&resolve->statuses.arena);
    arena_free(&resolve->rows.arena);
    arena_free(&resolve->arena);
    registry_unref(resolve->registry);
    *resolve = (struct ops_resolve){0};
}
