#include "backend/greptimedb_step.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/greptimedb_sql.h"
#include "base/mem.h"

static const struct sm_state gts_states[] = {
    [GTS_LOOKING] = {"looking", SM_TO(GTS_LOOKING) | SM_TO(GTS_POLLING) | SM_TO(GTS_PREPARING) |
                                    SM_TO(GTS_MOVING) | SM_TO(GTS_AWAY) | SM_TO(GTS_DONE)},
    [GTS_POLLING] = {"polling", SM_TO(GTS_LOOKING) | SM_TO(GTS_DONE)},
    [GTS_PREPARING] = {"preparing", SM_TO(GTS_MOVING) | SM_TO(GTS_RUNNING) | SM_TO(GTS_SETTLING) |
                                        SM_TO(GTS_CHECKING) | SM_TO(GTS_PAUSING) | SM_TO(GTS_DONE)},
    [GTS_MOVING] = {"moving", SM_TO(GTS_LOOKING) | SM_TO(GTS_MOVING) | SM_TO(GTS_AWAY) |
                                  SM_TO(GTS_RUNNING) | SM_TO(GTS_DONE)},
    [GTS_AWAY] = {"away",
                  SM_TO(GTS_LOOKING) | SM_TO(GTS_CHECKING) | SM_TO(GTS_MOVING) | SM_TO(GTS_DONE)},
    [GTS_CHECKING] = {"checking", SM_TO(GTS_LOOKING) | SM_TO(GTS_MOVING) | SM_TO(GTS_AWAY) |
                                      SM_TO(GTS_RUNNING) | SM_TO(GTS_DONE)},
    [GTS_RUNNING] = {"running", SM_TO(GTS_PREPARING) | SM_TO(GTS_MOVING) | SM_TO(GTS_CHECKING) |
                                    SM_TO(GTS_SETTLING) | SM_TO(GTS_PAUSING) | SM_TO(GTS_DONE)},
    [GTS_SETTLING] = {"settling", SM_TO(GTS_MOVING) | SM_TO(GTS_CHECKING) | SM_TO(GTS_DONE)},
    [GTS_PAUSING] = {"pausing", SM_TO(GTS_RUNNING) | SM_TO(GTS_PREPARING) | SM_TO(GTS_MOVING) |
                                    SM_TO(GTS_CHECKING) | SM_TO(GTS_SETTLING) | SM_TO(GTS_DONE)},
    [GTS_DONE] = {"done", 0},
};

bool gts_is_down(const struct gtdb_step *step)
{
    return step->step->direction == BACKEND_DOWN;
}

/* What must be so whenever the step waits in a state. */
static void gts_check(const struct gtdb_step *step)
{
    switch ((enum gtdb_state)step->sm.state) {
    case GTS_LOOKING:
    case GTS_POLLING:
        assert(!step->owned && !step->moving && !step->beat.active);
        break;
    case GTS_RUNNING:
        assert(step->owned && step->have.started && step->at < step->script->statement_count);
        break;
    case GTS_MOVING:
    case GTS_CHECKING:
        assert(step->moving && !step->beat.active);
        break;
    case GTS_SETTLING:
        assert(step->moving && step->beat.active);
        break;
    case GTS_AWAY:
    case GTS_PREPARING:
    case GTS_PAUSING:
    case GTS_DONE:
        break;
    }
}

void gts_move(struct gtdb_step *step, enum gtdb_state next)
{
    sm_move(&step->sm, (int)next);
    gts_check(step);
}

bool gts_await(struct gtdb_step *step, enum gtdb_state next, int rc)
{
    gts_move(step, next);
    step->rc = rc;
    return rc != 0;
}

bool gts_nap(struct gtdb_step *step, enum gtdb_state next, uint64_t ms)
{
    return gts_await(step, next,
                     op_sleep_start(&step->nap, gtdb_sched(step->gtdb), &step->work, ms));
}

static void gts_free(struct gtdb_step *step)
{
    gtdb_call_free(&step->call);
    buf_free(&step->sql);
    sql_scan_free(&step->scan);
    mem_free(step);
}

static void gts_finish(struct gtdb_step *step)
{
    struct gtdb *gtdb = step->gtdb;
    struct op *op = step->op;
    struct err err = step->err;

    sched_stop_timer(gtdb_sched(gtdb), &step->grace);
    if (step->owned && step->have.started && !step->unsure && !step->lost)
        gtdb_note_left(gtdb, step->step->schema, step->step->migration->id, &step->have);
    gts_free(step);
    gtdb_end(gtdb);
    if (err.code != 0)
        op_fail(op, &err);
    else
        op_finish(op, 0);
}

static bool gts_polled(struct gtdb_step *step)
{
    if (step->canceled)
        return gts_give_up(step);
    return gts_look(step);
}

