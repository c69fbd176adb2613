#include "backend/etcd_step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "model/ids.h"
#include "model/jsonscript.h"

static const struct sm_state step_states[] = {
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
    etcdb_txn_begin(txn);
    etcdb_txn_success(txn);
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

static bool step_answered(struct etcdb_step *step)
{
    const enum etcdb_step_state state = (enum etcdb_step_state)step->sm.state;

    if (step->rc != 0)
        return etcdb_step_on_failure(step);
    step->db->down_since_ms = 0;
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

/* Copies what was built, and empties it for the next. */
static struct slice step_keep_text(struct etcdb_step *step, struct buf *text)
{
    struct slice copy = {.at = NULL, .len = text->len};

    if (text->rc == 0)
        copy.at = arena_strndup(&step->arena, buf_str(text), text->len);
    buf_truncate(text, 0);
    return copy;
}

static int step_make_names(struct etcdb_step *step)
{
    const struct etcdb *db = step->db;
    const char *schema = step->step->schema, *id = step->step->migration->id;
    struct slice path;
    struct buf text;

    buf_init(&text, ETCDB_BODY_MAX);
    etcdb_put_path(&text, db->prefix, schema, step->step->migration->table);
    path = step_keep_text(step, &text);
    etcdb_put_marker_key(&text, db->reserved, schema, id);
    step->marker_key = step_keep_text(step, &text);
    etcdb_put_undo_prefix(&text, db->reserved, schema, id);
    step->undo_start = step_keep_text(step, &text);
    if (step->undo_start.at != NULL)
        etcd_put_range_end(&text, step->undo_start.at, step->undo_start.len);
    step->undo_end = step_keep_text(step, &text);
    buf_free(&text);
    if (path.at == NULL || step->marker_key.at == NULL || step->undo_start.at == NULL ||
        step->undo_end.at == NULL)
        return ERR_NOMEM;
    step->path = path.at;
    step->path_len = path.len;
    return 0;
}

static int step_refuse_at(struct etcdb_step *step, int code, const struct etcd_operation *one,
                          const char *why)
{
    err_set(&step->err, code, "operation %u of %zu: %s", one->number, step->operations.given, why);
    step->err.statement = one->number;
    step->err.line = one->line;
    return code;
}

/* Journals of other connections may be on the same cluster. */
static int step_check_reserved(struct etcdb_step *step)
{
    const struct etcdb *db = step->db;
    char why[400];

    for (size_t i = 0; i < db->guarded_count; i++) {
        const struct etcd_operation *bad =
            etcdb_find_reserved(&step->operations, step->path, db->guarded[i]);

        if (bad == NULL)
            continue;
        snprintf(why, sizeof(why),
                 "it touches keys that begin with \"%.200s\", where BfM keeps its journal",
                 db->guarded[i]);
        return step_refuse_at(step, ERR_INVALID, bad, why);
    }
    return 0;
}

/* What can be said without asking etcd. */
static int step_check_operations(struct etcdb_step *step)
{
    const struct etcdb *db = step->db;
    int rc = step_check_reserved(step);
    char why[400];

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < step->operations.count; i++) {
        const struct etcd_operation *one = &step->operations.items[i];
        size_t size = etcdb_size_of(one, step->path_len) + etcdb_step_own_bytes(step);

        if (size <= db->max_request)
            continue;
        snprintf(why, sizeof(why),
                 "the request is too large: with the journal's entry it has %zu bytes, and etcd "
                 "takes %zu in one (--max-request-bytes; here the connection's MAX_REQUEST_BYTES)",
                 size, db->max_request);
        return step_refuse_at(step, ERR_LIMIT, one, why);
    }
    return 0;
}

static int step_prepare(struct etcdb_step *step)
{
    const struct migration *migration = step->step->migration;
    const struct template_values values = {.connection = migration->connection,
                                           .schema = step->step->schema,
                                           .backend = backend_kind_name(migration->backend),
                                           .version = migration->version};
    int rc = ids_check_schema(step->step->schema, BACKEND_ETCD, &step->err);

    if (rc != 0)
        return rc;
    if (step->script != NULL)
        rc = json_script_render(step->script, &values, &step->arena, &step->operations, &step->err);
    if (rc != 0)
        return rc;
    if (step_make_names(step) != 0)
        return err_set(&step->err, ERR_NOMEM, "out of memory");
    step->take = step->operations.count;
    etcdb_plan_of(&step->operations, step->path, step->plan);
    return step_check_operations(step);
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
    sm_init(&self->sm, step_states, "etcd_step", ETCDB_PAUSING);
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
    rc = step_prepare(self);
    if (rc != 0) {
        op->err = self->err;
        step_free(self);
        return rc;
    }
    op_begin(op, self, step_cancel);
    etcdb_begin(db);
    etcdb_step_begin(self);
    if (!self->work.active) { /* refused: to be handled, but not from here */
        struct err why = self->work.err;

        op_begin(&self->work, NULL, NULL);
        self->work.err = why;
        op_finish_later(&self->work, etcdb_sched(db), self->rc);
    }
    return 0;
}
