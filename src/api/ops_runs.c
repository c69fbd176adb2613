#include "api/ops_runs.h"

#include <string.h>

#include "api/ops_request.h"

enum {
    RUNS_READS_MAX = 20, /* for one page */
};

/* 12 and 16 hex digits with a dash between them, as migrate/run_start.c makes them. */
bool ops_runs_is_id(const char *text)
{
    static const char digits[] = "0123456789abcdef";

    return strspn(text, digits) == 12 && text[12] == '-' && strspn(text + 13, digits) == 16 &&
           text[29] == '\0';
}

/* A row may be older than what is known here. */
static void runs_refresh(const struct ops *ops, struct store_run *row)
{
    const struct run *run;

    if (row->status != STORE_RUN_RUNNING)
        return;
    run = run_find(ops->engine, row->id);
    if (run == NULL)
        return;
    row->status = run_status(run);
    row->counts.applied = run->counts.applied;
    row->counts.skipped = run->counts.skipped;
    row->counts.failed = run->counts.failed;
    row->counts.not_run = run->counts.not_run;
    row->counts.lanes_failed = (int64_t)run->lanes_failed;
    row->ended_at_us = run_has_ended(run) ? run->ended_us : 0;
}

static int runs_read(struct ops_runs *runs)
{
    struct store *store = runs->ops->store;

    runs->reads++;
    return store->ops->get_runs(store, &runs->step, &runs->filter, runs->limit + 1, &runs->found);
}

/* Keeps what the grant sees, up to one more than the page has room for. */
static int runs_keep(struct ops_runs *runs)
{
    size_t before = runs->count;

    for (size_t i = 0; i < runs->found.count; i++)
        if (runs->count <= runs->limit &&
            grant_sees(runs->grant, runs->found.rows[i].connection, NULL))
            runs->rows[runs->count++] = runs->found.rows[i];
    runs->filter.before_id = arena_strdup(&runs->arena, runs->found.rows[runs->found.count - 1].id);
    if (runs->count > before)
        arena_adopt(&runs->arena, &runs->found.arena);
    else
        arena_free(&runs->found.arena);
    return runs->filter.before_id != NULL ? 0 : ERR_NOMEM;
}

static void runs_end(struct ops_runs *runs, bool is_cut)
{
    if (runs->count > runs->limit) {
        runs->count = runs->limit;
        runs->next_cursor = runs->rows[runs->count - 1].id;
    } else if (is_cut) {
        runs->next_cursor = runs->filter.before_id;
    }
    for (size_t i = 0; i < runs->count; i++)
        runs_refresh(runs->ops, &runs->rows[i]);
    op_finish(runs->op, 0);
}

/* Reads on until the page is full, so that it says nothing of runs that are passed over. */
static int runs_go_on(struct ops_runs *runs)
{
    bool is_cut = runs->found.count > runs->limit;

    if (runs->found.count > 0 && runs_keep(runs) != 0)
        return op_refuse(&runs->step, ERR_NOMEM, "out of memory");
    if (is_cut && runs->count <= runs->limit && runs->reads < RUNS_READS_MAX)
        return runs_read(runs);
    runs_end(runs, is_cut);
    return 0;
}

static void runs_on_step(struct op *step, int rc)
{
    struct ops_runs *runs = container_of(step, struct ops_runs, step);

    if (rc == 0)
        rc = runs_go_on(runs);
    if (rc != 0)
        op_fail(runs->op, &step->err);
}

static void runs_cancel(struct op *op)
{
    struct ops_runs *runs = op->impl;

    op_cancel(&runs->step);
}

static int runs_check_filter(const struct store_run_filter *filter, const struct grant *grant,
                             struct op *op)
{
    enum store_run_status status;
    enum ops_run_kind kind;
    struct err err;

    if (filter->connection[0] != '\0' &&
        grant_check_place(grant, filter->connection, NULL, &err) != 0)
        return op_refuse(op, err.code, "%s", err_text(&err));
    if (filter->status[0] != '\0' && !store_run_status_parse(filter->status, &status))
        return op_refuse(
            op, ERR_INVALID,
            "parameter \"status\" must be running, succeeded, failed, canceled or interrupted");
    if (filter->kind[0] != '\0' && !ops_run_kind_parse(filter->kind, &kind))
        return op_refuse(op, ERR_INVALID,
                         "parameter \"kind\" must be up, migrate, down or rollback");
    return 0;
}

