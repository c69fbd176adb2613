#include "base/json.h"
#include "base/mem.h"
#include "io/work.h"
#include "store/definition.h"
#include "store/postgresql_adopt.h"

enum {
    SYNC_STEP = 1000, /* migrations written by one statement */
    SYNC_JSON_MAX = 256 * 1024 * 1024,
};

/*
 *  ADOPTING ─> READING ─> COMPARING ─> BUILDING ─> WRITING ─> (done, or another step from BUILDING)
 *
 * COMPARING and BUILDING are on the thread pool. All rows of the list are written before the first
 * dependency is; the fingerprints come with those.
 */
struct pgstore_sync {
    struct request *request;
    struct store_pg *pg;
    struct pgstore_call call;
    struct op step;
    struct definition_diff diff;
    struct buf rows, links;
    size_t at;
    bool linking;
};

void pgstore_sync_free(void *state)
{
    struct pgstore_sync *sync = state;

    buf_free(&sync->links);
    buf_free(&sync->rows);
    pg_results_free(&sync->call.results);
    definition_diff_free(&sync->diff);
    mem_free(sync);
}

static void sync_end_step(struct pgstore_sync *sync, int rc)
{
    struct request *request = sync->request;

    request->rc = rc;
    if (rc != 0)
        request->op->err = sync->step.err;
    core_end_batch(request->core);
}

/* Whether something is left, after moving on to the dependencies if that is what is left. */
static bool sync_has_more(struct pgstore_sync *sync)
{
    if (sync->at < sync->diff.count)
        return true;
    if (sync->linking || sync->diff.count == 0)
        return false;
    sync->linking = true;
    sync->at = 0;
    return true;
}

/* --- first step --- */

static int sync_compare_on_thread(void *arg, struct err *err)
{
    struct pgstore_sync *sync = arg;
    struct pgstore_cursor cursor = {.result = sync->call.results.results[0]};
    int count = PQntuples(cursor.result);
    int rc = 0;

    for (cursor.row = 0; cursor.row < count && rc == 0; cursor.row++)
        rc = definition_diff_add(&sync->diff, pgstore_text(&cursor, 0), pgstore_text(&cursor, 1));
    if (rc == 0)
        rc = definition_diff_make(&sync->diff, sync->request->registry);
    pg_results_free(&sync->call.results);
    return rc == 0 ? 0 : err_set(err, rc, "out of memory");
}

static void sync_on_compared(struct op *op, int rc)
{
    struct pgstore_sync *sync = container_of(op, struct pgstore_sync, step);

    if (rc == 0)
        sync->request->more = sync_has_more(sync);
    sync_end_step(sync, rc);
}

static void sync_on_known(struct op *op, int rc)
{
    struct pgstore_sync *sync = container_of(op, struct pgstore_sync, step);

    if (rc == 0) {
        op_init(&sync->step, sync_on_compared);
        rc = work_start(sync->pg->loop, &sync->step, sync_compare_on_thread, sync);
    }
    if (rc != 0)
        sync_end_step(sync, rc);
}

static void sync_read_known(struct pgstore_sync *sync)
{
    int rc;

    sync->call = (struct pgstore_call){.sql = PGSTORE_KNOWN, .repeatable = true};
    op_init(&sync->step, sync_on_known);
    rc = pgstore_call_start(sync->pg, &sync->call, &sync->step);
    if (rc != 0)
        sync_end_step(sync, rc);
}

static void sync_on_adopted(struct op *op, int rc)
{
    struct pgstore_sync *sync = container_of(op, struct pgstore_sync, step);

    if (rc == 0)
        sync_read_known(sync);
    else
        sync_end_step(sync, rc);
}

/* What older servers left is taken over before anything is written beside it. */
static void sync_adopt(struct pgstore_sync *sync)
{
    int rc;

    op_init(&sync->step, sync_on_adopted);
    rc = pgstore_adopt_start(sync->pg, sync->request->registry, &sync->step);
    if (rc != 0)
        sync_end_step(sync, rc);
}

/* --- later steps --- */

static void sync_open(struct buf *json)
{
    buf_puts(json, json->len > 1 ? ",{" : "{");
}

