/* clang-format off */
/*
 * The reconciler: what the targets' journals prove, put into the state database.
 *
 *   GATHERING ──> LOADING ──> INDEXING ──> READING ──> CHECKING ──> WRITING ──> (next page)
 *                    ^                                    ^            │
 *                    │                                    │            v
 *                    ├────────── (next target) ─────── SWEEPING <── (last page)
 *                    v
 *                  OVER
 *
 *   GATHERING  waits for the starts without an end, a page at a time
 *   LOADING    waits for the applied executions of one connection
 *   INDEXING   puts them into a map, a slice per turn
 *   READING    waits for a page of its journal
 *   CHECKING   waits for what the state says by now about the repairs found so far, behind their locks
 *   WRITING    waits until those that are still needed are recorded
 *   SWEEPING   looks for executions that no page had, then for starts to be ended, a slice per turn
 *   ADOPTING   waits for what older servers applied to be taken over; then sweeps on
 *   OVER       every target was compared or has an error
 *
 * State is read before the journal, and a migration that a run holds is left to that run.
 */
/* clang-format on */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "migrate/reconcile_internal.h"

enum reconcile_state {
    RECONCILE_GATHERING,
    RECONCILE_LOADING,
    RECONCILE_INDEXING,
    RECONCILE_READING,
    RECONCILE_CHECKING,
    RECONCILE_WRITING,
    RECONCILE_SWEEPING,
    RECONCILE_ADOPTING,
    RECONCILE_OVER,
};

/* Every state may fail its target: then the next target is loaded, or all is over. */
#define RECONCILE_TO_NEXT (SM_TO(RECONCILE_LOADING) | SM_TO(RECONCILE_OVER))

static const struct sm_state reconcile_states[] = {
    [RECONCILE_GATHERING] = {"gathering", SM_TO(RECONCILE_GATHERING) | RECONCILE_TO_NEXT},
    [RECONCILE_LOADING] = {"loading", SM_TO(RECONCILE_INDEXING) | RECONCILE_TO_NEXT},
    [RECONCILE_INDEXING] = {"indexing", SM_TO(RECONCILE_READING) | RECONCILE_TO_NEXT},
    [RECONCILE_READING] = {"reading", SM_TO(RECONCILE_CHECKING) | RECONCILE_TO_NEXT},
    [RECONCILE_CHECKING] = {"checking", SM_TO(RECONCILE_WRITING) | RECONCILE_TO_NEXT},
    [RECONCILE_WRITING] = {"writing", SM_TO(RECONCILE_READING) | SM_TO(RECONCILE_SWEEPING) |
                                          RECONCILE_TO_NEXT},
    [RECONCILE_SWEEPING] = {"sweeping", SM_TO(RECONCILE_CHECKING) | SM_TO(RECONCILE_ADOPTING) |
                                            RECONCILE_TO_NEXT},
    [RECONCILE_ADOPTING] = {"adopting", SM_TO(RECONCILE_SWEEPING) | RECONCILE_TO_NEXT},
    [RECONCILE_OVER] = {"over", 0},
};

static struct backend *reconcile_backend(const struct reconcile_full *rec)
{
    return engine_target(rec->engine, rec->pub.targets[rec->at].connection)->backend;
}

static void reconcile_release_page(struct reconcile_full *rec)
{
    for (size_t i = 0; i < rec->record_count; i++)
        lock_release(&rec->locks[i], LOCK_NEWS_NONE);
    rec->record_count = 0;
    rec->closing_count = 0;
    arena_free(&rec->seen.arena);
    rec->seen = (struct store_standings){0};
    arena_free(&rec->page.arena);
    rec->page = (struct backend_journal){0};
}

static void reconcile_release_target(struct reconcile_full *rec)
{
    reconcile_release_adoptions(rec);
    reconcile_release_page(rec);
    map_free(&rec->by_key);
    map_free(&rec->open_of);
    arena_free(&rec->keys);
    arena_free(&rec->state.arena);
    rec->state = (struct store_executions){0};
}

