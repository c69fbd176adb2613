#ifndef BFM_MIGRATE_RECONCILE_INTERNAL_H
#define BFM_MIGRATE_RECONCILE_INTERNAL_H

#include "base/arena.h"
#include "base/map.h"
#include "base/sm.h"
#include "migrate/run_internal.h"

/* The machine is in reconcile.c; what it compares is in reconcile_compare.c and
 * reconcile_unended.c. */

enum {
    RECONCILE_PAGE = 1000,
    RECONCILE_ROWS_PER_SLICE = 5000,
    RECONCILE_UNENDED_MAX = 100 * 1000, /* more wait for the next time */
};

/* A start without an end, and what the journal says about it. */
struct reconcile_open {
    const struct store_standing *row;
    struct reconcile_open *next; /* of the same (migration, schema) */
    bool is_lost;                /* nobody is at work on it */
    bool is_applied;             /* the journal has it, by this very run */
    bool is_settled;             /* another repair is its end */
    const char *checksum;        /* of the journal row */
    int64_t applied_at_us;
};

/* Executions of older servers to be taken over, with room for a page. */
struct reconcile_adoptions {
    struct backend_adoption *items;
    struct lock *locks;
    size_t count;
};

struct reconcile_full {
    struct reconcile pub;
    struct list link; /* engine->reconciles */
    struct sm sm;
    struct engine *engine;
    struct registry *registry;
    struct arena arena;
    void (*done)(struct reconcile *reconcile);
    struct op op;
    struct task task;
    int rc;
    bool started, canceled;

    /* starts without an end, of all targets */
    struct store_standings page_of_opens;
    int64_t last_open; /* number of the last history row asked for */
    struct arena open_arena;
    struct reconcile_open *opens;
    size_t open_count, open_cap;

    /* the target under way */
    size_t at;
    struct store_scope scope;
    struct store_executions state;
    size_t state_at;    /* row that INDEXING or SWEEPING is at */
    size_t open_at;     /* the same of opens */
    struct map by_key;  /* state rows that no journal row was found for, by place_key() */
    struct map open_of; /* the first open of the same */
    struct arena keys;
    struct backend_journal page;
    bool page_is_last;

    /* repairs found so far, with room for a page */
    struct store_record *records;
    struct lock *locks; /* held while records[i] is written */
    struct store_place *places;
    size_t record_count, closing_count; /* closing: those that only end a start */
    struct store_standings seen;

    struct reconcile_adoptions *adoptions; /* NULL until there is one */
};

static inline struct reconcile_target *reconcile_target(struct reconcile_full *rec)
{
    return &rec->pub.targets[rec->at];
}

/* Makes room for a repair and locks what it is about; NULL if it is left out: a run of this process
 * is at it, its script is gone, or it belongs to another connection of the same database. */
struct store_record *reconcile_add(struct reconcile_full *rec, const char *id, const char *schema);

/* reconcile_compare.c: the journal against the executions. Each returns 0 or ERR_NOMEM and does one
 * slice; *more tells whether there is another. */
int reconcile_index_state(struct reconcile_full *rec, bool *more);
int reconcile_compare_page(struct reconcile_full *rec);
int reconcile_collect_orphans(struct reconcile_full *rec, struct backend *backend, bool *more);
/* Drops the repairs that rec->seen shows to be made by now, and counts those that are left. */
int reconcile_drop_repaired(struct reconcile_full *rec);

/* reconcile_adopt.c: what older servers applied. ERR_NOMEM or 0; 0 also if it is left out. */
int reconcile_add_adoption(struct reconcile_full *rec, struct backend *backend,
                           const struct store_execution *row);
bool reconcile_has_adoptions(const struct reconcile_full *rec);
bool reconcile_adoptions_are_full(const struct reconcile_full *rec);
int reconcile_adopt(struct reconcile_full *rec, struct backend *backend); /* as adoption_start() */
void reconcile_count_adopted(struct reconcile_full *rec);
void reconcile_release_adoptions(struct reconcile_full *rec);
void reconcile_free_adoptions(struct reconcile_full *rec);

/* reconcile_unended.c: what became of steps that were begun. */
int reconcile_keep_opens(struct reconcile_full *rec); /* those of rec->page_of_opens */
int reconcile_index_opens(struct reconcile_full *rec);
/* `is_repair`: the row is news and will be recorded with its run. */
void reconcile_note_journal(struct reconcile_full *rec, const char *key, size_t len,
                            const struct backend_journal_row *row, bool is_repair);
/* The run whose undo explains that a state row has no journal row; "" if none is known. */
const char *reconcile_settle_undo(struct reconcile_full *rec, const char *key, size_t len);
void reconcile_collect_opens(struct reconcile_full *rec, bool *more);

#endif
