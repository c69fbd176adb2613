#include <stdlib.h>
#include <string.h>

#include "store/rows.h"
#include "store/status.h"

/* A status that no server of this kind wrote says nothing about how the run ended. */
static enum store_run_status rows_run_status(const struct rows *rows)
{
    const char *name = rows->source.text(rows->source.arg, ROWS_RUN_STATUS);
    enum store_run_status status = STORE_RUN_INTERRUPTED;

    if (name != NULL)
        (void)store_run_status_parse(name, &status);
    return status;
}

static void rows_read_counts(struct rows *rows, struct store_run_counts *counts)
{
    counts->lanes = rows_integer(rows, ROWS_RUN_LANES);
    counts->lanes_failed = rows_integer(rows, ROWS_RUN_LANES_FAILED);
    counts->applied = rows_integer(rows, ROWS_RUN_APPLIED);
    counts->skipped = rows_integer(rows, ROWS_RUN_SKIPPED);
    counts->failed = rows_integer(rows, ROWS_RUN_FAILED);
    counts->not_run = rows_integer(rows, ROWS_RUN_NOT_RUN);
}

int rows_add_run(struct rows *rows, struct store_runs *out)
{
    struct store_run *row = rows_push(rows, &out->rows, &out->count, sizeof(*row));

    if (row == NULL)
        return ERR_NOMEM;
    row->id = rows_text(rows, ROWS_RUN_ID);
    row->kind = rows_text(rows, ROWS_RUN_KIND);
    row->connection = rows_text(rows, ROWS_RUN_CONNECTION);
    row->status = rows_run_status(rows);
    row->request = rows_text(rows, ROWS_RUN_REQUEST);
    row->executed_by = rows_text(rows, ROWS_RUN_BY);
    row->execution_method = rows_text(rows, ROWS_RUN_METHOD);
    row->execution_context = rows_text(rows, ROWS_RUN_CONTEXT);
    row->server_id = rows_text(rows, ROWS_RUN_SERVER);
    row->retry_of = rows_text(rows, ROWS_RUN_RETRY_OF);
    row->error = rows_text(rows, ROWS_RUN_ERROR);
    rows_read_counts(rows, &row->counts);
    row->started_at_us = rows_integer(rows, ROWS_RUN_STARTED_AT);
    row->ended_at_us = rows_integer(rows, ROWS_RUN_ENDED_AT);
    return rows_rc(rows);
}

int rows_add_lane(struct rows *rows, struct store_run_lanes *out)
{
    struct store_run_lane *row = rows_push(rows, &out->rows, &out->count, sizeof(*row));

    if (row == NULL)
        return ERR_NOMEM;
    row->number = rows_integer(rows, ROWS_LANE_NUMBER);
    row->schema = rows_text(rows, ROWS_LANE_SCHEMA);
    row->failed = rows_integer(rows, ROWS_LANE_FAILED) != 0;
    row->error = rows_text(rows, ROWS_LANE_ERROR);
    row->applied = rows_integer(rows, ROWS_LANE_APPLIED);
    row->skipped = rows_integer(rows, ROWS_LANE_SKIPPED);
    row->failed_steps = rows_integer(rows, ROWS_LANE_FAILED_STEPS);
    row->not_run = rows_integer(rows, ROWS_LANE_NOT_RUN);
    row->duration_ms = rows_integer(rows, ROWS_LANE_DURATION);
    return rows_rc(rows);
}

/* A step that has ended without a row of its start began as long before as it ran. */
static void rows_read_step_times(struct rows *rows, struct store_run_step *row)
{
    int64_t at_us = rows_integer(rows, ROWS_STEP_AT);

    row->started_at_us = rows_integer(rows, ROWS_STEP_BEGUN_AT);
    if (strcmp(row->status, "pending") == 0)
        return;
    row->ended_at_us = at_us;
    if (row->started_at_us == 0 && row->duration_ms > 0)
        row->started_at_us = at_us - row->duration_ms * 1000;
}

int rows_add_step(struct rows *rows, struct store_run_steps *out)
{
    struct store_run_step *row = rows_push(rows, &out->rows, &out->count, sizeof(*row));

    if (row == NULL)
        return ERR_NOMEM;
    row->id = rows_integer(rows, ROWS_STEP_NUMBER);
    row->migration_id = rows_text(rows, ROWS_STEP_ID);
    row->schema = rows_text(rows, ROWS_STEP_SCHEMA);
    row->version = rows_text(rows, ROWS_STEP_VERSION);
    row->connection = rows_text(rows, ROWS_STEP_CONNECTION);
    row->backend = rows_text(rows, ROWS_STEP_BACKEND);
    row->status = status_normalize(rows->source.text(rows->source.arg, ROWS_STEP_STATUS));
    row->error_message = rows_text(rows, ROWS_STEP_ERROR);
    row->attempts = rows_integer(rows, ROWS_STEP_ATTEMPTS);
    row->duration_ms = rows_integer(rows, ROWS_STEP_DURATION);
    rows_read_step_times(rows, row);
    return rows_rc(rows);
}

int rows_add_tenant(struct rows *rows, struct store_tenants *out)
{
    struct store_tenant *row = rows_push(rows, &out->rows, &out->count, sizeof(*row));

    if (row == NULL)
        return ERR_NOMEM;
    row->schema = rows_text(rows, ROWS_TENANT_SCHEMA);
    row->version = rows_text(rows, ROWS_TENANT_VERSION);
    row->applied = rows_integer(rows, ROWS_TENANT_APPLIED);
    row->counted = rows_integer(rows, ROWS_TENANT_COUNTED);
    row->failed = rows_integer(rows, ROWS_TENANT_FAILED);
    row->last_run_us = rows_integer(rows, ROWS_TENANT_LAST_RUN);
    return rows_rc(rows);
}

static int rows_compare_runs(const void *left, const void *right)
{
    const struct store_run *a = left, *b = right;

    return strcmp(b->id, a->id);
}

void rows_order_runs(struct store_runs *runs, size_t limit)
{
    size_t kept = 0;

    if (runs->count > 0)
        qsort(runs->rows, runs->count, sizeof(runs->rows[0]), rows_compare_runs);
    for (size_t i = 0; i < runs->count && kept < limit; i++)
        if (kept == 0 || rows_compare_runs(&runs->rows[kept - 1], &runs->rows[i]) != 0)
            runs->rows[kept++] = runs->rows[i];
    runs->count = kept;
}