void reconcile_free(struct reconcile *reconcile)
{
    struct reconcile_full *rec = container_of(reconcile, struct reconcile_full, pub);

    reconcile_release_target(rec);
    reconcile_free_adoptions(rec);
    registry_unref(rec->registry);
    arena_free(&rec->page_of_opens.arena);
    arena_free(&rec->open_arena);
    mem_free(rec->opens);
    mem_free(rec->records);
    mem_free(rec->locks);
    mem_free(rec->places);
    arena_free(&rec->arena);
    mem_free(rec);
}

/* --- the machine --- */

static bool reconcile_await(struct reconcile_full *rec, int next, int rc)
{
    sm_move(&rec->sm, next);
    rec->rc = rc;
    return rc != 0;
}

static bool reconcile_finish(struct reconcile_full *rec)
{
    sm_move(&rec->sm, RECONCILE_OVER);
    reconcile_release_target(rec);
    return true;
}

static bool reconcile_later(struct reconcile_full *rec)
{
    sched_defer(rec->engine->sched, &rec->task);
    return false;
}

static bool reconcile_start_target(struct reconcile_full *rec)
{
    struct store *store = rec->engine->store;

    reconcile_release_target(rec);
    rec->state_at = 0;
    rec->open_at = 0;
    rec->page_is_last = false;
    while (rec->at < rec->pub.count && reconcile_backend(rec) == NULL)
        rec->at++;
    if (rec->at == rec->pub.count || rec->canceled)
        return reconcile_finish(rec);
    rec->scope = (struct store_scope){.connection = reconcile_target(rec)->connection};
    return reconcile_await(rec, RECONCILE_LOADING,
                           store->ops->get_applied(store, &rec->op, &rec->scope, 1, &rec->state));
}

/* One target failed; the others are compared all the same. */
static bool reconcile_fail_target(struct reconcile_full *rec, int rc)
{
    if (rec->op.err.code != 0)
        reconcile_target(rec)->err = rec->op.err;
    else
        err_set(&reconcile_target(rec)->err, rc, "%s", err_code_text(rc));
    rec->at++;
    return reconcile_start_target(rec);
}

static bool reconcile_read(struct reconcile_full *rec, const char *after_schema,
                           const char *after_id)
{
    struct backend *backend = reconcile_backend(rec);

    return reconcile_await(rec, RECONCILE_READING,
                           backend->ops->read_journal(backend, &rec->op, after_schema, after_id,
                                                      RECONCILE_PAGE, &rec->page));
}

/* What was found while others were at work may be known by now. */
static bool reconcile_check(struct reconcile_full *rec)
{
    struct store *store = rec->engine->store;

    if (rec->record_count == 0) {
        sm_move(&rec->sm, RECONCILE_CHECKING);
        return true;
    }
    return reconcile_await(
        rec, RECONCILE_CHECKING,
        store->ops->get_standing(store, &rec->op, rec->places, rec->record_count, &rec->seen));
}

static bool reconcile_write(struct reconcile_full *rec)
{
    struct store *store = rec->engine->store;

    if (reconcile_drop_repaired(rec) != 0)
        return reconcile_fail_target(rec, ERR_NOMEM);
    if (rec->record_count == 0) {
        sm_move(&rec->sm, RECONCILE_WRITING);
        return true;
    }
    return reconcile_await(rec, RECONCILE_WRITING,
                           store->ops->write(store, &rec->op, rec->records, rec->record_count));
}

static bool reconcile_on_page(struct reconcile_full *rec)
{
    if (reconcile_compare_page(rec) != 0)
        return reconcile_fail_target(rec, ERR_NOMEM);
    rec->page_is_last = !rec->page.more || rec->page.count == 0;
    return reconcile_check(rec);
}

static bool reconcile_on_written(struct reconcile_full *rec)
{
    const char *schema = "", *id = "";

    reconcile_target(rec)->repaired += rec->record_count - rec->closing_count;
    reconcile_target(rec)->ended += rec->closing_count;
    if (!rec->page_is_last) {
        schema = arena_strdup(&rec->keys, rec->page.rows[rec->page.count - 1].schema);
        id = arena_strdup(&rec->keys, rec->page.rows[rec->page.count - 1].migration_id);
    }
    reconcile_release_page(rec);
    if (schema == NULL || id == NULL || rec->canceled)
        return reconcile_fail_target(rec, rec->canceled ? ERR_CANCELED : ERR_NOMEM);
    if (!rec->page_is_last)
        return reconcile_read(rec, schema, id);
    sm_move(&rec->sm, RECONCILE_SWEEPING);
    return true;
}

