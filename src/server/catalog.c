#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/tree.h"
#include "io/work.h"
#include "server/catalog_internal.h"
#include "server/embedded.h"

/*
 *              ┌────────────────────────── failed ───────────────────────────┐
 *              v                                                             │
 *   IDLE ──> READING ──> COMPARING ──> SYNCING ──> IDLE      (a round; without a wish to read
 *    └────────────────────────────────────^                   it begins with SYNCING)
 *    └──> UNWATCHING ──> gone
 *
 * Everybody who asked before a round began is answered by it; who asks during a round waits for the
 * next one. The engine gets the new registry between COMPARING and SYNCING: what is on disk can run
 * even while the state database is away.
 */
enum catalog_state {
    CATALOG_IDLE,
    CATALOG_READING,
    CATALOG_COMPARING,
    CATALOG_SYNCING,
    CATALOG_UNWATCHING,
};

static const struct sm_state catalog_states[] = {
    [CATALOG_IDLE] = {"idle", SM_TO(CATALOG_READING) | SM_TO(CATALOG_SYNCING) |
                                  SM_TO(CATALOG_IDLE) | SM_TO(CATALOG_UNWATCHING)},
    [CATALOG_READING] = {"reading",
                         SM_TO(CATALOG_COMPARING) | SM_TO(CATALOG_SYNCING) | SM_TO(CATALOG_IDLE)},
    [CATALOG_COMPARING] = {"comparing", SM_TO(CATALOG_SYNCING) | SM_TO(CATALOG_IDLE)},
    [CATALOG_SYNCING] = {"syncing", SM_TO(CATALOG_IDLE)},
    [CATALOG_UNWATCHING] = {"unwatching", 0},
};

static void catalog_move(struct catalog *catalog, enum catalog_state next)
{
    sm_move(&catalog->sm, (int)next);
    if (next == CATALOG_IDLE || next == CATALOG_UNWATCHING)
        assert(list_is_empty(&catalog->round) && catalog->before == NULL && catalog->fresh == NULL);
}

/* --- the migrations in the program --- */

static int catalog_build_embedded(void *arg, struct err *err)
{
    struct catalog *catalog = arg;

    return registry_build(embedded_files, embedded_file_count, &catalog->fresh, err);
}

static int catalog_start_reading(struct catalog *catalog)
{
    const struct catalog_config *config = &catalog->config;

    if (config->root != NULL)
        return tree_load(config->loop, &catalog->op, config->root, &catalog->fresh,
                         &catalog->fingerprint);
    return work_start(config->loop, &catalog->op, catalog_build_embedded, catalog);
}

/* --- a round --- */

/* Gives a reference back; freeing 100,000 migrations would keep the loop. */
static void catalog_drop(struct catalog *catalog, struct registry *registry)
{
    if (registry == catalog->config.engine->registry)
        registry_unref(registry);
    else
        retire_add(catalog->retire, registry);
}

static void catalog_end_round(struct catalog *catalog, int rc)
{
    struct sched *sched = loop_sched(catalog->config.loop);

    catalog_wait_finish(catalog, &catalog->round, rc);
    catalog_drop(catalog, catalog->before);
    catalog_drop(catalog, catalog->fresh);
    catalog_drop(catalog, catalog->syncing);
    catalog->before = NULL;
    catalog->fresh = NULL;
    catalog->syncing = NULL;
    arena_free(&catalog->arena);
    catalog->diff = (struct registry_diff){0};
    catalog_move(catalog, CATALOG_IDLE);
    if (catalog->close_op == NULL)
        sched_start_timer(sched, &catalog->interval, catalog->config.interval_ms);
    sched_defer(sched, &catalog->start);
}

static void catalog_fail(struct catalog *catalog, const char *what, int rc)
{
    catalog->err = catalog->op.err;
    if (rc != ERR_CANCELED)
        log_write(LOG_ERROR, what, LOG_STR("error", err_text(&catalog->err)));
    catalog_end_round(catalog, rc);
}

static void catalog_after_sync(struct catalog *catalog, int rc)
{
    catalog->synced = rc == 0;
    if (rc != 0)
        catalog_fail(catalog, "migrations could not be listed in the state database", rc);
    else
        catalog_end_round(catalog, 0);
}

