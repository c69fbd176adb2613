#include <inttypes.h>

#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/work.h"
#include "store/postgresql_private.h"
#include "store/record.h"

enum {
    WRITE_JSON_MAX = 512 * 1024 * 1024,
};

/*
 *  BUILDING (on the thread pool) ─> QUERYING ─> (done)
 *      ^────────────────────────────────┘       again for each request by itself, when the
 *                                               database refused a row of one of them
 */

/* Numbers of what was put already; values are the number plus one. */
struct write_numbers {
    struct map migrations, callers;
    size_t migration_count, caller_count, record_count;
};

static void write_build(struct pgstore_write *write);
static struct store_pg *write_store(struct pgstore_write *write)
{
    return container_of(write, struct store_pg, write);
}

static bool write_has_turn(const struct pgstore_write *write, struct list *node)
{
    const struct request *request = container_of(node, struct request, link);

    return request->rc == 0 && (write->apart == NULL || write->apart == node);
}

static void write_free_values(struct pgstore_write *write)
{
    buf_free(&write->lanes);
    buf_free(&write->runs);
    buf_free(&write->records);
    buf_free(&write->callers);
    buf_free(&write->migrations);
}

/* --- the end --- */

static void write_end(struct pgstore_write *write)
{
    write_free_values(write);
    core_end_batch(&write_store(write)->core);
}

/* Gives the outcome to the requests whose turn it was. */
static void write_settle(struct pgstore_write *write, int rc)
{
    list_foreach(node, write->batch) {
        struct request *request = container_of(node, struct request, link);

        if (rc == 0 || !write_has_turn(write, node))
            continue;
        request->rc = rc;
        request->op->err = write->step.err;
    }
}

/* The next request that is to be tried by itself, NULL at the end. */
static struct list *write_next_apart(const struct pgstore_write *write)
{
    struct list *node = write->apart != NULL ? write->apart : write->batch;

    do
        node = node->next;
    while (node != write->batch && container_of(node, struct request, link)->rc != 0);
    return node != write->batch ? node : NULL;
}

static void write_on_queried(struct op *op, int rc)
{
    struct pgstore_write *write = container_of(op, struct pgstore_write, step);

    pg_results_free(&write->call.results);
    if (rc == ERR_DB && write->apart == NULL && write->good > 1) {
        write->apart = write_next_apart(write);
    } else {
        write_settle(write, rc);
        if (write->apart == NULL) {
            write_end(write);
            return;
        }
        write->apart = write_next_apart(write);
    }
    if (write->apart != NULL)
        write_build(write);
    else
        write_end(write);
}

/* --- building --- */

static void write_put_member(struct buf *json, const char *key, const char *text)
{
    if (text != NULL)
        json_put_member(json, key, text);
}

/* "[{"i":<number>", with a comma in front of all but the first object. */
static void write_open(struct buf *json, const char *key, size_t number)
{
    buf_printf(json, "%s{\"%s\":%zu", number == 0 ? "[" : ",", key, number);
}

static void write_close(struct buf *json, size_t count)
{
    buf_puts(json, count == 0 ? "[]" : "]");
}

/* The number of a key; *known tells whether it had one. */
static size_t write_number(struct map *map, size_t *count, const void *key, bool *known, int *rc)
{
    void *value = map_get(map, key, sizeof(void *));

    *known = value != NULL;
    if (*known)
        return (size_t)(uintptr_t)value - 1;
    if (map_put(map, key, sizeof(void *), (void *)(uintptr_t)(*count + 1)) != 0)
        *rc = ERR_NOMEM;
    return (*count)++;
}

static size_t write_put_migration(struct pgstore_write *write, struct write_numbers *numbers,
                                  const struct store_record *record, int *rc)
{
    const struct migration *migration = record->migration;
    struct buf *json = &write->migrations;
    bool known;
    size_t number = write_number(&numbers->migrations, &numbers->migration_count,
                                 &record->migration, &known, rc);

    if (known)
        return number;
    write_open(json, "i", number);
    json_put_member(json, "id", migration->id);
    json_put_member(json, "schema", migration->schema);
    json_put_member(json, "version", migration->version);
    json_put_member(json, "name", migration->name);
    json_put_member(json, "connection", migration->connection);
    json_put_member(json, "backend", backend_kind_name(migration->backend));
    write_put_member(json, "up", migration->up.file);
    write_put_member(json, "down", migration->down.file);
    buf_putc(json, '}');
    return number;
}

static size_t write_put_caller(struct pgstore_write *write, struct write_numbers *numbers,
                               const struct store_record *record, int *rc)
{
    const struct store_caller *caller = record->caller;
    struct buf *json = &write->callers;
    bool known;
    size_t number =
        write_number(&numbers->callers, &numbers->caller_count, &record->caller, &known, rc);

    if (known)
        return number;
    write_open(json, "i", number);
    write_put_member(json, "by", caller->executed_by);
    json_put_member(json, "method",
                    caller->execution_method != NULL ? caller->execution_method : "api");
    write_put_member(json, "context", caller->execution_context);
    buf_putc(json, '}');
    return number;
}

static const char *write_effect(const struct record_event *event)
{
    switch (event->effect) {
    case RECORD_NONE:
        return NULL;
    case RECORD_APPLIED:
        return "A";
    case RECORD_ROLLED_BACK:
        return "R";
    case RECORD_FAILED:
        return "F";
    case RECORD_UNDO_FAILED:
        return "U";
    }
    return NULL;
}

