#include <string.h>

#include "api/ops_request.h"

static bool run_is_undo(const struct ops_run *run)
{
    return run->kind == OPS_DOWN || run->kind == OPS_ROLLBACK;
}

/* Which list an item belongs to; false: to none. */
static bool item_lines(const struct run_item *item, enum ops_lines *out)
{
    switch (item->kind) {
    case RUN_ITEM_APPLIED:
    case RUN_ITEM_DRY_RUN:
        *out = OPS_LINES_APPLIED;
        return true;
    case RUN_ITEM_SKIPPED: /* a dependency that was there already is nobody's news */
        *out = OPS_LINES_SKIPPED;
        return !item->dependency;
    case RUN_ITEM_NOT_APPLIED:
        *out = OPS_LINES_SKIPPED;
        return true;
    case RUN_ITEM_FAILED:
    case RUN_ITEM_NOT_RUN:
        *out = OPS_LINES_ERRORS;
        return true;
    }
    return false;
}

/* The ID that a run's item has in answers (bfm-api.md §3.4, §6.1, D1). */
void ops_run_put_id(enum ops_run_kind kind, const char *requested,
                    const struct migration *migration, const char *schema, struct buf *line)
{
    bool fixed = migration_is_fixed(migration);
    bool is_undo = kind == OPS_DOWN || kind == OPS_ROLLBACK;

    if (kind == OPS_MIGRATE && fixed && migration->table[0] != '\0' &&
        strcmp(schema, migration->schema) == 0) {
        ids_put_brief(line, migration);
        return;
    }
    if (schema[0] != '\0' && (is_undo || requested != NULL || !fixed))
        ids_put_schema_specific(line, migration, schema);
    else
        buf_puts(line, migration->id);
}

static void put_item_id(const struct ops_run *run, const struct run_lane_result *lane,
                        const struct run_item *item, struct buf *line)
{
    ops_run_put_id(run->kind, lane->requested, item->migration, item->schema, line);
}

static void put_schema_error(const char *schema, const char *text, struct buf *line)
{
    buf_printf(line, "schema %s: %s", schema, text);
}

static bool item_has_no_schema(const struct run_item *item)
{
    return item->kind == RUN_ITEM_FAILED && item->attempts == 0 && item->schema[0] == '\0' &&
           !migration_is_fixed(item->migration) && item->migration->invalid == NULL;
}

static void put_item_error(const struct ops_run *run, const struct run_lane_result *lane,
                           const struct run_item *item, struct buf *line)
{
    const char *text = item->err != NULL ? err_text(item->err) : "failed";

    if (run_is_undo(run)) {
        put_schema_error(item->schema, text, line);
        return;
    }
    if (item_has_no_schema(item)) {
        buf_printf(line, "migration %s_%s has dynamic schema but no schema provided in request",
                   item->migration->version, item->migration->name);
        return;
    }
    put_item_id(run, lane, item, line);
    buf_printf(line, ": %s%s", item->kind == RUN_ITEM_NOT_RUN ? "not run: " : "", text);
}

static void put_item_line(const struct ops_run *run, const struct run_lane_result *lane,
                          const struct run_item *item, struct buf *line)
{
    if (item->kind == RUN_ITEM_FAILED || item->kind == RUN_ITEM_NOT_RUN) {
        put_item_error(run, lane, item, line);
        return;
    }
    put_item_id(run, lane, item, line);
    if (item->kind == RUN_ITEM_DRY_RUN)
        buf_puts(line, " (dry-run)");
    else if (item->kind == RUN_ITEM_NOT_APPLIED)
        buf_puts(line, " (not applied)");
}

static enum ops_next next_lane_line(const struct run_lane_result *lane, enum ops_lines which,
                                    struct ops_cursor *at, struct buf *line)
{
    at->lane++;
    at->item = 0;
    if (which != OPS_LINES_ERRORS || lane->err.code == 0)
        return OPS_NEXT_NONE;
    put_schema_error(lane->requested != NULL ? lane->requested : "", err_text(&lane->err), line);
    return OPS_NEXT_ITEM;
}

static enum ops_next next_lone_line(const struct ops_run *run, enum ops_lines which,
                                    struct ops_cursor *at, struct buf *line)
{
    size_t lanes = run->run != NULL ? run->run->lane_count : 0;

    if (which != OPS_LINES_ERRORS || run->lone_error == NULL || at->lane > lanes)
        return OPS_NEXT_END;
    at->lane++;
    buf_puts(line, run->lone_error);
    return OPS_NEXT_ITEM;
}

enum ops_next ops_run_next_line(const struct ops_run *run, enum ops_lines which,
                                struct ops_cursor *at, struct buf *line)
{
    const struct run_lane_result *lane;
    const struct run_item *item;
    enum ops_lines lines;

    buf_truncate(line, 0);
    if (run->run == NULL || at->lane >= run->run->lane_count)
        return next_lone_line(run, which, at, line);
    lane = &run->run->lanes[at->lane];
    if (at->item >= lane->count)
        return next_lane_line(lane, which, at, line);
    item = &lane->items[at->item++];
    if (!item_lines(item, &lines) || lines != which)
        return OPS_NEXT_NONE;
    put_item_line(run, lane, item, line);
    return OPS_NEXT_ITEM;
}

enum ops_next ops_run_next_detail(const struct ops_run *run, struct ops_cursor *at,
                                  const struct run_item **item)
{
    const struct run_lane_result *lane;

    if (run->run == NULL || at->lane >= run->run->lane_count)
        return OPS_NEXT_END;
    lane = &run->run->lanes[at->lane];
    if (at->item >= lane->count) {
        at->lane++;
        at->item = 0;
        return OPS_NEXT_NONE;
    }
    *item = &lane->items[at->item++];
    if ((*item)->kind == RUN_ITEM_SKIPPED || (*item)->kind == RUN_ITEM_NOT_APPLIED)
        return OPS_NEXT_NONE;
    return OPS_NEXT_ITEM;
}

