/*
 *   LOCKING ──> LOOKING ──> JOURNALING ──> MARKING ──> OVER      from each to OVER: nothing is
 *                                                               left, or it failed
 *
 *   LOCKING     waits for other servers that do the same on this connection
 *   LOOKING     waits for what the state says by now
 *   JOURNALING  waits for the target's journal
 *   MARKING     waits until the executions have their checksum
 */
#include "migrate/adoption.h"

#include <assert.h>

#include "base/mem.h"
#include "base/sm.h"
#include "migrate/place.h"

enum adoption_state {
    ADOPTION_LOCKING,
    ADOPTION_LOOKING,
    ADOPTION_JOURNALING,
    ADOPTION_MARKING,
    ADOPTION_OVER,
};

static const struct sm_state adoption_states[] = {
    [ADOPTION_LOCKING] = {"locking", SM_TO(ADOPTION_LOOKING) | SM_TO(ADOPTION_OVER)},
    [ADOPTION_LOOKING] = {"looking", SM_TO(ADOPTION_JOURNALING) | SM_TO(ADOPTION_OVER)},
    [ADOPTION_JOURNALING] = {"journaling", SM_TO(ADOPTION_MARKING) | SM_TO(ADOPTION_OVER)},
    [ADOPTION_MARKING] = {"marking", SM_TO(ADOPTION_OVER)},
    [ADOPTION_OVER] = {"over", 0},
};

struct adoption {
    struct sm sm;
    struct engine *engine;
    struct backend *backend;
    struct op *op; /* the caller's */
    struct op step;
    int rc;
    struct backend_adoption *items;
    size_t count;

    struct store_lock_grant grant;
    struct store_place *places; /* of the items */
    struct store_standings seen;
    struct backend_adoption *wanted; /* those still to be taken over */
    size_t *item_of;                 /* wanted[i] is items[item_of[i]] */
    size_t wanted_count;
    struct store_adopted *marks; /* of those that are in the journal */
    size_t mark_count;
};

bool adoption_is_possible(const struct engine *engine, const struct backend *backend)
{
    return backend->ops->adopt != NULL && engine->store->ops->mark_adopted != NULL;
}

static void adoption_free(struct adoption *adoption)
{
    arena_free(&adoption->seen.arena);
    mem_free(adoption->marks);
    mem_free(adoption->item_of);
    mem_free(adoption->wanted);
    mem_free(adoption->places);
    mem_free(adoption);
}

static bool adoption_await(struct adoption *adoption, int next, int rc)
{
    sm_move(&adoption->sm, next);
    adoption->rc = rc;
    return rc != 0;
}

/* --- looking --- */

static bool adoption_look(struct adoption *adoption)
{
    struct store *store = adoption->engine->store;

    for (size_t i = 0; i < adoption->count; i++)
        adoption->places[i] =
            (struct store_place){adoption->items[i].migration->id, adoption->items[i].schema};
    return adoption_await(adoption, ADOPTION_LOOKING,
                          store->ops->get_standing(store, &adoption->step, adoption->places,
                                                   adoption->count, &adoption->seen));
}

/* Those that are applied still. */
static int adoption_choose(struct adoption *adoption)
{
    struct map applied;
    int rc;

    map_init(&applied);
    rc = place_index_applied(&adoption->seen, &applied);
    for (size_t i = 0; i < adoption->count && rc == 0; i++) {
        const struct backend_adoption *item = &adoption->items[i];
        size_t len;
        char *key = place_key(&adoption->seen.arena, item->migration->id, item->schema, &len);

        if (key == NULL) {
            rc = ERR_NOMEM;
        } else if (map_get(&applied, key, len) != NULL) {
            adoption->item_of[adoption->wanted_count] = i;
            adoption->wanted[adoption->wanted_count++] = *item;
        }
    }
    map_free(&applied);
    return rc == 0 ? 0 : err_set(&adoption->step.err, rc, "%s", err_code_text(rc));
}

/* --- the machine --- */

static bool adoption_end(struct adoption *adoption)
{
    sm_move(&adoption->sm, ADOPTION_OVER);
    return true;
}

static bool adoption_journal(struct adoption *adoption)
{
    if (adoption->wanted_count == 0)
        return adoption_end(adoption);
    return adoption_await(adoption, ADOPTION_JOURNALING,
                          adoption->backend->ops->adopt(adoption->backend, &adoption->step,
                                                        adoption->wanted, adoption->wanted_count));
}