static int write_put_record(struct pgstore_write *write, struct write_numbers *numbers,
                            const struct store_record *record)
{
    const struct record_event *event = record_event(record->event);
    struct buf *json = &write->records;
    int rc = 0;
    size_t migration = write_put_migration(write, numbers, record, &rc);
    size_t caller = write_put_caller(write, numbers, record, &rc);

    write_open(json, "n", numbers->record_count++);
    buf_printf(json, ",\"m\":%zu,\"c\":%zu,\"b\":%s,\"fo\":%s,\"at\":%" PRId64, migration, caller,
               record_is_base(record) ? "true" : "false", event->found ? "true" : "false",
               record->at_us);
    json_put_member(json, "s", record->schema);
    write_put_member(json, "st", event->status);
    write_put_member(json, "ef", write_effect(event));
    write_put_member(json, "er", record->error);
    write_put_member(json, "me", event->method);
    write_put_member(json, "run", record->run_id);
    write_put_member(json, "ck", record->checksum);
    if (record->attempts > 0)
        buf_printf(json, ",\"tr\":%u", record->attempts);
    if (record->duration_ms > 0)
        buf_printf(json, ",\"ms\":%" PRId64, record->duration_ms);
    buf_putc(json, '}');
    write->keyed = write->keyed && (record->run_id != NULL || event->found);
    return rc;
}

static int write_put_request(struct pgstore_write *write, struct write_numbers *numbers,
                             struct request *request)
{
    int rc = 0;

    if (request->kind == REQUEST_PUT_RUN)
        pgstore_put_run(write, request);
    for (size_t i = 0; i < request->record_count && rc == 0; i++)
        rc = write_put_record(write, numbers, &request->records[i]);
    return rc;
}

static int write_put_all(struct pgstore_write *write, struct write_numbers *numbers)
{
    int rc = 0;

    list_foreach(node, write->batch) {
        if (rc == 0 && write_has_turn(write, node))
            rc = write_put_request(write, numbers, container_of(node, struct request, link));
    }
    write_close(&write->migrations, numbers->migration_count);
    write_close(&write->callers, numbers->caller_count);
    write_close(&write->records, numbers->record_count);
    write_close(&write->runs, write->run_count);
    write_close(&write->lanes, write->lane_count);
    write->record_count = numbers->record_count;
    if (rc == 0)
        rc = write->migrations.rc;
    if (rc == 0)
        rc = write->callers.rc;
    if (rc == 0)
        rc = write->runs.rc;
    if (rc == 0)
        rc = write->lanes.rc;
    return rc != 0 ? rc : write->records.rc;
}

/* Refuses what no row can hold and counts the requests that are left. */
static void write_check(struct pgstore_write *write)
{
    write->good = 0;
    list_foreach(node, write->batch) {
        struct request *request = container_of(node, struct request, link);

        for (size_t i = 0; i < request->record_count && request->rc == 0; i++)
            request->rc = record_check(&request->records[i], &request->op->err);
        if (request->rc == 0)
            write->good++;
    }
}

static int write_build_on_thread(void *arg, struct err *err)
{
    struct pgstore_write *write = arg;
    struct write_numbers numbers = {.record_count = 0};
    int rc;

    if (write->apart == NULL)
        write_check(write);
    buf_truncate(&write->migrations, 0);
    buf_truncate(&write->callers, 0);
    buf_truncate(&write->records, 0);
    buf_truncate(&write->runs, 0);
    buf_truncate(&write->lanes, 0);
    write->run_count = write->lane_count = 0;
    map_init(&numbers.migrations);
    map_init(&numbers.callers);
    write->keyed = true;
    rc = write_put_all(write, &numbers);
    map_free(&numbers.callers);
    map_free(&numbers.migrations);
    return rc == 0 ? 0 : err_set(err, rc, "%s", err_code_text(rc));
}

/* Most batches hold no run. */
static void write_fill_call(struct pgstore_write *write)
{
    write->call =
        (struct pgstore_call){.sql = PGSTORE_WRITE,
                              .value_count = 3,
                              .values = {write->migrations.data, write->callers.data,
                                         write->records.data, write->runs.data, write->lanes.data},
                              .repeatable = write->keyed};
    if (write->run_count == 0)
        return;
    write->call.sql = write->record_count > 0 ? PGSTORE_WRITE_AND_RUNS : PGSTORE_RUNS_ALONE;
    write->call.value_count = 5;
}

static void write_on_built(struct op *op, int rc)
{
    struct pgstore_write *write = container_of(op, struct pgstore_write, step);

    if (rc == 0 && write->good == 0) {
        write_end(write);
        return;
    }
    if (rc == 0) {
        write_fill_call(write);
        op_init(&write->step, write_on_queried);
        rc = pgstore_call_start(write_store(write), &write->call, &write->step);
    }
    if (rc != 0)
        write_on_queried(&write->step, rc);
}

static void write_build(struct pgstore_write *write)
{
    struct store_pg *pg = write_store(write);
    int rc;

    op_init(&write->step, write_on_built);
    rc = work_start(pg->loop, &write->step, write_build_on_thread, write);
    if (rc != 0)
        write_on_queried(&write->step, rc);
}

void pgstore_write_run(struct store_pg *pg, struct list *batch)
{
    struct pgstore_write *write = &pg->write;

    *write = (struct pgstore_write){.batch = batch};
    buf_init(&write->migrations, WRITE_JSON_MAX);
    buf_init(&write->callers, WRITE_JSON_MAX);
    buf_init(&write->records, WRITE_JSON_MAX);
    buf_init(&write->runs, WRITE_JSON_MAX);
    buf_init(&write->lanes, WRITE_JSON_MAX);
    list_foreach(node, batch)
        container_of(node, struct request, link)->rc = 0;
    write_build(write);
}