const char *ops_run_item_status(const struct ops_run *run, const struct run_item *item)
{
    switch (item->kind) {
    case RUN_ITEM_APPLIED:
        return run_is_undo(run) ? "rolled_back" : "applied";
    case RUN_ITEM_SKIPPED:
        return "skipped";
    case RUN_ITEM_NOT_APPLIED:
        return "not_applied";
    case RUN_ITEM_DRY_RUN:
        return "dry_run";
    case RUN_ITEM_FAILED:
        return "failed";
    case RUN_ITEM_NOT_RUN:
        return "not_run";
    }
    return "unknown";
}

const char *ops_run_item_action(const struct run_item *item)
{
    switch (item->kind) {
    case RUN_ITEM_APPLIED:
    case RUN_ITEM_DRY_RUN:
        return "run";
    case RUN_ITEM_SKIPPED:
    case RUN_ITEM_NOT_APPLIED:
        return "skip";
    case RUN_ITEM_FAILED:
        return "refuse";
    case RUN_ITEM_NOT_RUN:
        return "not_run";
    }
    return "unknown";
}

/* --- what the lines amount to --- */

/* What the judge has seen on its one pass over all items. */
struct verdict {
    const struct err *store;            /* the state database failed behind a step */
    const struct err *shutdown;         /* something was left undone because the server stops */
    const struct run_lane_result *lane; /* the first pass that failed as a whole */
    bool worked;                        /* something ran, to whatever end */
};

static void judge_item(struct ops_run *run, const struct run_item *item, struct verdict *verdict)
{
    enum ops_lines lines;

    if (!item_lines(item, &lines))
        return;
    if (lines == OPS_LINES_APPLIED)
        run->applied++;
    else if (lines == OPS_LINES_SKIPPED)
        run->skipped++;
    else
        run->errors++;
    if (item->kind == RUN_ITEM_APPLIED)
        verdict->worked = true;
    if (item->err == NULL)
        return;
    if (item->err->code == ERR_STORE && verdict->store == NULL)
        verdict->store = item->err;
    else if (item->err->code == ERR_SHUTDOWN)
        verdict->shutdown = item->err;
    else if (item->kind == RUN_ITEM_FAILED)
        verdict->worked = true;
}

static void judge_lane(struct ops_run *run, const struct run_lane_result *lane,
                       struct verdict *verdict)
{
    for (size_t i = 0; i < lane->count; i++)
        judge_item(run, &lane->items[i], verdict);
    if (lane->err.code == 0)
        return;
    run->errors++;
    if (lane->err.code == ERR_SHUTDOWN)
        verdict->shutdown = &lane->err;
    else if (lane->err.code == ERR_STORE && verdict->store == NULL)
        verdict->store = &lane->err;
    else if (verdict->lane == NULL && lane->err.code != ERR_CANCELED &&
             lane->err.code != ERR_HALTED)
        verdict->lane = lane;
}

/* A pass that fails as a whole is an error of the request where the contract says so. */
static void judge_failure(struct ops_run *run, const struct verdict *verdict)
{
    const struct run_lane_result *lane = verdict->lane;

    if (run->run->err.code == ERR_CANCELED) { /* what a client asked for */
        run->lone_error = run->errors == 0 ? err_text(&run->run->err) : NULL;
        run->errors += run->errors == 0;
    } else if (run->run->err.code != 0) {
        run->failure = run->run->err;
    } else if (verdict->store != NULL) {
        run->failure = *verdict->store;
    } else if (verdict->shutdown != NULL && !verdict->worked) {
        run->failure = *verdict->shutdown;
    } else if (lane != NULL && run->kind == OPS_MIGRATE) {
        run->failure = lane->err;
        err_prefix(&run->failure, "schema %.*s", SCHEMA_NAME_MAX,
                   lane->requested != NULL ? lane->requested : "");
    } else if (lane != NULL && run_is_undo(run) && run->applied == 0) {
        run->failure = lane->err;
    }
}

static void judge_rollback(struct ops_run *run)
{
    if (run->lone_error != NULL) {
        run->message = run->lone_error;
    } else if (run->applied == 0 && run->errors == 0) {
        run->nothing_to_undo = true;
        run->message = "no migrations to rollback";
    } else if (run->applied == 0) {
        run->message = "rollback failed";
    } else {
        bool is_dry = run->run != NULL && run->run->request->dry_run;

        run->message = arena_printf(&run->arena,
                                    is_dry ? "rollback would undo %zu schema(s)"
                                           : "rollback completed successfully for %zu schema(s)",
                                    run->applied);
        if (run->message == NULL)
            run->message = "rollback completed";
    }
}

void ops_run_judge(struct ops_run *run)
{
    struct verdict verdict = {0};

    if (run->run == NULL) {
        run->errors = 1;
    } else {
        for (size_t i = 0; i < run->run->lane_count; i++)
            judge_lane(run, &run->run->lanes[i], &verdict);
        judge_failure(run, &verdict);
    }
    if (run->kind == OPS_ROLLBACK)
        judge_rollback(run);
}

void ops_run_view(struct run *run, struct ops_run *out)
{
    *out = (struct ops_run){.run = run};
    arena_init(&out->arena);
    (void)ops_run_kind_parse(run->request->record.kind, &out->kind);
    ops_run_judge(out);
}

void ops_run_unview(struct ops_run *out)
{
    arena_free(&out->arena);
}
