#include "base/json.h"
#include "base/mem.h"
#include "io/work.h"
#include "store/definition.h"
#include "store/mysql_private.h"

enum {
    SYNC_STEP = 1000, /* migrations written by one transaction */
    SYNC_JSON_MAX = 16 * 1024 * 1024,
};

/*
 *  READING ─> COMPARING ─> BUILDING ─> WRITING ─> (done, or another step from BUILDING)
 *
 * COMPARING and BUILDING are on the thread pool. A row of the list goes with its dependencies, so
 * that its fingerprint never stands for more than what is there.
 */
struct mystore_sync {
    struct request *request;
    struct mystore_call call;
    struct op step;
    struct definition_diff diff;
    struct buf json;
    size_t at;
};

static const char sync_sql_known[] = "SELECT migration_id, definition FROM @.migrations_list";

static const char sync_sql_list[] =
    "INSERT INTO @.migrations_list (migration_id, `schema`, version, name, connection, backend,"
    " up_sql, down_sql, dependencies, structured_dependencies, definition, created_at, updated_at)"
    " VALUES ";
static const char sync_sql_list_tail[] =
    " ON DUPLICATE KEY UPDATE `schema` = VALUES(`schema`), version = VALUES(version),"
    " name = VALUES(name), connection = VALUES(connection), backend = VALUES(backend),"
    " up_sql = VALUES(up_sql), down_sql = VALUES(down_sql),"
    " dependencies = VALUES(dependencies),"
    " structured_dependencies = VALUES(structured_dependencies),"
    " definition = VALUES(definition), updated_at = VALUES(updated_at)";
static const char sync_sql_unlink[] =
    "DELETE FROM @.migrations_dependencies WHERE migration_id IN (";
static const char sync_sql_link[] =
    "INSERT INTO @.migrations_dependencies (migration_id, dependency_id, connection, `schema`,"
    " target, target_type, requires_table, requires_schema, created_at) VALUES ";

void mystore_sync_free(void *state)
{
    struct mystore_sync *sync = state;

    buf_free(&sync->json);
    mystore_call_free(&sync->call);
    definition_diff_free(&sync->diff);
    mem_free(sync);
}

static void sync_end_step(struct mystore_sync *sync, int rc)
{
    struct request *request = sync->request;

    request->rc = rc;
    if (rc != 0)
        request->op->err = sync->step.err;
    else
        request->more = sync->at < sync->diff.count;
    core_end_batch(request->core);
}

static void sync_call(struct mystore_sync *sync, void (*done)(struct op *op, int rc))
{
    int rc;

    op_init(&sync->step, done);
    rc = mystore_call_start(&sync->call, &sync->step);
    if (rc != 0)
        sync_end_step(sync, rc);
}

static void sync_work(struct mystore_sync *sync, void (*done)(struct op *op, int rc),
                      int (*fn)(void *arg, struct err *err))
{
    int rc;

    op_init(&sync->step, done);
    rc = work_start(sync->call.my->loop, &sync->step, fn, sync);
    if (rc != 0)
        sync_end_step(sync, rc);
}

/* --- first step --- */

static int sync_compare_on_thread(void *arg, struct err *err)
{
    struct mystore_sync *sync = arg;
    struct mystore_cursor row = {.call = &sync->call};
    int rc = 0;

    while (rc == 0 && mystore_next(&row))
        rc = definition_diff_add(&sync->diff, mystore_text(&row, 0), mystore_text(&row, 1));
    if (rc == 0)
        rc = definition_diff_make(&sync->diff, sync->request->registry);
    return rc == 0 ? 0 : err_set(err, rc, "out of memory");
}

static void sync_on_compared(struct op *op, int rc)
{
    sync_end_step(container_of(op, struct mystore_sync, step), rc);
}

static void sync_on_known(struct op *op, int rc)
{
    struct mystore_sync *sync = container_of(op, struct mystore_sync, step);

    if (rc == 0)
        sync_work(sync, sync_on_compared, sync_compare_on_thread);
    else
        sync_end_step(sync, rc);
}

/* --- later steps --- */

static void sync_put_json(struct mystore_sync *sync, const struct migration *migration,
                          int (*put)(struct buf *json, const struct migration *migration))
{
    buf_truncate(&sync->json, 0);
    if (put(&sync->json, migration) != 0)
        sync->call.script.rc = sync->json.rc;
    mystore_row_text(&sync->call.script, buf_str(&sync->json));
}