int ops_runs_start(struct ops *ops, struct op *op, const struct store_run_filter *filter,
                   const struct grant *grant, size_t limit, struct ops_runs *out)
{
    struct err err;
    int rc = runs_check_filter(filter, grant, op);

    if (rc != 0)
        return rc;
    *out = (struct ops_runs){
        .next_cursor = "", .ops = ops, .op = op, .filter = *filter, .grant = grant, .limit = limit};
    arena_init(&out->arena);
    op_init(&out->step, runs_on_step);
    out->rows = arena_calloc(&out->arena, limit + 1, sizeof(*out->rows));
    rc = out->rows != NULL ? runs_read(out) : op_refuse(&out->step, ERR_NOMEM, "out of memory");
    if (rc != 0) {
        err = out->step.err;
        ops_runs_free(out);
        return op_refuse(op, rc, "%s", err_text(&err));
    }
    op_begin(op, out, runs_cancel);
    return 0;
}

void ops_runs_free(struct ops_runs *runs)
{
    arena_free(&runs->found.arena);
    arena_free(&runs->arena);
    *runs = (struct ops_runs){0};
}

/* --- cancel --- */

static int cancel_refuse_unknown(const struct ops_cancel *cancel, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "run not found: %.60s", cancel->filter.id);
}

/* Somebody else's run is refused; one that the grant does not even see is not there. */
static int cancel_check(const struct ops_cancel *cancel, const struct store_run *row,
                        struct err *err)
{
    if (!grant_sees(cancel->grant, row->connection, NULL))
        return cancel_refuse_unknown(cancel, err);
    if (!grant_may_cancel(cancel->grant, row->executed_by))
        return err_set(err, ERR_FORBIDDEN,
                       "the token may cancel only runs that it started; this takes scope admin and "
                       "all schemas");
    return 0;
}

static int cancel_here(struct ops_cancel *cancel, struct run *run, struct err *err)
{
    struct store_run row;
    int rc;

    run_describe(run, &row);
    rc = cancel_check(cancel, &row, err);
    if (rc != 0)
        return rc;
    cancel->canceling = run_cancel(run, ERR_CANCELED);
    cancel->status = row.status;
    return 0;
}

/* Of a run that is not under way here. */
static int cancel_judge(struct ops_cancel *cancel, struct err *err)
{
    const struct store_run *row = cancel->row.rows;
    struct run *run = run_find(cancel->ops->engine, cancel->filter.id);
    int rc;

    if (run != NULL && run->request->record.kind != NULL) /* it began meanwhile */
        return cancel_here(cancel, run, err);
    if (cancel->row.count == 0)
        return cancel_refuse_unknown(cancel, err);
    rc = cancel_check(cancel, row, err);
    if (rc != 0)
        return rc;
    cancel->status = row->status;
    if (row->status == STORE_RUN_RUNNING)
        return err_set(err, ERR_CONFLICT,
                       "run %s is under way on another server (%s): cancel it there", row->id,
                       row->server_id);
    return 0;
}

static void cancel_on_step(struct op *step, int rc)
{
    struct ops_cancel *cancel = container_of(step, struct ops_cancel, step);
    struct err err = step->err;

    if (rc == 0)
        rc = cancel_judge(cancel, &err);
    if (rc != 0)
        op_fail(cancel->op, &err);
    else
        op_finish(cancel->op, 0);
}

static void cancel_cancel(struct op *op)
{
    struct ops_cancel *cancel = op->impl;

    op_cancel(&cancel->step);
}

int ops_cancel_start(struct ops *ops, struct op *op, const char *id, const struct grant *grant,
                     struct ops_cancel *out)
{
    struct run *run = run_find(ops->engine, id);
    int rc;

    *out = (struct ops_cancel){.ops = ops, .op = op, .filter = {.id = id}, .grant = grant};
    if (run != NULL && run->request->record.kind != NULL) {
        struct err err;

        rc = cancel_here(out, run, &err);
        if (rc != 0)
            return op_refuse(op, rc, "%s", err_text(&err));
        op_begin(op, NULL, NULL);
        op_finish_later(op, loop_sched(ops->loop), 0);
        return 0;
    }
    op_init(&out->step, cancel_on_step);
    rc = ops->store->ops->get_runs(ops->store, &out->step, &out->filter, 1, &out->row);
    if (rc != 0)
        return op_refuse(op, rc, "%s", err_text(&out->step.err));
    op_begin(op, out, cancel_cancel);
    return 0;
}

void ops_cancel_free(struct ops_cancel *cancel)
{
    arena_free(&cancel->row.arena);
    *cancel = (struct ops_cancel){0};
}
