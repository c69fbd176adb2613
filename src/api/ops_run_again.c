/* What there is to say about a run whose answer is gone, from what is on record. */
#include <string.h>

#include "api/ops_request.h"
#include "api/ops_run.h"

/* The stages of the errors, in cursor.lane. */
enum {
    AGAIN_STEPS,
    AGAIN_LANES,
    AGAIN_RUN,
};

static bool again_has_lane(const struct ops_replay *again, const char *schema)
{
    for (size_t i = 0; i < again->lanes.count; i++)
        if (strcmp(again->lanes.rows[i].schema, schema) == 0)
            return true;
    return false;
}

void ops_run_rebuild(struct ops_run *run, const struct ops_replay *again)
{
    run->rebuild = again;
    run->rebuilds_schemas = again->lanes.count == 0 || !again_has_lane(again, "");
    (void)ops_run_kind_parse(again->row.rows->kind, &run->kind);
}

bool ops_run_again_is_done(const struct store_run_step *step)
{
    return strcmp(step->status, "applied") == 0 || strcmp(step->status, "success") == 0 ||
           strcmp(step->status, "rolled_back") == 0;
}

const char *ops_run_again_error(const struct store_run_step *step)
{
    return step->error_message[0] != '\0' ? step->error_message : "its end is not known here";
}

void ops_run_again_put_id(const struct ops_run *run, enum ops_run_kind kind,
                          const struct store_run_step *step, struct buf *line)
{
    const struct migration *migration =
        registry_find(run->ops->engine->registry, step->migration_id);
    const char *requested = run->rebuilds_schemas ? step->schema : NULL;

    if (migration != NULL)
        ops_run_put_id(kind, requested, migration, step->schema, line);
    else
        buf_printf(line, "%s%s%s", step->schema, step->schema[0] != '\0' ? "_" : "",
                   step->migration_id);
}

static bool lane_has_error(const struct store_run_lane *lane)
{
    return lane->error[0] != '\0' || lane->not_run > 0;
}

static void put_lane(const struct store_run_lane *lane, struct buf *line)
{
    if (lane->error[0] != '\0')
        buf_printf(line, "schema %s: %s", lane->schema, lane->error);
    else
        buf_printf(line, "schema %s: %lld migrations were not run", lane->schema,
                   (long long)lane->not_run);
}

/* Whether a step or a lane says why the run did not succeed. */
static bool again_has_reason(const struct ops_replay *again)
{
    for (size_t i = 0; i < again->steps.count; i++)
        if (!ops_run_again_is_done(&again->steps.rows[i]))
            return true;
    for (size_t i = 0; i < again->lanes.count; i++)
        if (lane_has_error(&again->lanes.rows[i]))
            return true;
    return false;
}

/* At least one line for a run that did not succeed. */
static const char *again_run_error(const struct ops_replay *again)
{
    const struct store_run *row = again->row.rows;

    if (row->status == STORE_RUN_INTERRUPTED)
        return "the run was interrupted: its server ended; POST /api/v1/runs/{id}/retry, or "
               "RetryRun, runs what is left";
    if (row->error[0] == '\0' && row->status != STORE_RUN_SUCCEEDED && !again_has_reason(again))
        return store_run_status_name(row->status);
    return row->error;
}

static enum ops_next next_step(const struct ops_run *run, bool done, struct ops_cursor *at,
                               struct buf *line)
{
    const struct store_run_step *step;

    if (at->item == run->rebuild->steps.count)
        return OPS_NEXT_END;
    step = &run->rebuild->steps.rows[at->item++];
    if (ops_run_again_is_done(step) != done)
        return OPS_NEXT_NONE;
    ops_run_again_put_id(run, run->kind, step, line);
    if (!done)
        buf_printf(line, ": %s", ops_run_again_error(step));
    return OPS_NEXT_ITEM;
}

static enum ops_next next_lane(const struct ops_replay *again, struct ops_cursor *at,
                               struct buf *line)
{
    const struct store_run_lane *lane;

    if (at->item == again->lanes.count)
        return OPS_NEXT_END;
    lane = &again->lanes.rows[at->item++];
    if (!lane_has_error(lane))
        return OPS_NEXT_NONE;
    put_lane(lane, line);
    return OPS_NEXT_ITEM;
}

static enum ops_next next_error(const struct ops_run *run, struct ops_cursor *at, struct buf *line)
{
    enum ops_next next = OPS_NEXT_END;

    if (at->lane == AGAIN_STEPS)
        next = next_step(run, false, at, line);
    else if (at->lane == AGAIN_LANES)
        next = next_lane(run->rebuild, at, line);
    else if (at->item++ == 0 && again_run_error(run->rebuild)[0] != '\0')
        next = buf_puts(line, again_run_error(run->rebuild)) == 0 ? OPS_NEXT_ITEM : OPS_NEXT_NONE;
    if (next != OPS_NEXT_END || at->lane == AGAIN_RUN)
        return next;
    *at = (struct ops_cursor){.lane = at->lane + 1};
    return OPS_NEXT_NONE;
}

enum ops_next ops_run_again_line(const struct ops_run *run, enum ops_lines which,
                                 struct ops_cursor *at, struct buf *line)
{
    buf_truncate(line, 0);
    switch (which) {
    case OPS_LINES_APPLIED:
        return next_step(run, true, at, line);
    case OPS_LINES_SKIPPED:
        return OPS_NEXT_END;
    case OPS_LINES_ERRORS:
        return next_error(run, at, line);
    }
    return OPS_NEXT_END;
}
