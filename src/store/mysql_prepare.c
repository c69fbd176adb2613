#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "base/mem.h"
#include "store/mysql_private.h"

enum {
    PREPARE_TIMEOUT_MS = 120 * 1000, /* an index on a history of millions takes its time */
    PREPARE_LOCK_S = 60,             /* other servers' time to do the same */
};

/*
 * Looks what is there and makes what is missing, so that a user without the right to create
 * anything can use a database that is complete. One server at a time makes something, and looks
 * again first: another one may have made it a moment ago.
 *
 *  INSPECTING ─> LOCKING ─> CREATING ─> (done)     straight to done when nothing is missing
 */
enum prepare_state {
    PREPARE_INSPECTING,
    PREPARE_LOCKING,
    PREPARE_CREATING,
};

struct mystore_prepare {
    struct request *request;
    struct mystore_call call;
    struct op step;
    enum prepare_state state;
    const char *collation;
    bool locked;
};

/* What a row of the inspection is about, then a table, and a column or an index. */
static const char prepare_sql_inspect[] =
    "SELECT 'packet', @@max_allowed_packet, NULL UNION ALL"
    " SELECT 'collation', collation_name, NULL FROM information_schema.collations"
    " WHERE collation_name IN ('utf8mb4_nopad_bin', 'utf8mb4_0900_bin') UNION ALL"
    " SELECT 'database', schema_name, NULL FROM information_schema.schemata"
    " WHERE schema_name = ";
static const char prepare_sql_tables[] =
    " UNION ALL SELECT 'table', table_name, NULL FROM information_schema.tables"
    " WHERE table_schema = ";
static const char prepare_sql_columns[] =
    " UNION ALL SELECT 'column', table_name, column_name FROM information_schema.columns"
    " WHERE table_schema = ";
static const char prepare_sql_indexes[] =
    " UNION ALL SELECT 'index', table_name, index_name FROM information_schema.statistics"
    " WHERE seq_in_index = 1 AND table_schema = ";

static void prepare_on_step(struct op *op, int rc);

void mystore_prepare_free(void *state)
{
    struct mystore_prepare *prepare = state;

    mystore_call_free(&prepare->call);
    mem_free(prepare);
}

void mystore_prepare_cancel(struct request *request)
{
    struct mystore_prepare *prepare = request->state;

    op_cancel(&prepare->step);
}

static void prepare_end(struct mystore_prepare *prepare, int rc)
{
    struct request *request = prepare->request;

    request->rc = rc;
    if (rc != 0)
        request->op->err = prepare->step.err;
    core_end_batch(request->core);
}

static void prepare_start(struct mystore_prepare *prepare)
{
    int rc;

    op_init(&prepare->step, prepare_on_step);
    rc = mystore_script_close(&prepare->call.script, &prepare->step.err);
    if (rc == 0)
        rc = mystore_call_start(&prepare->call, &prepare->step);
    if (rc != 0)
        prepare_end(prepare, rc);
}

/* --- what is there --- */

static bool prepare_is(struct mystore_cursor *row, int column, const char *text)
{
    const char *cell = mystore_text(row, column);

    return text == NULL || (cell != NULL && strcasecmp(cell, text) == 0);
}

static bool prepare_has(const struct mystore_prepare *prepare, const char *what, const char *name,
                        const char *part)
{
    struct mystore_cursor row = {.call = &prepare->call};

    while (mystore_next(&row))
        if (prepare_is(&row, 0, what) && prepare_is(&row, 1, name) && prepare_is(&row, 2, part))
            return true;
    return false;
}

static bool prepare_has_object(const struct mystore_prepare *prepare,
                               const struct mystore_object *object)
{
    if (object->column != NULL)
        return prepare_has(prepare, "column", object->table, object->column);
    if (object->index != NULL)
        return prepare_has(prepare, "index", object->table, object->index);
    return prepare_has(prepare, "table", object->table, NULL);
}

static bool prepare_is_complete(const struct mystore_prepare *prepare)
{
    if (!prepare_has(prepare, "database", NULL, NULL))
        return false;
    for (size_t i = 0; i < mystore_object_count; i++)
        if (!prepare_has_object(prepare, &mystore_objects[i]))
            return false;
    return true;
}

/* Keeps what is not about tables; ERR_STORE for those that are not this server's. */
static int prepare_read(struct mystore_prepare *prepare)
{
    struct mystore_cursor row = {.call = &prepare->call};
    struct store_my *my = prepare->call.my;

    prepare->collation = "utf8mb4_bin"; /* a server that is too old for the others */
    prepare->locked = false;
    while (mystore_next(&row)) {
        if (prepare_is(&row, 0, "packet"))
            my->packet_max = (size_t)mystore_integer(&row, 1);
        else if (prepare_is(&row, 0, "collation"))
            prepare->collation =
                prepare_is(&row, 1, "utf8mb4_nopad_bin") ? "utf8mb4_nopad_bin" : "utf8mb4_0900_bin";
        else if (prepare_is(&row, 0, "locked"))
            prepare->locked = mystore_integer(&row, 1) == 1;
    }
    if (!prepare_has(prepare, "column", "migrations_list", "last_status"))
        return 0;
    return err_set(&prepare->step.err, ERR_STORE,
                   "migrations_list has the layout of an older server (column last_status), which "
                   "is not converted; use another state database");
}

