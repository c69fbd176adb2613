/* What depends on the migration that is undone (bfm-api.md §6.3): for the whole run before it
 * starts, and once more for each lane behind its lock. */
#include <string.h>

#include "base/mem.h"
#include "migrate/place.h"
#include "migrate/run_internal.h"

/* Notes the schema of the lane that asked for none, and whether a fixed migration is undone where
 * it is declared: then rows of any schema may depend on it. */
static void undo_note_schemas(struct run_full *run)
{
    const struct migration *migration = run->request.migration;

    for (size_t i = 0; i < run->pub.lane_count; i++) {
        const char *requested = run->pub.lanes[i].requested;
        const char *schema = run_effective_schema(run, &run->graph.nodes[0], requested);

        if (requested == NULL)
            run->own_schema = schema;
        if (schema != NULL && migration_is_fixed(migration) &&
            strcmp(migration->schema, schema) == 0)
            run->undoes_declared = true;
    }
}

int run_find_dependents(struct run_full *run)
{
    int rc;

    undo_note_schemas(run);
    if (run->request.ignore_dependencies)
        return 0;
    rc = plan_dependents(run->registry, run->request.migration, &run->arena, &run->dependents,
                         &run->dependent_count);
    for (size_t i = 0; i < run->dependent_count && rc == 0; i++)
        rc = map_put_str(&run->dependent_by_id, run->dependents[i].migration->id,
                         (void *)(uintptr_t)&run->dependents[i]);
    return rc;
}

/* Whether `other` would do for the dependent in place of what is undone. */
static bool undo_is_choice(const struct run_full *run, const struct plan_dependent *dependent,
                           const struct migration *other)
{
    return other != run->request.migration && other != dependent->migration;
}

bool run_dependent_has_choice(const struct run_full *run)
{
    const struct plan_dependent *dependent = &run->dependents[run->dependent_at];

    for (size_t i = 0; i < dependent->other_count; i++)
        if (undo_is_choice(run, dependent, dependent->others[i]))
            return true;
    return false;
}

/* --- before the run: one dependent after another, in every schema that a lane has --- */

static bool undo_is_blocked_by(const struct run_full *run, const struct migration *dependent,
                               const struct store_execution *row)
{
    if (!row->applied || strcmp(row->connection, dependent->connection) != 0)
        return false;
    return run->undoes_declared || map_get_str(&run->lane_by_schema, row->schema) != NULL ||
           (run->own_schema != NULL && strcmp(run->own_schema, row->schema) == 0);
}

bool run_check_dependent(struct run_full *run)
{
    const struct migration *dependent = run->dependents[run->dependent_at].migration;
    size_t end = run->dependent_row + RUN_ROWS_PER_SLICE;

    for (; run->dependent_row < run->dependent_rows.count; run->dependent_row++) {
        const struct store_execution *row = &run->dependent_rows.rows[run->dependent_row];

        if (run->dependent_row == end)
            return false;
        if (!undo_is_blocked_by(run, dependent, row))
            continue;
        if (run->blockers.len > 0)
            buf_puts(&run->blockers, ", ");
        buf_puts(&run->blockers, dependent->id);
        if (strcmp(dependent->connection, run->request.migration->connection) == 0)
            buf_printf(&run->blockers, " (schema %s)", row->schema);
        return true;
    }
    return true;
}

/* --- behind the lock: one schema, all dependents --- */

/* NULL: rows of any schema count. */
static const char *undo_schema_of_rows(const struct run_full *run, const char *schema)
{
    const struct migration *migration = run->request.migration;
    bool is_declared = migration_is_fixed(migration) && strcmp(migration->schema, schema) == 0;

    return is_declared ? NULL : schema;
}

static const char *undo_schema_of_choice(const struct migration *other, const char *schema)
{
    return migration_is_fixed(other) ? other->schema : schema;
}