static void catalog_sync_now(struct catalog *catalog)
{
    struct store *store = catalog->config.engine->store;
    int rc;

    catalog->syncing = registry_ref(catalog->config.engine->registry);
    catalog_move(catalog, CATALOG_SYNCING);
    rc = store->ops->sync(store, &catalog->op, catalog->syncing);
    if (rc != 0)
        catalog_after_sync(catalog, rc);
}

static void catalog_sync_if_needed(struct catalog *catalog)
{
    if (catalog->close_op != NULL)
        catalog_end_round(catalog, ERR_SHUTDOWN);
    else if (catalog_wait_has(&catalog->round, CATALOG_WISH_SYNC) ||
             (catalog->may_sync && !catalog->synced))
        catalog_sync_now(catalog);
    else
        catalog_end_round(catalog, 0);
}

static void catalog_start_watching(struct catalog *catalog);

static void catalog_after_compare(struct catalog *catalog, int rc)
{
    const struct registry_diff *diff = &catalog->diff;

    if (rc != 0) {
        catalog_fail(catalog, "migrations could not be compared", rc);
        return;
    }
    if (diff->added_count + diff->removed_count + diff->updated_count > 0 || !catalog->loaded) {
        catalog_report_change(diff, catalog->fresh);
        catalog->synced = false;
    } else if (catalog->fresh->stray_count != catalog->before->stray_count) {
        catalog_report_names(catalog->fresh);
    }
    catalog_report_misplaced(catalog, catalog->fresh);
    catalog->loaded = true;
    engine_set_registry(catalog->config.engine, registry_ref(catalog->fresh));
    catalog_sync_if_needed(catalog);
}

static void catalog_after_read(struct catalog *catalog, int rc)
{
    const struct catalog_config *config = &catalog->config;

    catalog_start_watching(catalog);
    if (rc == ERR_NOT_FOUND) /* an empty tree: no fault of who asked */
        rc = catalog->op.err.code = ERR_IO;
    if (rc != 0) {
        catalog_fail(catalog, "migrations could not be read; the ones known before are kept", rc);
        return;
    }
    catalog->before = registry_ref(config->engine->registry);
    catalog_move(catalog, CATALOG_COMPARING);
    rc = tree_compare(config->loop, &catalog->op, catalog->before, catalog->fresh, &catalog->arena,
                      &catalog->diff);
    if (rc != 0)
        catalog_after_compare(catalog, rc);
}

static bool catalog_must_read(const struct catalog *catalog)
{
    if (catalog->config.root == NULL && catalog->loaded)
        return false;
    return catalog->changed_on_disk || catalog_wait_has(&catalog->round, CATALOG_WISH_LOAD) ||
           catalog_wait_has(&catalog->round, CATALOG_WISH_REINDEX);
}

static void catalog_begin_round(struct catalog *catalog)
{
    bool must_read;
    int rc;

    list_append_all(&catalog->round, &catalog->waiting);
    err_clear(&catalog->err);
    must_read = catalog_must_read(catalog);
    catalog->may_sync =
        catalog->changed_on_disk || catalog_wait_has(&catalog->round, CATALOG_WISH_REINDEX);
    catalog->changed_on_disk = false;
    if (!must_read) {
        catalog_sync_if_needed(catalog);
        return;
    }
    catalog_move(catalog, CATALOG_READING);
    rc = catalog_start_reading(catalog);
    if (rc != 0)
        catalog_after_read(catalog, rc);
}

static void catalog_on_op(struct op *op, int rc)
{
    struct catalog *catalog = container_of(op, struct catalog, op);

    switch ((enum catalog_state)catalog->sm.state) {
    case CATALOG_READING:
        catalog_after_read(catalog, rc);
        return;
    case CATALOG_COMPARING:
        catalog_after_compare(catalog, rc);
        return;
    case CATALOG_SYNCING:
        catalog_after_sync(catalog, rc);
        return;
    case CATALOG_IDLE:
    case CATALOG_UNWATCHING:
        break;
    }
    abort();
}

/* --- what begins a round --- */

static void catalog_on_change(void *arg)
{
    struct catalog *catalog = arg;

    catalog->changed_on_disk = true;
    sched_defer(loop_sched(catalog->config.loop), &catalog->start);
}

