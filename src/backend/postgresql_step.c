#include "backend/postgresql_step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

/* Where every state with a connection may go. */
#define STEP_TO_END                                                                        \
    (SM_TO(STEP_PAUSING) | SM_TO(STEP_CLEARING) | SM_TO(STEP_MENDING) | SM_TO(STEP_DONE) | \
     SM_TO(STEP_LOOKING))
/* Where a script without a transaction goes on, or back. */
#define STEP_TO_STATEMENT                                                                        \
    (SM_TO(STEP_CHECKING) | SM_TO(STEP_STARTING) | SM_TO(STEP_RUNNING) | SM_TO(STEP_RECORDING) | \
     SM_TO(STEP_UNDOING) | SM_TO(STEP_FINISHING))

static const struct sm_state step_states[] = {
    [STEP_PAUSING] = {"pausing", SM_TO(STEP_ACQUIRING) | SM_TO(STEP_DONE)},
    [STEP_ACQUIRING] = {"acquiring", SM_TO(STEP_EXECUTING) | SM_TO(STEP_LOOKING) |
                                         SM_TO(STEP_PAUSING) | SM_TO(STEP_DONE)},
    [STEP_EXECUTING] = {"executing", STEP_TO_END | SM_TO(STEP_UNWATCHING) | SM_TO(STEP_EXECUTING)},
    [STEP_UNWATCHING] = {"unwatching", STEP_TO_END | STEP_TO_STATEMENT | SM_TO(STEP_EXECUTING)},
    [STEP_CLEARING] = {"clearing", STEP_TO_END | SM_TO(STEP_EXECUTING)},
    [STEP_MENDING] = {"mending", STEP_TO_END | SM_TO(STEP_EXECUTING)},
    [STEP_LOOKING] = {"looking", STEP_TO_END | STEP_TO_STATEMENT | SM_TO(STEP_CLAIMING)},
    [STEP_CLAIMING] = {"claiming", STEP_TO_END | STEP_TO_STATEMENT},
    [STEP_CHECKING] = {"checking", STEP_TO_END | SM_TO(STEP_DROPPING) | SM_TO(STEP_STARTING) |
                                       SM_TO(STEP_RECORDING)},
    [STEP_DROPPING] = {"dropping", STEP_TO_END | SM_TO(STEP_CHECKING)},
    [STEP_STARTING] = {"starting", STEP_TO_END | SM_TO(STEP_RUNNING) | SM_TO(STEP_UNDOING)},
    [STEP_RUNNING] = {"running", STEP_TO_END | STEP_TO_STATEMENT | SM_TO(STEP_UNWATCHING)},
    [STEP_RECORDING] = {"recording", STEP_TO_END | STEP_TO_STATEMENT},
    [STEP_UNDOING] = {"undoing", STEP_TO_END},
    [STEP_FINISHING] = {"finishing", STEP_TO_END},
    [STEP_DONE] = {"done", 0},
};

static void step_check(const struct pgb_step *step)
{
    const enum step_state state = (enum step_state)step->sm.state;
    bool without_conn = state == STEP_PAUSING || state == STEP_DONE;

    if (state != STEP_ACQUIRING) /* where it may have come already */
        assert(without_conn == (step->conn == NULL));
    assert(state != STEP_DONE || (!step->work.active && !step->watch.op.active));
    assert(!step->probing || step->in_doubt);
}

void step_move(struct pgb_step *step, enum step_state next)
{
    sm_move(&step->sm, (int)next);
    step_check(step);
}

bool step_is_down(const struct pgb_step *step)
{
    return step->step->direction == BACKEND_DOWN;
}

bool step_await(struct pgb_step *step, enum step_state next, int rc)
{
    step_move(step, next);
    step->rc = rc;
    return rc != 0;
}

bool step_ask(struct pgb_step *step, enum step_state next)
{
    int rc;

    if (step->sql.rc != 0)
        return step_sql_failed(step);
    pg_results_free(&step->results);
    if (next == STEP_EXECUTING || next == STEP_RUNNING)
        rc = pg_query_drop_rows(step->conn, &step->work, buf_str(&step->sql), 0, &step->results);
    else
        rc = pg_query(step->conn, &step->work, buf_str(&step->sql), 0, &step->results);
    step->sent = rc == 0;
    return step_await(step, next, rc);
}

const PGresult *step_last_result(const struct pgb_step *step)
{
    return step->results.count > 0 ? step->results.results[step->results.count - 1] : NULL;
}

void step_give_back(struct pgb_step *step)
{
    if (step->conn == NULL)
        return;
    if (step->soiled)
        pg_discard(step->conn);
    else
        pg_release(step->conn);
    step->conn = NULL;
    step->soiled = false;
    step->session_set = false;
}

static void step_free(struct pgb_step *step)
{
    pg_results_free(&step->results);
    buf_free(&step->sql);
    buf_free(&step->notices);
    arena_free(&step->arena);
    mem_free(step);
}

static void step_finish(struct pgb_step *step)
{
    struct pgb *pgb = step->pgb;
    struct op *op = step->op;
    struct err err = step->err;

    if (step->notices.len > 0)
        step->result->notices = buf_take(&step->notices);
    if (step->result->attempts == 0)
        step->result->attempts = 1;
    step_free(step);
    pgb_end(pgb);
    if (err.code != 0)
        op_fail(op, &err);
    else
        op_finish(op, 0);
}

static bool step_acquire(struct pgb_step *step)
{
    step_give_back(step);
    return step_await(step, STEP_ACQUIRING, pg_acquire(step->pgb->pool, &step->work, &step->conn));
}