static bool reconcile_index(struct reconcile_full *rec)
{
    bool more = false;

    if (rec->state_at == 0 && reconcile_index_opens(rec) != 0)
        return reconcile_fail_target(rec, ERR_NOMEM);
    if (reconcile_index_state(rec, &more) != 0)
        return reconcile_fail_target(rec, ERR_NOMEM);
    if (more)
        return reconcile_later(rec);
    rec->state_at = 0;
    return reconcile_read(rec, "", "");
}

/* Migrations may have become known meanwhile. */
static void reconcile_note_compared(const struct reconcile_full *rec)
{
    const struct reconcile_target *seen = &rec->pub.targets[rec->at];
    struct engine_target *target = engine_target(rec->engine, seen->connection);

    target->compared_in_part = seen->unknown > 0;
    target->compared =
        seen->left == 0 && (seen->unknown == 0 || rec->registry == rec->engine->registry);
}

static bool reconcile_sweep(struct reconcile_full *rec)
{
    bool more = false;

    if (reconcile_collect_orphans(rec, reconcile_backend(rec), &more) != 0)
        return reconcile_fail_target(rec, ERR_NOMEM);
    if (reconcile_has_adoptions(rec))
        return reconcile_await(rec, RECONCILE_ADOPTING,
                               reconcile_adopt(rec, reconcile_backend(rec)));
    if (!more && rec->record_count == 0)
        reconcile_collect_opens(rec, &more);
    if (rec->record_count > 0)
        return reconcile_check(rec);
    if (more)
        return reconcile_later(rec);
    reconcile_note_compared(rec);
    rec->at++;
    return reconcile_start_target(rec);
}

static bool reconcile_on_adopted(struct reconcile_full *rec)
{
    reconcile_count_adopted(rec);
    reconcile_release_adoptions(rec);
    if (rec->canceled)
        return reconcile_fail_target(rec, ERR_CANCELED);
    sm_move(&rec->sm, RECONCILE_SWEEPING);
    return true;
}

static bool reconcile_gather(struct reconcile_full *rec)
{
    struct store *store = rec->engine->store;

    return reconcile_await(rec, RECONCILE_GATHERING,
                           store->ops->get_unended(store, &rec->op, rec->last_open, RECONCILE_PAGE,
                                                   &rec->page_of_opens));
}

static bool reconcile_on_gathered(struct reconcile_full *rec)
{
    bool is_last = rec->page_of_opens.count < RECONCILE_PAGE;

    if (rec->rc == 0 && reconcile_keep_opens(rec) != 0)
        rec->rc = err_set(&rec->op.err, ERR_NOMEM, "%s", err_code_text(ERR_NOMEM));
    if (rec->rc != 0) {
        rec->pub.err = rec->op.err;
        return reconcile_finish(rec);
    }
    if (is_last || rec->canceled || rec->open_count >= RECONCILE_UNENDED_MAX)
        return reconcile_start_target(rec);
    return reconcile_gather(rec);
}

static void reconcile_end(struct reconcile_full *rec)
{
    struct engine *engine = rec->engine;

    list_remove(&rec->link);
    rec->done(&rec->pub);
    engine_check_idle(engine);
}

/* true: call again; false: suspended, or `rec` may be gone */
static bool reconcile_once(struct reconcile_full *rec)
{
    /* What another server is taking over is left to it. */
    if (rec->sm.state == RECONCILE_ADOPTING && rec->rc == ERR_LOCKED)
        rec->rc = 0;
    if (rec->sm.state != RECONCILE_OVER && rec->sm.state != RECONCILE_GATHERING && rec->rc != 0) {
        if (rec->rc == ERR_STORE) {
            rec->pub.err = rec->op.err;
            return reconcile_finish(rec);
        }
        return reconcile_fail_target(rec, rec->rc);
    }
    switch ((enum reconcile_state)rec->sm.state) {
    case RECONCILE_GATHERING:
        return reconcile_on_gathered(rec);
    case RECONCILE_LOADING:
        sm_move(&rec->sm, RECONCILE_INDEXING);
        return true;
    case RECONCILE_INDEXING:
        return reconcile_index(rec);
    case RECONCILE_READING:
        return reconcile_on_page(rec);
    case RECONCILE_CHECKING:
        return reconcile_write(rec);
    case RECONCILE_WRITING:
        return reconcile_on_written(rec);
    case RECONCILE_SWEEPING:
        return reconcile_sweep(rec);
    case RECONCILE_ADOPTING:
        return reconcile_on_adopted(rec);
    case RECONCILE_OVER:
        reconcile_end(rec); /* last touch of rec */
        return false;
    }
    assert(false);
    return false;
}

