#include "api/ops_watch.h"

static const char watch_stranger[] = "the last event was of another server or of before a restart";

static void watch_begin_all(struct ops_watch *watch)
{
    const char *last = watch->request.last_id;
    uint64_t seq;

    watch->next = watch->events->next;
    if (last[0] == '\0')
        return;
    if (events_parse_id(watch->events, last, &seq))
        watch->next = seq + 1;
    else
        watch->reset = watch_stranger;
}

/* What is left of a run that this server does not have. */
static void watch_begin_past(struct ops_watch *watch)
{
    bool is_running = watch->row.rows[0].status == STORE_RUN_RUNNING;

    watch->next = watch->events->next;
    watch->ends = true;
    watch->nothing = watch->request.last_id[0] != '\0' && !is_running;
    watch->reset = is_running ? "the run is under way on another server"
                              : "the run has ended and its events are not kept any more";
}

static void watch_begin_run(struct ops_watch *watch, const struct events_place *place)
{
    const struct events *events = watch->events;
    const char *last = watch->request.last_id;
    uint64_t seq = 0;
    bool resumes = events_parse_id(events, last, &seq);

    watch->next = place->connection != NULL ? place->first : events->next;
    if (resumes)
        watch->next = seq + 1;
    else if (last[0] != '\0')
        watch->reset = watch_stranger;
    else if (place->connection != NULL && !place->whole)
        watch->reset = "the first events of the run are not kept any more";
    watch->nothing = resumes && place->ended && seq >= place->last;
}

/* The connection of a run that this server has, NULL if it has none of it. */
static const char *watch_find_here(const struct ops_watch *watch, struct events_place *place)
{
    const struct run *run = run_find(watch->ops->engine, watch->request.run_id);
    struct store_run row;

    events_find_run(watch->events, watch->request.run_id, place);
    if (run == NULL)
        return place->connection;
    run_describe(run, &row);
    return row.connection;
}

static int watch_begin(struct ops_watch *watch)
{
    const char *connection;
    struct events_place place;

    if (watch->request.run_id == NULL) {
        watch_begin_all(watch);
        return 0;
    }
    connection = watch_find_here(watch, &place);
    if (connection == NULL && watch->row.count > 0)
        connection = watch->row.rows[0].connection;
    if (connection == NULL || !grant_sees(watch->request.grant, connection, NULL))
        return op_refuse(&watch->step, ERR_NOT_FOUND, "run not found: %.60s",
                         watch->request.run_id);
    if (watch->row.count > 0)
        watch_begin_past(watch);
    else
        watch_begin_run(watch, &place);
    return 0;
}

static void watch_on_step(struct op *step, int rc)
{
    struct ops_watch *watch = container_of(step, struct ops_watch, step);

    if (rc == 0)
        rc = watch_begin(watch);
    if (rc != 0)
        op_fail(watch->op, &step->err);
    else
        op_finish(watch->op, 0);
}

static void watch_cancel(struct op *op)
{
    struct ops_watch *watch = op->impl;

    op_cancel(&watch->step);
}

int ops_watch_start(struct ops *ops, const struct events *events, struct op *op,
                    const struct ops_watch_request *request, struct ops_watch *out)
{
    struct store *store = ops->store;
    struct events_place place;
    int rc;

    *out = (struct ops_watch){.ops = ops, .events = events, .op = op, .request = *request};
    op_init(&out->step, watch_on_step);
    if (request->run_id == NULL || watch_find_here(out, &place) != NULL) {
        op_begin(&out->step, NULL, NULL);
        op_finish_later(&out->step, loop_sched(ops->loop), 0);
    } else {
        out->filter = (struct store_run_filter){.id = request->run_id};
        rc = store->ops->get_runs(store, &out->step, &out->filter, 1, &out->row);
        if (rc != 0)
            return op_refuse(op, rc, "%s", err_text(&out->step.err));
    }
    op_begin(op, out, watch_cancel);
    return 0;
}

void ops_watch_free(struct ops_watch *watch)
{
    arena_free(&watch->row.arena);
    *watch = (struct ops_watch){0};
}

bool ops_watch_is_over(const struct ops *ops, const struct events *events, const char *run_id)
{
    const struct run *run = run_id != NULL ? run_find(ops->engine, run_id) : NULL;
    struct events_place place;

    if (run_id == NULL || (run != NULL && !run_has_ended(run)))
        return false;
    events_find_run(events, run_id, &place);
    return !place.ended;
}
