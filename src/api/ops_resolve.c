#include "api/ops_resolve.h"

#include <string.h>

#include "base/utf8.h"

enum {
    RESOLVE_ID_MAX = 2 * MIGRATION_ID_MAX + 2, /* longer ones cannot stand for anything */
    RESOLVE_ROWS_PER_TURN = 5000,
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

static bool match_is_proven(const struct ids_match *match)
{
    return !match->unproven || strcmp(match->schema, match->migration->schema) == 0;
}

/* The schema that has to be seen; NULL where only rows tell which one it is, or there is none. */
static const char *match_schema(const struct ids_match *match)
{
    if (match->normalized && !match_is_proven(match))
        return NULL;
    return schema_judged(match->migration, match->schema);
}

/* What the grant does not see counts as little as what is not there. It is refused only where the
 * ID names the place anyway. */
static bool resolve_sees(struct ops_resolve *resolve, const struct ids_match *match)
{
    bool names_place = match->form == IDS_BASE || match->form == IDS_SCHEMA_SPECIFIC;

    if (grant_sees(resolve->grant, match->migration->connection, match_schema(match)))
        return true;
    if (names_place && resolve->refused == NULL)
        resolve->refused = match;
    return false;
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

/* Whether a row is of the schema that a match only supposes. */
static int resolve_take_row(struct ops_resolve *resolve, const struct ids_match *match,
                            const char *schema, struct arena *scratch, struct err *err)
{
    const char *compared = schema;
    char *kept;

    if (match->normalized)
        compared = ids_normalize_schema(scratch, schema);
    if (compared == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    if (strcmp(compared, match->schema) != 0 || !grant_sees(resolve->grant, NULL, schema))
        return 0;
    kept = arena_strdup(&resolve->arena, schema);
    if (kept == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    return resolve_take(resolve, match, kept, err);
}

/* A turn's worth of rows: a migration may have been applied in 100,000 schemas. */
static int resolve_take_rows(struct ops_resolve *resolve, struct err *err)
{
    const struct ids_match *match = &resolve->matches.items[resolve->at];
    size_t left = resolve->rows.count - resolve->row_at;
    size_t end = resolve->row_at + (left < RESOLVE_ROWS_PER_TURN ? left : RESOLVE_ROWS_PER_TURN);
    struct arena scratch;
    int rc = 0;

    arena_init(&scratch);
    for (; resolve->row_at < end && rc == 0; resolve->row_at++)
        rc = resolve_take_row(resolve, match, resolve->rows.rows[resolve->row_at].schema, &scratch,
                              err);
    arena_free(&scratch);
    return rc;
}

static void resolve_look_at_rows(struct ops_resolve *resolve)
{
    struct err err = {0};
    int rc = resolve_take_rows(resolve, &err);

    if (rc == 0 && resolve->row_at < resolve->rows.count) {
        sched_defer(loop_sched(resolve->ops->loop), &resolve->task);
        return;
    }
    arena_free(&resolve->rows.arena);
    resolve->rows.count = 0;
    resolve->row_at = 0;
    resolve->at++;
    if (rc != 0)
        op_fail(resolve->op, &err);
    else
        resolve_advance(resolve);
}

static int resolve_take_status(struct ops_resolve *resolve, struct err *err)
{
    const struct store_status *row = resolve->statuses.rows;

    if (resolve->statuses.count == 0)
        return 0;
    resolve->found = true;
    resolve->recorded = row;
    resolve->migration_id = row->migration_id;
    return grant_check_place(resolve->grant, row->connection, row->schema, err);
}

static void resolve_on_step(struct op *step, int rc)
{
    struct ops_resolve *resolve = container_of(step, struct ops_resolve, step);
    struct err err;

    if (rc != 0) {
        op_fail(resolve->op, &step->err);
    } else if (resolve->asked_state) {
        if (resolve_take_status(resolve, &err) != 0)
            op_fail(resolve->op, &err);
        else
            resolve_advance(resolve);
    } else {
        resolve_look_at_rows(resolve);
    }
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

        if (!resolve_sees(resolve, match))
            continue;
        if (!match_is_proven(match)) {
            rc = store->ops->get_executions(store, &resolve->step, match->migration->id, NULL,
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
    if (!resolve->found && resolve->refused != NULL) {
        (void)grant_check_place(resolve->grant, resolve->refused->migration->connection,
                                match_schema(resolve->refused), &err);
        op_fail(resolve->op, &err);
        return;
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
    struct ops_resolve *resolve = container_of(task, struct ops_resolve, task);

    if (resolve->rows.count > 0)
        resolve_look_at_rows(resolve);
    else
        resolve_advance(resolve);
}

static void resolve_cancel(struct op *op)
{
    struct ops_resolve *resolve = op->impl;

    op_cancel(&resolve->step);
}

int ops_resolve_start(struct ops *ops, struct op *op, const char *id, const struct grant *grant,
                      struct ops_resolve *resolve)
{
    size_t len = strlen(id);

    *resolve = (struct ops_resolve){.ops = ops, .op = op, .id = id, .grant = grant};
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
