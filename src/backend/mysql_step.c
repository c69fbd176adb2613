#include "backend/mysql_step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

/* Where every state with a connection may go. */
#define MYS_TO_END       (SM_TO(MYS_PAUSING) | SM_TO(MYS_RELEASING) | SM_TO(MYS_DONE))
#define MYS_TO_TRY       (SM_TO(MYS_EXECUTING) | SM_TO(MYS_LOOKING) | SM_TO(MYS_MENDING))
#define MYS_TO_STATEMENT (SM_TO(MYS_REPLAYING) | SM_TO(MYS_RUNNING) | SM_TO(MYS_UNDOING))

static const struct sm_state mys_states[] = {
    [MYS_PAUSING] = {"pausing", SM_TO(MYS_ACQUIRING) | SM_TO(MYS_DONE)},
    [MYS_ACQUIRING] = {"acquiring", SM_TO(MYS_EXECUTING) | SM_TO(MYS_LOOKING) | MYS_TO_END},
    [MYS_EXECUTING] = {"executing", SM_TO(MYS_CLEARING) | MYS_TO_TRY | MYS_TO_END},
    [MYS_CLEARING] = {"clearing", MYS_TO_TRY | MYS_TO_END},
    [MYS_MENDING] = {"mending", MYS_TO_TRY | MYS_TO_END},
    [MYS_LOOKING] = {"looking", MYS_TO_TRY | MYS_TO_STATEMENT | MYS_TO_END},
    [MYS_REPLAYING] = {"replaying", MYS_TO_STATEMENT | MYS_TO_END},
    [MYS_RUNNING] = {"running", SM_TO(MYS_LOOKING) | MYS_TO_STATEMENT | MYS_TO_END},
    [MYS_UNDOING] = {"undoing", SM_TO(MYS_LOOKING) | MYS_TO_STATEMENT | MYS_TO_END},
    [MYS_RELEASING] = {"releasing", SM_TO(MYS_DONE)},
    [MYS_DONE] = {"done", 0},
};

static void mys_check(const struct mys_step *step)
{
    const enum mys_state state = (enum mys_state)step->sm.state;
    bool without_conn = state == MYS_PAUSING || state == MYS_DONE;

    if (state != MYS_ACQUIRING) /* where it may have come already */
        assert(without_conn == (step->conn == NULL));
    assert(state != MYS_DONE || !step->work.active);
    assert(!step->probing || step->in_doubt);
    assert(!step->locked || step->conn != NULL);
}

void mys_move(struct mys_step *step, enum mys_state next)
{
    sm_move(&step->sm, (int)next);
    mys_check(step);
}

bool mys_is_down(const struct mys_step *step)
{
    return step->step->direction == BACKEND_DOWN;
}

bool mys_await(struct mys_step *step, enum mys_state next, int rc)
{
    mys_move(step, next);
    step->rc = rc;
    return rc != 0;
}

void mys_begin_sql(struct mys_step *step)
{
    buf_truncate(&step->sql, 0);
    step->layout = (struct mys_layout){.database_at = SIZE_MAX,
                                       .use_at = SIZE_MAX,
                                       .lock_at = SIZE_MAX,
                                       .journal_at = SIZE_MAX,
                                       .guard_at = SIZE_MAX,
                                       .script_at = SIZE_MAX,
                                       .done_at = SIZE_MAX,
                                       .commit_at = SIZE_MAX};
}

size_t mys_put_next(struct mys_step *step)
{
    if (step->layout.end > 0)
        buf_puts(&step->sql, ";\n");
    return step->layout.end++;
}

uint64_t mys_own_limit_ms(const struct mys_step *step)
{
    if (step->limits.is_mariadb || step->limits.statement_ms <= 0)
        return 0;
    return (uint64_t)step->limits.statement_ms;
}