int run_list_undo_places(const struct run_full *run, const char *schema, struct store_place **out,
                         size_t *count)
{
    const char *of_rows = undo_schema_of_rows(run, schema);
    struct store_place *places;
    size_t most = 0, n = 0;

    for (size_t i = 0; i < run->dependent_count; i++)
        most += 1 + run->dependents[i].other_count;
    places = mem_calloc(most, sizeof(*places));
    if (places == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < run->dependent_count; i++) {
        const struct plan_dependent *dependent = &run->dependents[i];

        places[n++] = (struct store_place){dependent->migration->id, of_rows};
        for (size_t j = 0; j < dependent->other_count; j++)
            if (undo_is_choice(run, dependent, dependent->others[j]))
                places[n++] = (struct store_place){
                    dependent->others[j]->id, undo_schema_of_choice(dependent->others[j], of_rows)};
    }
    *out = places;
    *count = n;
    return 0;
}

/* What stands there: (id, schema) -> the row that counts most, which is that of somebody at work.
 */
struct undo_index {
    struct map rows;
    struct arena keys;
};

static int undo_index_rows(struct undo_index *index, const struct run_full *run,
                           const struct store_standings *seen)
{
    for (size_t i = 0; i < seen->count; i++) {
        struct store_standing *row = &seen->rows[i];
        size_t len;
        const char *key = place_key(&index->keys, row->migration_id, row->schema, &len);

        if (key == NULL)
            return ERR_NOMEM;
        if (!row->applied && !run_is_at_work(run, row))
            continue;
        if (row->applied && map_get(&index->rows, key, len) != NULL)
            continue;
        if (map_put(&index->rows, key, len, row) != 0)
            return ERR_NOMEM;
    }
    return 0;
}

/* Whether another migration holds the dependent up in the row's schema, and nobody touches it. */
static bool undo_has_substitute(struct undo_index *index, const struct run_full *run,
                                const struct plan_dependent *dependent, const char *schema)
{
    for (size_t i = 0; i < dependent->other_count; i++) {
        const struct migration *other = dependent->others[i];
        const struct store_standing *row;
        size_t len;
        const char *key;

        if (!undo_is_choice(run, dependent, other))
            continue;
        key = place_key(&index->keys, other->id, undo_schema_of_choice(other, schema), &len);
        row = key != NULL ? map_get(&index->rows, key, len) : NULL;
        if (row != NULL && row->applied)
            return true;
    }
    return false;
}

/* What is refused here is on record for everybody who sees `schema`: no other one is named. */
static int undo_refuse(const struct run_full *run, const char *schema,
                       const struct store_standing *row, struct err *err)
{
    bool is_same = strcmp(row->schema, schema) == 0;
    const char *word = is_same ? "schema " : "another schema";
    const char *name = is_same ? row->schema : "";

    if (row->applied)
        return err_set(
            err, ERR_CONFLICT,
            "applied migrations depend on %s: %s (%s%s); undo them first or set ignore_dependencies",
            run->request.migration->id, row->migration_id, word, name);
    return err_set(err, ERR_CONFLICT,
                   "%s, which depends on %s, is being run in %s%s; try again when that has ended",
                   row->migration_id, run->request.migration->id, word, name);
}

static int undo_judge_row(struct undo_index *index, const struct run_full *run, const char *schema,
                          const struct store_standing *row, struct err *err)
{
    const char *of_rows = undo_schema_of_rows(run, schema);
    const struct plan_dependent *dependent = map_get_str(&run->dependent_by_id, row->migration_id);

    if (dependent == NULL || strcmp(row->connection, dependent->migration->connection) != 0 ||
        (of_rows != NULL && strcmp(of_rows, row->schema) != 0))
        return 0;
    if (!row->applied && !run_is_at_work(run, row))
        return 0;
    if (undo_has_substitute(index, run, dependent, row->schema))
        return 0;
    return undo_refuse(run, schema, row, err);
}

int run_judge_undo(const struct run_full *run, const char *schema,
                   const struct store_standings *seen, struct err *err)
{
    struct undo_index index;
    int rc;

    map_init(&index.rows);
    arena_init(&index.keys);
    rc = undo_index_rows(&index, run, seen);
    if (rc != 0)
        err_set(err, rc, "%s", err_code_text(rc));
    for (size_t i = 0; i < seen->count && rc == 0; i++)
        rc = undo_judge_row(&index, run, schema, &seen->rows[i], err);
    map_free(&index.rows);
    arena_free(&index.keys);
    return rc;
}