static void reconcile_advance(struct reconcile_full *rec)
{
    while (reconcile_once(rec))
        continue;
}

static void reconcile_on_op(struct op *op, int rc)
{
    struct reconcile_full *rec = container_of(op, struct reconcile_full, op);

    rec->rc = rc;
    reconcile_advance(rec);
}

static bool reconcile_begin(struct reconcile_full *rec)
{
    rec->started = true;
    rec->last_open = -1;
    return rec->canceled ? reconcile_start_target(rec) : reconcile_gather(rec);
}

static void reconcile_on_task(struct task *task)
{
    struct reconcile_full *rec = container_of(task, struct reconcile_full, task);

    if (rec->started || reconcile_begin(rec))
        reconcile_advance(rec);
}

void reconcile_stop(struct list *link)
{
    reconcile_cancel(&container_of(link, struct reconcile_full, link)->pub);
}

void reconcile_cancel(struct reconcile *reconcile)
{
    struct reconcile_full *rec = container_of(reconcile, struct reconcile_full, pub);

    rec->canceled = true;
    if (rec->sm.state == RECONCILE_GATHERING || rec->sm.state == RECONCILE_LOADING ||
        rec->sm.state == RECONCILE_READING || rec->sm.state == RECONCILE_ADOPTING)
        op_cancel(&rec->op);
}

/* --- start --- */

static int reconcile_add_targets(struct reconcile_full *rec, const char *connection)
{
    const struct engine_target *target;

    rec->pub.targets =
        arena_calloc(&rec->arena, rec->engine->backends.len, sizeof(*rec->pub.targets));
    if (rec->pub.targets == NULL)
        return ERR_NOMEM;
    for (size_t at = 0; (target = map_next(&rec->engine->backends, &at)) != NULL;)
        if (connection == NULL || strcmp(connection, target->connection) == 0)
            rec->pub.targets[rec->pub.count++].connection = target->connection;
    return 0;
}

int reconcile_start(struct engine *engine, const char *connection,
                    void (*done)(struct reconcile *reconcile), void *data, struct reconcile **out,
                    struct err *err)
{
    struct reconcile_full *rec;

    if (engine->stopping)
        return err_set(err, ERR_SHUTDOWN, "%s", err_code_text(ERR_SHUTDOWN));
    if (connection != NULL && engine_target(engine, connection) == NULL)
        return err_set(err, ERR_NOT_FOUND, "connection %s not found", connection);
    rec = mem_calloc(1, sizeof(*rec));
    if (rec == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    rec->engine = engine;
    rec->registry = registry_ref(engine->registry);
    rec->done = done;
    rec->pub.data = data;
    op_init(&rec->op, reconcile_on_op);
    sm_init(&rec->sm, reconcile_states, "reconcile", RECONCILE_GATHERING);
    rec->records = mem_calloc(RECONCILE_PAGE, sizeof(*rec->records));
    rec->locks = mem_calloc(RECONCILE_PAGE, sizeof(*rec->locks));
    rec->places = mem_calloc(RECONCILE_PAGE, sizeof(*rec->places));
    if (rec->records == NULL || rec->locks == NULL || rec->places == NULL ||
        reconcile_add_targets(rec, connection) != 0) {
        reconcile_free(&rec->pub);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    rec->task.run = reconcile_on_task;
    sched_defer(engine->sched, &rec->task);
    list_push_back(&engine->reconciles, &rec->link);
    *out = &rec->pub;
    return 0;
}
