/*
 * Steps whose start is recorded and whose end is not. Whether somebody is still at work on one is
 * told by the row of its run, which a server that is gone does not keep alive; a run without a row
 * is believed to be at work for a while (engine_has_lost()). Of those that are lost the journal
 * says whether they took effect; the others are cut off. Two servers that find the same one write
 * its end once, as it has the key of the run's own record.
 */
#include <string.h>

#include "base/mem.h"
#include "migrate/place.h"
#include "migrate/reconcile_internal.h"

static int opens_grow(struct reconcile_full *rec)
{
    size_t cap = rec->open_cap > 0 ? rec->open_cap * 2 : 64;
    struct reconcile_open *opens;

    if (rec->open_count + rec->page_of_opens.count <= rec->open_cap)
        return 0;
    while (cap < rec->open_count + rec->page_of_opens.count)
        cap *= 2;
    opens = mem_realloc(rec->opens, cap * sizeof(*opens));
    if (opens == NULL)
        return ERR_NOMEM;
    rec->opens = opens;
    rec->open_cap = cap;
    return 0;
}

int reconcile_keep_opens(struct reconcile_full *rec)
{
    struct store_standings *page = &rec->page_of_opens;

    if (opens_grow(rec) != 0)
        return ERR_NOMEM;
    for (size_t i = 0; i < page->count; i++) {
        rec->opens[rec->open_count++] = (struct reconcile_open){
            .row = &page->rows[i], .is_lost = engine_has_lost(rec->engine, &page->rows[i])};
        rec->last_open = page->rows[i].history_id;
    }
    arena_adopt(&rec->open_arena, &page->arena);
    *page = (struct store_standings){0};
    return 0;
}

static bool open_is_here(struct reconcile_full *rec, const struct reconcile_open *open)
{
    return strcmp(open->row->connection, reconcile_target(rec)->connection) == 0;
}

int reconcile_index_opens(struct reconcile_full *rec)
{
    for (size_t i = 0; i < rec->open_count; i++) {
        struct reconcile_open *open = &rec->opens[i];
        size_t len;
        char *key;

        if (!open_is_here(rec, open))
            continue;
        key = place_key(&rec->keys, open->row->migration_id, open->row->schema, &len);
        if (key == NULL)
            return ERR_NOMEM;
        open->next = map_get(&rec->open_of, key, len);
        if (map_put(&rec->open_of, key, len, open) != 0)
            return ERR_NOMEM;
    }
    return 0;
}

void reconcile_note_journal(struct reconcile_full *rec, const char *key, size_t len,
                            const struct backend_journal_row *row, bool is_repair)
{
    struct reconcile_open *open = map_get(&rec->open_of, key, len);

    for (; open != NULL; open = open->next) {
        if (strcmp(open->row->run_id, row->run_id) != 0)
            continue;
        open->is_applied = true;
        open->is_settled = is_repair;
        open->checksum = arena_strdup(&rec->keys, row->checksum); /* NULL: unknown */
        open->applied_at_us = row->applied_at_us;
    }
}

const char *reconcile_settle_undo(struct reconcile_full *rec, const char *key, size_t len)
{
    struct reconcile_open *open = map_get(&rec->open_of, key, len);

    for (; open != NULL; open = open->next) {
        if (!open->is_lost)
            continue;
        open->is_settled = true;
        return open->row->run_id;
    }
    return "";
}

static void open_close(struct reconcile_full *rec, const struct reconcile_open *open)
{
    struct store_record *record = reconcile_add(rec, open->row->migration_id, open->row->schema);

    if (record == NULL)
        return;
    record->run_id = open->row->run_id;
    rec->closing_count++;
    if (open->is_applied) {
        record->event = STORE_END_APPLIED;
        record->checksum = open->checksum;
        record->at_us = open->applied_at_us;
    } else {
        record->event = STORE_CUT_OFF;
        record->error = "cut off: the server ended before this step did, and it left nothing";
    }
}

void reconcile_collect_opens(struct reconcile_full *rec, bool *more)
{
    size_t end = rec->open_at + RECONCILE_ROWS_PER_SLICE;

    for (;
         rec->open_at < rec->open_count && rec->open_at < end && rec->record_count < RECONCILE_PAGE;
         rec->open_at++) {
        const struct reconcile_open *open = &rec->opens[rec->open_at];

        if (open->is_lost && !open->is_settled && open_is_here(rec, open))
            open_close(rec, open);
    }
    *more = rec->open_at < rec->open_count;
}
