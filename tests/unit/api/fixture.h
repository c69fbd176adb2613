#ifndef BFM_TESTS_API_FIXTURE_H
#define BFM_TESTS_API_FIXTURE_H

/* A store that answers from memory, and what the operations need around it. */
#include <stdio.h>
#include <string.h>

#include "api/ops.h"
#include "base/mem.h"
#include "cmocka_all.h"

static struct store_execution execution_rows[8];
static struct store_event_row history_rows[256];
static struct store_status status_rows[8];
static size_t execution_count, history_count, status_count;
static struct {
    char id[128], schema[64];
    bool applied;
} stands[16]; /* as it was written */
static size_t stands_count;
static const struct store_run *kept_run; /* the only one; NULL: none */
static bool kept_key;                    /* every key stands for it; else every key is new */
static int store_rc;                     /* what every read ends with */
static unsigned asked;                   /* reads so far */

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
                                      const struct store_cursor *after, size_t limit,
                                      struct store_executions *out)
{
    size_t count = 0;

    (void)store;
    (void)after;
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

static inline int fake_get_history(struct store *store, struct op *op, const char *id,
                                   int64_t before_id, size_t limit, struct store_event_rows *out)
{
    size_t count = 0;

    (void)store;
    (void)before_id;
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

/* Nothing was applied when a run begins; a write is durable at once. */
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

static inline void fake_stand(const char *id, const char *schema, bool applied)
{
    size_t at = 0;

    while (at < stands_count &&
           (strcmp(stands[at].id, id) != 0 || strcmp(stands[at].schema, schema) != 0))
        at++;
    if (at == stands_count) {
        assert_true(stands_count < ARRAY_SIZE(stands));
        snprintf(stands[at].id, sizeof(stands[at].id), "%s", id);
        snprintf(stands[at].schema, sizeof(stands[at].schema), "%s", schema);
        stands_count++;
    }
    stands[at].applied = applied;
}

static inline int fake_write(struct store *store, struct op *op, const struct store_record *records,
                             size_t count)
{
    (void)store;
    for (size_t i = 0; i < count && store_rc == 0; i++)
        if (records[i].event == STORE_APPLIED || records[i].event == STORE_ROLLED_BACK)
            fake_stand(records[i].migration->id, records[i].schema,
                       records[i].event == STORE_APPLIED);
    return fake_finish(op);
}

/* What was written since fake_reset(); nobody is at work. */
static inline int fake_get_standing(struct store *store, struct op *op,
                                    const struct store_place *places, size_t count,
                                    struct store_standings *out)
{
    (void)store;
    *out = (struct store_standings){.rows = NULL};
    out->rows = fake_rows(&out->arena, ARRAY_SIZE(stands), sizeof(*out->rows));
    for (size_t i = 0; i < stands_count; i++) {
        bool wanted = false;

        for (size_t at = 0; at < count; at++)
            wanted =
                wanted ||
                (strcmp(places[at].migration_id, stands[i].id) == 0 &&
                 (places[at].schema == NULL || strcmp(places[at].schema, stands[i].schema) == 0));
        if (wanted && stands[i].applied)
            out->rows[out->count++] = (struct store_standing){.migration_id = stands[i].id,
                                                              .schema = stands[i].schema,
                                                              .connection = "core",
                                                              .applied = true,
                                                              .run_id = ""};
    }
    if (store_rc != 0)
        arena_free(&out->arena);
    return fake_finish(op);
}

static inline int fake_put_run(struct store *store, struct op *op, const struct store_run *run,
                               const struct store_run_lane *lanes, size_t lane_count)
{
    (void)store;
    (void)run;
    (void)lanes;
    (void)lane_count;
    return fake_finish(op);
}

static inline int fake_get_runs(struct store *store, struct op *op,
                                const struct store_run_filter *filter, size_t limit,
                                struct store_runs *out)
{
    (void)store;
    *out = (struct store_runs){.rows = NULL};
    if (store_rc == 0 && limit > 0 && kept_run != NULL && filter->id != NULL &&
        strcmp(filter->id, kept_run->id) == 0) {
        out->rows = fake_rows(&out->arena, 1, sizeof(*out->rows));
        out->rows[out->count++] = *kept_run;
    }
    return fake_finish(op);
}

static inline int fake_get_run_lanes(struct store *store, struct op *op, const char *run_id,
                                     int64_t after, size_t limit, struct store_run_lanes *out)
{
    (void)store;
    (void)run_id;
    (void)after;
    (void)limit;
    *out = (struct store_run_lanes){.rows = NULL};
    return fake_finish(op);
}

static inline int fake_get_run_steps(struct store *store, struct op *op, const char *run_id,
                                     int64_t after, size_t limit, struct store_run_steps *out)
{
    (void)store;
    (void)run_id;
    (void)after;
    (void)limit;
    *out = (struct store_run_steps){.rows = NULL};
    return fake_finish(op);
}

static inline int fake_claim_key(struct store *store, struct op *op, const struct store_key *key,
                                 struct store_key_claim *out)
{
    (void)store;
    *out = (struct store_key_claim){.claimed = store_rc == 0 && !kept_key,
                                    .fingerprint = key->fingerprint,
                                    .run_id = kept_key ? kept_run->id : key->run_id,
                                    .answer = ""};
    return fake_finish(op);
}

static inline int fake_get_tenants(struct store *store, struct op *op,
                                   const struct store_tenant_filter *filter,
                                   struct store_tenants *out)
{
    static const struct store_tenant tenants[] = {
        {.schema = "t1", .version = "20250102120000", .applied = 9, .counted = 9},
        {.schema = "t2", .version = "", .failed = 1},
        {.schema = "t3", .version = "20250101120000", .applied = 1},
        {.schema = "undone", .version = ""},
    };

    (void)store;
    (void)filter;
    *out = (struct store_tenants){.rows = NULL};
    out->rows = fake_rows(&out->arena, ARRAY_SIZE(tenants), sizeof(*out->rows));
    memcpy(out->rows, tenants, sizeof(tenants));
    out->count = ARRAY_SIZE(tenants);
    if (store_rc != 0)
        arena_free(&out->arena);
    return fake_finish(op);
}

static const struct store_ops fake_ops = {
    .write = fake_write,
    .get_standing = fake_get_standing,
    .put_run = fake_put_run,
    .get_runs = fake_get_runs,
    .get_run_lanes = fake_get_run_lanes,
    .get_run_steps = fake_get_run_steps,
    .claim_key = fake_claim_key,
    .get_tenants = fake_get_tenants,
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
    execution_count = history_count = status_count = stands_count = 0;
    kept_run = NULL;
    kept_key = false;
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