static bool gts_once(struct gtdb_step *step) /* true: call again; false: waiting, or it is gone */
{
    switch ((enum gtdb_state)step->sm.state) {
    case GTS_LOOKING:
        return gts_looked(step);
    case GTS_POLLING:
        return gts_polled(step);
    case GTS_PREPARING:
        return gts_prepared(step);
    case GTS_MOVING:
        return gts_swapped(step);
    case GTS_AWAY:
        return gts_back(step);
    case GTS_CHECKING:
        return gts_checked(step);
    case GTS_RUNNING:
        return gts_ran(step);
    case GTS_SETTLING:
        return gts_swap_now(step);
    case GTS_PAUSING:
        return gts_paused(step);
    case GTS_DONE:
        if (!gts_beat_stop(step))
            return false;
        gts_finish(step); /* last touch of the step */
        return false;
    }
    abort();
}

void gts_go(struct gtdb_step *step)
{
    while (gts_once(step))
        continue;
}

static void gts_on_work(struct op *op, int rc)
{
    struct gtdb_step *step = container_of(op, struct gtdb_step, work);

    step->rc = rc;
    gts_go(step);
}

static void gts_on_grace(struct timer *timer)
{
    struct gtdb_step *step = container_of(timer, struct gtdb_step, grace);

    if (step->sm.state == GTS_RUNNING)
        op_cancel(&step->work);
}

static void gts_cancel(struct op *op)
{
    struct gtdb_step *step = op->impl;

    step->canceled = true;
    switch ((enum gtdb_state)step->sm.state) {
    case GTS_POLLING:
    case GTS_PREPARING:
    case GTS_PAUSING:
        op_cancel(&step->work);
        break;
    case GTS_AWAY:
        if (!step->owned)
            op_cancel(&step->work);
        break;
    case GTS_RUNNING:
        sched_start_timer(gtdb_sched(step->gtdb), &step->grace, GTDB_CANCEL_GRACE_MS);
        break;
    case GTS_LOOKING:
    case GTS_MOVING:
    case GTS_CHECKING:
    case GTS_SETTLING:
    case GTS_DONE:
        break;
    }
}

static int gts_check_request(const struct gtdb *gtdb, const struct backend_step *step,
                             struct op *op)
{
    const struct script *script =
        step->direction == BACKEND_DOWN ? &step->migration->down : &step->migration->up;
    const char *name = gtdb_database_of(gtdb, step->schema);

    if (script->file == NULL)
        return op_refuse(op, ERR_INVALID, "the migration has no such script");
    if (!gtdb_name_is_valid(name))
        return op_refuse(
            op, ERR_INVALID,
            "the schema cannot name a database of GreptimeDB: that is 1 to %d letters, "
            "digits and _ : - . @ #, and begins with no digit and none of . @ #",
            SCHEMA_NAME_MAX);
    return 0;
}

static struct gtdb_step *gts_create(struct gtdb *gtdb, struct op *op,
                                    const struct backend_step *step, struct backend_result *result)
{
    struct gtdb_step *self = mem_calloc(1, sizeof(*self));
    const struct migration *migration = step->migration;

    if (self == NULL)
        return NULL;
    sm_init(&self->sm, gts_states, "greptimedb_step", GTS_LOOKING);
    self->gtdb = gtdb;
    self->op = op;
    self->step = step;
    self->result = result;
    self->script = step->direction == BACKEND_DOWN ? &migration->down : &migration->up;
    self->database = gtdb_database_of(gtdb, step->schema);
    self->values = (struct template_values){.connection = migration->connection,
                                            .schema = self->database,
                                            .backend = backend_kind_name(migration->backend),
                                            .version = migration->version};
    snprintf(self->run_id, sizeof(self->run_id), "%s", step->run_id);
    gtdb_call_init(&self->call);
    buf_init(&self->sql, GTDB_SQL_MAX);
    sql_scan_init(&self->scan);
    op_init(&self->work, gts_on_work);
    self->grace.fire = gts_on_grace;
    gts_beat_init(self);
    return self;
}

int gtdb_execute(struct backend *backend, struct op *op, const struct backend_step *step,
                 struct backend_result *result)
{
    struct gtdb *gtdb = container_of(backend, struct gtdb, pub);
    struct gtdb_step *self;
    int rc = gts_check_request(gtdb, step, op);

    *result = (struct backend_result){.outcome = BACKEND_DONE, .attempts = 1};
    if (rc != 0)
        return rc;
    self = gts_create(gtdb, op, step, result);
    if (self == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    op_begin(op, self, gts_cancel);
    gtdb_begin(gtdb);
    if (gts_look(self)) { /* refused: to be handled, but not from here */
        struct err why = self->work.err;

        op_begin(&self->work, NULL, NULL);
        self->work.err = why;
        op_finish_later(&self->work, gtdb_sched(gtdb), self->rc);
    }
    return 0;
}