static void sync_put_row(struct mystore_sync *sync, const struct definition *definition)
{
    struct mystore_script *script = &sync->call.script;
    const struct migration *migration = definition->migration;

    mystore_row_begin(script);
    mystore_row_text(script, migration->id);
    mystore_row_text(script, migration->schema);
    mystore_row_text(script, migration->version);
    mystore_row_text(script, migration->name);
    mystore_row_text(script, migration->connection);
    mystore_row_text(script, backend_kind_name(migration->backend));
    mystore_row_text(script, migration->up.file);
    mystore_row_text(script, migration->down.file);
    sync_put_json(sync, migration, definition_put_simple);
    sync_put_json(sync, migration, definition_put_structured);
    mystore_row_text(script, definition->fingerprint);
    mystore_row_sql(script, MYSTORE_NOW);
    mystore_row_sql(script, MYSTORE_NOW);
    mystore_row_end(script);
}

static void sync_put_optional(struct mystore_script *script, const char *text)
{
    mystore_row_text(script, text[0] != '\0' ? text : NULL);
}

static int sync_put_link_schema(struct buf *json, const struct definition_link *link)
{
    const char *schema = definition_link_schema(link);

    return json_put_array(json, &schema, schema[0] != '\0' ? 1 : 0);
}

static void sync_put_link(struct mystore_sync *sync, const struct migration *migration,
                          const struct definition_link *link)
{
    struct mystore_script *script = &sync->call.script;

    buf_truncate(&sync->json, 0);
    if (sync_put_link_schema(&sync->json, link) != 0)
        script->rc = sync->json.rc;
    mystore_row_begin(script);
    mystore_row_text(script, migration->id);
    mystore_row_text(script, link->target->id);
    mystore_row_text(script, link->target->connection);
    mystore_row_text(script, buf_str(&sync->json));
    mystore_row_text(script, link->dependency->target);
    mystore_row_text(script, definition_target_type(link->dependency));
    sync_put_optional(script, link->dependency->requires_table);
    sync_put_optional(script, link->dependency->requires_schema);
    mystore_row_sql(script, MYSTORE_NOW);
    mystore_row_end(script);
}

static void sync_put_links(struct mystore_sync *sync, size_t from, size_t end)
{
    struct mystore_script *script = &sync->call.script;

    mystore_rows_begin(script, sync_sql_unlink, ")", MYSTORE_KEYS_MAX);
    for (size_t i = from; i < end; i++) {
        mystore_row_begin(script);
        mystore_row_text(script, sync->diff.changed[i].migration->id);
        mystore_row_end(script);
    }
    mystore_rows_end(script);
    mystore_rows_begin(script, sync_sql_link, "", 0);
    for (size_t i = from; i < end; i++) {
        const struct definition *definition = &sync->diff.changed[i];

        for (size_t at = 0; at < definition->link_count; at++)
            sync_put_link(sync, definition->migration, &definition->links[at]);
    }
    mystore_rows_end(script);
}

static int sync_build_on_thread(void *arg, struct err *err)
{
    struct mystore_sync *sync = arg;
    struct mystore_script *script = &sync->call.script;
    size_t from = sync->at, left = sync->diff.count - from;

    sync->at += left < SYNC_STEP ? left : SYNC_STEP;
    mystore_script_clear(script);
    mystore_sql(script, MYSTORE_BEGIN);
    mystore_rows_begin(script, sync_sql_list, sync_sql_list_tail, 0);
    for (size_t i = from; i < sync->at; i++)
        sync_put_row(sync, &sync->diff.changed[i]);
    mystore_rows_end(script);
    sync_put_links(sync, from, sync->at);
    mystore_sql(script, MYSTORE_COMMIT);
    return mystore_script_close(script, err);
}

static void sync_on_written(struct op *op, int rc)
{
    sync_end_step(container_of(op, struct mystore_sync, step), rc);
}

static void sync_on_built(struct op *op, int rc)
{
    struct mystore_sync *sync = container_of(op, struct mystore_sync, step);

    if (rc == 0)
        sync_call(sync, sync_on_written);
    else
        sync_end_step(sync, rc);
}

void mystore_sync_run(struct store_my *my, struct request *request)
{
    struct mystore_sync *sync = request->state;
    int rc;

    if (sync != NULL) {
        sync_work(sync, sync_on_built, sync_build_on_thread);
        return;
    }
    sync = mem_calloc(1, sizeof(*sync));
    if (sync == NULL) {
        request->rc = err_set(&request->op->err, ERR_NOMEM, "out of memory");
        core_end_batch(&my->core);
        return;
    }
    sync->request = request;
    request->state = sync;
    definition_diff_init(&sync->diff);
    buf_init(&sync->json, SYNC_JSON_MAX);
    mystore_call_init(&sync->call, my);
    sync->call.repeatable = true;
    mystore_sql(&sync->call.script, sync_sql_known);
    rc = mystore_script_close(&sync->call.script, &sync->step.err);
    if (rc == 0)
        sync_call(sync, sync_on_known);
    else
        sync_end_step(sync, rc);
}
