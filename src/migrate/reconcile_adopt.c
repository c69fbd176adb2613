/* Executions of older servers, to be put into the target's journal (adoption.h). */
#include <string.h>

#include "base/mem.h"
#include "migrate/adoption.h"
#include "migrate/reconcile_internal.h"

enum {
    /* How long another server that is at it is waited for: meanwhile the locks of what is to be
     * taken over are held, and undoes of it wait. */
    RECONCILE_ADOPT_WAIT_MS = 1000,
};

static struct reconcile_adoptions *adoptions_create(void)
{
    struct reconcile_adoptions *adoptions = mem_calloc(1, sizeof(*adoptions));

    if (adoptions == NULL)
        return NULL;
    adoptions->items = mem_calloc(RECONCILE_PAGE, sizeof(*adoptions->items));
    adoptions->locks = mem_calloc(RECONCILE_PAGE, sizeof(*adoptions->locks));
    if (adoptions->items != NULL && adoptions->locks != NULL)
        return adoptions;
    mem_free(adoptions->items);
    mem_free(adoptions->locks);
    mem_free(adoptions);
    return NULL;
}

void reconcile_free_adoptions(struct reconcile_full *rec)
{
    if (rec->adoptions == NULL)
        return;
    reconcile_release_adoptions(rec);
    mem_free(rec->adoptions->items);
    mem_free(rec->adoptions->locks);
    mem_free(rec->adoptions);
    rec->adoptions = NULL;
}

void reconcile_release_adoptions(struct reconcile_full *rec)
{
    struct reconcile_adoptions *adoptions = rec->adoptions;

    for (size_t i = 0; adoptions != NULL && i < adoptions->count; i++)
        lock_release(&adoptions->locks[i], LOCK_NEWS_NONE);
    if (adoptions != NULL)
        adoptions->count = 0;
}

/* Left out is what a run is at, which takes it over itself if it must, and what is of another
 * connection to the same database, or of a script that is gone. */
int reconcile_add_adoption(struct reconcile_full *rec, struct backend *backend,
                           const struct store_execution *row)
{
    const struct migration *migration = registry_find(rec->registry, row->migration_id);
    struct reconcile_adoptions *adoptions;

    if (migration == NULL ||
        strcmp(migration->connection, reconcile_target(rec)->connection) != 0 ||
        !adoption_is_possible(rec->engine, backend))
        return 0;
    if (rec->adoptions == NULL)
        rec->adoptions = adoptions_create();
    adoptions = rec->adoptions;
    if (adoptions == NULL)
        return ERR_NOMEM;
    if (!lock_try(&rec->engine->locks, &adoptions->locks[adoptions->count], migration->id,
                  row->schema, LOCK_ALONE))
        return 0;
    adoptions->items[adoptions->count++] = (struct backend_adoption){
        .migration = migration, .schema = row->schema, .applied_at_us = row->applied_at_us};
    return 0;
}

bool reconcile_has_adoptions(const struct reconcile_full *rec)
{
    return rec->adoptions != NULL && rec->adoptions->count > 0;
}

bool reconcile_adoptions_are_full(const struct reconcile_full *rec)
{
    return rec->adoptions != NULL && rec->adoptions->count == RECONCILE_PAGE;
}

int reconcile_adopt(struct reconcile_full *rec, struct backend *backend)
{
    uint64_t wait_ms = rec->engine->config.lock_wait_ms;

    if (wait_ms > RECONCILE_ADOPT_WAIT_MS)
        wait_ms = RECONCILE_ADOPT_WAIT_MS;
    return adoption_start(rec->engine, backend, rec->adoptions->items, rec->adoptions->count,
                          wait_ms, &rec->op);
}

void reconcile_count_adopted(struct reconcile_full *rec)
{
    for (size_t i = 0; i < rec->adoptions->count; i++)
        if (rec->adoptions->items[i].adopted)
            reconcile_target(rec)->adopted++;
}
