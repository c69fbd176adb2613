#include "backend/etcd_step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "io/work.h"

static const struct sm_state step_states[] = {
    [ETCDB_RENDERING] = {"rendering", SM_TO(ETCDB_RENDERING) | SM_TO(ETCDB_LOOKING) |
                                          SM_TO(ETCDB_SENDING) | SM_TO(ETCDB_DONE)},
    [ETCDB_PAUSING] = {"pausing", SM_TO(ETCDB_LOOKING) | SM_TO(ETCDB_CHECKING) |
                                      SM_TO(ETCDB_SENDING) | SM_TO(ETCDB_PROBING) |
                                      SM_TO(ETCDB_DONE)},
    [ETCDB_LOOKING] = {"looking", SM_TO(ETCDB_LOOKING) | SM_TO(ETCDB_CHECKING) |
                                      SM_TO(ETCDB_SENDING) | SM_TO(ETCDB_PAUSING) |
                                      SM_TO(ETCDB_DONE)},
    [ETCDB_CHECKING] = {"checking", SM_TO(ETCDB_LOOKING) | SM_TO(ETCDB_SENDING) |
                                        SM_TO(ETCDB_PAUSING) | SM_TO(ETCDB_DONE)},
    [ETCDB_SENDING] = {"sending", SM_TO(ETCDB_SENDING) | SM_TO(ETCDB_LOOKING) |
                                      SM_TO(ETCDB_PROBING) | SM_TO(ETCDB_PAUSING) |
                                      SM_TO(ETCDB_DONE)},
    [ETCDB_PROBING] = {"probing", SM_TO(ETCDB_PAUSING) | SM_TO(ETCDB_SENDING) |
                                      SM_TO(ETCDB_LOOKING) | SM_TO(ETCDB_DONE)},
    [ETCDB_DONE] = {"done", 0},
};

void etcdb_step_move(struct etcdb_step *step, enum etcdb_step_state next)
{
    sm_move(&step->sm, (int)next);
    assert(next != ETCDB_DONE || (!step->work.active && !step->in_doubt));
}

bool etcdb_step_is_down(const struct etcdb_step *step)
{
    return step->step->direction == BACKEND_DOWN;
}

static bool step_await(struct etcdb_step *step, enum etcdb_step_state next, int rc)
{
    etcdb_step_move(step, next);
    step->rc = rc;
    return rc != 0;
}

bool etcdb_step_ask(struct etcdb_step *step, enum etcdb_step_state next)
{
    enum etcd_call_kind kind = next == ETCDB_SENDING ? ETCD_WRITE : ETCD_READ;

    if (step->txn.body.rc != 0)
        return etcdb_step_fail_to_write(step);
    etcd_answer_free(&step->answer);
    step->answer = (struct etcd_answer){.body = NULL};
    step->called_ms = etcdb_sched(step->db)->now_ms;
    if (step->sm.state != ETCDB_PAUSING) /* then it is the request that was made before */
        step->made_for = step->db->max_txn_ops;
    return step_await(step, next,
                      etcd_call(step->db->client, &step->work, kind, ETCDB_TXN, &step->txn.body, 0,
                                &step->answer));
}

bool etcdb_step_pause(struct etcdb_step *step, uint64_t ms)
{
    step->again = (enum etcdb_step_state)step->sm.state;
    return step_await(step, ETCDB_PAUSING,
                      op_sleep_start(&step->nap, etcdb_sched(step->db), &step->work, ms));
}

bool etcdb_step_look(struct etcdb_step *step)
{
    struct etcdb_txn *txn = &step->txn;

    arena_free(&step->seen_arena);
    etcdb_txn_begin_reads(txn);
    etcdb_txn_range(txn, "", step->marker_key, (struct slice){.len = 0}, 0, false);
    step->looked_from = etcdb_step_done(step);
    if (step->keeps)
        etcdb_keep_put_look(step);
    else if (etcdb_step_is_down(step) && step->script == NULL)
        etcdb_undo_put_look(step);
    etcdb_txn_end(txn);
    return etcdb_step_ask(step, ETCDB_LOOKING);
}

/* --- the end --- */

static void step_free(struct etcdb_step *step)
{
    etcd_answer_free(&step->answer);
    etcdb_txn_free(&step->txn);
    buf_free(&step->next_value);
    arena_free(&step->seen_arena);
    arena_free(&step->arena);
    mem_free(step);
}

static void step_finish(struct etcdb_step *step)
{
    struct etcdb *db = step->db;
    struct op *op = step->op;
    struct err err = step->err;

    step_free(step);
    etcdb_end(db);
    if (err.code != 0)
        op_fail(op, &err);
    else
        op_finish(op, 0);
}

/* --- the machine --- */

