#include "backend/greptimedb_private.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* Rows of the ledger, as values. */

void gtdb_row_take(struct gtdb_row *row, struct ledger_rows *rows)
{
    *row = (struct gtdb_row){.exists = false};
    if (rows->count > 0) {
        const struct ledger_row *from = &rows->rows[0];

        *row = (struct gtdb_row){.exists = true,
                                 .undo = from->undo,
                                 .complete = from->complete,
                                 .started = from->started,
                                 .done = from->done,
                                 .applied_at_us = from->applied_at_us,
                                 .revision = from->revision};
        snprintf(row->run_id, sizeof(row->run_id), "%s", from->run_id);
        snprintf(row->checksum, sizeof(row->checksum), "%s", from->checksum);
    }
    arena_free(&rows->arena);
    *rows = (struct ledger_rows){.count = 0};
}

/* Two writers can choose the same revision, as only one of them gets it: the rest tells whose it
 * is. */
bool gtdb_row_is(const struct gtdb_row *a, const struct gtdb_row *b)
{
    if (!a->exists || !b->exists)
        return a->exists == b->exists;
    return a->revision == b->revision && strcmp(a->run_id, b->run_id) == 0 && a->done == b->done &&
           a->started == b->started && a->undo == b->undo && a->complete == b->complete;
}

void gtdb_row_change(struct ledger_change *change, const struct gtdb *gtdb, const char *schema,
                     const char *migration_id, const struct gtdb_row *have,
                     const struct gtdb_row *want)
{
    *change = (struct ledger_change){.row = {.connection = gtdb->connection,
                                             .schema = schema,
                                             .migration_id = migration_id,
                                             .checksum = want->checksum,
                                             .run_id = want->run_id,
                                             .undo = want->undo,
                                             .complete = want->complete,
                                             .started = want->started,
                                             .done = want->done,
                                             .applied_at_us = want->applied_at_us,
                                             .revision = want->revision},
                                     .expected = have->exists ? have->revision : 0,
                                     .remove = !want->exists};
}

/* A row that was removed and made again must not have a revision that it had before. */
int64_t gtdb_row_next(const struct gtdb_row *row)
{
    return row->exists ? row->revision + 1 : clock_wall_us();
}

static uint64_t row_hash(const char *schema, const char *migration_id, const struct gtdb_row *row)
{
    uint64_t hash = hash_fnv1a(HASH_FNV_START, schema, strlen(schema) + 1);

    hash = hash_fnv1a(hash, migration_id, strlen(migration_id) + 1);
    return hash_fnv1a(hash, &row->revision, sizeof(row->revision));
}

void gtdb_note_left(struct gtdb *gtdb, const char *schema, const char *migration_id,
                    const struct gtdb_row *row)
{
    gtdb->left[gtdb->left_count++ % GTDB_LEFT_MAX] = row_hash(schema, migration_id, row);
}

static bool gtdb_is_left(const struct gtdb *gtdb, const char *schema, const char *migration_id,
                         const struct gtdb_row *row)
{
    uint64_t hash = row_hash(schema, migration_id, row);

    for (size_t i = 0; i < GTDB_LEFT_MAX && i < gtdb->left_count; i++)
        if (gtdb->left[i] == hash)
            return true;
    return false;
}

bool gtdb_watch_is_stale(struct gtdb_watch *watch, const struct gtdb *gtdb, const char *schema,
                         const char *migration_id, const struct gtdb_row *row)
{
    uint64_t now = gtdb_sched(gtdb)->now_ms;

    if (!watch->seen || watch->revision != row->revision)
        *watch = (struct gtdb_watch){.seen = true, .revision = row->revision, .since_ms = now};
    return now - watch->since_ms >= gtdb->settings.stale_ms ||
           gtdb_is_left(gtdb, schema, migration_id, row);
}