bool mys_ask(struct mys_step *step, enum mys_state next)
{
    bool of_script = next == MYS_EXECUTING || next == MYS_RUNNING || next == MYS_REPLAYING;
    uint64_t limit_ms = of_script && !step->probing ? mys_own_limit_ms(step) : 0;
    int rc = step->sql.rc;

    if (rc != 0)
        return mys_fail_with(step, rc, "%s",
                             rc == ERR_NOMEM ? "out of memory" : "the script is too large");
    maria_results_free(&step->results);
    if (of_script)
        rc = maria_query_drop_rows(step->conn, &step->work, step->sql.data, step->sql.len, 0,
                                   &step->results);
    else
        rc = maria_query(step->conn, &step->work, step->sql.data, step->sql.len, 0, &step->results);
    step->sent = rc == 0;
    step->timed_out = false;
    if (step->sent && limit_ms > 0)
        sched_start_timer(myb_sched(step->myb), &step->timer, limit_ms);
    return mys_await(step, next, rc);
}

void mys_give_back(struct mys_step *step)
{
    if (step->conn == NULL)
        return;
    if (step->soiled || step->locked)
        maria_discard(step->conn);
    else
        maria_release_clean(step->conn); /* what a trigger left is not in the script's text */
    step->conn = NULL;
    step->soiled = false;
    step->locked = false;
    step->replayed = false;
}

static void mys_free(struct mys_step *step)
{
    maria_results_free(&step->results);
    buf_free(&step->sql);
    arena_free(&step->arena);
    mem_free(step);
}

static void mys_finish(struct mys_step *step)
{
    struct myb *myb = step->myb;
    struct op *op = step->op;
    struct err err = step->err;

    if (step->result->attempts == 0)
        step->result->attempts = 1;
    mys_free(step);
    myb_end(myb);
    if (err.code != 0)
        op_fail(op, &err);
    else
        op_finish(op, 0);
}

static bool mys_acquire(struct mys_step *step)
{
    mys_give_back(step);
    return mys_await(step, MYS_ACQUIRING, maria_acquire(step->myb->pool, &step->work, &step->conn));
}

static bool mys_on_connection(struct mys_step *step)
{
    backend_down_end(&step->myb->down);
    step->misses = 0;
    step->limits.is_mariadb = maria_is_mariadb(step->conn);
    if (step->canceled && !step->in_doubt)
        return mys_fail_with(step, ERR_CANCELED, "canceled");
    return step->wise ? mys_wise_look(step) : mys_tx_execute(step);
}

static bool mys_once(struct mys_step *step) /* true: call again; false: waiting, or it is gone */
{
    switch ((enum mys_state)step->sm.state) {
    case MYS_PAUSING:
        if (step->canceled && !step->in_doubt)
            return mys_fail_with(step, ERR_CANCELED, "canceled");
        return mys_acquire(step);
    case MYS_ACQUIRING:
        return step->conn == NULL ? mys_on_no_connection(step) : mys_on_connection(step);
    case MYS_EXECUTING:
        return mys_tx_judge(step);
    case MYS_CLEARING:
        return mys_tx_cleared(step);
    case MYS_MENDING:
        return mys_mended(step);
    case MYS_LOOKING:
        return mys_wise_looked(step);
    case MYS_REPLAYING:
        return mys_wise_replayed(step);
    case MYS_RUNNING:
        return mys_wise_ran(step);
    case MYS_UNDOING:
        return mys_wise_undone(step);
    case MYS_RELEASING:
        step->locked = step->rc != 0;
        mys_give_back(step);
        mys_move(step, MYS_DONE);
        return true;
    case MYS_DONE:
        mys_finish(step); /* last touch of the step */
        return false;
    }
    abort();
}

static void mys_on_work(struct op *op, int rc)
{
    struct mys_step *step = container_of(op, struct mys_step, work);

    sched_stop_timer(myb_sched(step->myb), &step->timer);
    step->rc = rc;
    while (mys_once(step))
        continue;
}

static void mys_on_timer(struct timer *timer)
{
    struct mys_step *step = container_of(timer, struct mys_step, timer);

    step->timed_out = true;
    op_cancel(&step->work);
}

/* What is safe to be cut short now is; the rest ends by itself. */
static void mys_cancel(struct op *op)
{
    struct mys_step *step = op->impl;

    step->canceled = true;
    switch ((enum mys_state)step->sm.state) {
    case MYS_EXECUTING: /* a probe is short */
        if (!step->probing)
            op_cancel(&step->work);
        break;
    case MYS_PAUSING:
    case MYS_ACQUIRING:
    case MYS_RUNNING:
        if (!step->in_doubt)
            op_cancel(&step->work);
        break;
    default:
        break;
    }
}

