#include <stdio.h>
#include <string.h>

#include "backend/greptimedb_probe.h"
#include "base/clock.h"
#include "base/mem.h"

/*
 * Complete rows for what older servers applied.
 *
 *  PROBING ─> INSERTING ─┬─> [LOOKING] ─> next item
 *     ^                  └────────────────────┐
 *     └───────────────────────────────────────┘
 *
 * PROBING    whether the database is there (once for items of one schema in a row)
 * INSERTING  the row is being put where there is none
 * LOOKING    there is one: is it complete?
 *
 * The ledger knows no transaction: what was put in before a failure stays, and to say it again does
 * no harm.
 */
enum adopt_state {
    ADOPT_PROBING,
    ADOPT_INSERTING,
    ADOPT_LOOKING,
};

static const struct sm_state adopt_states[] = {
    [ADOPT_PROBING] = {"probing", SM_TO(ADOPT_PROBING) | SM_TO(ADOPT_INSERTING)},
    [ADOPT_INSERTING] = {"inserting",
                         SM_TO(ADOPT_PROBING) | SM_TO(ADOPT_INSERTING) | SM_TO(ADOPT_LOOKING)},
    [ADOPT_LOOKING] = {"looking", SM_TO(ADOPT_PROBING) | SM_TO(ADOPT_INSERTING)},
};

struct gtdb_adopt {
    struct sm sm;
    struct gtdb *gtdb;
    struct op *op; /* the caller's */
    struct op work;
    struct gtdb_probe probe;
    struct backend_adoption *items;
    size_t count, at;
    const char *known; /* the schema that was probed last; NULL: none */
    struct gtdb_row want;
    struct ledger_change change;
    bool swapped;
    struct ledger_query query;
    struct ledger_rows rows;
};

static void adopt_free(struct gtdb_adopt *adopt)
{
    gtdb_probe_free(&adopt->probe);
    mem_free(adopt);
}

static void adopt_finish(struct gtdb_adopt *adopt, const struct err *why)
{
    struct gtdb *gtdb = adopt->gtdb;
    struct op *op = adopt->op;
    struct err err = *why;

    adopt_free(adopt);
    gtdb_end(gtdb);
    if (err.code != 0)
        op_fail(op, &err);
    else
        op_finish(op, 0);
}

static int adopt_insert(struct gtdb_adopt *adopt)
{
    static const struct gtdb_row none = {.exists = false};
    const struct backend_adoption *item = &adopt->items[adopt->at];
    struct gtdb_row *want = &adopt->want;
    struct ledger *ledger = adopt->gtdb->ledger;
    int64_t now = clock_wall_us();

    *want = (struct gtdb_row){.exists = true,
                              .complete = true,
                              .done = (int64_t)item->migration->up.statement_count,
                              .applied_at_us = item->applied_at_us != 0 ? item->applied_at_us : now,
                              .revision = gtdb_row_next(&none),
                              .run_id = "adopted"};
    snprintf(want->checksum, sizeof(want->checksum), "%s", item->migration->up.checksum);
    gtdb_row_change(&adopt->change, adopt->gtdb, item->schema, item->migration->id, &none, want);
    sm_move(&adopt->sm, ADOPT_INSERTING);
    return ledger->ops->swap(ledger, &adopt->work, &adopt->change, &adopt->swapped);
}

static int adopt_look(struct gtdb_adopt *adopt)
{
    const struct backend_adoption *item = &adopt->items[adopt->at];
    struct ledger *ledger = adopt->gtdb->ledger;

    adopt->query = (struct ledger_query){.connection = adopt->gtdb->connection,
                                         .schema = item->schema,
                                         .migration_id = item->migration->id,
                                         .limit = 1};
    sm_move(&adopt->sm, ADOPT_LOOKING);
    return ledger->ops->read(ledger, &adopt->work, &adopt->query, &adopt->rows);
}

/* The item at adopt->at, unless that was the last: then nothing is started. */
static int adopt_next(struct gtdb_adopt *adopt)
{
    const struct backend_adoption *item = &adopt->items[adopt->at];

    if (adopt->at == adopt->count)
        return 0;
    if (adopt->known != NULL && strcmp(adopt->known, item->schema) == 0 && adopt->probe.found)
        return adopt_insert(adopt);
    adopt->known = item->schema;
    sm_move(&adopt->sm, ADOPT_PROBING);
    return gtdb_probe_object(&adopt->probe, &adopt->work,
                             gtdb_database_of(adopt->gtdb, item->schema), "");
}

static int adopt_settle(struct gtdb_adopt *adopt, bool adopted)
{
    adopt->items[adopt->at++].adopted = adopted;
    if (adopt->at < adopt->count && adopt->op->canceled)
        return err_set(&adopt->work.err, ERR_CANCELED, "canceled");
    return adopt_next(adopt);
}

static int adopt_go_on(struct gtdb_adopt *adopt)
{
    struct gtdb_row found;

    switch ((enum adopt_state)adopt->sm.state) {
    case ADOPT_PROBING:
        return adopt->probe.found ? adopt_insert(adopt) : adopt_settle(adopt, false);
    case ADOPT_INSERTING:
        return adopt->swapped ? adopt_settle(adopt, true) : adopt_look(adopt);
    case ADOPT_LOOKING:
        break;
    }
    gtdb_row_take(&found, &adopt->rows);
    return adopt_settle(adopt, found.exists && (found.complete || found.undo));
}

static void adopt_on_work(struct op *op, int rc)
{
    struct gtdb_adopt *adopt = container_of(op, struct gtdb_adopt, work);

    if (rc == 0)
        rc = adopt_go_on(adopt);
    if (rc == 0 && adopt->at < adopt->count)
        return;
    if (rc == 0)
        err_clear(&op->err);
    adopt_finish(adopt, &op->err);
}

static void adopt_cancel(struct op *op)
{
    struct gtdb_adopt *adopt = op->impl;

    if (adopt->sm.state == ADOPT_PROBING)
        op_cancel(&adopt->work);
}

int gtdb_adopt(struct backend *backend, struct op *op, struct backend_adoption *items, size_t count)
{
    struct gtdb *gtdb = container_of(backend, struct gtdb, pub);
    struct gtdb_adopt *adopt;
    int rc;

    if (count == 0) {
        op_begin(op, NULL, NULL);
        op_finish_later(op, gtdb_sched(gtdb), 0);
        return 0;
    }
    adopt = mem_calloc(1, sizeof(*adopt));
    if (adopt == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    sm_init(&adopt->sm, adopt_states, "greptimedb_adopt", ADOPT_PROBING);
    adopt->gtdb = gtdb;
    adopt->op = op;
    adopt->items = items;
    adopt->count = count;
    op_init(&adopt->work, adopt_on_work);
    gtdb_probe_init(&adopt->probe, gtdb);
    rc = adopt_next(adopt);
    if (rc != 0) {
        op_refuse(op, rc, "%s", err_text(&adopt->work.err));
        adopt_free(adopt);
        return rc;
    }
    op_begin(op, adopt, adopt_cancel);
    gtdb_begin(gtdb);
    return 0;
}
