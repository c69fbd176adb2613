/* What the journal has and the executions do not say, and the other way round. */
#include <string.h>

#include "base/clock.h"
#include "migrate/place.h"
#include "migrate/reconcile_internal.h"

static const struct store_caller reconcile_caller = {
    .executed_by = "bfm-server",
    .execution_method = "reconcile",
    .execution_context = "{\"source\":\"journal\"}",
};

int reconcile_index_state(struct reconcile_full *rec, bool *more)
{
    size_t end = rec->state_at + RECONCILE_ROWS_PER_SLICE;

    for (; rec->state_at < rec->state.count && rec->state_at < end; rec->state_at++) {
        struct store_execution *row = &rec->state.rows[rec->state_at];
        size_t len;
        char *key = place_key(&rec->keys, row->migration_id, row->schema, &len);

        if (key == NULL || map_put(&rec->by_key, key, len, row) != 0)
            return ERR_NOMEM;
    }
    *more = rec->state_at < rec->state.count;
    return 0;
}

struct store_record *reconcile_add(struct reconcile_full *rec, const char *id, const char *schema)
{
    const struct migration *migration = registry_find(rec->registry, id);
    struct store_record *record = &rec->records[rec->record_count];

    if (migration == NULL) {
        reconcile_target(rec)->unknown++;
        return NULL;
    }
    if (strcmp(migration->connection, reconcile_target(rec)->connection) != 0)
        return NULL;
    if (!lock_try(&rec->engine->locks, &rec->locks[rec->record_count], migration->id, schema,
                  LOCK_ALONE)) {
        reconcile_target(rec)->left++;
        return NULL;
    }
    rec->places[rec->record_count] = (struct store_place){migration->id, schema};
    rec->record_count++;
    *record = (struct store_record){
        .migration = migration,
        .schema = schema,
        .caller = &reconcile_caller,
        .run_id = "",
        .at_us = clock_wall_us(),
    };
    return record;
}

/* A script that is being undone counts as the one that is there now. */
static void compare_set_checksum(struct reconcile_full *rec, struct backend_journal_row *row)
{
    const struct migration *migration = registry_find(rec->registry, row->migration_id);

    if (row->checksum[0] == '\0' && migration != NULL)
        row->checksum = migration->up.checksum;
}

static int compare_row(struct reconcile_full *rec, struct backend_journal_row *row)
{
    struct store_record *record = NULL;
    size_t len;
    char *key;

    if (!row->complete)
        return 0;
    compare_set_checksum(rec, row);
    key = place_key(&rec->page.arena, row->migration_id, row->schema, &len);
    if (key == NULL)
        return ERR_NOMEM;
    reconcile_target(rec)->checked++;
    if (map_remove(&rec->by_key, key, len) == NULL)
        record = reconcile_add(rec, row->migration_id, row->schema);
    reconcile_note_journal(rec, key, len, row, record != NULL);
    if (record == NULL)
        return 0;
    record->event = STORE_FOUND_APPLIED;
    record->run_id = row->run_id;
    record->checksum = row->checksum;
    record->at_us = row->applied_at_us;
    return 0;
}

int reconcile_compare_page(struct reconcile_full *rec)
{
    int rc = 0;

    for (size_t i = 0; i < rec->page.count && rc == 0; i++)
        rc = compare_row(rec, &rec->page.rows[i]);
    return rc;
}

/* State rows without a journal row: ours were undone behind our back. Those of older servers, which
 * never had one, are taken over; they also are if a server died between the journal and the state.
 */
int reconcile_collect_orphans(struct reconcile_full *rec, struct backend *backend, bool *more)
{
    size_t end = rec->state_at + RECONCILE_ROWS_PER_SLICE;

    for (; rec->state_at < rec->state.count && rec->state_at < end &&
           rec->record_count < RECONCILE_PAGE && !reconcile_adoptions_are_full(rec);
         rec->state_at++) {
        const struct store_execution *row = &rec->state.rows[rec->state_at];
        struct store_record *record;
        size_t len;
        char *key = place_key(&rec->page.arena, row->migration_id, row->schema, &len);

        if (key == NULL)
            return ERR_NOMEM;
        if (row->checksum[0] == '\0' && reconcile_add_adoption(rec, backend, row) != 0)
            return ERR_NOMEM;
        if (map_get(&rec->by_key, key, len) == NULL)
            continue;
        reconcile_target(rec)->checked++;
        if (row->checksum[0] == '\0')
            continue;
        record = reconcile_add(rec, row->migration_id, row->schema);
        if (record == NULL)
            continue;
        record->event = STORE_FOUND_NOT_APPLIED;
        record->run_id = reconcile_settle_undo(rec, key, len);
    }
    *more = rec->state_at < rec->state.count;
    return 0;
}

/* Whether the state says by now what the record would make it say. */
static bool is_made(const struct store_record *record, bool is_applied)
{
    switch (record->event) {
    case STORE_FOUND_APPLIED:
        return is_applied;
    case STORE_FOUND_NOT_APPLIED:
        return !is_applied;
    default:
        return false;
    }
}

int reconcile_drop_repaired(struct reconcile_full *rec)
{
    size_t kept = 0;
    struct map applied;
    int rc;

    map_init(&applied);
    rc = place_index_applied(&rec->seen, &applied);
    for (size_t i = 0; i < rec->record_count && rc == 0; i++) {
        struct store_record *record = &rec->records[i];
        size_t len;
        char *key = place_key(&rec->seen.arena, record->migration->id, record->schema, &len);

        if (key == NULL) {
            rc = ERR_NOMEM;
        } else if (is_made(record, map_get(&applied, key, len) != NULL)) {
            lock_release(&rec->locks[i], LOCK_NEWS_NONE);
        } else {
            if (kept < i) {
                rec->records[kept] = *record;
                lock_move(&rec->locks[kept], &rec->locks[i]);
            }
            kept++;
        }
    }
    map_free(&applied);
    if (rc == 0)
        rec->record_count = kept;
    return rc;
}
