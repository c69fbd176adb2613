/*
 * The reconciler: what the targets' journals prove, put into the state database.
 *
 *   LOADING ──> INDEXING ──> READING ──> WRITING ──> (next page) ──> SWEEPING ──> WRITING ──> (next
 * target) ──> OVER
 *
 *   LOADING    waits for the applied executions of one connection
 *   INDEXING   puts them into a map, a slice per turn
 *   READING    waits for a page of its journal
 *   WRITING    waits until the repairs found so far are recorded
 *   SWEEPING   looks for executions that no page had, a slice per turn
 *   OVER       every target was compared or has an error
 *
 * State is read before the journal, and a migration that a run holds is left to that run.
 */
#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/sm.h"
#include "migrate/engine.h"
#include "migrate/run_internal.h"

enum {
    RECONCILE_PAGE = 1000,
    RECONCILE_ROWS_PER_SLICE = 5000,
};

enum reconcile_state {
    RECONCILE_LOADING,
    RECONCILE_INDEXING,
    RECONCILE_READING,
    RECONCILE_WRITING,
    RECONCILE_SWEEPING,
    RECONCILE_OVER,
};

/* Every state may fail its target: then the next target is loaded, or all is over. */
#define RECONCILE_TO_NEXT (SM_TO(RECONCILE_LOADING) | SM_TO(RECONCILE_OVER))

static const struct sm_state reconcile_states[] = {
    [RECONCILE_LOADING] = {"loading", SM_TO(RECONCILE_INDEXING) | RECONCILE_TO_NEXT},
    [RECONCILE_INDEXING] = {"indexing", SM_TO(RECONCILE_READING) | RECONCILE_TO_NEXT},
    [RECONCILE_READING] = {"reading", SM_TO(RECONCILE_WRITING) | RECONCILE_TO_NEXT},
    [RECONCILE_WRITING] = {"writing", SM_TO(RECONCILE_READING) | SM_TO(RECONCILE_SWEEPING) |
                                          RECONCILE_TO_NEXT},
    [RECONCILE_SWEEPING] = {"sweeping", SM_TO(RECONCILE_WRITING) | RECONCILE_TO_NEXT},
    [RECONCILE_OVER] = {"over", 0},
};

static const struct store_caller reconcile_caller = {
    .executed_by = "bfm-server",
    .execution_method = "reconcile",
    .execution_context = "{\"source\":\"journal\"}",
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
    size_t at; /* target under way */
    struct store_scope scope;
    struct store_executions state;
    size_t state_at;   /* row that INDEXING or SWEEPING is at */
    struct map by_key; /* state rows of this target, by (schema NUL id) */
    struct arena keys;
    struct backend_journal page;
    struct store_record *records; /* room for a page of repairs */
    struct lock *locks;           /* held while records[i] is written */
    size_t record_count;
    bool page_is_last;
};

static struct reconcile_target *reconcile_target(struct reconcile_full *rec)
{
    return &rec->pub.targets[rec->at];
}

static struct backend *reconcile_backend(const struct reconcile_full *rec)
{
    return engine_target(rec->engine, rec->pub.targets[rec->at].connection)->backend;
}

static void reconcile_release_page(struct reconcile_full *rec)
{
    for (size_t i = 0; i < rec->record_count; i++)
        lock_release(&rec->locks[i], LOCK_NEWS_NONE);
    rec->record_count = 0;
    arena_free(&rec->page.arena);
    rec->page = (struct backend_journal){0};
}

static void reconcile_release_target(struct reconcile_full *rec)
{
    reconcile_release_page(rec);
    map_free(&rec->by_key);
    arena_free(&rec->keys);
    arena_free(&rec->state.arena);
    rec->state = (struct store_executions){0};
}

void reconcile_free(struct reconcile *reconcile)
{
    struct reconcile_full *rec = container_of(reconcile, struct reconcile_full, pub);

    reconcile_release_target(rec);
    registry_unref(rec->registry);
    mem_free(rec->records);
    mem_free(rec->locks);
    arena_free(&rec->arena);
    mem_free(rec);
}

/* --- compare --- */

static char *reconcile_key(struct arena *arena, const char *schema, const char *id, size_t *len)
{
    size_t schema_size = strlen(schema) + 1;
    char *key;

    *len = schema_size + strlen(id);
    key = arena_alloc(arena, *len + 1);
    if (key == NULL)
        return NULL;
    memcpy(key, schema, schema_size);
    memcpy(key + schema_size, id, *len - schema_size + 1);
    return key;
}

/* One slice; *more tells whether there is another. */
static int reconcile_index_state(struct reconcile_full *rec, bool *more)
{
    size_t end = rec->state_at + RECONCILE_ROWS_PER_SLICE;

    for (; rec->state_at < rec->state.count && rec->state_at < end; rec->state_at++) {
        struct store_execution *row = &rec->state.rows[rec->state_at];
        size_t len;
        char *key = reconcile_key(&rec->keys, row->schema, row->migration_id, &len);

        if (key == NULL || map_put(&rec->by_key, key, len, row) != 0)
            return ERR_NOMEM;
    }
    *more = rec->state_at < rec->state.count;
    return 0;
}

/* Adds a repair, unless the row is of another connection to the same database, or a run holds the
 * migration and records itself what it finds. */
