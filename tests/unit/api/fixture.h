#ifndef BFM_TESTS_API_FIXTURE_H
#define BFM_TESTS_API_FIXTURE_H

/* A store that answers from memory, and what the operations need around it. */
#include <string.h>

#include "api/ops.h"
#include "base/mem.h"
#include "cmocka_all.h"

static struct store_execution execution_rows[8];
static struct store_event_row history_rows[256];
static struct store_status status_rows[8];
static size_t execution_count, history_count, status_count;
static int store_rc;   /* what every read ends with */
static unsigned asked; /* reads so far */

static struct loop *loop;

/* The test's own memory never runs out. */
static inline void *fake_rows(struct arena *arena, size_t count, size_t size)
{
    void *rows;

    mem_fail_pause(1);
    rows = arena_calloc(arena, count, size);
    mem_fail_pause(0);
    assert_non_null(rows);
    return rows;
}

static inline int fake_finish(struct op *op)
{
    asked++;
    op_begin(op, NULL, NULL);
    if (store_rc != 0)
        err_set(&op->err, store_rc, "the state database is away");
    op_finish_later(op, loop_sched(loop), store_rc);
    return 0;
}

static inline int fake_get_executions(struct store *store, struct op *op, const char *id,
                                      size_t limit, struct store_executions *out)
{
    size_t count = 0;

    (void)store;
    *out = (struct store_executions){.rows = NULL};
    out->rows = fake_rows(&out->arena, ARRAY_SIZE(execution_rows), sizeof(*out->rows));
    for (size_t i = 0; i < execution_count && count < limit; i++)
        if (id == NULL || strcmp(execution_rows[i].migration_id, id) == 0)
            out->rows[count++] = execution_rows[i];
    out->count = count;
    if (store_rc != 0)
        arena_free(&out->arena);
    return fake_finish(op);
}

static inline int fake_get_history(struct store *store, struct op *op, const char *id, size_t limit,
                                   struct store_event_rows *out)
{
    size_t count = 0;

    (void)store;
    *out = (struct store_event_rows){.rows = NULL};
    out->rows = fake_rows(&out->arena, ARRAY_SIZE(history_rows), sizeof(*out->rows));
    for (size_t i = 0; i < history_count && count < limit; i++)
        if (id == NULL || strcmp(history_rows[i].migration_id, id) == 0)
            out->rows[count++] = history_rows[i];
    out->count = count;
    if (store_rc != 0)
        arena_free(&out->arena);
    return fake_finish(op);
}

static inline int fake_get_statuses(struct store *store, struct op *op, const char *id,
                                    struct store_statuses *out)
{
    size_t count = 0;

    (void)store;
    *out = (struct store_statuses){.rows = NULL};
    out->rows = fake_rows(&out->arena, ARRAY_SIZE(status_rows), sizeof(*out->rows));
    for (size_t i = 0; i < status_count; i++)
        if (id == NULL || strcmp(status_rows[i].migration_id, id) == 0)
            out->rows[count++] = status_rows[i];
    out->count = count;
    if (store_rc != 0)
        arena_free(&out->arena);
    return fake_finish(op);
}

/* Nothing is applied; a write is durable at once. */
static inline int fake_get_applied(struct store *store, struct op *op,
                                   const struct store_scope *scopes, size_t count,
                                   struct store_executions *out)
{
    (void)store;
    (void)scopes;
    (void)count;
    *out = (struct store_executions){.rows = NULL};
    return fake_finish(op);
}

static inline int fake_write(struct store *store, struct op *op, const struct store_record *records,
                             size_t count)
{
    (void)store;
    (void)records;
    (void)count;
    return fake_finish(op);
}

static const struct store_ops fake_ops = {
    .write = fake_write,
    .get_applied = fake_get_applied,
    .get_executions = fake_get_executions,
    .get_history = fake_get_history,
    .get_skipped = fake_get_history,
    .get_statuses = fake_get_statuses,
};
static struct store fake_store = {.ops = &fake_ops};

#define SQL_FILE(file_path, sql)                                   \
    {                                                              \
        .path = (file_path), .text = (sql), .len = sizeof(sql) - 1 \
    }

static inline void fake_reset(void)
{
    execution_count = history_count = status_count = 0;
    store_rc = 0;
    asked = 0;
}

static inline void add_execution(const char *id, const char *schema, const char *status,
                                 bool applied)
{
    execution_rows[execution_count++] = (struct store_execution){
        .migration_id = id,
        .schema = schema,
        .version = "",
        .connection = "core",
        .backend = "postgresql",
        .status = status,
        .applied = applied,
        .checksum = "",
        .applied_at_us = applied ? 1000000 : 0,
    };
}

static inline void add_history(const char *id, const char *schema, const char *status,
                               const char *error)
{
    history_rows[history_count++] = (struct store_event_row){.migration_id = id,
                                                             .schema = schema,
                                                             .status = status,
                                                             .error_message = error,
                                                             .version = "",
                                                             .connection = "core",
                                                             .backend = "postgresql",
                                                             .executed_by = "",
                                                             .execution_method = "api",
                                                             .execution_context = ""};
}

static inline void add_status(const char *id, const char *status, bool applied,
                              const char *checksum)
{
    status_rows[status_count++] = (struct store_status){
        .migration_id = id,
        .status = status,
        .applied = applied,
        .error_message = "",
        .checksum = checksum,
        .schemas_applied = applied,
        .schema = "",
        .version = "20200101000000",
        .name = "gone",
        .connection = "core",
        .backend = "postgresql",
    };
}

#endif