static void catalog_on_interval(struct timer *timer)
{
    catalog_on_change(container_of(timer, struct catalog, interval));
}

static void catalog_unwatch(struct catalog *catalog);

static void catalog_on_start(struct task *task)
{
    struct catalog *catalog = container_of(task, struct catalog, start);

    if (catalog->sm.state != CATALOG_IDLE)
        return; /* the end of the round asks again */
    if (catalog->close_op != NULL)
        catalog_unwatch(catalog);
    else if (catalog->changed_on_disk || !list_is_empty(&catalog->waiting))
        catalog_begin_round(catalog);
}

int catalog_sync(struct catalog *catalog, struct op *op)
{
    return catalog_wait_add(catalog, op, CATALOG_WISH_SYNC, NULL);
}

int catalog_load(struct catalog *catalog, struct op *op)
{
    return catalog_wait_add(catalog, op, CATALOG_WISH_LOAD, NULL);
}

int catalog_reindex(void *arg, struct op *op, struct api_reindex_result *out)
{
    return catalog_wait_add(arg, op, CATALOG_WISH_REINDEX, out);
}

/* --- beginning and end --- */

int catalog_create(const struct catalog_config *config, struct catalog **out, struct err *err)
{
    struct catalog *catalog = mem_calloc(1, sizeof(*catalog));
    struct registry *empty;

    if (catalog == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_code_text(ERR_NOMEM));
    if (registry_build(NULL, 0, &empty, err) != 0)
        goto err_after_alloc;
    catalog->retire = retire_create(config->loop);
    if (catalog->retire == NULL)
        goto err_after_registry;
    engine_set_registry(config->engine, empty);
    catalog->config = *config;
    sm_init(&catalog->sm, catalog_states, "catalog", CATALOG_IDLE);
    op_init(&catalog->op, catalog_on_op);
    list_init(&catalog->waiting);
    list_init(&catalog->round);
    arena_init(&catalog->arena);
    catalog->interval.fire = catalog_on_interval;
    catalog->start.run = catalog_on_start;
    *out = catalog;
    return 0;

err_after_registry:
    registry_unref(empty);
err_after_alloc:
    mem_free(catalog);
    return err_set(err, ERR_NOMEM, "%s", err_code_text(ERR_NOMEM));
}

/* Without memory for a watch, the interval still finds changes. */
static void catalog_start_watching(struct catalog *catalog)
{
    const struct watch_config watch = {.root = catalog->config.root,
                                       .fingerprint = catalog->fingerprint,
                                       .on_change = catalog_on_change,
                                       .arg = catalog};

    if (watch.root != NULL && catalog->watch == NULL)
        catalog->watch = watch_create(catalog->config.loop, &watch);
}

static void catalog_on_retired(struct op *op, int rc)
{
    struct catalog *catalog = container_of(op, struct catalog, retire_op);
    struct op *close_op = catalog->close_op;

    (void)rc;
    mem_free(catalog);
    op_finish(close_op, 0);
}

static void catalog_free(struct catalog *catalog)
{
    op_init(&catalog->retire_op, catalog_on_retired);
    retire_close(catalog->retire, &catalog->retire_op);
}

static void catalog_on_unwatched(struct op *op, int rc)
{
    (void)rc;
    catalog_free(container_of(op, struct catalog, watch_op));
}

static void catalog_unwatch(struct catalog *catalog)
{
    catalog_move(catalog, CATALOG_UNWATCHING);
    if (catalog->watch == NULL) {
        catalog_free(catalog);
        return;
    }
    op_init(&catalog->watch_op, catalog_on_unwatched);
    watch_close(catalog->watch, &catalog->watch_op);
}

void catalog_close(struct catalog *catalog, struct op *op)
{
    struct sched *sched = loop_sched(catalog->config.loop);

    op_begin(op, catalog, NULL);
    catalog->close_op = op;
    err_set(&catalog->err, ERR_SHUTDOWN, "%s", err_code_text(ERR_SHUTDOWN));
    catalog_wait_finish(catalog, &catalog->waiting, ERR_SHUTDOWN);
    sched_stop_timer(sched, &catalog->interval);
    op_cancel(&catalog->op);
    sched_defer(sched, &catalog->start);
}
