#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "store/postgresql_private.h"

enum {
    PREPARE_TEXT_MAX = 64 * 1024,
    PREPARE_TIMEOUT_MS = 120 * 1000, /* an index on a history of millions takes its time */
};

/*
 * Looks what is there and makes what is missing, so that a role without the right to create
 * anything can use a schema that is complete.
 *
 *  INSPECTING ─> CREATING ─> (done)     straight to done when nothing is missing
 */
struct pgstore_prepare {
    struct request *request;
    struct store_pg *pg;
    struct pgstore_call call;
    struct op step;
    char *text; /* what is missing; NULL while inspecting */
};

static void prepare_on_step(struct op *op, int rc);

void pgstore_prepare_free(void *state)
{
    struct pgstore_prepare *prepare = state;

    mem_free(prepare->text);
    mem_free(prepare);
}

void pgstore_prepare_cancel(struct request *request)
{
    struct pgstore_prepare *prepare = request->state;

    op_cancel(&prepare->step);
}

static void prepare_end(struct pgstore_prepare *prepare, int rc)
{
    struct request *request = prepare->request;

    request->rc = rc;
    if (rc != 0)
        request->op->err = prepare->step.err;
    core_end_batch(request->core);
}

static void prepare_start(struct pgstore_prepare *prepare)
{
    int rc;

    op_init(&prepare->step, prepare_on_step);
    rc = pgstore_call_start(prepare->pg, &prepare->call, &prepare->step);
    if (rc != 0)
        prepare_end(prepare, rc);
}

/* --- what is there --- */

static bool prepare_has(const PGresult *there, const char *name, const char *attribute)
{
    for (int row = 0; row < PQntuples(there); row++) {
        if (strcmp(PQgetvalue(there, row, 0), name) != 0)
            continue;
        if (attribute == NULL ? PQgetisnull(there, row, 1) != 0
                              : strcmp(PQgetvalue(there, row, 1), attribute) == 0)
            return true;
    }
    return false;
}

/* Whether tables of another server are taken over for the first time. */
static bool prepare_adopts(const PGresult *there)
{
    return prepare_has(there, "migrations_list", NULL) &&
           !prepare_has(there, "migrations_executions", "run_id");
}

/* Another server may have made them a moment ago: each is made in such a way that it is there once.
 * Tables of another role go without, as they always could be used. */
static void prepare_put_links(const PGresult *there, struct buf *text)
{
    if (prepare_has(there, "migrations_list", NULL))
        return;
    for (size_t i = 0; i < pgstore_link_count; i++)
        if (prepare_has(there, pgstore_links[i].table, "*"))
            buf_puts(text, pgstore_links[i].sql);
}

static int prepare_put_missing(const PGresult *there, struct buf *text)
{
    bool missing = false;

    buf_puts(text, pgstore_sql_lock);
    for (size_t i = 0; i < pgstore_object_count; i++) {
        const struct pgstore_object *object = &pgstore_objects[i];

        if (prepare_has(there, object->table, object->column))
            continue;
        missing = true;
        buf_puts(text, object->sql);
    }
    prepare_put_links(there, text);
    if (prepare_adopts(there))
        buf_puts(text, pgstore_sql_adopt);
    if (!missing)
        buf_truncate(text, 0);
    return text->rc;
}

/* Sets `text`, or leaves it NULL when nothing is missing. */
static int prepare_compare(struct pgstore_prepare *prepare, const PGresult *there)
{
    struct err *err = &prepare->step.err;
    struct buf text;
    const char *part;

    if (prepare_has(there, "migrations_list", "last_status"))
        return 0; /* an older layout: the sync that comes next converts it, with all that is missing
                   */
    buf_init(&text, PREPARE_TEXT_MAX);
    if (prepare_put_missing(there, &text) == 0 && text.len > 0) {
        part = buf_str(&text);
        prepare->text = pgstore_expand(&part, 1, prepare->pg->quoted_schema);
    }
    if (text.rc != 0 || (text.len > 0 && prepare->text == NULL))
        err_set(err, ERR_NOMEM, "out of memory");
    buf_free(&text);
    return err->code;
}

static void prepare_on_step(struct op *op, int rc)
{
    struct pgstore_prepare *prepare = container_of(op, struct pgstore_prepare, step);
    bool created = prepare->text != NULL;

    if (rc == 0 && !created)
        rc = prepare_compare(prepare, prepare->call.results.results[0]);
    pg_results_free(&prepare->call.results);
    if (rc != 0 || created || prepare->text == NULL) {
        prepare_end(prepare, rc);
        return;
    }
    prepare->call = (struct pgstore_call){.text = prepare->text, .timeout_ms = PREPARE_TIMEOUT_MS};
    prepare_start(prepare);
}

void pgstore_prepare_run(struct store_pg *pg, struct request *request)
{
    struct pgstore_prepare *prepare = mem_calloc(1, sizeof(*prepare));

    if (prepare == NULL) {
        request->rc = err_set(&request->op->err, ERR_NOMEM, "out of memory");
        core_end_batch(&pg->core);
        return;
    }
    prepare->request = request;
    prepare->pg = pg;
    request->state = prepare;
    prepare->call = (struct pgstore_call){
        .sql = PGSTORE_INSPECT, .value_count = 1, .values = {pg->schema}, .repeatable = true};
    prepare_start(prepare);
}