static bool adoption_mark(struct adoption *adoption)
{
    struct store *store = adoption->engine->store;

    for (size_t i = 0; i < adoption->wanted_count; i++) {
        const struct backend_adoption *item = &adoption->wanted[i];

        if (item->adopted)
            adoption->marks[adoption->mark_count++] =
                (struct store_adopted){.migration = item->migration, .schema = item->schema};
    }
    if (adoption->mark_count == 0)
        return adoption_end(adoption);
    return adoption_await(
        adoption, ADOPTION_MARKING,
        store->ops->mark_adopted(store, &adoption->step, adoption->marks, adoption->mark_count));
}

static void adoption_finish(struct adoption *adoption)
{
    struct store *store = adoption->engine->store;
    struct op *op = adoption->op;
    struct err err = adoption->step.err;
    int rc = adoption->rc;

    for (size_t i = 0; i < adoption->wanted_count && rc == 0; i++)
        adoption->items[adoption->item_of[i]].adopted = adoption->wanted[i].adopted;
    if (adoption->grant.lock != NULL)
        store->ops->unlock(store, adoption->grant.lock);
    adoption_free(adoption);
    if (rc != 0)
        op_fail(op, &err);
    else
        op_finish(op, 0);
}

/* true: call again; false: suspended, or `adoption` is gone */
static bool adoption_once(struct adoption *adoption)
{
    if (adoption->rc != 0 && adoption->sm.state != ADOPTION_OVER)
        return adoption_end(adoption);
    switch ((enum adoption_state)adoption->sm.state) {
    case ADOPTION_LOCKING:
        return adoption_look(adoption);
    case ADOPTION_LOOKING:
        adoption->rc = adoption_choose(adoption);
        return adoption->rc != 0 ? true : adoption_journal(adoption);
    case ADOPTION_JOURNALING:
        return adoption_mark(adoption);
    case ADOPTION_MARKING:
        return adoption_end(adoption);
    case ADOPTION_OVER:
        adoption_finish(adoption); /* last touch of adoption */
        return false;
    }
    assert(false);
    return false;
}

static void adoption_on_step(struct op *op, int rc)
{
    struct adoption *adoption = container_of(op, struct adoption, step);

    adoption->rc = rc;
    while (adoption_once(adoption))
        continue;
}

/* What is written is written to the end. */
static void adoption_cancel(struct op *op)
{
    struct adoption *adoption = op->impl;

    if (adoption->sm.state == ADOPTION_LOCKING || adoption->sm.state == ADOPTION_LOOKING)
        op_cancel(&adoption->step);
}

static struct adoption *adoption_create(size_t count)
{
    struct adoption *adoption = mem_calloc(1, sizeof(*adoption));

    if (adoption == NULL)
        return NULL;
    adoption->places = mem_calloc(count, sizeof(*adoption->places));
    adoption->wanted = mem_calloc(count, sizeof(*adoption->wanted));
    adoption->item_of = mem_calloc(count, sizeof(*adoption->item_of));
    adoption->marks = mem_calloc(count, sizeof(*adoption->marks));
    if (adoption->places != NULL && adoption->wanted != NULL && adoption->item_of != NULL &&
        adoption->marks != NULL)
        return adoption;
    adoption_free(adoption);
    return NULL;
}

/* Where there are no locks the first step is over in the next turn. */
static int adoption_lock(struct adoption *adoption, uint64_t wait_ms)
{
    struct engine *engine = adoption->engine;
    const struct store_lock_want want = {
        .schema = "", .connection = adoption->backend->connection, .wait_ms = wait_ms};

    if (engine->store->ops->lock != NULL)
        return engine->store->ops->lock(engine->store, &adoption->step, &want, &adoption->grant);
    op_begin(&adoption->step, NULL, NULL);
    op_finish_later(&adoption->step, engine->sched, 0);
    return 0;
}

int adoption_start(struct engine *engine, struct backend *backend, struct backend_adoption *items,
                   size_t count, uint64_t wait_ms, struct op *op)
{
    struct adoption *adoption = adoption_create(count);
    int rc;

    if (adoption == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    sm_init(&adoption->sm, adoption_states, "adoption", ADOPTION_LOCKING);
    adoption->engine = engine;
    adoption->backend = backend;
    adoption->items = items;
    adoption->count = count;
    adoption->op = op;
    op_init(&adoption->step, adoption_on_step);
    rc = adoption_lock(adoption, wait_ms);
    if (rc != 0) {
        op->err = adoption->step.err;
        adoption_free(adoption);
        return rc;
    }
    op_begin(op, adoption, adoption_cancel);
    return 0;
}