static bool step_rendered(struct etcdb_step *step)
{
    if (step->canceled)
        return etcdb_step_fail_with(step, ERR_CANCELED, "canceled");
    if (step->rc != 0) {
        step->err = step->work.err;
        return etcdb_step_fail(step);
    }
    return etcdb_step_check(step) != 0 ? etcdb_step_fail(step) : etcdb_step_begin(step);
}

static bool step_answered(struct etcdb_step *step)
{
    const enum etcdb_step_state state = (enum etcdb_step_state)step->sm.state;

    if (step->rc != 0)
        return etcdb_step_on_failure(step);
    backend_down_end(&step->db->down);
    step->pauses = 0;
    if (step->canceled && state != ETCDB_SENDING && state != ETCDB_PROBING)
        return etcdb_step_fail_with(step, ERR_CANCELED, "canceled");
    if (state == ETCDB_LOOKING)
        return etcdb_step_looked(step);
    if (state == ETCDB_CHECKING)
        return etcdb_undo_checked(step);
    return state == ETCDB_PROBING ? etcdb_step_probed(step) : etcdb_step_judge(step);
}

static bool step_once(struct etcdb_step *step) /* true: call again; false: waiting, or it is gone */
{
    switch ((enum etcdb_step_state)step->sm.state) {
    case ETCDB_RENDERING:
        return step_rendered(step);
    case ETCDB_PAUSING:
        if (step->canceled && !step->in_doubt)
            return etcdb_step_fail_with(step, ERR_CANCELED, "canceled");
        return etcdb_step_ask(step, step->again);
    case ETCDB_LOOKING:
    case ETCDB_CHECKING:
    case ETCDB_SENDING:
    case ETCDB_PROBING:
        return step_answered(step);
    case ETCDB_DONE:
        step_finish(step); /* last touch of the step */
        return false;
    }
    abort();
}

static void step_on_work(struct op *op, int rc)
{
    struct etcdb_step *step = container_of(op, struct etcdb_step, work);

    step->rc = rc;
    while (step_once(step))
        continue;
}

static void step_cancel(struct op *op)
{
    struct etcdb_step *step = op->impl;

    step->canceled = true;
    if (!step->in_doubt && step->sm.state != ETCDB_PROBING)
        op_cancel(&step->work);
}

/* --- the beginning --- */

static void step_set_attempt(struct etcdb_step *step)
{
    unsigned char bytes[(sizeof(step->attempt) - 1) / 2];

    hash_random(bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(step->attempt + 2 * i, 3, "%02x", bytes[i]);
}

static struct etcdb_step *step_create(struct etcdb *db, struct op *op,
                                      const struct backend_step *step,
                                      struct backend_result *result)
{
    struct etcdb_step *self = mem_calloc(1, sizeof(*self));
    const struct migration *migration = step->migration;
    bool has_down = migration->down.file != NULL, is_down = step->direction == BACKEND_DOWN;

    if (self == NULL)
        return NULL;
    sm_init(&self->sm, step_states, "etcd_step", ETCDB_RENDERING);
    self->db = db;
    self->op = op;
    self->step = step;
    self->result = result;
    self->script = is_down ? (has_down ? &migration->down : NULL) : &migration->up;
    self->keeps = !is_down && !has_down;
    self->page = db->max_txn_ops - 2; /* beside marker and range */
    self->made_for = db->max_txn_ops;
    step_set_attempt(self);
    arena_init(&self->arena);
    arena_init(&self->seen_arena);
    etcdb_txn_init(&self->txn, ETCDB_BODY_MAX);
    buf_init(&self->next_value, ETCDB_BODY_MAX);
    op_init(&self->work, step_on_work);
    return self;
}

int etcdb_execute(struct backend *backend, struct op *op, const struct backend_step *step,
                  struct backend_result *result)
{
    struct etcdb *db = container_of(backend, struct etcdb, pub);
    struct etcdb_step *self = step_create(db, op, step, result);
    int rc;

    *result = (struct backend_result){.outcome = BACKEND_DONE, .attempts = 1};
    if (self == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    rc = etcdb_step_prepare(self);
    if (rc != 0) {
        op->err = self->err;
        step_free(self);
        return rc;
    }
    op_begin(op, self, step_cancel);
    etcdb_begin(db);
    if (etcdb_step_is_large(self))
        step_await(self, ETCDB_RENDERING,
                   work_start(db->loop, &self->work, etcdb_step_render, self));
    else
        etcdb_step_begin(self);
    if (!self->work.active) { /* refused: to be handled, but not from here */
        struct err why = self->work.err;

        op_begin(&self->work, NULL, NULL);
        self->work.err = why;
        op_finish_later(&self->work, etcdb_sched(db), self->rc);
    }
    return 0;
}