/* --- the beginning --- */

static int mys_check_request(const struct backend_step *step, struct op *op)
{
    const struct script *script =
        step->direction == BACKEND_DOWN ? &step->migration->down : &step->migration->up;
    size_t len = strlen(step->schema);

    if (script->file == NULL)
        return op_refuse(op, ERR_INVALID, "the migration has no such script");
    if (len > SCHEMA_NAME_MAX || !utf8_is_valid(step->schema, len))
        return op_refuse(op, ERR_INVALID,
                         "a schema name is at most %d bytes of valid UTF-8, this one is not",
                         SCHEMA_NAME_MAX);
    return 0;
}

/* What the queries are made of, quoted once. */
static bool mys_make_names(struct mys_step *step)
{
    const struct migration *migration = step->step->migration;
    const char *schema = step->step->schema;
    struct mysql_names *names = &step->names;
    /* Nothing can be made there by names without a database, as it should be where none is chosen;
     * the session may have had another one. */
    const char *database = step->myb->database != NULL ? step->myb->database : "information_schema";
    struct arena *arena = &step->arena;

    names->journal = step->myb->journal;
    names->schema = myb_literal(arena, schema);
    names->database = myb_identifier(arena, schema[0] != '\0' ? schema : database);
    names->id = myb_literal(arena, migration->id);
    names->checksum = myb_literal(arena, migration->up.checksum);
    names->run = myb_literal(arena, step->run);
    names->lock = myb_lock_name(arena, step->myb, schema, migration->id);
    return names->schema != NULL && names->database != NULL && names->id != NULL &&
           names->checksum != NULL && names->run != NULL && names->lock != NULL;
}

static void mys_set_limits(struct mys_step *step)
{
    const struct migration *migration = step->step->migration;

    step->limits.lock_ms = migration->lock_timeout_ms >= 0
                               ? migration->lock_timeout_ms
                               : (int64_t)step->myb->settings.lock_timeout_ms;
    step->limits.statement_ms = migration->statement_timeout_ms;
}

static struct mys_step *mys_create(struct myb *myb, struct op *op, const struct backend_step *step,
                                   struct backend_result *result)
{
    struct mys_step *self = mem_calloc(1, sizeof(*self));
    const struct migration *migration = step->migration;

    if (self == NULL)
        return NULL;
    sm_init(&self->sm, mys_states, "mysql_step", MYS_PAUSING);
    self->myb = myb;
    self->op = op;
    self->step = step;
    self->result = result;
    self->script = step->direction == BACKEND_DOWN ? &migration->down : &migration->up;
    self->values = (struct template_values){.connection = migration->connection,
                                            .schema = step->schema,
                                            .backend = backend_kind_name(migration->backend),
                                            .version = migration->version};
    self->wise = self->script->statement_count > 0 &&
                 (migration->no_transaction || !mysql_script_keeps_transaction(self->script));
    snprintf(self->run, sizeof(self->run), "%s", step->run_id);
    arena_init(&self->arena);
    buf_init(&self->sql, MYB_SQL_MAX);
    op_init(&self->work, mys_on_work);
    self->timer.fire = mys_on_timer;
    mys_set_limits(self);
    if (!mys_make_names(self)) {
        mys_free(self);
        return NULL;
    }
    return self;
}

int myb_execute(struct backend *backend, struct op *op, const struct backend_step *step,
                struct backend_result *result)
{
    struct myb *myb = container_of(backend, struct myb, pub);
    struct mys_step *self;
    int rc = mys_check_request(step, op);

    *result = (struct backend_result){.outcome = BACKEND_DONE};
    if (rc != 0)
        return rc;
    self = mys_create(myb, op, step, result);
    if (self == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    op_begin(op, self, mys_cancel);
    myb_begin(myb);
    mys_acquire(self);
    if (!self->work.active) { /* refused: to be handled, but not from here */
        struct err why = self->work.err;

        op_begin(&self->work, NULL, NULL);
        self->work.err = why;
        op_finish_later(&self->work, myb_sched(myb), self->rc);
    }
    return 0;
}