static bool step_on_connection(struct pgb_step *step)
{
    backend_down_end(&step->pgb->down);
    step->misses = 0;
    if (step->names.run == NULL && !step_make_names(step))
        return step_fail_with(step, ERR_NOMEM, "out of memory");
    if (step->canceled && !step->in_doubt)
        return step_fail_with(step, ERR_CANCELED, "canceled");
    return step->step->migration->no_transaction ? notx_look(step) : tx_execute(step);
}

/* --- the machine --- */

static bool step_unwatched(struct pgb_step *step)
{
    return step->step->migration->no_transaction ? notx_once(step) : tx_judge(step);
}

static bool step_once(struct pgb_step *step) /* true: call again; false: waiting, or it is gone */
{
    switch ((enum step_state)step->sm.state) {
    case STEP_PAUSING:
        if (step->canceled && !step->in_doubt)
            return step_fail_with(step, ERR_CANCELED, "canceled");
        return step_acquire(step);
    case STEP_ACQUIRING:
        return step->conn == NULL ? step_on_no_connection(step) : step_on_connection(step);
    case STEP_EXECUTING:
        if (!pgb_watch_stop(&step->watch)) {
            step_move(step, STEP_UNWATCHING);
            return false;
        }
        return tx_judge(step);
    case STEP_UNWATCHING:
        return step_unwatched(step);
    case STEP_CLEARING:
        return tx_cleared(step);
    case STEP_MENDING:
        return step_mended(step);
    case STEP_RUNNING:
        if (!pgb_watch_stop(&step->watch)) {
            step_move(step, STEP_UNWATCHING);
            return false;
        }
        return notx_once(step);
    case STEP_LOOKING:
    case STEP_CLAIMING:
    case STEP_CHECKING:
    case STEP_DROPPING:
    case STEP_STARTING:
    case STEP_RECORDING:
    case STEP_UNDOING:
    case STEP_FINISHING:
        return notx_once(step);
    case STEP_DONE:
        step_finish(step); /* last touch of the step */
        return false;
    }
    abort();
}

static void step_run(struct pgb_step *step)
{
    while (step_once(step))
        continue;
}

static void step_on_work(struct op *op, int rc)
{
    struct pgb_step *step = container_of(op, struct pgb_step, work);

    step->rc = rc;
    step_run(step);
}

static void step_on_unwatched(struct pgb_watch *watch)
{
    step_run(container_of(watch, struct pgb_step, watch));
}

/* What is safe to be cut short now is; the rest ends by itself. */
static void step_cancel(struct op *op)
{
    struct pgb_step *step = op->impl;

    step->canceled = true;
    switch ((enum step_state)step->sm.state) {
    case STEP_EXECUTING: /* a probe is short */
        if (!step->probing)
            op_cancel(&step->work);
        break;
    case STEP_PAUSING:
    case STEP_ACQUIRING:
    case STEP_RUNNING:
        if (!step->in_doubt)
            op_cancel(&step->work);
        break;
    default:
        break;
    }
}

static int step_check_request(const struct backend_step *step, struct op *op)
{
    const struct script *script =
        step->direction == BACKEND_DOWN ? &step->migration->down : &step->migration->up;
    size_t len = strlen(step->schema);

    if (script->file == NULL)
        return op_refuse(op, ERR_INVALID, "the migration has no such script");
    if (len == 0 || len > SCHEMA_NAME_MAX || !utf8_is_valid(step->schema, len))
        return op_refuse(op, ERR_INVALID,
                         "a schema name is 1 to %d bytes of valid UTF-8, this one is not",
                         SCHEMA_NAME_MAX);
    if (strcmp(step->schema, "$user") == 0)
        return op_refuse(op, ERR_INVALID,
                         "the schema name \"$user\" has another meaning in "
                         "search_path");
    return 0;
}

static struct pgb_step *step_create(struct pgb *pgb, struct op *op, const struct backend_step *step,
                                    struct backend_result *result)
{
    struct pgb_step *self = mem_calloc(1, sizeof(*self));
    const struct migration *migration = step->migration;

    if (self == NULL)
        return NULL;
    sm_init(&self->sm, step_states, "pg_step", STEP_PAUSING);
    self->pgb = pgb;
    self->op = op;
    self->step = step;
    self->result = result;
    self->script = step->direction == BACKEND_DOWN ? &migration->down : &migration->up;
    self->values = (struct template_values){.connection = migration->connection,
                                            .schema = step->schema,
                                            .backend = backend_kind_name(migration->backend),
                                            .version = migration->version};
    self->new_schema =
        step->schema_is_new && pgb->settings.create_schema && step->direction == BACKEND_UP;
    arena_init(&self->arena);
    buf_init(&self->sql, PGB_SQL_MAX);
    buf_init(&self->notices, PGB_SQL_MAX);
    step_set_marker(self, step->run_id);
    op_init(&self->work, step_on_work);
    self->watch.on_idle = step_on_unwatched;
    return self;
}

int pgb_execute(struct backend *backend, struct op *op, const struct backend_step *step,
                struct backend_result *result)
{
    struct pgb *pgb = container_of(backend, struct pgb, pub);
    struct pgb_step *self;
    int rc = step_check_request(step, op);

    *result = (struct backend_result){.outcome = BACKEND_DONE};
    if (rc != 0)
        return rc;
    self = step_create(pgb, op, step, result);
    if (self == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    op_begin(op, self, step_cancel);
    pgb_begin(pgb);
    step_acquire(self);
    if (!self->work.active) { /* refused: to be handled, but not from here */
        struct err why = self->work.err;

        op_begin(&self->work, NULL, NULL);
        self->work.err = why;
        op_finish_later(&self->work, pgb_sched(pgb), self->rc);
    }
    return 0;
}
