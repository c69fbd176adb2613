/* The state database: what it is told. */
#include "fake_private.h"

#include <stdio.h>
#include <string.h>

static const char *const event_name[] = {
    [STORE_PENDING] = "pending",
    [STORE_APPLIED] = "applied",
    [STORE_FAILED] = "failed",
    [STORE_ROLLED_BACK] = "rolled_back",
    [STORE_UNDO_FAILED] = "undo_failed",
    [STORE_CUT_OFF] = "cut_off",
    [STORE_END_APPLIED] = "end_applied",
    [STORE_END_NOT_APPLIED] = "end_not_applied",
    [STORE_SKIPPED] = "skipped",
    [STORE_FOUND_APPLIED] = "found_applied",
    [STORE_FOUND_NOT_APPLIED] = "found_not_applied",
    [STORE_RESOLVED] = "resolved",
};

/* The status of a history row, and whether the record writes one. */
static bool fake_must_record(const struct fake_world *world, const struct store_record *record,
                             struct fake_history *row)
{
    static const char *const status[] = {
        [STORE_PENDING] = "pending",       [STORE_APPLIED] = "applied",
        [STORE_FAILED] = "failed",         [STORE_ROLLED_BACK] = "rolled_back",
        [STORE_UNDO_FAILED] = "failed",    [STORE_CUT_OFF] = "failed",
        [STORE_END_APPLIED] = "applied",   [STORE_END_NOT_APPLIED] = "rolled_back",
        [STORE_FOUND_APPLIED] = "applied", [STORE_FOUND_NOT_APPLIED] = "rolled_back",
        [STORE_RESOLVED] = "failed",
    };
    bool believed = fake_world_believes(world, record->migration->id, record->schema);

    if (record->event == STORE_SKIPPED || (record->event == STORE_FOUND_APPLIED && believed) ||
        (record->event == STORE_FOUND_NOT_APPLIED && !believed))
        return false;
    *row = (struct fake_history){.id = (char *)(uintptr_t)record->migration->id,
                                 .schema = (char *)(uintptr_t)record->schema,
                                 .run_id = (char *)(uintptr_t)record->run_id,
                                 .status = status[record->event]};
    return record->event != STORE_CUT_OFF || !fake_history_has_end(world, row);
}

static void fake_record_history(struct fake_world *world, const struct store_record *record)
{
    struct fake_history row;

    if (!fake_must_record(world, record, &row))
        return;
    for (size_t i = 0; i < world->history_count; i++)
        if (fake_history_is_of(&world->history[i], &row) &&
            strcmp(world->history[i].run_id, row.run_id) == 0 &&
            strcmp(world->history[i].status, row.status) == 0)
            return;
    fake_history_add(world, row.id, row.schema, row.run_id, row.status, record->at_us);
    world->history[world->history_count - 1].context = strdup(record->caller->execution_context);
}

static void fake_record(struct fake_world *world, const struct store_record *record)
{
    const char *id = record->migration->id;
    int len = snprintf(world->log + world->log_len, sizeof(world->log) - world->log_len,
                       "%s %s@%s\n", event_name[record->event], id, record->schema);

    fake_record_history(world, record);
    if (world->log_len + (size_t)len < sizeof(world->log))
        world->log_len += (size_t)len;
    if (record->event == STORE_APPLIED || record->event == STORE_FOUND_APPLIED)
        fake_world_set_belief(world, id, record->schema, true);
    if (record->event == STORE_ROLLED_BACK || record->event == STORE_FOUND_NOT_APPLIED)
        fake_world_set_belief(world, id, record->schema, false);
    world->skips += record->event == STORE_SKIPPED;
    if (strstr(record->caller->execution_context, "executed_dependencies") != NULL)
        snprintf(world->context, sizeof(world->context), "%s", record->caller->execution_context);
}

static int fake_write(struct store *store, struct op *op, const struct store_record *records,
                      size_t count)
{
    struct fake_world *world = fake_world_of_store(store);
    struct fake_op *fake = fake_op_start(world, op, true, 0);

    if (fake == NULL)
        return op->err.code;
    if (fake->rc == 0)
        for (size_t i = 0; i < count; i++)
            fake_record(world, &records[i]);
    op->cancel = NULL; /* a write that was accepted is written */
    return 0;
}

const char *fake_status_name(enum store_run_status status)
{
    static const char *const names[] = {
        [STORE_RUN_RUNNING] = "running",         [STORE_RUN_SUCCEEDED] = "succeeded",
        [STORE_RUN_FAILED] = "failed",           [STORE_RUN_CANCELED] = "canceled",
        [STORE_RUN_INTERRUPTED] = "interrupted",
    };

    return names[status];
}

static int fake_put_run(struct store *store, struct op *op, const struct store_run *run,
                        const struct store_run_lane *lanes, size_t lane_count)
{
    struct fake_world *world = fake_world_of_store(store);
    struct fake_op *fake = fake_op_start(world, op, true, 0);

    (void)lanes;
    if (fake == NULL)
        return op->err.code;
    op->cancel = NULL;
    if (fake->rc != 0)
        return 0;
    world->run_puts++;
    world->run_lanes += lane_count;
    snprintf(world->run_row, sizeof(world->run_row), "%s", fake_status_name(run->status));
    world->log_len +=
        (size_t)snprintf(world->log + world->log_len, sizeof(world->log) - world->log_len,
                         "run %s\n", world->run_row);
    return 0;
}

const struct store_ops fake_store_ops = {
    .put_run = fake_put_run,
    .name = "fake",
    .get_standing = fake_get_standing,
    .get_unended = fake_get_unended,
    .write = fake_write,
    .get_applied = fake_get_applied,
    .get_executions = fake_get_executions,
    .get_history = fake_get_history,
};