static void sync_put_row(struct buf *json, const struct migration *migration)
{
    sync_open(json);
    json_put_member(json, "id", migration->id);
    json_put_member(json, "schema", migration->schema);
    json_put_member(json, "version", migration->version);
    json_put_member(json, "name", migration->name);
    json_put_member(json, "connection", migration->connection);
    json_put_member(json, "backend", backend_kind_name(migration->backend));
    if (migration->up.file != NULL)
        json_put_member(json, "up", migration->up.file);
    if (migration->down.file != NULL)
        json_put_member(json, "down", migration->down.file);
    buf_puts(json, ",\"simple\":");
    definition_put_simple(json, migration);
    buf_puts(json, ",\"structured\":");
    definition_put_structured(json, migration);
    buf_putc(json, '}');
}

static void sync_put_link(struct buf *json, const struct migration *migration,
                          const struct definition_link *link)
{
    sync_open(json);
    json_put_member(json, "id", migration->id);
    json_put_member(json, "other", link->target->id);
    json_put_member(json, "connection", link->target->connection);
    json_put_member(json, "schema", definition_link_schema(link));
    json_put_member(json, "target", link->dependency->target);
    json_put_member(json, "type", definition_target_type(link->dependency));
    json_put_member(json, "rt", link->dependency->requires_table);
    json_put_member(json, "rs", link->dependency->requires_schema);
    buf_putc(json, '}');
}

static void sync_put_links(struct pgstore_sync *sync, const struct definition *definition)
{
    sync_open(&sync->rows);
    json_put_member(&sync->rows, "id", definition->migration->id);
    json_put_member(&sync->rows, "definition", definition->fingerprint);
    buf_putc(&sync->rows, '}');
    for (size_t i = 0; i < definition->link_count; i++)
        sync_put_link(&sync->links, definition->migration, &definition->links[i]);
}

static int sync_build_on_thread(void *arg, struct err *err)
{
    struct pgstore_sync *sync = arg;
    size_t end = sync->at + SYNC_STEP;

    buf_truncate(&sync->rows, 0);
    buf_truncate(&sync->links, 0);
    buf_putc(&sync->rows, '[');
    buf_putc(&sync->links, '[');
    for (; sync->at < sync->diff.count && sync->at < end; sync->at++) {
        const struct definition *definition = &sync->diff.changed[sync->at];

        if (sync->linking)
            sync_put_links(sync, definition);
        else
            sync_put_row(&sync->rows, definition->migration);
    }
    buf_putc(&sync->rows, ']');
    buf_putc(&sync->links, ']');
    if (sync->rows.rc != 0 || sync->links.rc != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    return 0;
}

static void sync_on_written(struct op *op, int rc)
{
    struct pgstore_sync *sync = container_of(op, struct pgstore_sync, step);

    pg_results_free(&sync->call.results);
    if (rc == 0)
        sync->request->more = sync_has_more(sync);
    sync_end_step(sync, rc);
}

static void sync_on_built(struct op *op, int rc)
{
    struct pgstore_sync *sync = container_of(op, struct pgstore_sync, step);

    if (rc == 0) {
        sync->call =
            (struct pgstore_call){.sql = sync->linking ? PGSTORE_SYNC_LINKS : PGSTORE_SYNC_LIST,
                                  .value_count = sync->linking ? 2 : 1,
                                  .values = {sync->rows.data, sync->links.data},
                                  .repeatable = true};
        op_init(&sync->step, sync_on_written);
        rc = pgstore_call_start(sync->pg, &sync->call, &sync->step);
    }
    if (rc != 0)
        sync_end_step(sync, rc);
}

static void sync_build(struct pgstore_sync *sync)
{
    int rc;

    op_init(&sync->step, sync_on_built);
    rc = work_start(sync->pg->loop, &sync->step, sync_build_on_thread, sync);
    if (rc != 0)
        sync_end_step(sync, rc);
}

void pgstore_sync_run(struct store_pg *pg, struct request *request)
{
    struct pgstore_sync *sync = request->state;

    if (sync != NULL) {
        sync_build(sync);
        return;
    }
    sync = mem_calloc(1, sizeof(*sync));
    if (sync == NULL) {
        request->rc = err_set(&request->op->err, ERR_NOMEM, "out of memory");
        core_end_batch(&pg->core);
        return;
    }
    sync->request = request;
    sync->pg = pg;
    request->state = sync;
    definition_diff_init(&sync->diff);
    buf_init(&sync->rows, SYNC_JSON_MAX);
    buf_init(&sync->links, SYNC_JSON_MAX);
    sync_adopt(sync);
}