static void reconcile_add_repair(struct reconcile_full *rec, const char *id, const char *schema,
                                 const struct backend_journal_row *row)
{
    const struct migration *migration = registry_find(rec->registry, id);

    if (migration == NULL) {
        reconcile_target(rec)->unknown++;
        return;
    }
    if (strcmp(migration->connection, reconcile_target(rec)->connection) != 0)
        return;
    if (!lock_try(&rec->engine->locks, &rec->locks[rec->record_count], migration->id, schema))
        return;
    rec->records[rec->record_count++] = (struct store_record){
        .event = row != NULL ? STORE_FOUND_APPLIED : STORE_FOUND_NOT_APPLIED,
        .migration = migration,
        .schema = schema,
        .caller = &reconcile_caller,
        .run_id = row != NULL ? row->run_id : "",
        .checksum = row != NULL ? row->checksum : NULL,
        .at_us = row != NULL ? row->applied_at_us : clock_wall_us(),
    };
}

static int reconcile_compare_row(struct reconcile_full *rec, const struct backend_journal_row *row)
{
    size_t len;
    char *key;

    if (!row->complete)
        return 0;
    key = reconcile_key(&rec->page.arena, row->schema, row->migration_id, &len);
    if (key == NULL)
        return ERR_NOMEM;
    reconcile_target(rec)->checked++;
    if (map_remove(&rec->by_key, key, len) == NULL)
        reconcile_add_repair(rec, row->migration_id, row->schema, row);
    return 0;
}

/* State rows without a journal row: ours were undone behind our back; those of older servers never
 * had one. One slice or a page of repairs; *more tells whether there is another. */
static int reconcile_collect_orphans(struct reconcile_full *rec, bool *more)
{
    size_t end = rec->state_at + RECONCILE_ROWS_PER_SLICE;

    for (; rec->state_at < rec->state.count && rec->state_at < end &&
           rec->record_count < RECONCILE_PAGE;
         rec->state_at++) {
        const struct store_execution *row = &rec->state.rows[rec->state_at];
        size_t len;
        char *key = reconcile_key(&rec->page.arena, row->schema, row->migration_id, &len);

        if (key == NULL)
            return ERR_NOMEM;
        if (map_get(&rec->by_key, key, len) == NULL)
            continue;
        reconcile_target(rec)->checked++;
        if (row->checksum[0] != '\0')
            reconcile_add_repair(rec, row->migration_id, row->schema, NULL);
    }
    *more = rec->state_at < rec->state.count;
    return 0;
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

static bool reconcile_write(struct reconcile_full *rec)
{
    struct store *store = rec->engine->store;

    if (rec->record_count == 0) {
        sm_move(&rec->sm, RECONCILE_WRITING);
        return true;
    }
    return reconcile_await(rec, RECONCILE_WRITING,
                           store->ops->write(store, &rec->op, rec->records, rec->record_count));
}

static bool reconcile_on_page(struct reconcile_full *rec)
{
    for (size_t i = 0; i < rec->page.count; i++)
        if (reconcile_compare_row(rec, &rec->page.rows[i]) != 0)
            return reconcile_fail_target(rec, ERR_NOMEM);
    rec->page_is_last = !rec->page.more || rec->page.count == 0;
    return reconcile_write(rec);
}

static bool reconcile_on_written(struct reconcile_full *rec)
{
    const char *schema = "", *id = "";

    reconcile_target(rec)->repaired += rec->record_count;
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

    if (reconcile_index_state(rec, &more) != 0)
        return reconcile_fail_target(rec, ERR_NOMEM);
    if (more)
        return reconcile_later(rec);
    rec->state_at = 0;
    return reconcile_read(rec, "", "");
}

static bool reconcile_sweep(struct reconcile_full *rec)
{
    bool more = false;

    if (reconcile_collect_orphans(rec, &more) != 0)
        return reconcile_fail_target(rec, ERR_NOMEM);
    if (rec->record_count > 0)
        return reconcile_write(rec);
    if (more)
        return reconcile_later(rec);
    rec->at++;
    return reconcile_start_target(rec);
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
    if (rec->sm.state != RECONCILE_OVER && rec->rc != 0) {
        if (rec->rc == ERR_STORE) {
            rec->pub.err = rec->op.err;
            return reconcile_finish(rec);
        }
        return reconcile_fail_target(rec, rec->rc);
    }
    switch ((enum reconcile_state)rec->sm.state) {
    case RECONCILE_LOADING:
        sm_move(&rec->sm, RECONCILE_INDEXING);
        return true;
    case RECONCILE_INDEXING:
        return reconcile_index(rec);
    case RECONCILE_READING:
        return reconcile_on_page(rec);
    case RECONCILE_WRITING:
        return reconcile_on_written(rec);
    case RECONCILE_SWEEPING:
        return reconcile_sweep(rec);
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
    return reconcile_start_target(rec);
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
    if (rec->sm.state == RECONCILE_LOADING || rec->sm.state == RECONCILE_READING)
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
    sm_init(&rec->sm, reconcile_states, "reconcile", RECONCILE_LOADING);
    rec->records = mem_calloc(RECONCILE_PAGE, sizeof(*rec->records));
    rec->locks = mem_calloc(RECONCILE_PAGE, sizeof(*rec->locks));
    if (rec->records == NULL || rec->locks == NULL || reconcile_add_targets(rec, connection) != 0) {
        reconcile_free(&rec->pub);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    rec->task.run = reconcile_on_task;
    sched_defer(engine->sched, &rec->task);
    list_push_back(&engine->reconciles, &rec->link);
    *out = &rec->pub;
    return 0;
}