static void prepare_put_lock_name(struct mystore_prepare *prepare)
{
    const char *name = prepare->call.my->name;
    char lock[64];

    snprintf(lock, sizeof(lock), "bfm prepare %016llx",
             (unsigned long long)hash_fnv1a(HASH_FNV_START, name, strlen(name)));
    mystore_put_text(&prepare->call.script, lock);
}

static void prepare_put_inspect(struct mystore_prepare *prepare)
{
    struct mystore_script *script = &prepare->call.script;
    static const char *const parts[] = {prepare_sql_inspect, prepare_sql_tables,
                                        prepare_sql_columns, prepare_sql_indexes};

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        mystore_sql(script, parts[i]);
        mystore_put_text(script, prepare->call.my->name);
    }
    mystore_sql(script, ";");
}

/* --- what is missing --- */

static void prepare_lock(struct mystore_prepare *prepare)
{
    struct mystore_script *script = &prepare->call.script;

    prepare->state = PREPARE_LOCKING;
    mystore_script_clear(script);
    mystore_sql(script, "SELECT 'locked', GET_LOCK(");
    prepare_put_lock_name(prepare);
    mystore_sql(script, ", ");
    mystore_put_number(script, PREPARE_LOCK_S);
    mystore_sql(script, "), NULL;");
    prepare_put_inspect(prepare);
    prepare->call.keep = true;
    prepare->call.timeout_ms = PREPARE_TIMEOUT_MS;
    prepare_start(prepare);
}

static void prepare_put_object(struct mystore_script *script, const char *sql,
                               const char *collation)
{
    const char *at = strchr(sql, '#');

    if (at == NULL) {
        mystore_sql(script, sql);
        return;
    }
    buf_append(&script->clean, sql, (size_t)(at - sql));
    mystore_sql(script, buf_str(&script->clean));
    buf_truncate(&script->clean, 0);
    mystore_sql(script, collation);
    mystore_sql(script, at + 1);
}

static void prepare_put_missing(struct mystore_prepare *prepare)
{
    struct mystore_script *script = &prepare->call.script;

    if (!prepare_has(prepare, "database", NULL, NULL))
        mystore_sql(script, "CREATE DATABASE IF NOT EXISTS @ DEFAULT CHARACTER SET utf8mb4;");
    for (size_t i = 0; i < mystore_object_count; i++)
        if (!prepare_has_object(prepare, &mystore_objects[i]))
            prepare_put_object(script, mystore_objects[i].sql, prepare->collation);
    mystore_sql(script, "DO RELEASE_LOCK(");
    prepare_put_lock_name(prepare);
    mystore_sql(script, ");");
}

static void prepare_create(struct mystore_prepare *prepare)
{
    prepare->state = PREPARE_CREATING;
    mystore_script_clear(&prepare->call.script);
    prepare_put_missing(prepare);
    prepare->call.keep = false;
    prepare_start(prepare);
}

static void prepare_on_inspected(struct mystore_prepare *prepare)
{
    int rc = prepare_read(prepare);

    if (rc != 0)
        prepare_end(prepare, rc);
    else if (prepare->state == PREPARE_INSPECTING && prepare_is_complete(prepare))
        prepare_end(prepare, 0);
    else if (prepare->state == PREPARE_INSPECTING)
        prepare_lock(prepare);
    else if (!prepare->locked)
        prepare_end(prepare, err_set(&prepare->step.err, ERR_STORE,
                                     "another server has been making the tables of the state "
                                     "database for more than %d s",
                                     PREPARE_LOCK_S));
    else
        prepare_create(prepare);
}

static void prepare_on_step(struct op *op, int rc)
{
    struct mystore_prepare *prepare = container_of(op, struct mystore_prepare, step);

    if (rc == 0 && prepare->state != PREPARE_CREATING)
        prepare_on_inspected(prepare);
    else
        prepare_end(prepare, rc);
}

void mystore_prepare_run(struct store_my *my, struct request *request)
{
    struct mystore_prepare *prepare = mem_calloc(1, sizeof(*prepare));

    if (prepare == NULL) {
        request->rc = err_set(&request->op->err, ERR_NOMEM, "out of memory");
        core_end_batch(&my->core);
        return;
    }
    prepare->request = request;
    request->state = prepare;
    mystore_call_init(&prepare->call, my);
    prepare->call.repeatable = true;
    prepare_put_inspect(prepare);
    prepare_start(prepare);
}
